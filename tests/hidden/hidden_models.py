"""Tiny transformers models of many families, every weight drawn anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers as hf

VOCABULARY, LENGTH = 61, 43  # past the edges of T5's buckets, and odd
CONTEXTS = 3

SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
BASIC = SPECIAL | {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 10,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": 71,
}
GROUPED = BASIC | {"num_key_value_heads": 3}
T5 = SPECIAL | {
    "vocab_size": VOCABULARY,
    "d_model": 48,
    "d_kv": 7,
    "d_ff": 10,
    "num_layers": 3,
    "num_heads": 6,
    "decoder_start_token_id": 0,
}
BART = SPECIAL | {
    "vocab_size": VOCABULARY,
    "d_model": 48,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 10,
    "decoder_ffn_dim": 10,
    "max_position_embeddings": 71,
}


def tiny(family: str, *, seed: int = 0, **changed: Any) -> hf.PreTrainedModel:
    """A base model, in float32, with eager attention unless it is said otherwise."""
    torch.manual_seed(seed)
    implementation = changed.pop("implementation", "eager")
    config = hf.AutoConfig.for_model(family, **(_VALUES.get(family, BASIC) | changed))
    model = hf.AutoModel.from_config(config, attn_implementation=implementation).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight += 0.3 * torch.randn_like(weight)
            else:
                weight.normal_(0, 0.3)
    return model


_VALUES = {"t5": T5, "bart": BART, "llama": GROUPED, "qwen3": GROUPED, "gemma2": GROUPED}


def drawn(contexts: int = CONTEXTS, length: int = LENGTH, seed: int = 0) -> np.ndarray:
    """Token ids that avoid the special ones."""
    return np.random.default_rng(seed).integers(3, VOCABULARY, size=(contexts, length))
