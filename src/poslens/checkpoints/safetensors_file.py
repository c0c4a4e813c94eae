"""Safetensors: a strict parser of the header, and a reader of one tensor by its byte range.

The format: eight bytes with the header's length N (unsigned, little-endian), N bytes of JSON that
map names to dtype, shape and byte range, then the data, of which every byte belongs to exactly
one tensor. `header_length` and `parse_header` look at bytes alone, wherever these came from.
"""

from __future__ import annotations

import gc
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from poslens.checkpoints.byte_source import ByteSource
from poslens.checkpoints.tensors import Entry, StoredTensor, Tensors, require_readable
from poslens.errors import SourceError, quoted

LENGTH_BYTES = 8
LARGEST_HEADER = 100_000_000  # the limit of the reference implementation
LARGEST_DIM = 2**63 - 1
MOST_DIMS = 64
RECORD_KEYS = frozenset({"dtype", "shape", "data_offsets"})

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


@dataclass(frozen=True, slots=True)
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
        If the file is shorter than that, or the header is over 100 MB or longer than the file.
    """
    if len(first) < LENGTH_BYTES:
        _damaged(shown, "at least 8 bytes", f"{len(first)} bytes")
    length = int.from_bytes(first[:LENGTH_BYTES], "little")
    if length > LARGEST_HEADER:
        _damaged(shown, "a header of at most 100 MB", f"a header of {length} bytes")
    if length > file_size - LENGTH_BYTES:
        _damaged(
            shown,
            f"a header of {length} bytes, as its first 8 bytes say",
            f"{file_size - LENGTH_BYTES} bytes after them",
        )
    return length


def parse_header(text: bytes, file_size: int, shown: str) -> dict[str, Placed]:
    """Return the tensors that a header names.

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
        If the header is no JSON object of tensors, names one twice, or its byte ranges do not
        cover the rest of the file without gap or overlap, each as long as dtype and shape say.
    """
    with _collector_paused():
        placed = _all_placed(text, LENGTH_BYTES + len(text), shown)
        in_order = sorted(placed.values(), key=lambda one: (one.start, one.stop))
    end = LENGTH_BYTES + len(text)
    for tensor in in_order:
        if tensor.start != end:
            fault = "overlaps the tensor before it" if tensor.start < end else "follows a gap"
            _damaged(
                shown,
                "byte ranges that follow one another",
                f"tensor {quoted(tensor.entry.name)} that {fault}",
            )
        end = tensor.stop
    if end != file_size:
        fault = "truncated" if end > file_size else "with bytes that belong to no tensor"
        _damaged(shown, f"{end} bytes, as the header says", f"{file_size} bytes ({fault})")
    return placed


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Put garbage collection off: among 100,000s of records there is none, and looking is slow."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _all_placed(text: bytes, data_start: int, shown: str) -> dict[str, Placed]:
    records = _json_object(text, shown)
    records.pop("__metadata__", None)
    return {name: _placed(name, record, data_start, shown) for name, record in records.items()}


def _json_object(text: bytes, shown: str) -> dict[str, Any]:
    if not text.startswith(b"{"):
        _damaged(shown, "a header that is a JSON object", f"one that begins {quoted(text[:12])}")
    try:
        value = json.loads(
            text.decode("utf-8"), object_pairs_hook=_once_each, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        _damaged(shown, "a header that is a JSON object", quoted(error))
    return dict(value)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice[:60]!r} twice")
    for key in result:
        if not key.isascii():
            key.encode("utf-8")  # a lone surrogate is no name; UnicodeEncodeError is a ValueError
    return result


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _placed(name: str, record: Any, data_start: int, shown: str) -> Placed:
    """Check one tensor's record: its own consistency, not how it lies among the others."""

    def wrong(expected: str, got: str) -> NoReturn:  # words are put together only when needed
        _damaged(shown, f"{expected} for tensor {quoted(name)}", got)

    if not isinstance(record, dict) or not record.keys() >= RECORD_KEYS:
        wrong("dtype, shape and data_offsets", quoted(record))
    word, shape, offsets = record["dtype"], record["shape"], record["data_offsets"]
    if not isinstance(word, str) or word not in BITS:
        wrong("a dtype of the safetensors format", quoted(word))
    if not _sizes(shape) or len(shape) > MOST_DIMS:
        wrong("a shape of whole numbers", quoted(shape))
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        wrong("data_offsets [begin, end] with begin <= end", quoted(offsets))
    begin, end = offsets
    if math.prod(shape) * BITS[word] != 8 * (end - begin):
        said = f"as many bytes as dtype {word} and shape {quoted(shape)} say"
        wrong(said, f"{end - begin} bytes")
    entry = Entry(name, NUMPY_WORDS.get(word, word), tuple(shape))
    return Placed(entry, data_start + begin, data_start + end)


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v <= LARGEST_DIM for v in value)


def _damaged(shown: str, expected: str, got: str) -> NoReturn:
    raise SourceError(
        f"{shown} is not a sound safetensors file",
        expected=expected,
        got=got,
        remedy="download or save it again",
    )


class SafetensorsFile(Tensors):
    """A safetensors file: opening reads its header, `read` one tensor's bytes.

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
        self._placed = parse_header(bytes(text), source.size, self.shown)
        self.opening_bytes = LENGTH_BYTES + length

    def names(self) -> Iterable[str]:
        """Return the names of all tensors, in the header's order."""
        return self._placed.keys()

    def entry(self, name: str) -> Entry:
        """Return what the header says about a tensor."""
        return self._placed[name].entry

    def prefetch(self, names: Iterable[str]) -> None:
        """Fetch the byte ranges of several tensors together."""
        wanted = [self._placed[name] for name in names]
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
        tensor = self._placed[name]
        require_readable(tensor.entry, self.shown)
        return StoredTensor(tensor.entry, self.source.read(tensor.start, tensor.stop))
