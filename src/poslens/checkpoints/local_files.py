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
