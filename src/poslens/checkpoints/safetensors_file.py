"""Safetensors: a strict parser of the header, and a reader of one tensor by its byte range.

The format: eight bytes with the header's length N (unsigned, little-endian), N bytes of JSON that
map names to dtype, shape and byte range, then the data, of which every byte belongs to exactly
one tensor. `header_length` and `Header` look at bytes alone, wherever these came from.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NoReturn, TypeAlias

import numpy as np

from poslens.checkpoints.byte_source import ByteSource, LocalFile, rows_at
from poslens.checkpoints.json_text import (
    SPACE,
    STRINGS_OR_NULL,
    member_starts,
    parse_strictly,
    value_at,
)
from poslens.checkpoints.tensors import (
    Entry,
    RowNumbers,
    StoredTensor,
    Tensors,
    Values,
    require_readable,
)
from poslens.errors import SourceError, quoted

LENGTH_BYTES = 8
# The reference implementation stops at 100 MB, which could not be held in 64. The largest models
# (200,000 tensors, about 120 bytes each) have 25 MB, and divide them among a hundred files.
LARGEST_HEADER = 32_000_000
LARGEST_RECORD = 4096  # of one tensor: 64 dimensions and keys that nobody knows fit in
LARGEST_DIM = 2**63 - 1
MOST_DIMS = 64
METADATA = "__metadata__"

# The format's words for dtypes with their size in bits, and NumPy's words for those read here.
BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
NUMPY_WORDS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}

# Dtype, shape, begin and end.
Record: TypeAlias = tuple[str, tuple[int, ...], int, int]

# A record as every known writer writes it; any other is parsed as JSON, five times slower.
_SIZE = rb"(?:0|[1-9][0-9]{0,17}+)"
_SIZES = _SIZE + rb"(?:" + SPACE + rb"," + SPACE + _SIZE + rb"){0,63}+"
_USUAL = re.compile(
    SPACE.join(
        (
            *(rb"\{", rb'"dtype"', rb":", rb'"([A-Z0-9_]++)"', rb","),
            *(rb'"shape"', rb":", rb"\[", rb"((?:" + _SIZES + rb")?)", rb"\]", rb","),
            *(rb'"data_offsets"', rb":", rb"\[", rb"(" + _SIZE + rb")", rb","),
            *(rb"(" + _SIZE + rb")", rb"\]", rb"\}"),
        )
    )
)


@dataclass(frozen=True)
class Placed:
    """A tensor and where its bytes are: ``start`` … ``stop`` - 1, counted from the file's start."""

    entry: Entry
    start: int
    stop: int


def header_length(first: bytes, file_size: int, shown: str) -> int:
    """Return the header's length in bytes from the first eight bytes of a file.

    Raises
    ------
    SourceError
        If the file is shorter than that, or the header is over 32 MB or longer than the file.
    """
    if len(first) < LENGTH_BYTES:
        _damaged(shown, "at least 8 bytes", f"{len(first)} bytes")
    length = int.from_bytes(first[:LENGTH_BYTES], "little")
    if length > LARGEST_HEADER:
        _damaged(shown, "a header of at most 32 MB", f"a header of {length} bytes")
    if length > file_size - LENGTH_BYTES:
        _damaged(
            shown,
            f"a header of {length} bytes, as its first 8 bytes say",
            f"{file_size - LENGTH_BYTES} bytes after them",
        )
    return length


class Header(Mapping[str, Placed]):
    """The tensors that a header names, by name: all checked once, each parsed when looked at.

    Few ever are looked at, and the text takes less memory than the objects it stands for.

    Parameters
    ----------
    text
        The header's JSON.
    file_size
        Of the whole file, in bytes.
    shown
        The file's quoted name, for messages.

    Raises
    ------
    SourceError
        If the header is no JSON object of tensors, names one twice, would take more than 64 MB of
        memory, or its byte ranges do not cover the rest of the file without gap or overlap, each
        as long as dtype and shape say.
    """

    def __init__(self, text: bytes, file_size: int, shown: str) -> None:
        self._text, self._shown, self._data_start = text, shown, LENGTH_BYTES + len(text)
        expected = "a header that is a JSON object"
        if not text.startswith(b"{"):
            _damaged(shown, expected, f"one that begins {quoted(text[:12])}")
        try:
            self._starts = member_starts(text)
        except ValueError as error:
            _damaged(shown, expected, quoted(error))
        self._metadata: tuple[int, int] | None = None
        metadata = self._starts.pop(METADATA, None)
        if metadata is not None:
            strings = STRINGS_OR_NULL.match(text, metadata)
            if strings is None:
                _damaged(shown, f"an object of strings as {METADATA}", "something else")
            self._metadata = strings.span()
        self._require_cover(file_size)

    @property
    def metadata(self) -> bytes | None:
        """The JSON of the strings beside the tensors, as it stands there; None without it."""
        return None if self._metadata is None else self._text[slice(*self._metadata)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._starts)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, name: str) -> Placed:
        word, shape, begin, end = self._record(name)
        entry = Entry(name, NUMPY_WORDS.get(word, word), shape)
        return Placed(entry, self._data_start + begin, self._data_start + end)

    def _record(self, name: str) -> Record:
        """Check one tensor's record: its own consistency, not how it lies among the others."""
        start = self._starts[name]
        usual = _USUAL.match(self._text, start)
        if usual is None:
            record = _parsed(name, self._text, start, self._shown)
        else:
            word, sizes, begin, end = usual.groups()
            shape = tuple(map(int, sizes.split(b","))) if sizes else ()
            record = word.decode(), shape, int(begin), int(end)
        _require_consistent(name, record, self._shown)
        return record

    def _require_cover(self, file_size: int) -> None:
        begins, ends = array("Q"), array("Q")
        for name in self._starts:
            _, _, begin, end = self._record(name)
            begins.append(begin)
            ends.append(end)
        starts, stops = np.array(begins), np.array(ends)
        order = np.lexsort((stops, starts))
        starts, stops = starts[order], stops[order]
        before = np.concatenate([np.zeros(1, np.uint64), stops])
        wrong = np.flatnonzero(starts != before[:-1])
        if wrong.size:
            at = wrong[0]
            fault = "overlaps the tensor before it" if starts[at] < before[at] else "follows a gap"
            name = next(islice(self._starts, int(order[at]), None))
            _damaged(
                self._shown,
                "byte ranges that follow one another",
                f"tensor {quoted(name)} that {fault}",
            )
        end = self._data_start + int(before[-1])
        if end != file_size:
            fault = "truncated" if end > file_size else "with bytes that belong to no tensor"
            expected = f"{end} bytes, as the header says"
            _damaged(self._shown, expected, f"{file_size} bytes ({fault})")


def _parsed(name: str, text: bytes, start: int, shown: str) -> Record:
    """Parse a record of any order of keys and any spacing."""
    what = f"for tensor {quoted(name)}"
    try:
        record = parse_strictly(value_at(text, start, LARGEST_RECORD))
    except ValueError as error:
        _damaged(shown, f"a JSON object of at most {LARGEST_RECORD} bytes {what}", quoted(error))
    keys = {"dtype", "shape", "data_offsets"}
    if not isinstance(record, dict) or not keys <= record.keys():
        _damaged(shown, f"dtype, shape and data_offsets {what}", quoted(record))
    word, shape, offsets = record["dtype"], record["shape"], record["data_offsets"]
    if not isinstance(word, str):
        _damaged(shown, f"a dtype of the safetensors format {what}", quoted(word))
    if not _sizes(shape):
        _damaged(shown, f"a shape of whole numbers {what}", quoted(shape))
    if not _sizes(offsets) or len(offsets) != 2:
        _damaged(shown, f"data_offsets [begin, end] with begin <= end {what}", quoted(offsets))
    return word, tuple(shape), offsets[0], offsets[1]


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v <= LARGEST_DIM for v in value)


def _require_consistent(name: str, record: Record, shown: str) -> None:
    word, shape, begin, end = record
    bits = BITS.get(word, 0)
    if bits and len(shape) <= MOST_DIMS and math.prod(shape) * bits == 8 * (end - begin):
        return  # no byte range of a shape is negative
    what = f"for tensor {quoted(name)}"
    if not bits:
        _damaged(shown, f"a dtype of the safetensors format {what}", quoted(word))
    if len(shape) > MOST_DIMS:
        _damaged(shown, f"at most {MOST_DIMS} dimensions {what}", f"{len(shape)} dimensions")
    if begin > end:
        _damaged(shown, f"data_offsets [begin, end] with begin <= end {what}", quoted([begin, end]))
    _damaged(
        shown,
        f"as many bytes as dtype {word} and shape {quoted(list(shape))} say {what}",
        f"{end - begin} bytes",
    )


def _damaged(shown: str, expected: str, got: str) -> NoReturn:
    raise SourceError(
        f"{shown} is not a sound safetensors file",
        expected=expected,
        got=got,
        remedy="download or save it again",
    )


class SafetensorsFile(Tensors):
    """A safetensors file: opening reads its header, `read` one tensor's bytes.

    Attributes
    ----------
    source
        The file.
    placed
        Where the bytes of each tensor are, by name.

    Raises
    ------
    SourceError
        If the file cannot be read, or its header is not sound.
    """

    def __init__(self, source: ByteSource) -> None:
        self.source, self.shown = source, source.shown
        first = source.read(0, min(LENGTH_BYTES, source.size))
        length = header_length(bytes(first), source.size, self.shown)
        text = source.read(LENGTH_BYTES, LENGTH_BYTES + length)
        self.placed = Header(bytes(text), source.size, self.shown)
        self.opening_bytes = LENGTH_BYTES + length

    def names(self) -> Iterable[str]:
        """Return the names of all tensors, in the header's order."""
        return self.placed.keys()

    def entry(self, name: str) -> Entry:
        """Return what the header says about a tensor."""
        return self.placed[name].entry

    def prefetch(self, names: Iterable[str]) -> None:
        """Fetch the byte ranges of several tensors together."""
        wanted = [self.placed[name] for name in names]
        self.source.prefetch((one.start, one.stop) for one in wanted if one.entry.floating)

    def read(self, name: str) -> StoredTensor:
        """Read one tensor by its byte range.

        Raises
        ------
        TableError
            If its dtype is not one that PosLens reads.
        SourceError
            If its bytes cannot be had, such as from a file that has become shorter.
        """
        tensor = self.placed[name]
        require_readable(tensor.entry, self.shown)
        return StoredTensor(tensor.entry, self.source.read(tensor.start, tensor.stop))

    def reads_rows_alone(self, name: str) -> bool:  # noqa: ARG002 - of all its tensors alike
        """Whether the file lies on this machine."""
        return isinstance(self.source, LocalFile)

    def read_rows(self, name: str, rows: RowNumbers) -> Values:
        """Read some rows of a matrix; of a file that is far away, all of them at once.

        Raises
        ------
        TableError
            If its dtype is not one that PosLens reads.
        SourceError
            If its bytes cannot be had.
        """
        tensor = self.placed[name]
        if not self.reads_rows_alone(name) or rows.size == 0:
            return super().read_rows(name, rows)
        require_readable(tensor.entry, self.shown)
        width = (tensor.stop - tensor.start) // tensor.entry.shape[0]
        raw = rows_at(self.source, tensor.start, width, rows)
        entry = replace(tensor.entry, shape=(rows.size, tensor.entry.shape[1]))
        return StoredTensor(entry, raw).values()
