"""Ranges of remote files on disk: a file counts when it is whole, a part is gone on with.

One folder holds the ranges of one version of one file, named by what identifies both; a range
``start-stop`` is written as ``start-stop.part`` and renamed when its last byte is there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from huggingface_hub import cached_assets_path

from poslens.errors import PosLensError
from poslens.files import written_whole

LONGEST_LOCKED = 10.0  # seconds to wait for another process that fetches the same range


class CacheUnusableError(Exception):
    """The cache cannot be written: the disk is full, or the folder belongs to someone else."""


@dataclass(frozen=True)
class Version:
    """What is known of a remote file without asking again.

    Attributes
    ----------
    size
        In bytes.
    etag
        The server's word for this version of the file; None if it has none that is strict.
    commit
        The commit of a hub repository that it belongs to.
    """

    size: int
    etag: str | None
    commit: str | None = None


def cache_folder() -> Path:
    """Return where PosLens keeps ranges: huggingface_hub's folder for the assets of libraries.

    Raises
    ------
    CacheUnusableError
        If it cannot be made.
    """
    try:
        return cached_assets_path("poslens", "ranges", "v1")
    except (OSError, ValueError) as error:  # ValueError: a file is where a folder should be
        raise CacheUnusableError(str(error)) from error


def remember(identity: str, version: Version) -> None:
    """Write down what is known of a file, for when the network is away.

    Raises
    ------
    CacheUnusableError
        If it cannot be written.
    """
    _write_down(identity, asdict(version))


def remember_absence(identity: str) -> None:
    """Write down that there is no such file, which matters when the network is away.

    Raises
    ------
    CacheUnusableError
        If it cannot be written.
    """
    _write_down(identity, {"absent": True})


def was_absent(identity: str) -> bool:
    """Return whether it was written down that there is no such file."""
    return _written_down(identity).get("absent") is True


def recall(identity: str) -> Version | None:
    """Return what was written down of a file; None if nothing sound was."""
    try:
        version = Version(**_written_down(identity))
    except TypeError:
        return None
    sound = type(version.size) is int and isinstance(version.etag, str)
    return version if sound and isinstance(version.commit, str | None) else None


def _write_down(identity: str, record: dict[str, Any]) -> None:
    try:
        with written_whole(_record(identity)) as path:
            path.write_text(json.dumps(record))
    except (OSError, PosLensError) as error:
        raise CacheUnusableError(str(error)) from error


def _written_down(identity: str) -> dict[str, Any]:
    try:
        record = json.loads(_record(identity).read_text())
    except (OSError, ValueError, CacheUnusableError):
        return {}
    return record if isinstance(record, dict) else {}


def _record(identity: str) -> Path:
    return cache_folder() / f"{_digest(identity)}.json"


def _digest(*parts: object) -> str:
    return hashlib.sha256(
        "\0".join(map(str, parts)).encode("utf-8", "backslashreplace")
    ).hexdigest()


class RangeCache:
    """The ranges of one version of one file.

    Raises
    ------
    CacheUnusableError
        If the folder cannot be made.
    """

    def __init__(self, file: str, version: Version) -> None:
        self.folder = cache_folder() / _digest(file, version.etag, version.size)
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise CacheUnusableError(str(error)) from error

    def path(self, start: int, stop: int) -> Path:
        """Return where a whole range is, or would be."""
        return self.folder / f"{start}-{stop}"

    def find(self, start: int, stop: int) -> tuple[int, int, Path] | None:
        """Return (start, stop, path) of a whole range that holds this one; None if none does.

        Raises
        ------
        CacheUnusableError
            If the folder cannot be read.
        """
        try:
            for path in sorted(self.folder.iterdir()):
                name = re.fullmatch("([0-9]{1,18})-([0-9]{1,18})", path.name)
                if name is None:
                    continue
                first, last = map(int, name.groups())
                # One of the wrong length was damaged after it was written, and does not count.
                if first <= start and stop <= last and path.stat().st_size == last - first:
                    return first, last, path
        except OSError as error:
            raise CacheUnusableError(str(error)) from error
        return None

    @contextmanager
    def part(self, start: int, stop: int) -> Iterator[Part]:
        """Give the part of a range that is there, locked against other processes.

        The range is whole when the block ends without an error and holds all its bytes; otherwise
        what has arrived stays, to be gone on with.

        Raises
        ------
        CacheUnusableError
            If it cannot be written, or another process has held it for too long.
        """
        whole = self.path(start, stop)
        part = whole.with_name(f"{whole.name}.part")
        try:
            with FileLock(whole.with_name(f"{whole.name}.lock"), timeout=LONGEST_LOCKED):
                if whole.is_file() and whole.stat().st_size == stop - start:
                    part.unlink(missing_ok=True)
                    yield Part(whole, stop - start)
                    return
                kept = Part(part, part.stat().st_size if part.is_file() else 0)
                if kept.size > stop - start:
                    part.unlink()
                    kept = Part(part, 0)
                yield kept
                if kept.size == stop - start:
                    part.replace(whole)
        except (OSError, Timeout, NotImplementedError) as error:  # some disks know no locks
            raise CacheUnusableError(str(error)) from error


class Part:
    """What has arrived of a range; `append` adds to it.

    Attributes
    ----------
    path
        The file.
    size
        Bytes in it.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size

    def append(self, chunk: bytes) -> None:
        """Add bytes; on a full disk the part is removed, so that its room is given back.

        Raises
        ------
        CacheUnusableError
            If they cannot be written.
        """
        try:
            with self.path.open("ab") as handle:
                handle.write(chunk)
        except OSError as error:
            self.path.unlink(missing_ok=True)
            raise CacheUnusableError(str(error)) from error
        self.size += len(chunk)

    def clear(self) -> None:
        """Forget what is there.

        Raises
        ------
        CacheUnusableError
            If the file cannot be removed.
        """
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise CacheUnusableError(str(error)) from error
        self.size = 0
