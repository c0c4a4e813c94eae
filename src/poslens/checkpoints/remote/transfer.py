"""`Transfer`: the requests for one remote file, repeated where that helps, and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn, Protocol, runtime_checkable
from urllib.parse import urlsplit

from poslens.checkpoints.remote import patience
from poslens.checkpoints.remote.http import Answer, TransientError, answered, shown_url
from poslens.checkpoints.remote.meter import Meter
from poslens.checkpoints.remote.range_cache import Version
from poslens.errors import SourceError, quoted

ENOUGH = 1_048_576  # bytes after which a request that broke off was worth making


@dataclass(frozen=True)
class Link:
    """Where a remote file is.

    Attributes
    ----------
    url
        Its address.
    headers
        To be sent with each request; ``Authorization`` goes to the host of ``url`` alone.
    file, identity
        What the cache calls it without and with its revision; there is no secret in it.
    """

    url: str
    headers: Mapping[str, str]
    file: str
    identity: str


@runtime_checkable
class Sink(Protocol):
    """Where the bytes of a range go, in order."""

    @property
    def size(self) -> int:
        """Bytes that are there."""

    def append(self, chunk: bytes) -> None:
        """Add bytes."""

    def clear(self) -> None:
        """Forget what is there."""


@dataclass(frozen=True)
class Met:
    """What the first request for a file told.

    Attributes
    ----------
    version
        Size, etag and commit.
    head
        The first bytes; None if the server gives no ranges, so that the file must come whole.
    """

    version: Version
    head: bytes | None


class Transfer:
    """The requests for one remote file.

    Every answer is compared with the first: a file that changes in between is never mixed.
    """

    def __init__(self, link: Link, meter: Meter) -> None:
        self.link, self.shown, self._meter = link, shown_url(link.url), meter
        self._via: str | None = None  # where the address leads to
        self._etags: dict[str, str] = {}  # by who said them
        self._size = 0
        self._abandoned = False

    def abandon(self) -> None:
        """Let every transfer that is under way end with what has arrived."""
        self._abandoned = True

    def meet(self, first_bytes: int) -> Met:
        """Ask for the first bytes of the file.

        Raises
        ------
        AbsentError
            If there is no such file.
        SourceError
            If it cannot be read, or is empty.
        """
        head = _Collected()
        met: list[Version] = []

        def ask() -> None:
            head.clear()
            self._etags.clear()
            with answered(self.link.url, self.link.headers, (0, first_bytes)) as answer:
                met[:] = [self._first(answer, first_bytes, head)]

        self._repeat(ask, lambda: 0)
        return Met(met[0], bytes(head.bytes) if head.size else None)

    def _first(self, answer: Answer, first_bytes: int, head: _Collected) -> Version:
        self._require_same(answer)
        status, length = answer.response.status_code, answer.length
        if status == 416 or length == 0:
            self._refuse("a file with a header and data", "an empty file")
        if status == 206:
            span = answer.content_range()
            if span is None or span[:2] != (0, min(first_bytes, span[2])):
                asked = f"the bytes 0 to {first_bytes - 1} of a file"
                self._refuse(asked, quoted(answer.headers.get("content-range")))
            length = span[2]
            self._receive(answer, span[1], head)
        elif length is None:
            length = self._receive_short(answer, first_bytes, head)
        elif length <= first_bytes:
            self._receive(answer, length, head)  # all of it, as if it had been asked for
        self._via = answer.location if answer.location != self.link.url else None
        self._size = length
        return Version(length, _strict_etag(answer), answer.headers.get("x-repo-commit"))

    def _receive_short(self, answer: Answer, most: int, head: _Collected) -> int:
        """Pass on a whole body whose end is marked in chunks, and return its length."""
        chunked = answer.headers.get("transfer-encoding", "").lower() == "chunked"
        for chunk in _chunks(answer) if chunked else ():
            head.append(chunk)
            self._meter.receive(len(chunk))
            if head.size > most:
                break
        if not 0 < head.size <= most:
            self._refuse(
                "a server that gives ranges, or the length of a file",
                "one that gives a whole file of unknown size",
            )
        return head.size

    def fetch(self, start: int, stop: int, sink: Sink) -> None:
        """Fetch the bytes ``start`` … ``stop`` - 1, going on after those that a sink has.

        Raises
        ------
        SourceError
            If they cannot be had, or the file is no longer what it was.
        """
        self._meter.expect(stop - start - sink.size)

        def ask() -> None:
            while start + sink.size < stop:
                span = (start + sink.size, stop)
                with answered(self.link.url, self.link.headers, span, self._via) as answer:
                    self._require_same(answer)
                    found = self._range_of(answer, span)
                    self._receive(answer, found[1] - found[0], sink)

        self._repeat(ask, lambda: sink.size)

    def fetch_whole(self, sink: Sink) -> None:
        """Fetch all of a file whose server gives no ranges.

        Raises
        ------
        SourceError
            As `fetch`.
        """
        size = self._size
        self._meter.expect(size)

        def ask() -> None:
            sink.clear()
            with answered(self.link.url, self.link.headers, None, self._via) as answer:
                self._require_same(answer)
                if answer.length != size:
                    self._changed()
                self._receive(answer, size, sink)

        self._repeat(ask, lambda: 0)

    def _range_of(self, answer: Answer, asked: tuple[int, int]) -> tuple[int, int]:
        """Return the range that an answer gives: the one asked for, or the beginning of it."""
        if answer.response.status_code == 200:
            self._refuse(
                "a server that goes on giving ranges", "one that stopped, and gives the whole file"
            )
        span = answer.content_range()
        if answer.response.status_code == 416 or (span is not None and span[2] != self._size):
            self._changed()
        if span is None or span[0] != asked[0] or span[1] > asked[1]:
            words = quoted(answer.headers.get("content-range"))
            self._refuse(f"the bytes {asked[0]} to {asked[1] - 1}", words)
        return span[0], span[1]

    def _require_same(self, answer: Answer) -> None:
        """Require the etags of the first answer; each host, and the hub, has words of its own."""
        told = {"hub": answer.headers.get("x-linked-etag")}
        told[urlsplit(answer.location).netloc] = answer.etag
        for host, etag in told.items():
            if etag is not None and self._etags.setdefault(host, etag) != etag:
                self._changed()

    def _receive(self, answer: Answer, length: int, sink: Sink) -> None:
        """Pass on a body that must be ``length`` bytes long."""
        left = length
        for chunk in _chunks(answer):
            if self._abandoned:
                raise SourceError(f"{self.shown} is no longer asked for")
            if len(chunk) > left:
                self._refuse(f"a body of {length} bytes", "more")
            sink.append(chunk)
            self._meter.receive(len(chunk))
            left -= len(chunk)
        if left:
            raise TransientError(f"the server closed {left} bytes early")

    def _repeat(self, ask: Callable[[], None], arrived: Callable[[], int]) -> None:
        """Call ``ask`` until it succeeds, or has failed too often without much arriving."""
        waits = patience.PATIENCE.waits()
        while True:
            before = arrived()
            try:
                return ask()
            except TransientError as error:
                self._via = None  # an address that was redirected to may have expired
                if arrived() - before >= ENOUGH:
                    waits = patience.PATIENCE.waits()
                pause = next(waits, None)
                if pause is None or self._abandoned:
                    self._give_up(error)
                patience.wait(pause, error.retry_after)

    def _give_up(self, error: TransientError) -> NoReturn:
        raise SourceError(
            f"cannot read {self.shown}",
            expected="an answer",
            got=f"{quoted(error)}, {patience.PATIENCE.tries} times",
            remedy="check the network and the address, and run again: what has arrived is kept",
        ) from error

    def _changed(self) -> NoReturn:
        raise SourceError(
            f"{self.shown} changed while it was read",
            expected="one version of the file",
            got="another size or etag than before",
            remedy="run again",
        )

    def _refuse(self, expected: str, got: str) -> NoReturn:
        raise SourceError(
            f"cannot read {self.shown}",
            expected=expected,
            got=got,
            remedy="download the file, and give its path",
        )


class _Collected:
    """A sink in memory, for a few bytes."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    @property
    def size(self) -> int:
        return len(self.bytes)

    def append(self, chunk: bytes) -> None:
        self.bytes += chunk

    def clear(self) -> None:
        self.bytes.clear()


def _chunks(answer: Answer) -> Iterable[bytes]:
    # As they arrive: of chunks of a fixed size, the last is lost with a connection that breaks.
    return answer.response.iter_raw()


def _strict_etag(answer: Answer) -> str | None:
    """Return the hub's etag, or the host's own; None where it does not stand for exact bytes."""
    etag = answer.headers.get("x-linked-etag") or answer.etag
    return None if etag is None or etag.startswith("W/") else etag.strip('"')
