"""Local files, opened so that every refusal of the operating system reads the same."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from poslens.errors import SourceError, quoted


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file for reading; give it and its size in bytes.

    Raises
    ------
    SourceError
        If it is not there, not a regular file, empty, or cannot be read. A pipe or a device is
        refused before it is opened, because reading one may never end.
    """
    try:
        _require_regular(path, path.stat())
        with open(path, "rb", opener=_without_waiting) as handle:
            status = os.fstat(handle.fileno())
            _require_regular(path, status)  # it may have been replaced since
            if status.st_size == 0:
                raise SourceError(
                    f"cannot read {quoted(path)}",
                    expected="a file that is not empty",
                    got="an empty file",
                    remedy="download or save it again",
                )
            yield handle, status.st_size
    except OSError as error:
        raise unreadable(path, error) from error


def _require_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(
            f"cannot read {quoted(path)}",
            expected="a regular file",
            got="a folder, pipe or device",
            remedy="give the path of a file",
        )


def _without_waiting(path: str, flags: int) -> int:
    # Opening a pipe would wait for its other end; Windows has no such flag, and no such pipes.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def unreadable(path: str | os.PathLike[str], error: OSError) -> SourceError:
    """Return the error for a path that the operating system refuses."""
    return SourceError(
        f"cannot read {quoted(path)}",
        expected="a file or folder that can be read",
        got=quoted(error.strerror or error),
        remedy="check the path and its permissions",
    )


def too_large(shown: str, size: int) -> SourceError:
    """Return the error for data that the machine's memory cannot hold."""
    return SourceError(
        f"cannot read {shown}",
        expected="data that fit in memory",
        got=f"{size} bytes",
        remedy="use a machine with more memory, or name a smaller tensor",
    )


def not_understood(shown: str, expected: str, got: str) -> SourceError:
    """Return the error for a file beside the weights that is not what it must be."""
    return SourceError(
        f"cannot understand {shown}",
        expected=expected,
        got=got,
        remedy="restore the file from where the model came from",
    )
