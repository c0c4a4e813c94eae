"""RoPE from a GGUF file's metadata: as from the config that transformers has for the same model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from containers import acting
from gguf_files import LENGTH, SIZES, description, opened, schemes
from transformers.modeling_gguf_pytorch_utils import (
    GGUF_SUPPORTED_ARCHITECTURES,
    TENSOR_PROCESSORS,
    LlamaTensorProcessor,
    load_gguf_checkpoint,
)

from poslens.checkpoints.families.rotation import REORDERED
from poslens.checkpoints.gguf_architectures import ARCHITECTURES
from poslens.checkpoints.schemes import Rotary
from poslens.errors import SourceError

BASE = {".rope.freq_base": 12_345.0}
HF = {
    "max_position_embeddings": LENGTH,
    "hidden_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "rope_theta": 12_345.0,
}


def test_rows_are_reordered_where_transformers_orders_them_back() -> None:
    compared = set(GGUF_SUPPORTED_ARCHITECTURES) | set(TENSOR_PROCESSORS)
    compared &= {arch for arch, one in ARCHITECTURES.items() if one.pairing is not None}
    assert len(compared) >= 9
    for arch in compared:
        back = TENSOR_PROCESSORS.get(arch) is LlamaTensorProcessor
        assert ARCHITECTURES[arch].pairing == ("interleaved" if back else "half")


@pytest.mark.parametrize(
    ("arch", "more"),
    [
        ("llama", {".rope.dimension_count": 12}),
        ("qwen2", {}),
        ("qwen2moe", {}),
        ("qwen3", {".attention.key_length": 128}),
        ("qwen3moe", {".attention.key_length": 14}),
        ("falcon", {}),
        ("phi3", {}),
        ("gemma2", {".attention.key_length": 14}),
        ("gemma3", {".attention.key_length": 14, ".attention.sliding_window": 16}),
        ("nemotron", {".rope.dimension_count": 6}),
        # Neither the part that rotates nor the base of this one is read there.
        (
            "stablelm",
            {".embedding_length": 96, ".rope.dimension_count": 4, ".rope.freq_base": 10_000.0},
        ),
    ],
)
def test_rotations_are_those_of_the_config_that_transformers_reads(
    tmp_path: Path, arch: str, more: Mapping[str, Any]
) -> None:
    file = opened(tmp_path, arch, SIZES | BASE | more)
    theirs = load_gguf_checkpoint(tmp_path / "x.gguf")["config"]
    if arch == "falcon":  # its configuration class takes these from its defaults
        theirs |= {"new_decoder_architecture": True, "num_kv_heads": theirs["num_key_value_heads"]}
    expected = [one for one in acting(theirs) if isinstance(one, Rotary)]
    ours = [one for one in description(file).schemes if isinstance(one, Rotary)]
    assert len(ours) == len(expected) >= 1
    for one, other in zip(ours, expected, strict=True):
        assert replace(one, pairing="half", note="") == replace(other, pairing="half", note="")


@dataclass(frozen=True)
class Case:
    """Metadata, and the config of the same model in transformers' words."""

    arch: str
    family: str
    values: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    pairing: str = "half"
    reordered: bool = False


SIX = {".block_count": 6}
HF_SIX = {"num_hidden_layers": 6}
YARN = {
    ".rope.scaling.type": "yarn",
    ".rope.scaling.factor": 4.0,
    ".rope.scaling.original_context_length": 64,
    ".rope.scaling.yarn_beta_fast": 16.0,
    ".rope.scaling.yarn_beta_slow": 2.0,
}
HF_YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 16.0,
    "beta_slow": 2.0,
}
ODD = {".attention.head_count": 3, ".embedding_length": 141}
HF_ODD = {"num_attention_heads": 3, "hidden_size": 141}
CASES = [
    Case("llama", "llama", pairing="interleaved", reordered=True),
    Case("llama", "llama", YARN, {"rope_scaling": HF_YARN}, "interleaved", reordered=True),
    Case(
        "llama",
        "llama",
        {".rope.scaling.type": "linear", ".rope.scaling.factor": 2.5},
        {"rope_scaling": {"type": "linear", "factor": 2.5}},
        "interleaved",
        reordered=True,
    ),
    Case(
        "llama",
        "llama",
        {".rope.scaling.factor": 2.5},
        {"rope_scaling": {"type": "linear", "factor": 2.5}},
        "interleaved",
        reordered=True,
    ),
    Case("llama", "llama", {".rope.scaling.type": "none"}, {}, "interleaved", reordered=True),
    Case("granite", "granite", pairing="interleaved", reordered=True),
    Case("olmo", "olmo", pairing="interleaved", reordered=True),
    Case("olmo2", "olmo2"),
    Case("qwen2", "qwen2", YARN, {"rope_scaling": HF_YARN}),
    Case("qwen3", "qwen3", {".attention.key_length": 14}, {"head_dim": 14}),
    Case("gemma", "gemma", {".attention.key_length": 14}, {"head_dim": 14}),
    Case("phi2", "phi", {".rope.dimension_count": 4}, {"partial_rotary_factor": 0.4}),
    Case("gptneox", "gpt_neox", {".rope.dimension_count": 4}, {"rotary_pct": 0.35}),
    # 49 × (31 / 49) is less than 31 in floating point.
    Case("starcoder2", "starcoder2"),
    Case("nomic-bert", "nomic_bert", {".attention.head_count_kv": 6}),
    Case("command-r", "cohere", pairing="interleaved"),
    Case("cohere2", "cohere2", SIX, HF_SIX, "interleaved"),
    Case(
        "chatglm",
        "glm",
        {".rope.dimension_count": 6},
        {"partial_rotary_factor": 0.5, "head_dim": 12},
        "interleaved",
    ),
    Case("smollm3", "smollm3", SIX, HF_SIX, "interleaved", reordered=True),
    Case("llama4", "llama4_text", SIX, HF_SIX | {"head_dim": 12}, "interleaved"),
    Case("falcon", "falcon", {}, {"new_decoder_architecture": True, "num_kv_heads": 3}),
    Case(
        "gptj",
        "gptj",
        {".rope.dimension_count": 4, ".attention.head_count_kv": 6},
        {"rotary_dim": 4, "num_key_value_heads": 6, "rope_parameters": {"rope_theta": 12_345.0}},
        "interleaved",
    ),
    Case(
        "gpt-oss",
        "gpt_oss",
        YARN | {".attention.key_length": 64},
        {"rope_scaling": HF_YARN | {"truncate": False}},
    ),
    Case(
        "deepseek2",
        "deepseek_v2",
        {".attention.key_length": 16, ".rope.dimension_count": 10},
        {"qk_nope_head_dim": 6, "qk_rope_head_dim": 10},
        "interleaved",
    ),
    Case(
        "deepseek2",
        "deepseek_v2",
        {
            ".attention.key_length": 522,
            ".attention.key_length_mla": 16,
            ".attention.head_count_kv": 1,
            ".rope.dimension_count": 10,
        },
        {"qk_nope_head_dim": 6, "qk_rope_head_dim": 10},
        "interleaved",
    ),
    Case(
        "gemma3",
        "gemma3_text",
        SIX
        | {
            ".attention.key_length": 14,
            ".attention.sliding_window": 16,
            ".rope.scaling.type": "linear",
            ".rope.scaling.factor": 8.0,
        },
        HF_SIX | {"head_dim": 14, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    ),
    Case("gemma3", "gemma3_text", SIX, HF_SIX | {"head_dim": 12, "sliding_window_pattern": 1}),
    Case(
        "gemma-embedding",
        "gemma3_text",
        SIX
        | {
            ".attention.sliding_window": 16,
            ".attention.sliding_window_pattern": [True, False, True, False, False, True],
            ".rope.freq_base_swa": 777.0,
        },
        HF_SIX
        | {
            "head_dim": 12,
            "rope_local_base_freq": 777.0,
            "layer_types": [
                f"{word}_attention"
                for word in ("sliding", "full", "sliding", "full", "full", "sliding")
            ],
        },
    ),
    Case(
        "modern-bert",
        "modernbert",
        SIX | {".attention.sliding_window": 16, ".attention.head_count_kv": 6},
        HF_SIX | {"global_rope_theta": 12_345.0, "num_key_value_heads": 6},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.arch)
def test_rotations_are_those_of_the_same_config(tmp_path: Path, case: Case) -> None:
    expected = acting(HF | case.config | {"model_type": case.family})
    found = description(opened(tmp_path, case.arch, SIZES | BASE | case.values))
    assert (found.family, found.context) == (case.family, LENGTH)
    assert len(found.schemes) == len(expected) >= 1
    for one, other in zip(found.schemes, expected, strict=True):
        assert isinstance(one, Rotary)
        assert isinstance(other, Rotary)
        assert one.pairing == case.pairing
        assert (REORDERED in one.note) == case.reordered == (one.pairing != other.pairing)
        assert replace(one, pairing="half", note="") == replace(other, pairing="half", note="")


def test_every_rotating_architecture_is_tested() -> None:
    tested = {case.arch for case in CASES} | {"qwen2moe", "qwen3moe", "gemma2", "phi3", "nemotron"}
    tested |= {"stablelm"}
    assert tested == {arch for arch, one in ARCHITECTURES.items() if one.pairing} | {"gptj"}


def test_divisors_of_frequencies_in_tensors_are_named(tmp_path: Path) -> None:
    divisors = np.ones(6, np.float32)
    (llama3,) = schemes(tmp_path, "llama", SIZES, {"rope_freqs.weight": divisors})
    assert isinstance(llama3, Rotary)
    assert llama3.scaling == {"rope_type": "llama3", "factor_tensor": "rope_freqs.weight"}
    assert "llama3 scaling" in llama3.line()
    values = {".rope.scaling.attn_factor": 1.25, ".rope.scaling.original_context_length": 64}
    tensors = {"rope_factors_long.weight": divisors, "rope_factors_short.weight": divisors}
    (longrope,) = schemes(tmp_path, "phi3", SIZES | values, tensors)
    assert isinstance(longrope, Rotary)
    assert longrope.scaling == {
        "rope_type": "longrope",
        "attention_factor": 1.25,
        "original_max_position_embeddings": 64,
        "long_factor_tensor": "rope_factors_long.weight",
        "short_factor_tensor": "rope_factors_short.weight",
    }


def test_heads_of_keys_and_base_that_are_left_out(tmp_path: Path) -> None:
    values = {key: one for key, one in SIZES.items() if not key.endswith("head_count_kv")}
    (rotary,) = schemes(tmp_path, "qwen2", values)
    assert isinstance(rotary, Rotary)
    assert (rotary.key_heads, rotary.base) == (6, 10_000.0)


def test_heads_that_are_said_for_each_layer(tmp_path: Path) -> None:
    same = {".attention.head_count": [6, 6, 6], ".attention.head_count_kv": [3, 3, 3]}
    assert schemes(tmp_path, "qwen2", SIZES | same) == schemes(tmp_path, "qwen2", SIZES)
    apart = {".attention.head_count_kv": [3, 3, 1]}
    with pytest.raises(
        SourceError, match=r"cannot use num_key_value_heads in the metadata of .*got '\[3, 3, 1\]'"
    ):
        schemes(tmp_path, "qwen2", SIZES | apart)


@pytest.mark.parametrize("key", ["attention.head_count", "block_count", "embedding_length"])
def test_sizes_that_are_left_out_are_not_those_of_another_model(tmp_path: Path, key: str) -> None:
    values = {one: value for one, value in SIZES.items() if one != f".{key}"}
    with pytest.raises(SourceError, match=r"in the metadata of .*of at least 1, got 'nothing'"):
        schemes(tmp_path, "qwen2", values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"general.architecture": 3}, r"cannot use general.architecture .* a string, got '3'"),
        ({".attention.head_count": 0}, r"head_count in .* of at least 1, got '0'"),
        ({".attention.key_length": "64"}, r"qwen2.attention.key_length in .*, got '64'"),
        ({".attention.head_count": 5}, r"query heads cannot share key heads evenly"),
        ({".embedding_length": 71}, r"heads cannot share the embedding evenly"),
        (
            {".embedding_length": 3, ".rope.dimension_count": 2},
            r"heads cannot share the embedding evenly",
        ),
        ({".rope.dimension_count": 14}, r"cannot rotate more than a head"),
        ({".rope.dimension_count": 3}, r"cannot rotate these heads in planes"),
        ({".rope.freq_base": float("nan")}, r"cannot use rope_theta .*, got 'nan'"),
        ({".rope.freq_base": 0.0}, r"cannot rotate by base 0"),
        ({".block_count": 2**31 - 1}, r"too many layers"),
        ({".rope.scaling.type": 3}, r"cannot use rope_type .*a string, got '3'"),
        ({".context_length": "long"}, r"cannot use max_position_embeddings"),
    ],
)
def test_metadata_that_cannot_be(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    arch = None if "general.architecture" in values else "qwen2"
    with pytest.raises(SourceError, match=message):
        schemes(tmp_path, arch, SIZES | values)
