"""`BlockReader`: the beginning of a file, field by field, while its bytes are read in blocks."""

from __future__ import annotations

from struct import Struct
from typing import Any, NoReturn

from poslens.checkpoints.byte_source import ByteSource
from poslens.errors import SourceError

FIRST_BLOCK = 2**16
LARGEST_BLOCK = 2**22
LARGEST_HEADER = 100_000_000  # real ones, vocabularies included, are some megabytes

LENGTH = Struct("<Q")


class BlockReader:
    """A position in a file that only moves forward.

    Blocks double from 64 KiB to 4 MiB, so that few are needed wherever the file is, and no more is
    read than was asked for and one block. What is skipped beyond a block is not read.

    Attributes
    ----------
    shown
        The file's quoted name, for messages.
    bytes_read
        Bytes that were read from the source.
    """

    def __init__(self, source: ByteSource) -> None:
        self.source, self.shown = source, source.shown
        self.bytes_read = 0
        self._block = b""
        self._start = 0  # where the block begins in the file
        self._at = 0  # the position within the block; beyond it after a skip
        self._next = FIRST_BLOCK

    @property
    def position(self) -> int:
        """The position in the file."""
        return self._start + self._at

    def require(self, count: int, what: str) -> None:
        """Require that the file goes on for a number of bytes.

        Raises
        ------
        SourceError
            If it does not, or the header would become larger than 100 MB.
        """
        end = self.position + count
        if end > self.source.size:
            size = self.source.size
            damaged(self.shown, f"{what} up to byte {end}", f"{size} bytes in all (truncated)")
        if end > LARGEST_HEADER:
            damaged(self.shown, "a header of at most 100 MB", f"{what} beyond that")

    def take(self, count: int, what: str) -> bytes:
        """Return the next bytes."""
        self._fetch(count, what)
        taken = self._block[self._at : self._at + count]
        self._at += count
        return taken

    def unpack(self, form: Struct, what: str) -> tuple[Any, ...]:
        """Return the fields that come next."""
        self._fetch(form.size, what)
        fields = form.unpack_from(self._block, self._at)
        self._at += form.size
        return fields

    def integer(self, form: Struct, what: str) -> int:
        """Return the whole number that comes next."""
        return int(self.unpack(form, what)[0])

    def skip(self, count: int, what: str) -> None:
        """Pass over the next bytes."""
        self.require(count, what)
        self._at += count

    def skip_texts(self, count: int, what: str) -> None:
        """Pass over texts, each behind its length: most of a header are vocabularies."""
        length_at = LENGTH.unpack_from
        while count:
            self._fetch(LENGTH.size, what)
            block, at, last = self._block, self._at, len(self._block) - LENGTH.size
            while count and at <= last:
                at += LENGTH.size + length_at(block, at)[0]
                count -= 1
            self._at = at
            self.require(0, what)

    def _fetch(self, count: int, what: str) -> None:
        """Have the next bytes in the block."""
        if self._at + count <= len(self._block):
            return
        self.require(count, what)
        rest = self._block[self._at :]
        begin = self.position + len(rest)
        size = min(max(count - len(rest), self._next), self.source.size - begin)
        self._start, self._at = self.position, 0
        self._block = rest + self.source.read(begin, begin + size)
        self.bytes_read += size
        self._next = min(2 * self._next, LARGEST_BLOCK)


def damaged(
    shown: str, expected: str, got: str, remedy: str = "download or convert it again"
) -> NoReturn:
    """Raise what a file that is not as the format wants it deserves."""
    raise SourceError(
        f"{shown} is not a sound GGUF file", expected=expected, got=got, remedy=remedy
    )
