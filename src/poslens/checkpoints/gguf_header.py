"""GGUF: a strict parser of what stands before the data: metadata, then names, shapes and places.

The format (``docs/gguf.md`` of ggml, versions 2 and 3, little-endian): the magic, a version, the
numbers of tensors and of metadata values, these values one after another, one record a tensor,
and the data, aligned. Nothing says how long the header is, so that it is read block by block.
Every count is compared with the bytes that are there before anything of that size is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from struct import Struct
from typing import NoReturn, TypeAlias

from poslens.checkpoints.byte_source import ByteSource
from poslens.checkpoints.gguf_blocks import BlockReader, damaged
from poslens.checkpoints.gguf_types import BLOCK_TYPES, BlockType
from poslens.checkpoints.tensors import Entry
from poslens.errors import quoted

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_DIMS = 4  # GGML_MAX_DIMS
MOST_TENSORS = 65_536  # the largest models have some thousands
MOST_VALUES = 10_000  # … and some hundreds
LARGEST = 2**63 - 1

# Beyond it an array's items or a string's text are left out: vocabularies, merges, scores.
MOST_ITEMS = 1024
LONGEST_TEXT = 65_536

# Python's own memory for one value or name, which a header of many tiny ones would multiply.
OVERHEAD = 512
MOST_KEPT = 48_000_000

# The format's numbers for the types of values.
UINT32, BOOL, TEXT, ARRAY, UINT64 = 4, 7, 8, 9, 10
SCALARS = {
    **{0: Struct("<B"), 1: Struct("<b"), 2: Struct("<H"), 3: Struct("<h")},
    **{UINT32: Struct("<I"), 5: Struct("<i"), UINT64: Struct("<Q"), 11: Struct("<q")},
    **{6: Struct("<f"), 12: Struct("<d")},
}
RECORD_ENDS = [Struct(f"<{dims}QIQ") for dims in range(MOST_DIMS + 1)]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A value too long to be kept.

    Attributes
    ----------
    kind
        ggml's number for the type of an array's items; None for a text.
    count
        Items of the array, bytes of the text.
    """

    kind: int | None
    count: int


Value: TypeAlias = int | float | bool | str | list["Value"] | LeftOut


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor and where its bytes are: ``start`` … ``stop`` - 1, counted from the file's start.

    ``blocks`` is how they hold its numbers; None for a type that is not known here, whose ``stop``
    is ``start``.
    """

    entry: Entry
    blocks: BlockType | None
    start: int
    stop: int


@dataclass(frozen=True)
class GgufHeader:
    """What stands before the data.

    Attributes
    ----------
    metadata
        The values by key.
    tensors
        The tensors by name, in the file's order.
    bytes_read
        Bytes that were read to know it: the header but what was skipped, and what came with it.
    """

    metadata: Mapping[str, Value]
    tensors: Mapping[str, TensorInfo]
    bytes_read: int


def parse_gguf_header(source: ByteSource) -> GgufHeader:
    """Return what a GGUF file says about itself.

    Raises
    ------
    SourceError
        If it is no GGUF file of version 2 or 3, is big-endian, or any part of its header is not as
        the format wants it: counts and lengths beyond the file, a key or name twice, types that do
        not exist, more than four dimensions, rows that are not made of whole blocks, data that
        overlap, are not aligned or lie outside the file.
    """
    reader = BlockReader(source)
    _check_version(reader)
    tensor_count = reader.integer(SCALARS[UINT64], "a number of tensors")
    value_count = reader.integer(SCALARS[UINT64], "a number of metadata values")
    for count, most, what in (
        (tensor_count, MOST_TENSORS, "tensors"),
        (value_count, MOST_VALUES, "metadata values"),
    ):
        if count > most:
            damaged(reader.shown, f"at most {most} {what}", f"{count}")
    parser = _Parser(reader)
    metadata: dict[str, Value] = {}
    for _ in range(value_count):
        key = parser.name("a metadata key")
        if key in metadata:
            damaged(reader.shown, "each metadata key once", f"{quoted(key)} twice")
        metadata[key] = parser.value(key)
    alignment = _alignment(metadata, reader.shown)
    records: dict[str, _Record] = {}
    for _ in range(tensor_count):
        record = parser.record()
        if record.name in records:
            damaged(reader.shown, "each tensor once", f"{quoted(record.name)} twice")
        records[record.name] = record
    data_start = -(-reader.position // alignment) * alignment
    tensors = {
        name: record.placed(data_start, alignment, source) for name, record in records.items()
    }
    _check_apart(tensors, reader.shown)
    return GgufHeader(metadata, tensors, reader.bytes_read)


def _check_version(reader: BlockReader) -> None:
    magic = reader.take(len(MAGIC), "the magic string")
    if magic != MAGIC:
        damaged(reader.shown, f"a file that begins with {quoted(MAGIC)}", quoted(magic))
    version = reader.integer(SCALARS[UINT32], "a version")
    if version in VERSIONS:
        return
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    got = f"big-endian version {swapped}" if swapped in VERSIONS else f"version {version}"
    damaged(
        reader.shown,
        "little-endian GGUF of version 2 or 3",
        got,
        remedy="convert the model again with a current converter",
    )


def _alignment(metadata: Mapping[str, Value], shown: str) -> int:
    value = metadata.get("general.alignment", 32)
    if type(value) is not int or value < 1 or value & (value - 1):
        damaged(shown, "a power of two for 'general.alignment'", quoted(value))
    return value


@dataclass(frozen=True, slots=True)
class _Record:
    """What the header says about one tensor, as it stands there."""

    name: str
    dims: tuple[int, ...]  # the fastest one first
    kind: int
    offset: int

    def placed(self, data_start: int, alignment: int, source: ByteSource) -> TensorInfo:
        """Check it against the file, and return where its bytes are."""
        count = prod(self.dims)
        blocks = BLOCK_TYPES.get(self.kind)
        start = stop = data_start + self.offset
        if not 1 <= count <= LARGEST:
            self._wrong(source, "1 to 2^63 - 1 numbers", f"shape {self.dims[::-1]}")
        if blocks is not None:
            if (self.dims[0] if self.dims else 1) % blocks.count:
                expected = f"rows of whole blocks of {blocks.count} {blocks.word} numbers"
                self._wrong(source, expected, f"shape {self.dims[::-1]}")
            stop = start + count // blocks.count * blocks.nbytes
        if self.offset % alignment:
            self._wrong(source, f"an offset aligned to {alignment} bytes", f"{self.offset}")
        if stop > source.size:
            self._wrong(source, f"a file of {stop} bytes", f"{source.size} bytes (truncated)")
        word = blocks.word if blocks else f"ggml type {self.kind}"
        quantised = blocks is not None and blocks.quantised
        return TensorInfo(Entry(self.name, word, self.dims[::-1], quantised), blocks, start, stop)

    def _wrong(self, source: ByteSource, expected: str, got: str) -> NoReturn:
        damaged(source.shown, f"{expected} for tensor {quoted(self.name)}", got)


def _check_apart(tensors: Mapping[str, TensorInfo], shown: str) -> None:
    end = 0
    for tensor in sorted(tensors.values(), key=lambda one: (one.start, one.stop)):
        if tensor.start < end:
            name = quoted(tensor.entry.name)
            damaged(shown, "tensors apart from one another", f"{name} that overlaps another")
        end = tensor.stop


class _Parser:
    """Reads names, values and records one after another; keeps count of what they cost."""

    def __init__(self, reader: BlockReader) -> None:
        self.reader = reader
        self.kept = 0

    def name(self, what: str) -> str:
        """Return a key or a tensor's name."""
        length = self.reader.integer(SCALARS[UINT64], f"the length of {what}")
        if length > LONGEST_TEXT:
            expected = f"{what} of at most {LONGEST_TEXT} bytes"
            damaged(self.reader.shown, expected, f"{length} bytes")
        self._keep(length)
        try:
            return self.reader.take(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            damaged(self.reader.shown, f"{what} in UTF-8", quoted(error))

    def value(self, key: str) -> Value:
        """Return the value of a key."""
        what = f"the value of {quoted(key)}"
        kind = self.reader.integer(SCALARS[UINT32], f"the type of {what}")
        self._keep(0)
        return self._array(what) if kind == ARRAY else self._single(kind, what)

    def record(self) -> _Record:
        """Return the record of one tensor."""
        name = self.name("a tensor's name")
        what = "a tensor's record"
        dims = self.reader.integer(SCALARS[UINT32], what)
        if dims > MOST_DIMS:
            expected = f"at most {MOST_DIMS} dimensions for tensor {quoted(name)}"
            damaged(self.reader.shown, expected, f"{dims}")
        *shape, kind, offset = self.reader.unpack(RECORD_ENDS[dims], what)
        return _Record(name, tuple(shape), kind, offset)

    def _keep(self, size: int) -> None:
        self.kept += size + OVERHEAD
        if self.kept > MOST_KEPT:
            damaged(self.reader.shown, "as many names and values as a model has", "many more")

    def _single(self, kind: int, what: str) -> int | float | str | LeftOut:
        """Return a value that is no array."""
        if kind in SCALARS:
            number: int | float = self.reader.unpack(SCALARS[kind], what)[0]
            return number
        if kind == BOOL:
            flag = self.reader.take(1, what)[0]
            if flag > 1:
                damaged(self.reader.shown, f"0 or 1 for {what}", f"{flag}")
            return flag == 1
        if kind != TEXT:
            damaged(self.reader.shown, f"a type of the format for {what}", f"{kind}")
        length = self.reader.integer(SCALARS[UINT64], what)
        if length > LONGEST_TEXT:
            self.reader.skip(length, what)
            return LeftOut(None, length)
        self._keep(length)
        # A broken letter in a description is no reason to refuse a model.
        return self.reader.take(length, what).decode("utf-8", "backslashreplace")

    def _array(self, what: str) -> list[Value] | LeftOut:
        kind = self.reader.integer(SCALARS[UINT32], what)
        count = self.reader.integer(SCALARS[UINT64], what)
        if kind not in SCALARS and kind not in (BOOL, TEXT):
            # ggml's own reader refuses arrays of arrays as well.
            damaged(self.reader.shown, f"items of a plain type in {what}", f"type {kind}")
        size = SCALARS[kind].size if kind in SCALARS else 1 if kind == BOOL else 8
        self.reader.require(count * size, what)
        if count <= MOST_ITEMS:
            self._keep(count * OVERHEAD)
            if kind in SCALARS:
                raw = self.reader.take(count * size, what)
                return [number for (number,) in SCALARS[kind].iter_unpack(raw)]
            return [self._single(kind, what) for _ in range(count)]
        if kind == TEXT:
            self.reader.skip_texts(count, what)
        else:
            self.reader.skip(count * size, what)
        return LeftOut(kind, count)
