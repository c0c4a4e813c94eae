"""What a server answers, and the ways in which an answer goes wrong.

A fault is a function from a sound `Reply` to the one that is sent instead. `HubServer.fail` says
which requests it meets.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from content import NOTHING, Content

JSON = "application/json"


@dataclass(frozen=True)
class Reply:
    """One response.

    Attributes
    ----------
    status, headers
        As they are sent.
    content, start, stop
        The body: the bytes ``start`` … ``stop`` - 1 of the content.
    closes_after, stalls_after
        Of the body's bytes: the connection is then closed, or nothing more comes.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    content: Content = NOTHING
    start: int = 0
    stop: int = 0
    closes_after: int | None = None
    stalls_after: int | None = None

    def with_headers(self, **changes: str | None) -> Reply:
        """Set headers, or leave out those that are None; ``_`` stands for ``-``."""
        named = {key.replace("_", "-"): value for key, value in changes.items()}
        kept = {k: v for k, v in self.headers.items() if k.lower() not in map(str.lower, named)}
        return replace(self, headers=kept | {k: v for k, v in named.items() if v is not None})


Fault: TypeAlias = Callable[[Reply], Reply]


def whole(content: Content, **headers: str) -> Reply:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    sized = {"Content-Length": str(content.size)} | named
    return Reply(200, sized, content, 0, content.size)


def closed(after: int) -> Fault:
    """The connection is lost in mid-body."""
    return lambda reply: replace(reply, closes_after=after)


def stalled(after: int) -> Fault:
    """The connection stays open, and silent, until the server is closed."""
    return lambda reply: replace(reply, stalls_after=after)


def status(number: int, **headers: str | None) -> Fault:
    """An error, such as ``status(429, Retry_After="1")``."""
    return lambda _: Reply(number, {"Content-Length": "0"}).with_headers(**headers)


def header(**changes: str | None) -> Fault:
    """Other headers, such as ``header(ETag='"new"')``; a length that is wrong or None (absent)."""
    return lambda reply: reply.with_headers(**changes)


def unranged(reply: Reply) -> Reply:
    """The range is ignored: status 200 and the whole file."""
    size = str(reply.content.size)
    sent = replace(reply, status=200, start=0, stop=reply.content.size)
    return sent.with_headers(Content_Range=None, Content_Length=size, Accept_Ranges=None)


def shortened(by: int) -> Fault:
    """A sound message with fewer bytes than its own Content-Range says."""

    def short(reply: Reply) -> Reply:
        length = str(reply.stop - by - reply.start)
        return replace(reply, stop=reply.stop - by).with_headers(Content_Length=length)

    return short


def shifted(by: int) -> Fault:
    """Other bytes of the file than those asked for, of the same number, as Content-Range admits."""

    def shift(reply: Reply) -> Reply:
        start, stop = reply.start + by, reply.stop + by
        sent = replace(reply, start=start, stop=stop)
        return sent.with_headers(Content_Range=f"bytes {start}-{stop - 1}/{reply.content.size}")

    return shift


def gzipped(reply: Reply) -> Reply:
    """The whole file, compressed, whatever the request accepts."""
    packed = Content(gzip.compress(reply.content.whole(), mtime=0))
    sent = replace(reply, status=200, content=packed, start=0, stop=packed.size)
    length = str(packed.size)
    return sent.with_headers(
        Content_Encoding="gzip", Content_Length=length, Content_Range=None, Accept_Ranges=None
    )


def redirected(location: str) -> Fault:
    """Somewhere else; a path leads to the same host, such as the path itself for a circle."""
    return lambda _: Reply(302, {"Location": location, "Content-Length": "0"})
