"""Bytes on their way from one file into another, few of them at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from poslens.checkpoints.byte_source import ByteSource, LocalFile

CHUNK = 2**22  # bytes that are held at once
STRETCH = 2**24  # bytes that the system copies at once


@dataclass(frozen=True)
class Stretch:
    """The bytes ``start`` … ``stop`` - 1 of a file on this machine, not yet read."""

    source: LocalFile
    start: int
    stop: int


Block: TypeAlias = bytes | memoryview | Stretch


def read_blocks(source: ByteSource, start: int, stop: int) -> Iterator[bytes | memoryview]:
    """Give the bytes ``start`` … ``stop`` - 1 of a file.

    Raises
    ------
    SourceError
        If they cannot be had, or the file has changed since it was opened.
    """
    for at in range(start, stop, CHUNK):
        end = min(at + CHUNK, stop)
        yield source.read(at, end)
        source.release(at, end)


def file_blocks(source: ByteSource, start: int, stop: int) -> Iterator[Block]:
    """Give the same to be `put` into another file: unread, where the file is on this machine.

    Raises
    ------
    SourceError
        As `read_blocks`.
    """
    if not isinstance(source, LocalFile):
        yield from read_blocks(source, start, stop)
        return
    for at in range(start, stop, STRETCH):
        yield Stretch(source, at, min(at + STRETCH, stop))


def put(file: BinaryIO, block: Block) -> int:
    """Write a block to a file, and return how many bytes it had.

    Raises
    ------
    SourceError
        If they cannot be had, or the file that they are from has changed since it was opened.
    OSError
        If they cannot be written.
    """
    if not isinstance(block, Stretch):
        return file.write(block)
    file.flush()
    copied = _sent(file, block) if sys.platform == "linux" else 0
    for rest in read_blocks(block.source, block.start + copied, block.stop):
        file.write(rest)
    return block.stop - block.start


def _sent(file: BinaryIO, block: Stretch) -> int:
    """Let the kernel copy a stretch, and return how far it came: some file systems refuse."""
    with block.source.stream() as handle:
        # What fails from here on need not be the source's fault, which `stream` would say.
        source = os.dup(handle.fileno())
    at = block.start
    try:
        while at < block.stop:
            try:
                count = os.sendfile(file.fileno(), source, at, block.stop - at)
            except OSError:
                break  # writing says what is wrong, if something is
            if count == 0:
                break  # reading says that the file is shorter
            at += count
    finally:
        os.close(source)
    file.seek(0, os.SEEK_END)
    return at - block.start
