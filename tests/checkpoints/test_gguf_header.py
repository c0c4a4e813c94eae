"""The GGUF header: what the reference writer writes is read, lies are refused."""

from __future__ import annotations

import struct
import tracemalloc
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf_files import (
    DEQUANTISED,
    Bytes,
    array,
    as_float,
    blocks,
    container,
    pair,
    record,
    text,
    write_gguf,
)

from annotations import unchecked
from poslens.checkpoints import load_table
from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.gguf_file import GgufFile
from poslens.checkpoints.gguf_header import MOST_TENSORS, LeftOut, parse_gguf_header
from poslens.checkpoints.gguf_types import BLOCK_TYPES
from poslens.errors import SourceError, TableError

U32 = struct.Struct("<I").pack
U64 = struct.Struct("<Q").pack
FLOATS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}


def test_the_types_are_those_of_the_reference() -> None:
    ours = {kind: (one.count, one.nbytes) for kind, one in BLOCK_TYPES.items()}
    assert ours == {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}
    words = {kind: FLOATS.get(one.word, one.word) for kind, one in BLOCK_TYPES.items()}
    assert words == {int(kind): kind.name for kind in GGML_QUANT_SIZES}
    quantised = {kind for kind, one in BLOCK_TYPES.items() if one.quantised}
    # What the package computes, but for the two that need no package and the one that needs more.
    assert quantised == set(DEQUANTISED) - {GGMLQuantizationType.BF16}


def test_names_shapes_places_and_values_agree_with_the_reference_reader(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = {
        ".context_length": 103,
        ".rope.freq_base": 12_345.5,
        "general.name": "β\nmodel",
        "general.quiet": True,
        "general.tags": ["a", "", "ß"],
        "tokenizer.ggml.scores": [0.5] * 2000,
        "tokenizer.ggml.tokens": [f"token {i}" for i in range(3000)],
    }
    q5 = GGMLQuantizationType.Q5_1
    tensors = {
        "token_embd.weight": (blocks(rng, q5, (7, 64)), q5),
        "deep": as_float(rng, (2, 3, 4, 5)),
        "one": as_float(rng, (9,)).astype(np.float16),
        "counts": np.arange(5, dtype=np.int32),
    }
    path = write_gguf(tmp_path / "some.gguf", "gpt2", values, tensors)
    ours, reference = parse_gguf_header(LocalFile(path)), gguf.GGUFReader(path)
    assert [*ours.tensors] == [one.name for one in reference.tensors]
    for one in reference.tensors:
        found = ours.tensors[one.name]
        assert found.entry.shape == tuple(int(side) for side in reversed(one.shape))
        assert (found.start, found.stop - found.start) == (one.data_offset, one.n_bytes)
    read = {key: one for key, one in reference.fields.items() if not key.startswith("GGUF.")}
    assert [*ours.metadata] == [*read]
    left_out = {
        "tokenizer.ggml.scores": LeftOut(6, 2000),
        "tokenizer.ggml.tokens": LeftOut(8, 3000),
    }
    for key, field in read.items():
        assert ours.metadata[key] == left_out.get(key, field.contents())


def test_every_kind_of_value() -> None:
    numbers = {
        0: ("<B", 200),
        1: ("<b", -3),
        2: ("<H", 65_000),
        3: ("<h", -300),
        4: ("<I", 2**32 - 1),
        5: ("<i", -7),
        6: ("<f", 0.5),
        10: ("<Q", 2**64 - 1),
        11: ("<q", -(2**63)),
        12: ("<d", 1e-300),
    }
    pairs = [pair(f"k{kind}", kind, struct.pack(*one)) for kind, one in numbers.items()]
    pairs += [pair("flag", 7, b"\1"), pair("empty", 8, text("")), pair("none", 9, array(4, 0))]
    pairs += [pair("long", 8, text("x" * 70_000)), pair("broken", 8, text(b"a\xff"))]
    for version in (2, 3):
        content = container(pairs=pairs, version=U32(version))
        found = parse_gguf_header(Bytes(content)).metadata
        assert {key: found[f"k{key}"] for key in numbers} == {k: v for k, (_, v) in numbers.items()}
        assert (found["flag"], found["empty"], found["none"]) == (True, "", [])
        assert (found["long"], found["broken"]) == (LeftOut(None, 70_000), "a\\xff")


def test_only_the_header_and_one_block_are_read_and_each_byte_once(tmp_path: Path) -> None:
    names = [f"token {i}" for i in range(40_000)]
    values = {"a.tokens": names, "a.scores": [0.5] * 1_000_000, "a.last": 3}
    path = write_gguf(tmp_path / "x.gguf", "a", values, {"w": np.ones((3, 3), np.float32)})
    source = Bytes(path.read_bytes() + bytes(10_000_000))
    header = parse_gguf_header(source)
    assert header.metadata["a.last"] == 3
    assert all(before[1] <= after[0] for before, after in pairwise(source.spans))
    assert header.bytes_read == sum(stop - start for start, stop in source.spans)
    assert len(source.spans) <= 6
    sizes = [stop - start for start, stop in source.spans]
    assert sizes[0] == 65_536
    assert all(after == 2 * before for before, after in pairwise(sizes))
    assert header.bytes_read < 3_000_000  # four megabytes of scores were skipped


def test_a_text_that_spans_blocks() -> None:
    long = "x" * 60_000
    pairs = [pair(f"k{i}", 8, text(long)) for i in range(9)] + [pair("n", 4, U32(5))]
    found = parse_gguf_header(Bytes(container(pairs=pairs))).metadata
    assert [found[f"k{i}"] for i in range(9)] == [long] * 9
    assert found["n"] == 5


def test_only_the_tensor_asked_for_is_read(tmp_path: Path) -> None:
    """A sparse file of 64 GiB, which no machine of ours could read, gives its small table."""
    huge = 2**36
    expected = np.arange(1, 21, dtype="<f4").reshape(5, 4)
    content = container(
        record("token_embd.weight", (4, huge // 16)),
        record("position_embd.weight", (4, 5), offset=huge),
        pairs=[pair("general.architecture", 8, text("gpt2"))],
        data=b"",
    )
    path = tmp_path / "sparse.gguf"
    with path.open("wb") as file:
        file.write(content)
        file.seek(len(content) + huge)
        file.write(expected.tobytes())
    tracemalloc.start()
    table = load_table(path, tokens=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(table.rows, expected)
    assert table.source.bytes_read == expected.nbytes
    assert peak < 2_000_000


TENSOR = record()
LIES: list[tuple[bytes, str]] = [
    (b"GGU", r"the magic string up to byte 4, got 3 bytes in all \(truncated\)"),
    (container(magic=b"GGML"), r"begins with .*GGUF.*, got .*GGML"),
    (container(version=U32(1)), r"little-endian GGUF of version 2 or 3, got version 1; convert"),
    (container(version=U32(4)), r"got version 4"),
    (container(version=struct.pack(">I", 3)), r"got big-endian version 3"),
    (container(TENSOR)[:30], r"up to byte \d+, got 30 bytes in all \(truncated\)"),
    (container(counts=(2**64 - 1, 0)), r"at most 65536 tensors, got 18446744073709551615"),
    (container(counts=(MOST_TENSORS + 1, 0)), r"at most 65536 tensors, got 65537"),
    (container(counts=(0, 2**63)), r"at most 10000 metadata values, got"),
    (container(TENSOR, counts=(9, 0)), r"each tensor once, got '' twice"),  # of the padding
    (container(pairs=[U64(2**60) + b"k"]), r"a metadata key of at most 65536 bytes"),
    (container(pairs=[U64(60_000) + b"k"]), r"a metadata key up to byte .*truncated"),
    (container(pairs=[pair(b"\xff", 4, U32(1))]), r"a metadata key in UTF-8"),
    (container(pairs=[pair("k", 4, U32(1))] * 2), r"each metadata key once, got 'k' twice"),
    (container(pairs=[pair("k", 13, b"")]), r"a type of the format for the value of 'k', got 13"),
    (container(pairs=[pair("k", 7, b"\2")]), r"0 or 1 for the value of 'k', got 2"),
    (container(pairs=[pair("k", 8, U64(2**63))]), r"the value of 'k' up to byte .*truncated"),
    (container(pairs=[pair("k", 9, array(4, 2**62))]), r"the value of 'k' up to byte .*truncated"),
    (container(pairs=[pair("k", 9, array(8, 2**40))]), r"the value of 'k' up to byte .*truncated"),
    (
        container(pairs=[pair("k", 9, array(8, 2000, U64(2**63) + bytes(16_000)))]),
        r"the value of 'k' up to byte .*truncated",
    ),
    (container(pairs=[pair("k", 9, array(9, 1))]), r"items of a plain type in .*'k', got type 9"),
    (container(pairs=[pair("k", 9, array(77, 1))]), r"items of a plain type in .*, got type 77"),
    (container(pairs=[pair("general.alignment", 4, U32(0))]), r"a power of two .*, got '0'"),
    (container(pairs=[pair("general.alignment", 4, U32(48))]), r"a power of two .*, got '48'"),
    (container(pairs=[pair("general.alignment", 7, b"\1")]), r"a power of two .*, got 'True'"),
    (container(TENSOR, TENSOR), r"each tensor once, got 'wpe' twice"),
    (container(record(b"\xff")), r"a tensor's name in UTF-8"),
    (container(record(dims=[1] * 5)), r"at most 4 dimensions for tensor 'wpe', got 5"),
    (
        container(text("wpe") + U32(2**32 - 1)),
        r"at most 4 dimensions for tensor 'wpe', got 4294967295",
    ),
    (container(record(dims=[2**33, 2**33])), r"1 to 2\^63 - 1 numbers for tensor 'wpe'"),
    (container(record(dims=[0, 2**64 - 1])), r"1 to 2\^63 - 1 numbers for tensor 'wpe'"),
    (container(record(dims=[33, 3], kind=2)), r"whole blocks of 32 Q4_0 numbers .*\(3, 33\)"),
    (container(record(dims=[128, 3], kind=14)), r"whole blocks of 256 Q6_K numbers"),
    (container(record(offset=8)), r"an offset aligned to 32 bytes for tensor 'wpe', got 8"),
    (container(record(offset=64)), r"a file of \d+ bytes for tensor 'wpe', got .*truncated"),
    (container(record(offset=2**64 - 32)), r"a file of \d+ bytes for tensor 'wpe', got"),
    (container(TENSOR)[:-1], r"a file of \d+ bytes for tensor 'wpe', got \d+ bytes \(truncated\)"),
    (container(record(dims=[4, 4])), r"a file of \d+ bytes for tensor 'wpe'"),
    (container(TENSOR, record("b")), r"tensors apart from one another, got 'b' that overlaps"),
    (
        container(TENSOR, record("b", offset=32), data=bytes(99)),
        r"tensors apart from one another, got 'b' that overlaps",
    ),
    (
        container(TENSOR, record("b", kind=31, offset=32), data=bytes(99)),
        r"tensors apart from one another, got 'b' that overlaps",
    ),
]


@pytest.mark.parametrize(("content", "message"), LIES)
def test_lies(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=f"is not a sound GGUF file: .*{message}") as caught:
        load_table(path)
    assert "\n" not in str(caught.value)
    assert "convert" in str(caught.value)


def test_what_the_lies_are_about_is_sound() -> None:
    found = parse_gguf_header(Bytes(container(TENSOR))).tensors["wpe"]
    assert (found.entry.dtype, found.entry.shape, found.stop - found.start) == (
        "float32",
        (3, 4),
        48,
    )


@pytest.mark.parametrize(
    ("kind", "word"), [(31, "ggml type 31"), (2**32 - 1, "ggml type 4294967295"), (9, "Q8_1")]
)
def test_a_type_that_cannot_be_read_is_listed_and_refused_when_read(kind: int, word: str) -> None:
    content = container(record("pos_embd", (32, 3), kind), data=bytes(120))
    opened = GgufFile(Bytes(content))
    assert opened.entry("pos_embd").dtype == word
    assert opened.entry("pos_embd").shape == (3, 32)
    with pytest.raises(TableError, match=rf"cannot use tensor 'pos_embd' .*got dtype '{word}'"):
        opened.read("pos_embd")


def test_a_name_cannot_forge_a_line() -> None:
    forged = "a\n\x1b[31mposlens: all is well"
    with pytest.raises(SourceError, match=r"'a\\n\\x1b\[31mposlens: all is well'") as caught:
        parse_gguf_header(Bytes(container(record(forged, offset=8))))
    assert str(caught.value).isprintable()


class Endless(Bytes):
    """A huge file that begins with some bytes and goes on with the same record for ever."""

    def __init__(self, start: bytes, again: bytes, size: int) -> None:
        super().__init__(start)
        self.again, self.size = again, size

    def read(self, start: int, stop: int) -> bytes:
        first = max(start - len(self.content), 0) // len(self.again)
        last = max(stop - len(self.content), 0) // len(self.again) + 1
        begin = len(self.content) + first * len(self.again)
        head = self.content[start:stop]
        return (head + self.again * (last - first))[max(start - begin, 0) :][: stop - start]


@pytest.mark.parametrize(
    ("start", "again", "message"),
    [
        (container(pairs=[pair("k", 9, array(8, 2**36))], data=b""), bytes(8), "at most 100 MB"),
        (container(pairs=[pair("k", 9, array(0, 2**39))], data=b""), bytes(8), "at most 100 MB"),
        (
            container(counts=(0, 10_000), data=b"")[:24],
            pair("k", 9, array(0, 1024, bytes(1024))),
            "each metadata key once",
        ),
        (container(counts=(MOST_TENSORS, 0), data=b"")[:24], record(), "each tensor once"),
    ],
)
def test_a_header_without_end(start: bytes, again: bytes, message: str) -> None:
    assert peak_of(Endless(start, again, 2**40), message) < 64_000_000


def test_as_many_tensors_as_are_admitted_fit_into_64_megabytes() -> None:
    some = MOST_TENSORS // 16
    records = [record(f"blk.{i}.attn_q.weight", (1,), offset=i * 32) for i in range(some)]
    source = Bytes(container(*records, data=bytes(some * 32)))
    peak = peak_of(source, "")
    assert peak < 64_000_000 / 16


@pytest.mark.parametrize(
    "value", [(9, array(0, 1000, bytes(range(250)) * 4)), (8, text("x" * 60_000))]
)
def test_metadata_that_would_not_fit_into_64_megabytes(value: tuple[int, bytes]) -> None:
    source = Bytes(container(pairs=[pair(f"k{i}", *value) for i in range(1000)]))
    assert peak_of(source, "as many names and values as a model has") < 64_000_000


def peak_of(source: Bytes, message: str) -> int:
    """The most memory that parsing takes; and its error, if it must end in one."""
    refused = pytest.raises(SourceError, match=message) if message else nullcontext()
    tracemalloc.start()
    with unchecked(), refused:
        parse_gguf_header(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak
