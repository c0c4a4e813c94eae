"""Models in GGUF: SmolLM2 as it is shipped, biases, and tables that are added."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf.constants import MODEL_ARCH_NAMES, GGMLQuantizationType
from gguf_files import LENGTH, SIZES, Bytes, as_float, blocks, description, schemes, write_gguf
from transformers.modeling_gguf_pytorch_utils import (
    LlamaTensorProcessor,
)

from poslens.checkpoints import load_table
from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.families import FAMILIES
from poslens.checkpoints.families.rotation import REORDERED
from poslens.checkpoints.gguf_architectures import ARCHITECTURES
from poslens.checkpoints.gguf_file import GgufFile
from poslens.checkpoints.schemes import (
    AddedTable,
    Alibi,
    BucketedBias,
    NoPosition,
    Rotary,
)
from poslens.errors import SourceError


@pytest.fixture(scope="module")
def smollm2(smollm2_path: Path) -> GgufFile:
    return GgufFile(LocalFile(smollm2_path))


def test_smollm2_is_recognised(smollm2: GgufFile) -> None:
    found = description(smollm2)
    assert found.family == "llama"
    assert found.context == 8192
    (rotary,) = found.schemes
    assert rotary == Rotary(
        base=100_000.0,
        head_dim=64,
        rotary_dim=64,
        query_heads=9,
        key_heads=3,
        layers=tuple(range(30)),
        layer_count=30,
        pairing="interleaved",
        note=REORDERED,
    )
    assert found.line().startswith(
        "llama: RoPE, base 100000, head dimension 64, interleaved pairs, 9 query and 3 key heads, "
        "in all 30 layers ("
    )
    assert "; context 8192; read 2,031,616 bytes" in found.line()


def test_smollm2_has_no_table_to_load(smollm2_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no position table to measure in '.*gguf'"):
        load_table(smollm2_path)


def test_smollm2_header_and_tokens_are_those_of_the_reference(
    smollm2: GgufFile, smollm2_path: Path, read_gguf: Callable[[str], gguf.GGUFReader]
) -> None:
    reference = read_gguf(str(smollm2_path))
    assert [*smollm2.names()] == [tensor.name for tensor in reference.tensors]
    for tensor in reference.tensors:
        assert smollm2.entry(tensor.name).shape == tuple(int(n) for n in tensor.shape[::-1])
    tokens = reference.tensors[0]
    expected = gguf.dequantize(tokens.data, tokens.tensor_type)
    np.testing.assert_array_equal(smollm2.read(tokens.name).values(), expected)


@pytest.mark.parametrize("name", ["blk.0.attn_q.weight", "blk.29.attn_k.weight"])
def test_pairs_of_rows_are_those_that_transformers_would_turn(smollm2: GgufFile, name: str) -> None:
    """Rows 2i and 2i + 1 of a head in the file are i and i + 32 once transformers has loaded it."""
    heads = {"num_attention_heads": 9, "num_key_value_heads": 3}
    stored = smollm2.read(name).values()
    theirs = LlamaTensorProcessor(config=heads).process(stored, name).weights
    by_head = theirs.reshape(-1, 2, 32, 576)  # head, half, plane, input
    pairs = stored.reshape(-1, 32, 2, 576)  # head, plane, member of the pair, input
    np.testing.assert_array_equal(pairs, by_head.swapaxes(1, 2))


def test_every_architecture_is_one_of_the_reference_and_a_family() -> None:
    assert ARCHITECTURES.keys() <= set(MODEL_ARCH_NAMES.values())
    assert {one.model_type for one in ARCHITECTURES.values()} <= FAMILIES.keys()


def test_biases(tmp_path: Path) -> None:
    sizes = {key: one for key, one in SIZES.items() if not key.endswith("_kv")}
    assert schemes(tmp_path, "bloom", sizes) == (Alibi(6, 3),)
    assert schemes(tmp_path, "mpt", sizes | {".attention.max_alibi_bias": 4.0}) == (
        Alibi(6, 3, max_bias=4.0),
    )
    assert schemes(tmp_path, "mpt", sizes | {".attention.max_alibi_bias": 0.0}) == (NoPosition(),)
    jina = sizes | {".attention.max_alibi_bias": 8.0, ".attention.causal": False}
    assert schemes(tmp_path, "jina-bert-v2", jina) == (Alibi(6, 3, symmetric=True),)
    assert schemes(tmp_path, "mamba", sizes) == (NoPosition(),)


@pytest.mark.parametrize("arch", ["t5", "t5encoder"])
def test_buckets(tmp_path: Path, arch: str) -> None:
    rng = np.random.default_rng(0)
    names = {part: f"{part[:3]}.blk.0.attn_rel_b.weight" for part in ("encoder", "decoder")}
    held = names if arch == "t5" else {"encoder": names["encoder"]}
    tensors = {name: as_float(rng, (32, 6)) for name in held.values()}
    values = SIZES | {".attention.relative_buckets_count": 32}
    assert schemes(tmp_path, arch, values, tensors) == tuple(
        BucketedBias(32, 128, 6, part == "encoder", (name,), part) for part, name in held.items()
    )


@pytest.mark.parametrize(
    ("arch", "family", "norm"),
    [
        ("gpt2", "gpt2", "blk.0.attn_norm.weight"),
        ("starcoder", "gpt_bigcode", "blk.0.attn_norm.weight"),
        ("bert", "bert", "token_embd_norm.weight"),
    ],
)
@pytest.mark.parametrize("quantised", [False, True])
def test_learned_tables(tmp_path: Path, arch: str, family: str, norm: str, quantised: bool) -> None:
    rng = np.random.default_rng(0)
    position, tokens, scale = (as_float(rng, shape) for shape in ((LENGTH, 96), (37, 96), (96,)))
    tensors: dict[str, Any] = {
        "token_embd.weight": tokens,
        "position_embd.weight": position,
        norm: scale,
        "blk.1.attn_norm.weight": np.ones(96, np.float32),
    }
    if quantised:
        kind = GGMLQuantizationType.Q5_0
        stored = blocks(np.random.default_rng(1), kind, (LENGTH, 96))
        tensors["position_embd.weight"] = (stored, kind)
        position = gguf.dequantize(stored, kind)
    values = SIZES | {".embedding_length": 96}
    path = write_gguf(tmp_path / "x.gguf", arch, values, tensors)
    table = load_table(path)
    np.testing.assert_array_equal(table.rows, position.astype(np.float64))
    assert table.tokens is not None
    np.testing.assert_array_equal(table.tokens, tokens)
    (found,) = table.norm_scales
    np.testing.assert_array_equal(found, scale)
    assert (table.source.family, table.source.row_offset) == (family, 0)
    assert table.source.dtype == ("Q5_0" if quantised else "float32")
    # The metadata do not say how it was initialised, and another model's σ would be a guess.
    assert table.init_std is None
    assert "do not say how the table was initialised" in table.missing["init_std"]
    file = GgufFile(LocalFile(path))
    assert description(file).schemes == (
        AddedTable("learned", LENGTH, 96, tensor="position_embd.weight"),
    )
    assert description(file).context == LENGTH


def test_only_what_is_described_is_read(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf", "llama", SIZES, {"w": np.ones((9999, 9), np.float32)})
    source = Bytes(path.read_bytes())
    found = description(GgufFile(source))
    assert found.opening_bytes == sum(stop - start for start, stop in source.spans) <= 65_536
