"""Where the bytes of a range go, and how they are held: in memory, or mapped from a file."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from poslens.checkpoints.remote.range_cache import CacheUnusableError
from poslens.checkpoints.remote.transfer import Sink
from poslens.errors import SourceError

Fill: TypeAlias = Callable[[Sink], None]


@dataclass(frozen=True, eq=False)
class Held:
    """Bytes ``start`` … ``stop`` - 1, in memory or mapped from the cache."""

    start: int
    stop: int
    bytes: memoryview


def in_memory(start: int, stop: int, fill: Fill, shown: str) -> Held:
    """Fill a range into memory.

    Raises
    ------
    SourceError
        If it cannot be had, or memory does not hold it.
    """
    try:
        room = _Room(stop - start)
    except MemoryError as error:
        raise SourceError(
            f"cannot hold a part of {shown}",
            expected="a range that fits into memory",
            got=f"{stop - start} bytes",
        ) from error
    fill(room)
    return Held(start, stop, room.array.data)


def spooled(start: int, stop: int, fill: Fill) -> Held:
    """Fill a range into a temporary file, which nobody else sees and which goes when let go of.

    Raises
    ------
    SourceError
        If it cannot be had.
    CacheUnusableError
        If no such file can be made, or the disk is full.
    """
    try:
        spool = _Spool()
        fill(spool)
        with spool.file:
            spool.file.flush()
            view = mmap.mmap(spool.file.fileno(), stop - start, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise CacheUnusableError(str(error)) from error
    return Held(start, stop, memoryview(view))


def mapped(start: int, stop: int, path: Path) -> Held:
    """Map the file that holds a range.

    Raises
    ------
    CacheUnusableError
        If it cannot be read, or is no longer as long.
    """
    try:
        with path.open("rb") as handle:
            view = mmap.mmap(handle.fileno(), stop - start, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: it is shorter than it was
        raise CacheUnusableError(str(error)) from error
    return Held(start, stop, memoryview(view))


class _Room:
    """A sink in memory, as large as the range; its pages are taken when they are written."""

    def __init__(self, length: int) -> None:
        self.array, self.size = np.empty(length, np.uint8), 0

    def append(self, chunk: bytes) -> None:
        self.array[self.size : self.size + len(chunk)] = np.frombuffer(chunk, np.uint8)
        self.size += len(chunk)

    def clear(self) -> None:
        self.size = 0


class _Spool:
    """A sink in a temporary file."""

    def __init__(self) -> None:
        self.file, self.size = tempfile.TemporaryFile(), 0  # noqa: SIM115 - outlives this call

    def append(self, chunk: bytes) -> None:
        self.file.write(chunk)
        self.size += len(chunk)

    def clear(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.size = 0
