"""NumPy's ``.npy`` and ``.npz`` files, read without ever unpickling.

The header of an ``.npy`` is a Python literal; it is parsed as one, and its shape is compared with
the bytes that are really there before anything of that size is allocated.
"""

from __future__ import annotations

import ast
import math
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol, runtime_checkable

import numpy as np

from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.local_files import too_large
from poslens.checkpoints.tensors import (
    STORED_AS,
    Entry,
    StoredTensor,
    Tensors,
    require_readable,
)
from poslens.errors import SourceError, TableError, quoted

MAGIC = b"\x93NUMPY"
LARGEST_HEADER = 10_000  # NumPy's own limit: the header is parsed as Python text
MOST_DIMS = 64
CHUNK = 2**20  # bytes that are read at once; a multiple of every item's size

# Of an archive: 46 bytes and a name for each member, for which zipfile makes 20 times as much.
LARGEST_DIRECTORY = 2_000_000
# Deflate cannot shrink more than 1032-fold, so a member that claims more lies about its size.
LARGEST_RATIO = 1040


@runtime_checkable
class Readable(Protocol):
    """What a file and a zip member have in common."""

    def read(self, size: int, /) -> bytes:
        """Return the next ``size`` bytes, or fewer at the end."""


@dataclass(frozen=True)
class NpyHeader:
    """The header of an ``.npy``: what it holds, and how it is laid out."""

    entry: Entry
    dtype: np.dtype[np.generic]
    fortran_order: bool
    data_start: int


def parse_npy_header(stream: Readable, name: str | None, size: int, shown: str) -> NpyHeader:
    """Return the header of an ``.npy`` stream of ``size`` bytes, and leave the stream at its data.

    Raises
    ------
    SourceError
        If it is no ``.npy`` header, or dtype and shape do not give the bytes that follow it.
    """
    start = stream.read(len(MAGIC) + 2)
    if len(start) < len(MAGIC) + 2 or not start.startswith(MAGIC):
        _damaged(shown, "a file that begins with the NumPy magic string", quoted(start))
    field = {(1, 0): "<H", (2, 0): "<I", (3, 0): "<I"}.get((start[-2], start[-1]))
    if field is None:
        _damaged(shown, "format version 1.0, 2.0 or 3.0", f"{start[-2]}.{start[-1]}")
    count = struct.calcsize(field)
    length_bytes = stream.read(count)
    length = struct.unpack(field, length_bytes)[0] if len(length_bytes) == count else -1
    if not 0 <= length <= LARGEST_HEADER:
        _damaged(shown, f"a header of at most {LARGEST_HEADER} bytes", f"{length} bytes")
    text = stream.read(length)
    data_start = len(start) + count + length
    if len(text) < length or data_start > size:
        _damaged(shown, f"a header of {length} bytes", f"{len(text)} bytes (truncated)")
    dtype, fortran_order, shape = _parse_literal(text, shown)
    entry = Entry(name, dtype.name, shape)
    # Pickled objects have no stated size; they are refused by their dtype.
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != size - data_start:
        _damaged(
            shown,
            f"as many bytes of data as dtype {dtype.name} and shape {quoted(shape)} say",
            f"{size - data_start} bytes",
        )
    return NpyHeader(entry, dtype, fortran_order, data_start)


def _parse_literal(text: bytes, shown: str) -> tuple[np.dtype[np.generic], bool, tuple[int, ...]]:
    expected = "a header with descr, fortran_order and shape"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes and dtypes in a damaged header
            # Only the field names of structured dtypes, refused here, may be outside ASCII.
            value = ast.literal_eval(text.decode("latin-1"))
            word, order, shape = value["descr"], value["fortran_order"], value["shape"]
            if not isinstance(word, str | list):
                raise TypeError(f"descr {word!r}")
            dtype: np.dtype[np.generic] = np.dtype(word)
    except BAD_LITERAL as error:
        _damaged(shown, expected, quoted(f"{type(error).__name__}: {error}"))
    good_shape = (
        isinstance(shape, tuple)
        and len(shape) <= MOST_DIMS
        and all(type(v) is int and 0 <= v < 2**63 for v in shape)
    )
    if not good_shape or not isinstance(order, bool):
        _damaged(shown, expected, quoted(f"shape {shape!r}, fortran_order {order!r}"))
    return dtype, order, shape


# What Python's parser and NumPy's dtype constructor raise on text that is not what they expect.
BAD_LITERAL = (
    ValueError,
    SyntaxError,
    TypeError,
    KeyError,
    RecursionError,
    MemoryError,
    OverflowError,
)


def read_npy_data(stream: Readable, header: NpyHeader, shown: str) -> StoredTensor:
    """Read the data that follow an ``.npy`` header, in row-major and little-endian order.

    Raises
    ------
    TableError
        If the dtype is not one that PosLens reads; object arrays are never unpickled.
    SourceError
        If the stream ends early.
    """
    entry = header.entry
    require_readable(entry, shown)
    size = math.prod(entry.shape) * header.dtype.itemsize
    try:
        values = np.empty(entry.shape, STORED_AS[entry.dtype])
    except (MemoryError, ValueError) as error:  # no bytes, but a shape beyond NumPy's
        raise too_large(shown, size) from error
    # Chunks, because a zip member that is read at once takes its size three times.
    target = values.T.flat if header.fortran_order else values.reshape(-1)
    for start in range(0, size, CHUNK):
        data = stream.read(min(CHUNK, size - start))
        if len(data) != min(CHUNK, size - start):
            _damaged(shown, f"{size} bytes of data", f"{start + len(data)} bytes (truncated)")
        part = np.frombuffer(data, header.dtype)
        first = start // header.dtype.itemsize
        target[first : first + part.size] = part
    return stored_from_array(values, entry.name, shown)


def stored_from_array(
    array: np.ndarray, name: str | None = None, shown: str = "the array"
) -> StoredTensor:
    """Return an array as a stored tensor: row-major, little-endian, a copy only where needed.

    Raises
    ------
    TableError
        If its dtype is not one that PosLens reads, or if it is masked.
    """
    entry = Entry(name, array.dtype.name, array.shape)
    require_readable(entry, shown)
    if isinstance(array, np.ma.MaskedArray):
        raise TableError(
            f"cannot use {shown}",
            expected="a plain NumPy array",
            got="a masked array",
            remedy="leave the masked rows out, or fill them",
        )
    data = np.ascontiguousarray(array, dtype=STORED_AS[entry.dtype])
    return StoredTensor(entry, data.reshape(-1).view(np.uint8).data)


class NpyFile(Tensors):
    """An ``.npy`` file: one array, whose name is empty.

    Parameters
    ----------
    path
        The file.
    shown
        What messages call it, where that is not the path.

    Raises
    ------
    SourceError
        If the file cannot be read, or is damaged.
    """

    def __init__(self, path: Path, shown: str | None = None) -> None:
        self._file = LocalFile(path)
        self.shown = shown or self._file.shown
        with self._file.stream() as handle:
            header = parse_npy_header(handle, None, self._file.size, self.shown)
        self._entry, self.opening_bytes = header.entry, header.data_start

    def names(self) -> Iterable[str]:
        """Return the empty name."""
        return ("",)

    def entry(self, name: str) -> Entry:  # noqa: ARG002 - there is one
        """Return what the header says."""
        return self._entry

    def read(self, name: str) -> StoredTensor:  # noqa: ARG002 - there is one
        """Read the array.

        Raises
        ------
        TableError
            If its dtype is not one that PosLens reads.
        SourceError
            If the file cannot be read, or is damaged.
        """
        with self._file.stream() as handle:
            header = parse_npy_header(handle, None, self._file.size, self.shown)
            return read_npy_data(handle, header, self.shown)


class NpzFile(Tensors):
    """An ``.npz`` archive: opening reads the headers of its arrays, `read` one array.

    Raises
    ------
    SourceError
        If the archive cannot be read, or a member is damaged or lies about its size.
    """

    def __init__(self, path: Path, shown: str | None = None) -> None:
        self._file = LocalFile(path)
        self.shown = shown or self._file.shown
        self._headers: dict[str, NpyHeader] = {}
        with self._archive() as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name == info.filename or info.is_dir():
                    continue  # NumPy, too, takes only .npy members for arrays
                if name in self._headers:
                    _damaged(self.shown, "one member of each name", f"{quoted(name)} twice")
                self._check_size(info, self._file.size)
                with archive.open(info) as stream:
                    where = f"{quoted(name)} in {self.shown}"
                    self._headers[name] = parse_npy_header(stream, name, info.file_size, where)

    def names(self) -> Iterable[str]:
        """Return the names of all arrays, in the archive's order."""
        return self._headers.keys()

    def entry(self, name: str) -> Entry:
        """Return what an array's header says."""
        return self._headers[name].entry

    def read(self, name: str) -> StoredTensor:
        """Read one array.

        Raises
        ------
        TableError
            If its dtype is not one that PosLens reads.
        SourceError
            If the archive is damaged.
        """
        header = self._headers[name]
        require_readable(header.entry, self.shown)
        with self._archive() as archive, archive.open(f"{name}.npy") as stream:
            stream.read(header.data_start)
            stored = read_npy_data(stream, header, f"{quoted(name)} in {self.shown}")
            stream.read(1)  # at its end the zip reader compares the checksum
        return stored

    @contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        try:
            with self._file.stream() as handle:
                limited = _Limited(handle)
                with zipfile.ZipFile(limited) as archive:
                    limited.largest = sys.maxsize
                    yield archive
        except DAMAGED_ZIP as error:
            _damaged(self.shown, "an undamaged zip archive", quoted(error))

    def _check_size(self, info: zipfile.ZipInfo, archive_size: int) -> None:
        """Require a size that the compressed bytes can give, before believing it."""
        plain = info.compress_type == zipfile.ZIP_STORED
        if not plain and info.compress_type != zipfile.ZIP_DEFLATED:
            _damaged(self.shown, "members stored or deflated", f"method {info.compress_type}")
        most = info.compress_size * (1 if plain else LARGEST_RATIO)
        if info.compress_size > archive_size or info.file_size > most:
            _damaged(
                self.shown,
                f"at most {most} bytes in {quoted(info.filename)}",
                f"a member that claims {info.file_size} bytes",
            )


class _Limited:
    """A file from which `zipfile`, while it opens an archive, reads only a small directory.

    Attributes
    ----------
    largest
        The most bytes to be read at once.
    """

    def __init__(self, handle: BinaryIO) -> None:
        self._handle, self.largest = handle, LARGEST_DIRECTORY
        self.seek, self.tell, self.seekable = handle.seek, handle.tell, handle.seekable

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes, or fewer at the end."""
        if size > self.largest:
            raise zipfile.BadZipFile(f"a directory of {size} bytes, over {self.largest}")
        # Without a size, it is the archive's comment that is read.
        return self._handle.read(size if size >= 0 else self.largest)


# zipfile has no common base class for what it raises on a damaged or encrypted archive.
DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    RuntimeError,
    IndexError,
    KeyError,
    OverflowError,
)


def _damaged(shown: str, expected: str, got: str) -> NoReturn:
    raise SourceError(
        f"{shown} is not a sound NumPy file",
        expected=expected,
        got=got,
        remedy="save it again with numpy.save or numpy.savez",
    )
