"""Tiny models of an encoder and a decoder that fill gaps, and their losses by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from edit_sources import byte_tokenizer
from tokenizers import processors

VOCABULARY, SENTINEL, START, PAD, END = 61, 60, 3, 0, 1
MASK = 4  # of BART
TRAINED = 64  # tokens, of T5
POSITIONS = 43  # of BART
EVERY = 10**6  # positions that are masked: all of a text

_T5: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 48,
    "d_kv": 7,
    "d_ff": 10,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 6,
    "pad_token_id": PAD,
    "eos_token_id": END,
    "decoder_start_token_id": START,  # another than padding, so that one is not the other
    "n_positions": TRAINED,
}
SPANS: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": ("t5", {}),
    "t5 1.1": ("t5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "mt5": ("mt5", {}),
    "umt5": ("umt5", {}),
    "switch": (
        "switch_transformers",
        # Experts take so few tokens that some of every context pass them by.
        {"num_experts": 3, "expert_capacity": 9, "num_sparse_encoder_layers": 1},
    ),
}
_BART: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 48,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 10,
    "decoder_ffn_dim": 10,
    "bos_token_id": 5,
    "eos_token_id": 2,
    "pad_token_id": 7,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
    "max_position_embeddings": POSITIONS,
}
T5, BART = "t5", "bart"


def made(config: hf.PreTrainedConfig, auto: str = "AutoModelForSeq2SeqLM") -> hf.PreTrainedModel:
    """A model in float32, every weight drawn anew."""
    torch.manual_seed(0)
    model = getattr(hf, auto).from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight += 0.3 * torch.randn_like(weight)
            else:
                weight.normal_(0, 0.3)
        bias = dict(model.named_buffers()).get("final_logits_bias")
        if bias is not None:
            bias.normal_(0, 0.3)
    return model


def spans(name: str = T5, auto: str = "AutoModelForSeq2SeqLM", **changed: Any) -> Any:
    """A tiny model of T5's kin."""
    family, own = SPANS[name]
    model = made(hf.AutoConfig.for_model(family, **(_T5 | own | changed)), auto)
    if name == "t5 1.1" and hasattr(model, "lm_head"):  # its checkpoints hold a head of their own
        model.lm_head.weight = torch.nn.Parameter(0.3 * torch.randn_like(model.lm_head.weight))
    return model


def bart(**changed: Any) -> Any:
    """A tiny BART."""
    return made(hf.BartConfig(**(_BART | changed)))


def drawn(contexts: int, length: int, vocabulary: int = VOCABULARY - 1) -> np.ndarray:
    """Token ids, padding among them, but no sentinel."""
    return np.random.default_rng(0).integers(vocabulary, size=(contexts, length))


def _losses(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """The losses that transformers takes the mean of."""
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)
    each = torch.nn.functional.cross_entropy(out.logits[0], labels[0], reduction="none")
    assert torch.allclose(each.mean(), out.loss, rtol=1e-6)
    return each.double().numpy()


def _masked(ids: np.ndarray, at: int, mask: int) -> torch.Tensor:
    tokens = torch.as_tensor(ids)[None].clone()
    tokens[0, at] = mask
    return tokens


def own_span_loss(model: Any, ids: np.ndarray, at: int, mask: int = SENTINEL) -> float:
    """Of a token that is hidden by a sentinel: the second of the labels."""
    labels = torch.as_tensor([[mask, int(ids[at])]])
    return float(_losses(model, _masked(ids, at, mask), labels)[1])


def own_infilling_loss(model: Any, ids: np.ndarray, at: int, mask: int = MASK) -> float:
    """Of a masked token: where the labels are the whole text, the one at its place."""
    return float(_losses(model, _masked(ids, at, mask), torch.as_tensor(ids)[None])[at])


def longer_bart(model: Any, tables: dict[str, np.ndarray]) -> Any:
    """A BART with other tables, by part: made by transformers of a config with their length."""
    config = model.config.to_dict()
    (length,) = {len(rows) for rows in tables.values()}
    config["max_position_embeddings"] = length
    twin = hf.BartForConditionalGeneration(hf.BartConfig(**config)).eval().to(model.dtype)
    weights = model.state_dict()
    for part, rows in tables.items():
        name = f"model.{part}.embed_positions.weight"
        new = torch.as_tensor(rows, dtype=model.dtype)
        weights[name] = torch.cat([weights[name][:2], new])
    twin.load_state_dict(weights)
    return twin


def tables_of(model: Any) -> dict[str, np.ndarray]:
    """BART's two tables, from position 0 on."""
    stacks = {"encoder": model.model.encoder, "decoder": model.model.decoder}
    return {
        part: stack.embed_positions.weight.detach().double().numpy()[2:]
        for part, stack in stacks.items()
    }


def saved_with_tokenizer(model: Any, folder: Path, mask: str | None) -> Path:
    """Save a model beside a tokenizer of bytes that ends a text, and has a mask if any is named."""
    made_of_bytes, ending = byte_tokenizer(), "</s>"
    made_of_bytes.add_special_tokens([ending, *([] if mask is None else [mask])])
    made_of_bytes.post_processor = processors.TemplateProcessing(
        single=f"$A {ending}", special_tokens=[(ending, made_of_bytes.token_to_id(ending))]
    )
    model.save_pretrained(folder)
    named = {"mask_token": mask} if mask == "<mask>" else {}
    hf.PreTrainedTokenizerFast(tokenizer_object=made_of_bytes, **named).save_pretrained(folder)
    return folder
