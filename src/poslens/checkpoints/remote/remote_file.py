"""`RemoteFile`: a file on a server, of which only the ranges that are read are fetched."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from huggingface_hub import constants

from poslens.checkpoints.byte_source import ByteSource, Span
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.remote.http import AbsentError, DeniedError, shown_url
from poslens.checkpoints.remote.range_cache import (
    CacheUnusableError,
    RangeCache,
    Version,
    recall,
    remember,
    remember_absence,
    was_absent,
)
from poslens.checkpoints.remote.sinks import Fill, Held, in_memory, mapped, spooled
from poslens.checkpoints.remote.spans import joined
from poslens.checkpoints.remote.together import together
from poslens.checkpoints.remote.transfer import Link, Met, Sink, Transfer
from poslens.errors import SourceError, quoted

FIRST_BYTES = 16_384  # holds the header of most models, and adds little where it does not
MOST_REQUESTS = 4  # at a time
MOST_IN_MEMORY = 32_000_000  # bytes of a range; a longer one that no cache keeps is spooled

log = logging.getLogger(__name__)


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
        known = _recalled(link) if constants.is_offline_mode() else None
        met = None if known else self._met(link, first_bytes)
        self.version: Version = known or met.version  # type: ignore[union-attr]
        self.shown, self.size = self._transfer.shown, self.version.size
        self._cache = self._opened_cache(link)
        if met is not None and met.head is not None:
            head = met.head
            self._held.append(self._obtain(0, len(head), lambda sink: _refill(sink, head)))
        elif met is not None:
            self.require_leave("a server that gives ranges of a file")
            self._held.append(self._obtain(0, self.size, self._transfer.fetch_whole))

    def _met(self, link: Link, first_bytes: int) -> Met:
        try:
            return self._transfer.meet(first_bytes)
        except (AbsentError, DeniedError) as error:
            if not (isinstance(error, AbsentError) and error.whole_repository):
                with suppress(CacheUnusableError):
                    remember_absence(link.identity)
            raise

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
        try:
            self._held += together(self._fetched_with_others, joined(missing), MOST_REQUESTS)
        except (KeyboardInterrupt, SystemExit):
            self._transfer.abandon()
            raise

    def release(self, start: int, stop: int) -> None:
        """Let go of the ranges that lie within this one; the cache keeps what it has."""
        self._held = [one for one in self._held if one.start < start or stop < one.stop]

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
        """Return what holds a range, if it is held or in the cache."""
        for one in self._held:
            if one.start <= start and stop <= one.stop:
                return one
        try:
            cache = self._cache
            cached = cache.find(start, stop) if cache is not None else None
            if cached is not None:
                self._held.append(mapped(*cached))
                return self._held[-1]
        except CacheUnusableError as error:
            self._do_without_cache(error)
        return None

    def _fetched_with_others(self, span: Span) -> Held:
        """Fetch a range; what fails ends the other transfers as well."""
        try:
            return self._fetched(*span)
        except BaseException:
            self._transfer.abandon()
            raise

    def _fetched(self, start: int, stop: int) -> Held:
        return self._obtain(start, stop, lambda sink: self._transfer.fetch(start, stop, sink))

    def _obtain(self, start: int, stop: int, fill: Fill) -> Held:
        """Return a range: from the cache, filled into the cache, or filled into memory."""
        cache = self._cache  # another thread may find it unusable meanwhile
        if cache is not None:
            try:
                cached = cache.find(start, stop)
                if cached is None:
                    with cache.part(start, stop) as part:
                        if part.size < stop - start:
                            fill(part)
                    cached = start, stop, cache.path(start, stop)
                return mapped(*cached)
            except CacheUnusableError as error:
                self._do_without_cache(error)
        if stop - start > MOST_IN_MEMORY:
            try:
                return spooled(start, stop, fill)
            except CacheUnusableError as error:
                if stop - start == self.size:  # of a tensor so large, memory must hold the values
                    raise self._no_room(error) from error
        return in_memory(start, stop, fill, self.shown)

    def _no_room(self, error: CacheUnusableError) -> SourceError:
        return SourceError(
            f"cannot keep {self.shown}",
            expected=f"room for {self.size / 1e6:,.1f} MB on a disk",
            got=quoted(error),
            remedy="make room, or set HF_HOME or TMPDIR to a folder that has it",
        )

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


def _recalled(link: Link) -> Version | None:
    """Return what is known of a file without a network; raise that it is not there, if that is."""
    if was_absent(link.identity):
        raise AbsentError(
            f"nothing at {shown_url(link.url)}",
            expected="a file",
            got="none when it was last looked for, and offline mode",
            remedy="check the name, or unset HF_HUB_OFFLINE",
        )
    return recall(link.identity)


def _refill(sink: Sink, content: bytes) -> None:
    sink.clear()
    sink.append(content)
