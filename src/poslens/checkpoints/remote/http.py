"""One ranged request: redirects followed, refusals explained, nothing of the body read.

Requests go through huggingface_hub's own session, which knows proxies and offline mode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urljoin, urlsplit

import httpx2
from huggingface_hub import constants, get_session, get_token
from huggingface_hub.errors import OfflineModeIsEnabled

from poslens._version import __version__
from poslens.checkpoints.remote import patience
from poslens.errors import SourceError, quoted

MOST_REDIRECTS = 5
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
REDIRECTS = (301, 302, 303, 307, 308)
EXPIRED = (401, 403, 404, 410)  # what hosts of signed addresses answer once these are too old


class AbsentError(SourceError):
    """The server says that there is no such file.

    Attributes
    ----------
    whole_repository
        Whether it is the repository that is not there, or not for everyone.
    """

    whole_repository = False


class DeniedError(SourceError):
    """The server says that the file is not for everyone."""


class TransientError(Exception):
    """The request failed in a way that a later one may not.

    Attributes
    ----------
    retry_after
        Seconds that the server asked to wait; None if it did not.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Answer:
    """The final response of a request, before its body is read.

    Attributes
    ----------
    response
        The open response, of status 200, 206 or 416.
    location
        The address that gave it, after redirects.
    headers
        Its headers, with those of the redirects that speak of the file (``x-repo-commit``,
        ``x-linked-etag``, ``x-linked-size``), in lower case.
    """

    response: httpx2.Response
    location: str
    headers: Mapping[str, str]

    @property
    def etag(self) -> str | None:
        """The etag of the answering host."""
        return self.headers.get("etag")

    @property
    def length(self) -> int | None:
        """The length of the body in bytes, if the server says it."""
        return _whole(self.headers.get("content-length"))

    def content_range(self) -> tuple[int, int, int] | None:
        """Return (start, stop, size) as Content-Range says; None if it does not say all three."""
        pattern = r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})"
        found = re.fullmatch(pattern, self.headers.get("content-range", "").strip())
        if found is None:
            return None
        first, last, size = map(int, found.groups())
        return (first, last + 1, size) if first <= last < size else None


@contextmanager
def answered(
    url: str, headers: Mapping[str, str], span: tuple[int, int] | None, via: str | None = None
) -> Iterator[Answer]:
    """Ask for a range of a file, or for all of it, and give the answer with its body open.

    ``Authorization`` is sent to the host of ``url`` alone. ``via`` is where an earlier request
    for the file was redirected to, which spares the way there.

    Raises
    ------
    TransientError
        If the server or the way to it failed; asking again may help.
    AbsentError
        If there is no such file.
    SourceError
        If the request is refused, or redirected in circles or from https to http.
    """
    asked = {"accept-encoding": "identity"}
    if span is not None:
        asked["range"] = f"bytes={span[0]}-{span[1] - 1}"
    known: dict[str, str] = {}
    location = via or url
    for _ in range(MOST_REDIRECTS + 1):
        sent = {**headers, **asked}
        if not _same_host(url, location):
            sent = {key: value for key, value in sent.items() if key.lower() != "authorization"}
        with _opened(location, sent) as response:
            found = {key.lower(): value for key, value in response.headers.items()}
            # Each hop may speak of the file; the first to do so is the hub itself.
            known = {k: v for k, v in found.items() if k.startswith("x-")} | known
            if response.status_code in REDIRECTS and "location" in found:
                location = _next(location, found["location"])
                continue
            _require_success(response.status_code, {**found, **known}, url, location)
            yield Answer(response, location, {**found, **known})
            return
    _refuse(url, "an address that leads to a file", f"over {MOST_REDIRECTS} redirects")


@contextmanager
def _opened(url: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
    timeout = patience.PATIENCE.timeout or float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
    try:
        with get_session().stream(
            "GET", url, headers=dict(headers), timeout=timeout, follow_redirects=False
        ) as response:
            yield response
    except OfflineModeIsEnabled as error:
        raise SourceError(
            f"cannot ask {quoted(urlsplit(url).netloc)}",
            expected="a way to the network, or a file that is in the cache",
            got="offline mode",
            remedy="unset HF_HUB_OFFLINE, or download the model before going offline",
        ) from error
    except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL) as error:
        _refuse(url, "an http or https address", quoted(error))
    except httpx2.HTTPError as error:
        raise TransientError(f"{type(error).__name__}: {error}") from error


def _require_success(status: int, headers: Mapping[str, str], url: str, location: str) -> None:
    if status in (200, 206, 416):
        coding = headers.get("content-encoding", "identity").lower()
        if coding != "identity":
            _refuse(url, "the bytes as they are", f"content-encoding {quoted(coding)}")
        return
    if status in TRANSIENT:
        raise TransientError(f"HTTP status {status}", _seconds(headers.get("retry-after")))
    if location != url and status in EXPIRED:
        raise TransientError(f"HTTP status {status} from the host that it redirects to")
    _explain(status, headers, url)


def _explain(status: int, headers: Mapping[str, str], url: str) -> NoReturn:
    """Raise what a refusal means; the hub says it in X-Error-Code."""
    code = headers.get("x-error-code", "")
    got = f"HTTP status {status}" + (f" ({quoted(code)})" if code else "")
    what = f"cannot read {shown_url(url)}"
    if code == "RevisionNotFound":
        raise SourceError(
            what,
            expected="a revision of this repository",
            got=got,
            remedy="name a branch, tag or commit that it has",
        )
    # The hub does not tell a repository that is not there from one that is not for everyone.
    absent = AbsentError(
        f"nothing at {shown_url(url)}",
        expected="a repository that exists, or a token that may read it"
        if code == "RepoNotFound"
        else "a file",
        got=got,
        remedy="check the name, or set HF_TOKEN" if code == "RepoNotFound" else "check the name",
    )
    absent.whole_repository = code == "RepoNotFound"
    if absent.whole_repository or status in (404, 410):
        raise absent
    if status in (401, 403):
        raise DeniedError(
            what,
            expected="a file that may be read",
            got=got,
            remedy="accept the terms of the model on its page, and set HF_TOKEN"
            if code == "GatedRepo"
            else "set HF_TOKEN to a token that may read it",
        )
    raise SourceError(what, expected="status 206", got=got, remedy="check the address")


def _refuse(url: str, expected: str, got: str, remedy: str = "check the address") -> NoReturn:
    raise SourceError(f"cannot read {shown_url(url)}", expected=expected, got=got, remedy=remedy)


def _next(location: str, target: str) -> str:
    try:
        found = urljoin(location, target)
    except ValueError:
        _refuse(location, "a redirect to an address", "one to something else")
    if urlsplit(location).scheme == "https" and urlsplit(found).scheme != "https":
        _refuse(location, "https throughout", f"a redirect to {quoted(urlsplit(found).scheme)}")
    return found


def request_headers(url: str) -> dict[str, str]:
    """Return what goes with each request for a file: the hub's token to the hub alone."""
    headers = {"user-agent": f"poslens/{__version__}"}
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    if token is not None and _same_host(url, constants.ENDPOINT):
        headers["authorization"] = f"Bearer {token}"
    return headers


def _same_host(one: str, other: str) -> bool:
    a, b = urlsplit(one), urlsplit(other)
    return (a.scheme, a.netloc) == (b.scheme, b.netloc)


def shown_url(url: str) -> str:
    """Return an address for messages and records: quoted, without a password or a signature."""
    return quoted(public_url(url))


def public_url(url: str) -> str:
    """Return an address without what may be secret in it: user, password, query, fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch("[0-9]{1,18}", text) else None


def _seconds(text: str | None) -> float | None:
    whole = _whole(text)
    return None if whole is None else float(whole)
