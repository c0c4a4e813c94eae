"""A GGUF file's metadata, value by value, and what most architectures mean by them.

The keys are those of ggml's ``docs/gguf.md``; what follows from a key that is absent is as in
llama.cpp (``load_hparams`` in ``src/llama-model.cpp``).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from poslens.checkpoints.config import Config

# Tensors that divide the frequency of each plane; the first is written for Llama 3's rule.
DIVISORS = "rope_freqs.weight"
LONG_DIVISORS, SHORT_DIVISORS = "rope_factors_long.weight", "rope_factors_short.weight"

# The metadata's words about scaling, and transformers' where it has one that means the same.
SCALING_WORDS = {
    "factor": "factor",
    "original_context_length": "original_max_position_embeddings",
    "yarn_beta_fast": "beta_fast",
    "yarn_beta_slow": "beta_slow",
    "attn_factor": "attn_factor",
    "yarn_attn_factor": "yarn_attn_factor",
    "yarn_ext_factor": "yarn_ext_factor",
    "yarn_log_multiplier": "yarn_log_multiplier",
}


@dataclass(frozen=True)
class Metadata:
    """The metadata of one architecture.

    Attributes
    ----------
    values
        All of them, read with their types checked.
    arch
        ``general.architecture``, which most keys begin with.
    tensors
        The names of the file's tensors.
    """

    values: Config
    arch: str
    tensors: Collection[str]

    def get(self, key: str) -> Any:
        """Return an architecture's value as it is; None where it is absent.

        A value for each layer becomes one if all layers agree.
        """
        value = self.values.values.get(f"{self.arch}.{key}")
        if isinstance(value, list) and value and all(item == value[0] for item in value):
            return value[0]
        return value

    def count(self, key: str) -> int | None:
        """Return an architecture's whole number of at least 1; None where it is absent.

        Raises
        ------
        SourceError
            If the value is none, or differs from layer to layer.
        """
        full = f"{self.arch}.{key}"
        value = self.get(key)
        if value is None:
            return None
        return Config({full: value}, self.values.shown).count(1, full)


def sizes(found: Metadata) -> dict[str, object]:
    """Return width, layers and heads under their common names; null where they are not said."""
    heads = found.get("attention.head_count")
    key_heads = found.get("attention.head_count_kv")
    return {
        "hidden_size": found.get("embedding_length"),
        "num_hidden_layers": found.get("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": heads if key_heads is None else key_heads,
        "head_dim": found.get("attention.key_length"),  # null: width / heads
    }


def epsilons(found: Metadata) -> dict[str, object]:
    """Return ε of the norms under their common names; null where the metadata do not say it."""
    centred = found.get("attention.layer_norm_epsilon")
    return {
        "layer_norm_eps": centred,
        "layer_norm_epsilon": centred,
        "rms_norm_eps": found.get("attention.layer_norm_rms_epsilon"),
    }


def head_dim(found: Metadata) -> int | None:
    """Return the dimensions of a head; None where they cannot be told.

    Raises
    ------
    SourceError
        If a value they follow from has the wrong type.
    """
    stated = found.count("attention.key_length")
    width, heads = found.count("embedding_length"), found.count("attention.head_count")
    if stated is not None or width is None or heads is None:
        return stated
    return width // heads or None  # fewer dimensions than heads are refused with the other sizes


def rotation(found: Metadata) -> dict[str, object]:
    """Return ``rope_parameters``: base, the part that rotates, and scaling.

    Raises
    ------
    SourceError
        If a number of dimensions has the wrong type.
    """
    base = found.get("rope.freq_base")  # 10,000 in llama.cpp where it is left out
    parameters: dict[str, object] = {"rope_theta": 10_000.0 if base is None else base}
    rotated, whole = found.count("rope.dimension_count"), head_dim(found)
    if rotated is not None and whole is not None:
        parameters["partial_rotary_factor"] = _part(rotated, whole)
    return parameters | _scaling(found)


def _part(count: int, whole: int) -> float:
    """Return the part that gives back ``count`` when ``whole`` times it is cut to an integer."""
    part = count / whole
    return part if int(whole * part) == count else math.nextafter(part, math.inf)


def _scaling(found: Metadata) -> dict[str, object]:
    words = {
        word: value
        for key, word in SCALING_WORDS.items()
        if (value := found.get(f"rope.scaling.{key}")) is not None
    }
    if LONG_DIVISORS in found.tensors:
        # Here alone transformers means the same by it: the whole factor, not one beside YaRN's.
        if "attn_factor" in words:
            words["attention_factor"] = words.pop("attn_factor")
        tensors = {"long_factor_tensor": LONG_DIVISORS, "short_factor_tensor": SHORT_DIVISORS}
        return {"rope_type": "longrope", **words, **tensors}
    if DIVISORS in found.tensors:
        return {"rope_type": "llama3", **words, "factor_tensor": DIVISORS}
    kind = found.get("rope.scaling.type")
    if kind is None:
        kind = "linear"  # as llama.cpp reads a factor without a type
    if kind == "none" or (kind == "linear" and "factor" not in words):
        return {}
    return {"rope_type": kind, **words}
