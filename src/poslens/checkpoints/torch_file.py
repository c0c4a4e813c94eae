"""Torch's own files, ``.bin``, ``.pt`` and ``.pth``, read without torch and without unpickling."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from poslens.checkpoints.byte_source import ByteSource
from poslens.checkpoints.state_dict import find_state_dict
from poslens.checkpoints.strided import BLOCK, extent, is_row_major, read_strided
from poslens.checkpoints.tensors import Entry, StoredTensor, Tensors, require_readable
from poslens.checkpoints.torch_archive import damaged
from poslens.checkpoints.torch_layouts import read_layout
from poslens.checkpoints.torch_records import Other, Strided
from poslens.errors import TableError, quoted

SUFFIXES = (".bin", ".pt", ".pth")


class TorchFile(Tensors):
    """A torch file: opening reads the pickle that describes its tensors, `read` one tensor.

    Parameters
    ----------
    source
        The file.
    shard
        Whether an index names its tensors, so that they are taken as they are called in the file.

    Attributes
    ----------
    config
        What the file says about its model; None where it does not.

    Raises
    ------
    SourceError
        If the file cannot be read, is damaged, holds no state dict, or would have to be unpickled.
    """

    def __init__(self, source: ByteSource, *, shard: bool = False) -> None:
        self.source, self.shown = source, source.shown
        self._layout = layout = read_layout(source)
        self.opening_bytes = layout.opening_bytes
        found, self.config = find_state_dict(layout.root, _is_tensor, self.shown, unwrap=not shard)
        layout.root = None  # the rest, such as the state of an optimiser, is not needed
        self._strided = {name: one for name, one in found.items() if isinstance(one, Strided)}
        self._entries = {name: _entry(name, one) for name, one in found.items()}
        for name, tensor in self._strided.items():
            self._require_inside(name, tensor)

    def names(self) -> Iterable[str]:
        """Return the names of all tensors, in the file's order."""
        return self._entries.keys()

    def entry(self, name: str) -> Entry:
        """Return what the file says about a tensor."""
        return self._entries[name]

    def read(self, name: str) -> StoredTensor:
        """Read one tensor: the bytes that it spans, or the parts of them that are its own.

        Raises
        ------
        TableError
            If its dtype is not one that PosLens reads, or its elements are far more than the file
            has, because many of them are one.
        SourceError
            If its bytes cannot be had, or the file contradicts itself about them.
        """
        require_readable(self._entries[name], self.shown)
        return self.stored(name)

    def stored(self, name: str) -> StoredTensor:
        """Read one tensor of any dtype, as far as it is one of strides.

        Raises
        ------
        TableError
            If it is another kind, such as a sparse one, or its elements are far more than the
            file has.
        SourceError
            If its bytes cannot be had, or the file contradicts itself about them.
        """
        entry = self._entries[name]
        tensor = self._strided.get(name)
        if tensor is None:
            raise TableError(
                f"cannot use tensor {quoted(name)} of {self.shown}",
                expected="a dense tensor",
                got=entry.dtype,
                remedy="save it as a dense one",
            )
        size = math.prod(tensor.shape) * tensor.width
        if size > max(tensor.storage.nbytes, BLOCK):
            raise TableError(
                f"cannot use tensor {quoted(name)} of {self.shown}",
                expected="a tensor whose elements are all stored",
                got=f"{size} bytes expanded from {tensor.storage.nbytes}",
                remedy="save a copy of it made with .contiguous()",
            )
        if size == 0:
            return StoredTensor(entry, b"")
        start, stop = self._layout.span(tensor.storage)
        first = start + tensor.offset * tensor.width
        raw: bytes | memoryview
        if is_row_major(tensor.shape, tensor.strides):
            raw = self.source.read(first, first + size)
            if (first, first + size) == (start, stop):
                self._layout.check(tensor.storage, raw)
        else:
            raw = read_strided(self.source, first, tensor.width, tensor.shape, tensor.strides)
        if self._layout.big_endian:
            raw = np.frombuffer(raw, f"<u{tensor.width}").byteswap().view(np.uint8).data
        return StoredTensor(entry, raw)

    def _require_inside(self, name: str, tensor: Strided) -> None:
        """Require that the file has the storage, and the storage every element of the tensor."""
        storage = tensor.storage
        room = self._layout.room(storage)
        if room is None or room < storage.nbytes:
            damaged(
                self.shown,
                f"{storage.nbytes} bytes for tensor {quoted(name)}",
                "no such record" if room is None else f"{room} bytes",
            )
        span = extent(tensor.shape, tensor.strides)
        if span and (tensor.offset + span) * tensor.width > storage.nbytes:
            damaged(
                self.shown,
                f"tensor {quoted(name)} within its storage of {storage.nbytes} bytes",
                f"one that ends at byte {(tensor.offset + span) * tensor.width}",
            )


class _Unreadable(Entry):
    """A tensor that is refused by its dtype, here its kind; its shape is not looked for."""

    def __str__(self) -> str:
        return f"{quoted(self.name)} ({self.dtype})"


def _is_tensor(value: object) -> bool:
    return isinstance(value, Strided) or (isinstance(value, Other) and value.is_tensor)


def _entry(name: str, tensor: Strided | Other) -> Entry:
    if isinstance(tensor, Other):
        return _Unreadable(name, tensor.kind, ())
    return Entry(name, tensor.dtype, tensor.shape)
