"""`ByteSource`: where a container's bytes are, read range by range, on this disk or elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from poslens.checkpoints.local_files import opened
from poslens.errors import SourceError, quoted

Span: TypeAlias = tuple[int, int]  # start, stop: the bytes start … stop - 1


class ByteSource(ABC):
    """A file of a known size whose bytes are read on request.

    Attributes
    ----------
    shown
        The file's quoted name, for messages.
    size
        Of the whole file, in bytes.
    """

    shown: str
    size: int

    @abstractmethod
    def read(self, start: int, stop: int) -> bytes | memoryview:
        """Return the bytes ``start`` … ``stop`` - 1, all of them.

        Raises
        ------
        SourceError
            If they cannot be had; a part of them is never returned.
        """

    def prefetch(self, spans: Iterable[Span]) -> None:  # noqa: B027 - a disk has nothing to do
        """Fetch the ranges that will be read next, together, where that is faster."""


class LocalFile(ByteSource):
    """A regular file on this machine.

    Raises
    ------
    SourceError
        If it is not there, not a regular file, empty, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.shown = path, quoted(path)
        with opened(path) as (_, size):
            self.size = size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes ``start`` … ``stop`` - 1.

        Raises
        ------
        SourceError
            If the file cannot be read, or has become shorter since it was opened.
        """
        with opened(self.path) as (handle, _):
            handle.seek(start)
            found = handle.read(stop - start)
        if len(found) != stop - start:
            raise SourceError(
                f"{self.shown} is shorter than when it was opened",
                expected=f"{stop - start} bytes from byte {start} on",
                got=f"{len(found)} bytes (truncated)",
                remedy="wait until it has been written, or download it again",
            )
        return found
