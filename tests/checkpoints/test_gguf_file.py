"""Tensors of a GGUF file: every quantisation as the reference dequantises it, in little memory."""

from __future__ import annotations

import hashlib
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf_files import (
    DEQUANTISED,
    Bytes,
    as_float,
    blocks,
    container,
    pair,
    record,
    text,
    write_gguf,
)

from poslens.checkpoints import load_table
from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.gguf_file import AT_ONCE, GgufFile
from poslens.checkpoints.tensors import Quantised
from poslens.errors import SourceError, TableError

Q8_0 = GGMLQuantizationType.Q8_0
PLAIN = {"float32": np.float32, "float16": np.float16, "float64": np.float64}


def reference_values(path: Path, name: str) -> np.ndarray:
    tensor = next(one for one in gguf.GGUFReader(path).tensors if one.name == name)
    with np.errstate(all="ignore"):  # any bytes at all are scales, too
        return quants.dequantize(tensor.data, tensor.tensor_type)


@pytest.mark.parametrize("kind", DEQUANTISED, ids=lambda kind: kind.name)
def test_values_are_those_of_the_reference_bit_for_bit(
    tmp_path: Path, kind: GGMLQuantizationType
) -> None:
    rng = np.random.default_rng(int(kind))
    small, deep = blocks(rng, kind, (7, 768)), blocks(rng, kind, (2, 3, 256))
    large = blocks(rng, kind, (411, 768))  # more than are dequantised at once, in an odd share
    tensors = {"deep": (deep, kind), "small": (small, kind), "large": (large, kind)}
    path = write_gguf(tmp_path / "x.gguf", "a", {}, tensors)
    ours = GgufFile(LocalFile(path))
    assert AT_ONCE < 411 * 768
    for name, (stored, _) in tensors.items():
        found = ours.read(name)
        expected = reference_values(path, name).reshape(found.entry.shape)
        values = found.values()
        assert values.dtype == np.float32
        assert values.shape == (*stored.shape[:-1], {"deep": 256}.get(name, 768))
        same = (values.view(np.uint32) == expected.view(np.uint32)) | np.isnan(expected)
        assert same.all()
        np.testing.assert_array_equal(values, expected)
        assert found.nbytes == stored.nbytes
        assert found.sha256() == hashlib.sha256(stored.tobytes()).hexdigest()
        assert found.entry.dtype == {"BF16": "bfloat16"}.get(kind.name, kind.name)


@pytest.mark.parametrize("dtype", PLAIN)
def test_plain_floats(tmp_path: Path, dtype: str) -> None:
    expected = as_float(np.random.default_rng(0), (7, 5)).astype(PLAIN[dtype])
    path = write_gguf(tmp_path / "x.gguf", "gpt2", {}, {"position_embd.weight": expected})
    table = load_table(path)
    np.testing.assert_array_equal(table.rows, expected.astype(np.float64))
    assert table.source.dtype == dtype
    assert table.source.sha256 == hashlib.sha256(expected.tobytes()).hexdigest()


def test_a_quantised_position_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stored = blocks(rng, GGMLQuantizationType.Q4_1, (9, 64))
    tokens = blocks(rng, GGMLQuantizationType.Q6_K, (11, 256))
    path = write_gguf(
        tmp_path / "x.gguf",
        "gpt2",
        {},
        {
            "position_embd.weight": (stored, GGMLQuantizationType.Q4_1),
            "token_embd.weight": (blocks(rng, Q8_0, (11, 64)), Q8_0),
            "other_embd.weight": (tokens, GGMLQuantizationType.Q6_K),
        },
    )
    table = load_table(path)
    expected = reference_values(path, "position_embd.weight")
    np.testing.assert_array_equal(table.rows, expected.astype(np.float64))
    assert table.tokens is not None
    np.testing.assert_array_equal(table.tokens, reference_values(path, "token_embd.weight"))
    assert table.source.dtype == "Q4_1"
    assert table.source.sha256 == hashlib.sha256(stored.tobytes()).hexdigest()
    assert table.source.bytes_read == stored.nbytes + 11 * 2 * 34
    assert load_table(f"{path}::position_embd.weight").source.dtype == "Q4_1"


def test_values_that_are_not_finite_are_refused_by_row(tmp_path: Path) -> None:
    stored = blocks(np.random.default_rng(0), Q8_0, (5, 64))
    stored[3, :2] = np.frombuffer(np.float16(np.inf).tobytes(), np.uint8)
    path = write_gguf(tmp_path / "x.gguf", "gpt2", {}, {"position_embd.weight": (stored, Q8_0)})
    with pytest.raises(TableError, match=r"NaN or infinite .* got 1 of 5 rows that are not: 3"):
        load_table(path)


@pytest.mark.parametrize("kind", DEQUANTISED, ids=lambda kind: kind.name)
def test_no_more_memory_than_the_values_and_64_megabytes(kind: GGMLQuantizationType) -> None:
    count, nbytes = GGML_QUANT_SIZES[kind]
    rows = 2 * AT_ONCE // 4096 + 1
    content = container(
        record("w", (4096, rows), int(kind)), data=bytes(rows * 4096 // count * nbytes)
    )
    opened = GgufFile(Bytes(content))
    opened.read("w")  # tables of the package itself are made when they are first used
    tracemalloc.start()
    found = opened.read("w").values()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < found.nbytes + 64_000_000


def test_one_row_of_many_blocks_is_read_in_parts_as_well() -> None:
    count = 3 * AT_ONCE + 32
    source = Bytes(container(record("w", (count,), 8), data=bytes(count // 32 * 34)))
    opened = GgufFile(source)
    source.spans.clear()
    assert opened.read("w").values().shape == (count,)
    assert [stop - start for start, stop in source.spans] == [AT_ONCE // 32 * 34] * 3 + [34]


@pytest.fixture
def quantised_file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    tensors = {
        "position_embd.weight": as_float(rng, (5, 32)),
        "token_embd.weight": (blocks(rng, Q8_0, (5, 32)), Q8_0),
    }
    return write_gguf(tmp_path / "x.gguf", "gpt2", {}, tensors)


def test_without_the_package(quantised_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "gguf"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert load_table(quantised_file, tokens=False).source.dtype == "float32"
    with pytest.raises(SourceError, match=r"cannot read Q8_0 without .*'poslens\[gguf\]'"):
        load_table(quantised_file)


def not_implemented(*_: object) -> np.ndarray:
    raise NotImplementedError


@pytest.mark.parametrize(
    "outdate",
    [
        lambda patch: patch.setattr(quants, "dequantize", not_implemented),
        lambda patch: patch.setattr(gguf.constants, "GGMLQuantizationType", object),
    ],
)
def test_with_an_older_package(
    quantised_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    outdate: Callable[[pytest.MonkeyPatch], None],
) -> None:
    outdate(monkeypatch)
    with pytest.raises(SourceError, match=r"cannot read Q8_0 with this version .*--upgrade gguf"):
        load_table(quantised_file)


def test_a_file_cut_after_opening(quantised_file: Path) -> None:
    opened = GgufFile(LocalFile(quantised_file))
    quantised_file.write_bytes(quantised_file.read_bytes()[:-40])
    with pytest.raises(SourceError, match=r"is not as it was when it was opened"):
        opened.read("token_embd.weight")


def test_all_that_is_read_is_fetched_together(quantised_file: Path) -> None:
    class Prefetched(Bytes):
        fetched: list[tuple[int, int]]

        def prefetch(self, spans: object) -> None:
            self.fetched = list(spans)  # type: ignore[call-overload]

    source = Prefetched(quantised_file.read_bytes())
    opened = GgufFile(source)
    opened.prefetch(opened.names())
    assert [stop - start for start, stop in source.fetched] == [5 * 32 * 4, 5 * 34]


def test_what_is_left_of_stored_bytes_is_their_number_and_hash() -> None:
    content = container(record("w", (32,), 8), data=bytes(34))
    found = GgufFile(Bytes(content)).read("w")
    assert found.quantised == Quantised(34, hashlib.sha256(bytes(34)).hexdigest())
    assert not found.values().flags.writeable


def test_a_folder_with_one_gguf_file_is_that_file(quantised_file: Path) -> None:
    assert load_table(quantised_file.parent).source.family == "gpt2"
    (quantised_file.parent / "y.gguf").write_bytes(quantised_file.read_bytes())
    with pytest.raises(SourceError, match=r"no config.json in .*give a file in this folder"):
        load_table(quantised_file.parent)


def test_no_architecture(tmp_path: Path) -> None:
    tensors = {"a": as_float(np.random.default_rng(0), (5, 3)), "b": np.ones(3, np.float32)}
    table = load_table(write_gguf(tmp_path / "x.gguf", None, {}, tensors))
    np.testing.assert_array_equal(table.rows, tensors["a"])
    assert (table.source.tensor, table.source.family) == ("a", None)


def test_an_unknown_architecture() -> None:
    pairs = [pair("general.architecture", 8, text("clip"))]
    opened = GgufFile(Bytes(container(record("v.position_embd.weight"), pairs=pairs)))
    assert opened.config is not None
    # Not the family of that name in transformers.
    assert opened.config.values["model_type"] == "clip (GGUF)"
