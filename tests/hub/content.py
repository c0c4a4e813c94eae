"""What a test server serves: bytes in memory or a file on disk, read piece by piece."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

PIECE = 65_536
HASHED_WHOLE = 200_000_000  # bytes; a larger file is known by its size and time instead

Files: TypeAlias = Path | Mapping[str, bytes | Path]  # a folder, or each file by its name


@dataclass(frozen=True)
class Content:
    """The bytes of one file; those of a large one are never in memory together."""

    data: bytes | Path

    @cached_property
    def size(self) -> int:
        return self.data.stat().st_size if isinstance(self.data, Path) else len(self.data)

    @cached_property
    def sha256(self) -> str:
        """What the hub calls the etag of a large file."""
        if isinstance(self.data, Path) and self.size > HASHED_WHOLE:
            known = f"{self.size} {self.data.stat().st_mtime_ns}"
            return hashlib.sha256(known.encode()).hexdigest()
        return self._digest(hashlib.sha256())

    @cached_property
    def blob_id(self) -> str:
        """Git's name of these bytes: what the hub calls the etag of a small file."""
        return self._digest(hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False))

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        if isinstance(self.data, bytes):
            yield from (self.data[at : min(at + PIECE, stop)] for at in range(start, stop, PIECE))
            return
        with self.data.open("rb") as handle:
            handle.seek(start)
            for at in range(start, stop, PIECE):
                yield handle.read(min(PIECE, stop - at))

    def whole(self) -> bytes:
        return b"".join(self.pieces(0, self.size))

    def _digest(self, digest: Any) -> str:
        for piece in self.pieces(0, self.size):
            digest.update(piece)
        return str(digest.hexdigest())


NOTHING = Content(b"")


def json_content(value: Any) -> Content:
    return Content(json.dumps(value).encode())


def contents(files: Files) -> dict[str, Content]:
    """Every file by its path within the repository."""
    if isinstance(files, Path):
        paths = sorted(path for path in files.rglob("*") if path.is_file())
        return {path.relative_to(files).as_posix(): Content(path) for path in paths}
    return {name: Content(data) for name, data in files.items()}


@dataclass
class Repository:
    """A model repository: its commits, and the branches and tags that point at them.

    Attributes
    ----------
    token
        What a reader must present; None for a public repository.
    gated
        Whether a reader must have accepted terms, which nobody here has.
    """

    token: str | None = None
    gated: bool = False

    def __post_init__(self) -> None:
        self.commits: dict[str, dict[str, Content]] = {}
        self.branches: dict[str, str] = {}

    def commit(self, revision: str, files: dict[str, Content]) -> str:
        """Point a branch or tag at these files."""
        listing = json.dumps([[name, content.sha256] for name, content in sorted(files.items())])
        name = hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest()
        self.commits[name], self.branches[revision] = files, name
        return name

    def resolve(self, revision: str) -> str | None:
        found = self.branches.get(revision, revision)
        return found if found in self.commits else None
