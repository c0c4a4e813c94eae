"""Tiny transformers models with heads, every weight drawn anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers as hf

VOCABULARY, POSITIONS, LENGTH = 61, 43, 37
MASK, PAD = 4, 7

BASIC = {
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": PAD,
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 10,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "max_position_embeddings": POSITIONS,
}
GPT = {"n_head": 6, "n_layer": 2}
DECODERS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "gpt_neo": {"num_layers": 2, "num_heads": 6, "attention_types": [[["global", "local"], 1]]},
    "opt": {"ffn_dim": 10, "word_embed_proj_dim": 48},
    "llama": {"num_key_value_heads": 3},
    "gpt_neox": {"rotary_pct": 0.5},
    "bloom": GPT,
    "mpt": {
        "d_model": 48,
        "n_heads": 6,
        "n_layers": 2,
        "expansion_ratio": 1,
        "max_seq_len": POSITIONS,
    },
    "bart": {
        "d_model": 48,
        "decoder_layers": 2,
        "decoder_attention_heads": 6,
        "decoder_ffn_dim": 10,
    },
}
# RoBERTa's kin store rows before position 0 and count them in the config; MPNet always 2.
ENCODERS: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {"max_position_embeddings": POSITIONS + PAD + 1},
    "mpnet": {"max_position_embeddings": POSITIONS + 2},
    "distilbert": {"dim": 48, "n_heads": 6, "n_layers": 2, "hidden_dim": 10},
    "electra": {"embedding_size": 20},
    "modernbert": {"local_attention": 16},
}
CAUSAL, MASKED, BASE = "AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoModel"


def tiny(family: str, auto: str = "", *, seed: int = 0, **changed: Any) -> hf.PreTrainedModel:
    """A model in float32 with the head that its family is known for."""
    torch.manual_seed(seed)
    values: dict[str, Any] = BASIC | DECODERS.get(family, ENCODERS.get(family, {})) | changed
    config = hf.AutoConfig.for_model(family, **values)
    auto = auto or (CAUSAL if family in DECODERS else MASKED)
    model = getattr(hf, auto).from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight += 0.3 * torch.randn_like(weight)
            else:
                weight.normal_(0, 0.3)
    return model


def drawn(contexts: int = 3, length: int = LENGTH, seed: int = 0) -> np.ndarray:
    """Token ids, that of padding among them."""
    return np.random.default_rng(seed).integers(VOCABULARY, size=(contexts, length))


def table_of(model: hf.PreTrainedModel) -> tuple[str, int]:
    """The name of a model's position table, and its rows before position 0."""
    offsets = {"opt": 2, "bart": 2, "mpnet": 2, "roberta": PAD + 1}
    ends = ("wpe.weight", "position_embeddings.weight", "embed_positions.weight")
    (name,) = [name for name, _ in model.named_parameters() if name.endswith(ends)]
    return name, offsets.get(model.config.model_type, 0)


def rows_of(model: hf.PreTrainedModel) -> np.ndarray:
    """The rows of a model's position table, from position 0 on, in float64."""
    name, offset = table_of(model)
    return model.get_parameter(name).detach().double().numpy()[offset:]


def longer(rows: np.ndarray, length: int) -> np.ndarray:
    """Rows of a table, and others after them."""
    new = np.random.default_rng(5).normal(0, 0.3, (max(length - len(rows), 0), rows.shape[1]))
    return np.vstack([rows[:length], new])


def with_table(family: str, rows: np.ndarray, auto: str = "") -> hf.PreTrainedModel:
    """The tiny model of a family with another table, made by transformers of a longer config."""
    plain = tiny(family, auto)
    name, offset = table_of(plain)
    stored = plain.get_parameter(name).shape[0]
    more = offset + len(rows) - stored
    key = "n_positions" if family == "gpt2" else "max_position_embeddings"
    config = plain.config.to_dict()
    config[key] += more
    made = type(plain)(type(plain.config).from_dict(config)).eval()
    weights = plain.state_dict()
    before = weights[name][:offset]
    weights[name] = torch.cat([before, torch.as_tensor(rows, dtype=before.dtype)])
    made.load_state_dict(weights)
    return made


def own_loss(model: hf.PreTrainedModel, ids: np.ndarray) -> float:
    """A context's loss, as transformers itself has it."""
    tokens = torch.as_tensor(ids)[None]
    labels = tokens
    if model.config.model_type == "bart":  # which takes them as they are
        labels = torch.cat([tokens[:, 1:], torch.full((1, 1), -100)], dim=1)
    with torch.no_grad():
        return float(model(input_ids=tokens, labels=labels).loss)


def own_masked_loss(model: hf.PreTrainedModel, ids: np.ndarray, at: int, mask: int = MASK) -> float:
    """The loss of one token of a context if it is masked, by transformers' own."""
    tokens = torch.as_tensor(ids)[None].clone()
    tokens[0, at] = mask
    more = {}
    if model.config.model_type in ("roberta", "mpnet"):  # or padding in the text has no position
        offset = table_of(model)[1]
        more["position_ids"] = offset + torch.arange(len(ids))[None]
    labels = torch.full_like(tokens, -100)
    labels[0, at] = int(ids[at])
    with torch.no_grad():
        mask_of_all = torch.ones_like(tokens)
        return float(
            model(input_ids=tokens, attention_mask=mask_of_all, labels=labels, **more).loss
        )


def write_gguf(model: hf.PreTrainedModel, path: Path) -> None:
    """Write a GPT-2 as llama.cpp's converter would: linear layers the other way round."""
    config = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, config.n_layer)
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_block_count(config.n_layer)
    writer.add_context_length(config.n_positions)
    writer.add_embedding_length(config.n_embd)
    writer.add_head_count(config.n_head)
    writer.add_token_list([f"w{number}" for number in range(config.vocab_size)])
    for name, weight in model.transformer.named_parameters():
        values = weight.detach().numpy()
        if ".c_" in name:
            values = np.ascontiguousarray(values.T)
        known = names.get_name(f"transformer.{name}", try_suffixes=(".weight", ".bias"))
        writer.add_tensor(str(known), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
