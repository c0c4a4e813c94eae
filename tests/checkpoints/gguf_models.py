"""Tiny transformers models in GGUF, their weights changed as llama.cpp's converter changes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import transformers as hf
from gguf_files import write_gguf

# What stands before the names of a base model, in the reference's map of names.
BEFORE = ("", "model.", "transformer.")


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows i and i + r/2 of each head beside each other."""
    by_half = weight.reshape(heads, 2, -1, *weight.shape[1:])
    return by_half.swapaxes(1, 2).reshape(weight.shape)


def _llama(name: str, weight: np.ndarray, config: hf.PretrainedConfig) -> np.ndarray:
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    turned = next((count for part, count in heads.items() if part in name), None)
    return weight if turned is None else interleaved(weight, turned)


def _gpt2(name: str, weight: np.ndarray, _: hf.PretrainedConfig) -> np.ndarray:
    return weight.T if ".c_" in name else weight


def _bloom(name: str, weight: np.ndarray, config: hf.PretrainedConfig) -> np.ndarray:
    if "query_key_value" not in name:
        return weight
    by_head = weight.reshape(config.n_head, 3, -1, *weight.shape[1:])
    return by_head.swapaxes(0, 1).reshape(weight.shape)


CONVERTERS: dict[str, Callable[[str, np.ndarray, Any], np.ndarray]] = {
    "llama": _llama,
    "gpt2": _gpt2,
    "bloom": _bloom,
}


def values_of(config: hf.PretrainedConfig) -> dict[str, Any]:
    """The metadata of a model."""
    rms = getattr(config, "rms_norm_eps", None)
    centred = getattr(config, "layer_norm_epsilon", getattr(config, "layer_norm_eps", None))
    rope = getattr(config, "rope_parameters", None)
    found: dict[str, Any] = {
        ".context_length": getattr(config, "max_position_embeddings", None),
        ".embedding_length": config.hidden_size,
        ".feed_forward_length": getattr(config, "intermediate_size", None),
        ".block_count": config.num_hidden_layers,
        ".attention.head_count": config.num_attention_heads,
        ".attention.head_count_kv": getattr(config, "num_key_value_heads", None),
        ".attention.key_length": getattr(config, "head_dim", None),
        ".attention.layer_norm_rms_epsilon": rms,
        ".attention.layer_norm_epsilon": centred,
        ".rope.freq_base": float(rope["rope_theta"]) if rope else None,
        ".rope.dimension_count": getattr(config, "head_dim", None) if rope else None,
        ".vocab_size": config.vocab_size,
        "general.name": "a model",
        "tokenizer.ggml.tokens": [f"w{number}" for number in range(config.vocab_size)],
    }
    return {key: value for key, value in found.items() if value is not None}


def write_model(model: hf.PreTrainedModel, arch: str, path: Path, **changed: Any) -> Path:
    """Write a base model; a value of None in ``changed`` leaves a key of the metadata out."""
    (kind,) = (one for one, word in gguf.MODEL_ARCH_NAMES.items() if word == arch)
    names = gguf.get_tensor_name_map(kind, model.config.num_hidden_layers)
    convert = CONVERTERS.get(arch, lambda _name, weight, _config: weight)
    tensors = {}
    for name, weight in model.state_dict().items():
        spelled = (before + name for before in BEFORE)
        found = [names.get_name(one, try_suffixes=(".weight", ".bias")) for one in spelled]
        if known := next(filter(None, found), None):  # a pooler is left out
            values = convert(name, weight.numpy(), model.config)
            tensors[known] = np.ascontiguousarray(values)
    values = values_of(model.config) | {f".{key}": value for key, value in changed.items()}
    return write_gguf(path, arch, {k: v for k, v in values.items() if v is not None}, tensors)
