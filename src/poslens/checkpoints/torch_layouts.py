"""Where torch puts things in a file: in a zip archive since version 1.6, in one stream before."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from poslens.checkpoints.byte_source import ByteSource, Span
from poslens.checkpoints.torch_archive import MAGIC, TorchArchive, damaged
from poslens.checkpoints.torch_pickle import MOST_BYTES, read_pickle
from poslens.checkpoints.torch_records import Stored, Value
from poslens.errors import SourceError, quoted

# What torch.serialization writes at the start of a stream.
STREAM_MAGIC = 0x1950A86A20F9469CFC6C
STREAM_PROTOCOL = 1001
COUNT_BYTES = 8  # the number of elements, before those of each storage
FEW_STEPS = 40_000  # enough for the keys of 12,000 storages


@runtime_checkable
class Layout(Protocol):
    """What is known of a file once its pickle has been read.

    Attributes
    ----------
    root
        What the pickle describes.
    big_endian
        Whether the storages' elements are.
    opening_bytes
        Bytes that were read to know it.
    """

    root: Value
    big_endian: bool
    opening_bytes: int

    def room(self, storage: Stored) -> int | None:
        """Return the bytes that the file has for a storage; None where it has none of its key."""

    def span(self, storage: Stored) -> Span:
        """Return where a storage's bytes are.

        Raises
        ------
        SourceError
            If the file contradicts itself there.
        """

    def check(self, storage: Stored, content: bytes | memoryview) -> None:
        """Compare all bytes of a storage with what the file says of them.

        Raises
        ------
        SourceError
            If they differ.
        """


def read_layout(source: ByteSource) -> Layout:
    """Read what a torch file says about its tensors, and none of them.

    Raises
    ------
    SourceError
        If it is none, is damaged, or would have to be unpickled.
    """
    start = source.read(0, min(len(MAGIC), source.size))
    return Archive(source) if bytes(start) == MAGIC else Stream(source)


class Archive:
    """The layout since torch 1.6: ``data.pkl``, and ``data/KEY`` for each storage, in a zip.

    Raises
    ------
    SourceError
        If it is damaged, would have to be unpickled, or is a TorchScript program.
    """

    def __init__(self, source: ByteSource) -> None:
        self._archive = archive = TorchArchive(source)
        if "constants.pkl" in archive:
            raise SourceError(
                f"{source.shown} is a TorchScript program",
                expected="tensors as torch.save writes them",
                got="code, which is never run",
                remedy="save the model's state_dict(), or as safetensors",
            )
        order = archive.read("byteorder", 6) if "byteorder" in archive else b"little"
        if order not in (b"little", b"big"):
            damaged(source.shown, "byte order little or big", quoted(order))
        self.big_endian = order == b"big"
        content = archive.read("data.pkl", MOST_BYTES)
        self.root, _, _ = read_pickle(content, 0, source.shown)
        self.opening_bytes = archive.bytes_read + len(MAGIC)

    def room(self, storage: Stored) -> int | None:
        """Return the bytes of a storage's record."""
        return self._archive.size(f"data/{storage.key}")

    def span(self, storage: Stored) -> Span:
        """Return where a storage's record is."""
        return self._archive.span(f"data/{storage.key}")

    def check(self, storage: Stored, content: bytes | memoryview) -> None:
        """Compare a whole record with its checksum."""
        self._archive.check(f"data/{storage.key}", content)


class Stream:
    """The layout before torch 1.6: five pickles, then the storages in the order that they name.

    Raises
    ------
    SourceError
        If it is damaged or would have to be unpickled, or if the file is something else.
    """

    big_endian = False  # torch swaps the bytes when it writes

    def __init__(self, source: ByteSource) -> None:
        self._source, shown = source, source.shown
        # Where its pickles end only they tell, so a larger part is tried where one is too small.
        for most in (2**16, 2**19, MOST_BYTES):
            data = bytes(source.read(0, min(most, source.size)))
            self.opening_bytes = len(MAGIC) + len(data)
            try:
                self.root, storages, keys, end = _pickles(data, shown)
                break
            except SourceError:
                if len(data) == source.size or most == MOST_BYTES:
                    raise
        self._places: dict[str, tuple[Stored, int]] = {}
        for key in keys:
            self._places[key] = storages[key], end + COUNT_BYTES
            end += COUNT_BYTES + storages[key].nbytes
        if end > source.size or len(self._places) != len(keys):
            damaged(shown, f"{end} bytes, as it says", f"{source.size} bytes (truncated)")

    def room(self, storage: Stored) -> int | None:
        """Return the bytes between the storage's count and the next one."""
        return self._places[storage.key][0].nbytes if storage.key in self._places else None

    def span(self, storage: Stored) -> Span:
        """Return where a storage is, once the count before it has been compared."""
        placed, start = self._places[storage.key]
        count = int.from_bytes(self._source.read(start - COUNT_BYTES, start), "little")
        if count != placed.count:
            damaged(self._source.shown, f"{placed.count} elements in a storage", str(count))
        return start, start + placed.nbytes

    def check(self, storage: Stored, content: bytes | memoryview) -> None:
        """Do nothing: a stream has no checksums."""


def _pickles(data: bytes, shown: str) -> tuple[Value, dict[str, Stored], list[str], int]:
    """Return the value, its storages, the order in which these follow, and where they start."""
    end = _after(STREAM_MAGIC, data, 0, shown)
    end = _after(STREAM_PROTOCOL, data, end, shown)
    _, end, _ = read_pickle(data, end, shown, FEW_STEPS)  # the sizes of the writer's types of C
    root, end, storages = read_pickle(data, end, shown)
    keys, end, _ = read_pickle(data, end, shown, FEW_STEPS)
    if type(keys) is not list or not all(type(key) is str and key in storages for key in keys):
        damaged(shown, "a list of the storages", "another one")
    return root, storages, keys, end


def _after(expected: int, data: bytes, start: int, shown: str) -> int:
    """Return where the pickle of a number that every stream starts with ends."""
    value, end, _ = read_pickle(data, start, shown, FEW_STEPS)
    if value != expected:
        damaged(shown, "a file that torch.save wrote", "another pickle")
    return end
