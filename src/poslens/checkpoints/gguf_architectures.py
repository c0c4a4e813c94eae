"""A GGUF file's metadata in the words of transformers, so that the table of families applies.

What an architecture leaves unsaid, and which pairs of rows it rotates, is as in llama.cpp
(``load_hparams`` and ``llama_model_rope_type`` in ``src/llama-model.cpp``, and its converters).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from poslens.checkpoints.config import Config
from poslens.checkpoints.families import FAMILIES
from poslens.checkpoints.gguf_metadata import Metadata, epsilons, head_dim, rotation, sizes
from poslens.checkpoints.schemes import Pairing

ARCHITECTURE = "general.architecture"


@dataclass(frozen=True)
class Architecture:
    """What GGUF's name of an architecture means.

    Attributes
    ----------
    model_type
        Transformers' name for it.
    pairing
        Which coordinates of the stored queries and keys turn together; None where llama.cpp turns
        none.
    special
        What the family's entry needs beside the common values.
    """

    model_type: str
    pairing: Pairing | None = None
    special: Callable[[Metadata], dict[str, object]] = lambda _: {}


def model_config(values: Mapping[str, Any], tensors: Collection[str], shown: str) -> Config | None:
    """Return a config as transformers would write it; None where no architecture is named.

    An architecture that is not known here gives a ``model_type`` that no family has.

    Raises
    ------
    SourceError
        If a value has the wrong type, or two contradict each other.
    """
    shown = f"the metadata of {shown}"
    metadata = Config(values, shown)
    if not metadata.has(ARCHITECTURE):
        return None
    arch = metadata.text(ARCHITECTURE)
    known = ARCHITECTURES.get(arch)
    if known is None:
        return Config({"model_type": f"{arch} (GGUF)"}, shown, silence_is_default=False)
    found = Metadata(metadata, arch, tensors)
    config = {"model_type": known.model_type, **sizes(found), **epsilons(found)}
    config |= dict.fromkeys(FAMILIES[known.model_type].context[:1], found.get("context_length"))
    if known.pairing is not None:
        config |= {"rope_parameters": rotation(found)}
    config |= known.special(found)
    return Config(config, shown, silence_is_default=False)


def pairing_of_rows(values: Mapping[str, Any]) -> Pairing | None:
    """Return which coordinates of a file's queries and keys turn together; None if unknown."""
    known = ARCHITECTURES.get(architecture_of(values) or "")
    return known.pairing if known else None


def architecture_of(values: Mapping[str, Any]) -> str | None:
    """Return GGUF's name of a file's architecture; None where it names none."""
    arch = values.get(ARCHITECTURE)
    return arch if isinstance(arch, str) else None


def _llama(found: Metadata) -> dict[str, object]:
    # Llama itself has no biases, models that are converted as one may.
    return {"attention_bias": "blk.0.attn_q.bias" in found.tensors}


def _unrotated_layers(_: Metadata) -> dict[str, object]:
    return {"no_rope_layer_interval": 4}  # not in the metadata


def _falcon(found: Metadata) -> dict[str, object]:
    heads = found.get("attention.head_count")
    key_heads = found.get("attention.head_count_kv")
    return {
        "new_decoder_architecture": True,  # the one that says how many heads of keys it has
        "num_kv_heads": heads if key_heads is None else key_heads,
    }


def _gptj(found: Metadata) -> dict[str, object]:
    # Not run by llama.cpp, so that its rows are as transformers has them.
    return {"rotary_dim": found.get("rope.dimension_count"), "rope_parameters": rotation(found)}


def _deepseek(found: Metadata) -> dict[str, object]:
    # Files whose keys are kept compressed say the length of a head under a key of its own.
    joined = found.count("attention.key_length_mla") or head_dim(found)
    rotated = found.count("rope.dimension_count")
    apart = None if joined is None or rotated is None else joined - rotated
    return {"qk_rope_head_dim": rotated, "qk_nope_head_dim": apart}


def _two_bases(
    every_key: str, every: int, local_base: float
) -> Callable[[Metadata], dict[str, object]]:
    """Return what says which layers have full attention, and the base of each kind of layer.

    Parameters
    ----------
    every_key, every
        Transformers' key for how many layers there are from one with full attention to the next,
        and how many where the metadata do not say it.
    local_base
        The base of sliding attention where the metadata do not say it.
    """

    def special(found: Metadata) -> dict[str, object]:
        slides = found.values.values.get(f"{found.arch}.attention.sliding_window_pattern")
        local = found.get("rope.freq_base_swa")
        full = rotation(found)
        sliding = {"rope_theta": local_base if local is None else local}
        if "partial_rotary_factor" in full:
            sliding["partial_rotary_factor"] = full["partial_rotary_factor"]
        which: dict[str, object]
        if not found.get("attention.sliding_window"):
            which = {every_key: 1}
        elif isinstance(slides, list):  # for each layer, whether its attention slides
            words = ["sliding_attention" if one else "full_attention" for one in slides]
            which = {"layer_types": words}
        else:
            which = {every_key: every if slides is None else slides}
        return which | {"rope_parameters": {"full_attention": full, "sliding_attention": sliding}}

    return special


def _gpt_oss(found: Metadata) -> dict[str, object]:
    # Transformers does not round the ends of YaRN's ramp in this family.
    parameters = rotation(found)
    yarn = {"truncate": False} if parameters.get("rope_type") == "yarn" else {}
    return {"rope_parameters": parameters | yarn}


def _cohere2(found: Metadata) -> dict[str, object]:
    pattern = found.get("attention.sliding_window_pattern")
    return {"sliding_window_pattern": 4 if pattern is None else pattern}


def _mpt(found: Metadata) -> dict[str, object]:
    bias = found.get("attention.max_alibi_bias")
    return {"attn_config": {"alibi": bool(bias), "alibi_bias_max": bias}}


def _jina(_: Metadata) -> dict[str, object]:
    return {"position_embedding_type": "alibi"}


def _t5(found: Metadata) -> dict[str, object]:
    return {
        "relative_attention_num_buckets": found.get("attention.relative_buckets_count"),
        "relative_attention_max_distance": 128,  # not in the metadata
    }


GEMMA3 = Architecture("gemma3_text", "half", _two_bases("sliding_window_pattern", 6, 10_000.0))

# Which layers and bases a family has is in FAMILIES; BERT's name stands for RoBERTa and its kin as
# well, whose rows before position 0 the converter cuts off.
ARCHITECTURES: dict[str, Architecture] = {
    "bert": Architecture("bert"),
    "bloom": Architecture("bloom"),
    "chatglm": Architecture("glm", "interleaved"),
    "cohere2": Architecture("cohere2", "interleaved", _cohere2),
    "command-r": Architecture("cohere", "interleaved"),
    "deepseek2": Architecture("deepseek_v2", "interleaved", _deepseek),
    "falcon": Architecture("falcon", "half", _falcon),
    "gemma": Architecture("gemma", "half"),
    "gemma-embedding": GEMMA3,
    "gemma2": Architecture("gemma2", "half"),
    "gemma3": GEMMA3,
    "gpt-oss": Architecture("gpt_oss", "half", _gpt_oss),
    "gpt2": Architecture("gpt2"),
    "gptj": Architecture("gptj", None, _gptj),
    "gptneox": Architecture("gpt_neox", "half"),
    "granite": Architecture("granite", "interleaved"),
    "jina-bert-v2": Architecture("bert", None, _jina),
    "llama": Architecture("llama", "interleaved", _llama),
    "llama4": Architecture("llama4_text", "interleaved", _unrotated_layers),
    "mamba": Architecture("mamba"),
    "mamba2": Architecture("mamba2"),
    "modern-bert": Architecture(
        "modernbert", "half", _two_bases("global_attn_every_n_layers", 3, 10_000.0)
    ),
    "mpt": Architecture("mpt", None, _mpt),
    "nemotron": Architecture("nemotron", "half"),
    "nomic-bert": Architecture("nomic_bert", "half"),
    "olmo": Architecture("olmo", "interleaved"),
    "olmo2": Architecture("olmo2", "half"),
    "phi2": Architecture("phi", "half"),
    "phi3": Architecture("phi3", "half"),
    "qwen2": Architecture("qwen2", "half"),
    "qwen2moe": Architecture("qwen2_moe", "half"),
    "qwen3": Architecture("qwen3", "half"),
    "qwen3moe": Architecture("qwen3_moe", "half"),
    "smollm3": Architecture("smollm3", "interleaved", _unrotated_layers),
    "stablelm": Architecture("stablelm", "half"),
    "starcoder": Architecture("gpt_bigcode"),
    "starcoder2": Architecture("starcoder2", "half"),
    "t5": Architecture("t5", None, _t5),
    "t5encoder": Architecture("t5", None, _t5),
}
