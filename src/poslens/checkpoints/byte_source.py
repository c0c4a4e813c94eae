"""`ByteSource`: where a container's bytes are, read range by range, on this disk or elsewhere."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from jaxtyping import Int

from poslens.checkpoints.local_files import opened, too_large
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

    def release(self, start: int, stop: int) -> None:  # noqa: B027 - a disk holds nothing
        """Let go of what is held of the bytes ``start`` … ``stop`` - 1: they are not read again."""


class LocalFile(ByteSource):
    """A regular file on this machine, which must stay as it was when it was opened.

    Raises
    ------
    SourceError
        If it is not there, not a regular file, empty, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.shown = path, quoted(path)
        with opened(path) as (handle, self.size):
            self._version = _version(handle)

    @contextmanager
    def stream(self) -> Iterator[BinaryIO]:
        """Open the file again.

        Raises
        ------
        SourceError
            If it cannot be read, or is no longer the file that was opened: what its header says
            need not hold for another one.
        """
        with opened(self.path) as (handle, size):
            if _version(handle) != self._version:
                raise SourceError(
                    f"{self.shown} is not as it was when it was opened",
                    expected=f"the same file of {self.size} bytes",
                    got=f"one of {size} bytes, written since",
                    remedy="wait until it has been written, and start again",
                )
            yield handle

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes ``start`` … ``stop`` - 1.

        Raises
        ------
        SourceError
            If the file cannot be read, has changed since it was opened, or if so much does not
            fit in memory.
        """
        with self.stream() as handle:
            handle.seek(start)
            try:
                found = handle.read(stop - start)
            except MemoryError as error:
                raise too_large(self.shown, stop - start) from error
        if len(found) != stop - start:
            raise SourceError(
                f"{self.shown} is shorter than when it was opened",
                expected=f"{stop - start} bytes from byte {start} on",
                got=f"{len(found)} bytes (truncated)",
                remedy="wait until it has been written, and start again",
            )
        return found


def rows_at(source: ByteSource, start: int, width: int, rows: Int[np.ndarray, "row"]) -> bytes:
    """Return some rows of a matrix, those that follow one another read at once.

    Parameters
    ----------
    source
        Where they are.
    start, width
        Where row 0 begins in the file, and the bytes of a row.
    rows
        Ascending, each once.

    Raises
    ------
    SourceError
        If the bytes cannot be had.
    """
    runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if rows.size else []
    spans = [(start + int(run[0]) * width, start + (int(run[-1]) + 1) * width) for run in runs]
    return b"".join(source.read(*span) for span in spans)


def _version(handle: BinaryIO) -> tuple[int, ...]:
    status = os.fstat(handle.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
