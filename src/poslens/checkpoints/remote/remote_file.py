"""`RemoteFile`: a file on a server, of which only the ranges that are read are fetched."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from huggingface_hub import constants

from poslens.checkpoints.byte_source import ByteSource, Span
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.remote.range_cache import (
    CacheUnusableError,
    RangeCache,
    Version,
    recall,
    remember,
)
from poslens.checkpoints.remote.spans import joined
from poslens.checkpoints.remote.transfer import Link, Sink, Transfer
from poslens.errors import SourceError, quoted

FIRST_BYTES = 16_384  # holds the header of most models, and adds little where it does not
MOST_REQUESTS = 4  # at a time

Fill: TypeAlias = Callable[[Sink], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Held:
    """Bytes ``start`` … ``stop`` - 1, in memory or mapped from the cache."""

    start: int
    stop: int
    bytes: memoryview


class RemoteFile(ByteSource):
    """A file on a server; opening asks for its first bytes, which tell its size and version.

    Attributes
    ----------
    version
        Its size, etag and commit.

    Raises
    ------
    AbsentError
        If there is no such file.
    SourceError
        If it cannot be read: no permission, no network, or no ranges and no leave to fetch it
        whole.
    """

    def __init__(self, link: Link, access: Access, first_bytes: int = FIRST_BYTES) -> None:
        self._transfer, self._access = Transfer(link, access.meter), access
        self._held: list[Held] = []
        known = recall(link.identity) if constants.is_offline_mode() else None
        met = None if known else self._transfer.meet(first_bytes)
        self.version: Version = known or met.version  # type: ignore[union-attr]
        self.shown, self.size = self._transfer.shown, self.version.size
        self._cache = self._opened_cache(link)
        if met is not None and met.head is not None:
            head = met.head
            self._held.append(self._obtain(0, len(head), lambda sink: _refill(sink, head)))
        elif met is not None:
            self.require_leave("a server that gives ranges of a file")
            self._held.append(self._obtain(0, self.size, self._transfer.fetch_whole))

    def read(self, start: int, stop: int) -> memoryview:
        """Return the bytes ``start`` … ``stop`` - 1: held, from the cache, or fetched.

        Raises
        ------
        SourceError
            If they cannot be had, or the file has changed since it was opened.
        """
        held = self._find(start, stop)
        if held is None:
            front = self._find(start, min(start + 1, stop))
            at = front.stop if front is not None else start  # the rest of a header that began
            held = self._fetched(at, stop)
            if front is not None:
                both = b"".join((front.bytes[start - front.start :], held.bytes))
                return memoryview(both)[: stop - start]
        return held.bytes[start - held.start : stop - held.start]

    def prefetch(self, spans: Iterable[Span]) -> None:
        """Fetch several ranges at the same time, near ones together.

        Raises
        ------
        SourceError
            As `read`.
        """
        missing = [(a, b) for a, b in spans if self._find(a, b) is None]
        with ThreadPoolExecutor(MOST_REQUESTS) as pool:
            self._held += pool.map(lambda span: self._fetched(*span), joined(missing))

    def require_leave(self, expected: str) -> None:
        """Require leave to fetch all of the file, where nothing less will do.

        Raises
        ------
        SourceError
            If it was not given; the message says what it would cost.
        """
        if not self._access.allow_full_download:
            raise SourceError(
                f"{self.shown} cannot be read in part",
                expected=expected,
                got=f"a file that must be fetched whole, {self.size / 1e6:,.1f} MB",
                remedy="add --allow-full-download (allow_full_download=True) to fetch all of it",
            )

    def on_disk(self) -> Path:
        """Fetch all of the file, and return where it lies in the cache.

        Raises
        ------
        SourceError
            If it cannot be had, or there is no cache to keep it in.
        """
        self._held.append(self._fetched(0, self.size))
        if self._cache is None:
            raise SourceError(
                f"cannot keep {self.shown}",
                expected="a cache that can be written to, and a file with an etag",
                got="none",
                remedy="download the file, and give its path",
            )
        return self._cache.path(0, self.size)

    def _find(self, start: int, stop: int) -> Held | None:
        return next((one for one in self._held if one.start <= start and stop <= one.stop), None)

    def _fetched(self, start: int, stop: int) -> Held:
        return self._obtain(start, stop, lambda sink: self._transfer.fetch(start, stop, sink))

    def _obtain(self, start: int, stop: int, fill: Fill) -> Held:
        """Return a range: from the cache, filled into the cache, or filled into memory."""
        if self._cache is not None:
            try:
                cached = self._cache.find(start, stop)
                if cached is None:
                    with self._cache.part(start, stop) as part:
                        if part.size < stop - start:
                            fill(part)
                    cached = start, stop, self._cache.path(start, stop)
                return _mapped(*cached)
            except CacheUnusableError as error:
                self._do_without_cache(error)
        room = _Room(stop - start, self.shown)
        fill(room)
        return Held(start, stop, room.view())

    def _opened_cache(self, link: Link) -> RangeCache | None:
        if self.version.etag is None:  # nothing says whether the file is the same next time
            return None
        try:
            remember(link.identity, self.version)
            return RangeCache(link.file, self.version)
        except CacheUnusableError as error:
            self._do_without_cache(error)
            return None

    def _do_without_cache(self, error: CacheUnusableError) -> None:
        self._cache = None
        log.warning("PosLens reads without its cache: %s", quoted(error))


class _Room:
    """A sink in memory, as large as the range; its pages are taken when they are written."""

    def __init__(self, length: int, shown: str) -> None:
        try:
            self._array = np.empty(length, np.uint8)
        except MemoryError as error:
            raise SourceError(
                f"cannot hold a part of {shown}",
                expected="a range that fits into memory",
                got=f"{length} bytes",
            ) from error
        self.size = 0

    def view(self) -> memoryview:
        return self._array.data

    def append(self, chunk: bytes) -> None:
        self._array[self.size : self.size + len(chunk)] = np.frombuffer(chunk, np.uint8)
        self.size += len(chunk)

    def clear(self) -> None:
        self.size = 0


def _refill(sink: Sink, content: bytes) -> None:
    sink.clear()
    sink.append(content)


def _mapped(start: int, stop: int, path: Path) -> Held:
    try:
        with path.open("rb") as handle:
            mapped = mmap.mmap(handle.fileno(), stop - start, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: it is shorter than it was
        raise CacheUnusableError(str(error)) from error
    return Held(start, stop, memoryview(mapped))
