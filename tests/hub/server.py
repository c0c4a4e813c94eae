"""`HubServer`: the model hub's protocol on this machine, with faults on request.

Two hosts, as the hub has: the hub itself, which knows repositories, revisions and access, and a
CDN, to which it redirects for large files and which must never see a token. What follows the hub:
``X-Repo-Commit``, ``X-Linked-Size``, ``X-Linked-Etag`` and ``X-Error-Code``, git's blob id as the
etag of small files and the sha256 of large ones, another etag on the CDN, links that carry a
signature, 401 with ``RepoNotFound`` where a stranger may not know whether a repository exists.
"""

from __future__ import annotations

import re
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

from content import Content, Files, Repository, contents, json_content
from faults import JSON, Fault, Reply, whole
from listener import Listener, Request

LARGE = (".safetensors", ".gguf", ".bin", ".pt")  # what repositories keep in LFS


@dataclass
class _Planned:
    """A fault, and the requests it meets: those after the first ``skip``, ``times`` of them."""

    file: str
    fault: Fault
    times: int
    skip: int
    host: str | None
    method: str

    def meets(self, request: Request) -> bool:
        if (
            not _named(request, self.file)
            or request.method != self.method
            or self.host not in (None, request.host)
        ):
            return False
        if self.skip > 0 or self.times <= 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class HubServer:
    """A hub with its CDN; a context manager.

    Attributes
    ----------
    hub, cdn
        Their addresses; ``hub`` is what ``HF_ENDPOINT`` is to be.
    requests
        Every request so far.
    relays
        Whether small files, too, are answered with a redirect, within the hub.
    """

    def __init__(self, *, relays: bool = False) -> None:
        self.requests: list[Request] = []
        self.relays = relays
        self.closing = threading.Event()
        self.failures: list[Exception] = []
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []
        self._repositories: dict[str, Repository] = {}
        self._renamed: dict[str, str] = {}
        self._links: dict[str, tuple[str, Reply]] = {}  # by path: the file's name, the reply
        self._listeners = {host: Listener(self, host) for host in ("hub", "cdn")}
        self.hub, self.cdn = (listener.address for listener in self._listeners.values())
        self._threads = [
            threading.Thread(target=listener.serve_forever, args=(0.05,), name=f"{host} server")
            for host, listener in self._listeners.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.closing.set()
        for listener in self._listeners.values():
            listener.shutdown()
            listener.close_connections()
            listener.server_close()
        for thread in self._threads:
            thread.join()
        if kind is None and self.failures:
            raise ExceptionGroup("the server failed", self.failures)

    def add_model(
        self,
        name: str,
        files: Files,
        *,
        revision: str = "main",
        token: str | None = None,
        gated: bool = False,
    ) -> str:
        """Commit files to a repository's branch or tag; return the commit."""
        repository = self._repositories.setdefault(name, Repository(token, gated))
        return repository.commit(revision, contents(files))

    def rename(self, old: str, new: str) -> None:
        """Redirect an old name to a new one, as the hub does for ``gpt2``."""
        self._renamed[old] = new

    def publish(self, name: str, data: bytes | Path, **headers: str) -> str:
        """Serve a file at a plain address, which is returned, without the hub's headers."""
        content = Content(data)
        etag = {"ETag": f'"{content.sha256[:32]}"', "Accept-Ranges": "bytes"}
        path = f"/files/{quote(name)}"
        self._links[path] = (name, whole(content, **(etag | headers)))
        return self.cdn + path

    def fail(
        self,
        file: str,
        fault: Fault,
        *,
        times: int = sys.maxsize,
        skip: int = 0,
        host: str | None = None,
        method: str = "GET",
    ) -> None:
        """Let a fault meet requests for a file, or all: ``times`` of them after ``skip`` others."""
        self._planned.append(_Planned(file, fault, times, skip, host, method))

    def mend(self) -> None:
        """Let no fault meet any further request."""
        self._planned.clear()

    def asked(self, file: str = "", host: str | None = None) -> list[Request]:
        """Return the requests for a file (or all), on a host (or both)."""
        return [
            request
            for request in self.requests
            if _named(request, file) and host in (None, request.host)
        ]

    def sent(self, file: str = "") -> int:
        """Return the bytes of all bodies, or of those of a file."""
        return sum(request.sent for request in self.asked(file))

    def reply(self, request: Request, headers: dict[str, str]) -> Reply:
        """Return what is sent; headers have lower-case names. Notes the request."""
        path = urlsplit(request.path).path
        if request.host == "cdn" or path in self._links:
            request.file, sound = self._links.get(path, (path, _error(404)))
        else:
            request.file, sound = self._hub_reply(path, headers)
        if sound.status == 200:
            sound = _ranged(sound, headers)
        with self._lock:
            self.requests.append(request)
            met = [planned.fault for planned in self._planned if planned.meets(request)]
        for fault in met:
            sound = fault(sound)
        request.status = sound.status
        return sound

    def _hub_reply(self, path: str, headers: dict[str, str]) -> tuple[str, Reply]:
        """Return the file's name and the reply of the hub to a path."""
        if found := re.fullmatch(r"/([^/]+(?:/[^/]+)?)/resolve/([^/]+)/(.+)", path):
            return self._resolve(*map(unquote, found.groups()), headers)
        api = r"/api/models/([^/]+(?:/[^/]+)??)(?:/(revision|tree)/(.+))?"
        if found := re.fullmatch(api, path):
            name, what, revision = found.groups()
            revision = unquote(revision or "main")
            return path, self._described(name, what or "revision", revision, headers)
        return path, _error(404)

    def _resolve(
        self, name: str, revision: str, file: str, headers: dict[str, str]
    ) -> tuple[str, Reply]:
        shown = f"{name}/{file}"
        if name in self._renamed:
            target = f"/{self._renamed[name]}/resolve/{quote(revision, safe='')}/{quote(file)}"
            return shown, Reply(307, {"Location": target, "Content-Length": "0"})
        files, commit, refusal = self._opened(name, revision, headers)
        if refusal is not None:
            return shown, refusal
        about = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if file not in files:
            return shown, _error(404, "EntryNotFound", **about)
        content, large = files[file], file.endswith(LARGE)
        etag = content.sha256 if large else content.blob_id
        if not large and not self.relays:
            return shown, whole(content, **about, ETag=f'"{etag}"')
        about |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(content.size)}
        if large:
            path, other = f"/lfs/{etag}/{quote(file)}", content.sha256[::-1][:32]
            self._links[path] = (shown, whole(content, Accept_Ranges="bytes", ETag=f'"{other}"'))
            location = f"{self.cdn}{path}?Expires=1&Signature=secret"
            return shown, _moved(302, location, {**about, "ETag": f'"{etag}"'})
        path = f"/api/resolve-cache/models/{name}/{commit}/{quote(file)}"
        self._links[path] = (shown, whole(content, **about, ETag=f'"{etag}"'))
        return shown, _moved(307, path, about)

    def _opened(
        self, name: str, revision: str, headers: dict[str, str]
    ) -> tuple[dict[str, Content], str, Reply | None]:
        """Return a revision's files and commit, or what is said to one who may not see them."""
        repository, given = self._repositories.get(name), headers.get("authorization")
        hidden = repository is not None and repository.token is not None
        allowed = repository is not None and f"Bearer {repository.token}" == given
        if repository is None or (hidden and not allowed):
            return {}, "", _error(404 if given else 401, "RepoNotFound")
        commit = repository.resolve(revision)
        if commit is None:
            return {}, "", _error(404, "RevisionNotFound")
        if repository.gated:
            return {}, "", _error(403 if given else 401, "GatedRepo")
        return repository.commits[commit], commit, None

    def _described(self, name: str, what: str, revision: str, headers: dict[str, str]) -> Reply:
        """Return a revision's summary, or the list of its files."""
        files, commit, refusal = self._opened(self._renamed.get(name, name), revision, headers)
        if refusal is not None:
            return refusal
        if what == "tree":
            listed = [_entry(file, content) for file, content in files.items()]
            return whole(json_content(listed), Content_Type=JSON)
        siblings = [{"rfilename": file} for file in files]
        about = {"id": name, "modelId": name, "sha": commit, "siblings": siblings}
        return whole(json_content(about), Content_Type=JSON)


def _named(request: Request, file: str) -> bool:
    """Whether a request is for a file, given by the end of its path; '' is every file."""
    return not file or f"/{request.file}".endswith(f"/{file}")


def _entry(file: str, content: Content) -> dict[str, Any]:
    entry = {"type": "file", "path": file, "size": content.size, "oid": content.blob_id}
    if file.endswith(LARGE):
        entry["lfs"] = {"oid": content.sha256, "size": content.size, "pointerSize": 134}
    return entry


def _moved(number: int, location: str, headers: dict[str, str]) -> Reply:
    return Reply(number, {**headers, "Location": location, "Content-Length": "0"})


def _error(number: int, code: str = "", **headers: str) -> Reply:
    said = {"X-Error-Code": code, "X-Error-Message": code} if code else {}
    return Reply(number, {"Content-Length": "0", **said, **headers})


def _ranged(reply: Reply, headers: dict[str, str]) -> Reply:
    """Return the part that the request's Range asks for, under its conditions (RFC 9110, 13–14)."""
    size, etag = reply.content.size, reply.headers.get("ETag")
    if etag is not None and headers.get("if-none-match") == etag:
        return Reply(304, {"ETag": etag})
    if headers.get("if-match", etag) != etag:
        return _error(412)
    found = re.fullmatch(r"bytes=([0-9]*)-([0-9]*)", headers.get("range", ""))
    if found is None or not any(found.groups()) or headers.get("if-range", etag) != etag:
        return reply
    first, last = found.groups()
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        return _error(416).with_headers(Content_Range=f"bytes */{size}")
    return replace(reply, status=206, start=start, stop=stop).with_headers(
        Content_Range=f"bytes {start}-{stop - 1}/{size}", Content_Length=str(stop - start)
    )
