"""Local files, opened so that every refusal of the operating system reads the same."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from poslens.errors import SourceError, quoted

# Real ones are kilobytes; an index of a million tensors is still below this.
LARGEST_JSON = 100_000_000


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
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(
                f"cannot read {quoted(path)}",
                expected="a regular file",
                got="a folder, pipe or device",
                remedy="give the path of a file",
            )
        if status.st_size == 0:
            raise SourceError(
                f"cannot read {quoted(path)}",
                expected="a file with a header and data",
                got="an empty file",
                remedy="download or save it again",
            )
        with path.open("rb") as handle:
            yield handle, status.st_size
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: str | os.PathLike[str], error: OSError) -> SourceError:
    """Return the error for a path that the operating system refuses."""
    return SourceError(
        f"cannot read {quoted(path)}",
        expected="a file or folder that can be read",
        got=quoted(error.strerror or error),
        remedy="check the path and its permissions",
    )


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises
    ------
    SourceError
        If the file cannot be read, is larger than 100 MB, or is no JSON object.
    """
    with opened(path) as (handle, size):
        if size > LARGEST_JSON:
            raise _no_object(path, f"{size} bytes")
        text = handle.read(LARGEST_JSON)
    try:
        value = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise _no_object(path, quoted(error)) from error
    if not isinstance(value, dict):
        raise _no_object(path, f"a JSON {type(value).__name__}")
    return value


def _no_object(path: Path, got: str) -> SourceError:
    return SourceError(
        f"cannot understand {quoted(path)}",
        expected="one JSON object of at most 100 MB",
        got=got,
        remedy="restore the file from where the model came from",
    )
