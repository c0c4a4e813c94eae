"""Bytes on their way from one file into another, few of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from poslens.checkpoints.byte_source import ByteSource, LocalFile

Block: TypeAlias = bytes | memoryview

# Bytes that are held at once. What is in a processor's cache when it is written is copied as fast
# as the kernel copies by itself, and faster where the two files are not aligned alike; of a server,
# each block is a request.
CHUNK, FAR_CHUNK = 2**20, 2**24


def file_blocks(source: ByteSource, start: int, stop: int) -> Iterator[Block]:
    """Give the bytes ``start`` … ``stop`` - 1 of a file.

    Raises
    ------
    SourceError
        If they cannot be had, or the file has changed since it was opened.
    """
    chunk = CHUNK if isinstance(source, LocalFile) else FAR_CHUNK
    for at in range(start, stop, chunk):
        end = min(at + chunk, stop)
        yield source.read(at, end)
        source.release(at, end)
