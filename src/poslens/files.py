"""Files are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poslens.errors import OutputError, quoted


def check_writable(path: str | Path) -> Path:
    """Return ``path`` if a file can be created there; called before long work starts.

    Raises
    ------
    OutputError
        If the folder is missing or not writable, or ``path`` is a folder.
    """
    target = Path(path)
    problem = ""
    if target.is_dir():
        problem = "it is a folder"
    elif not target.parent.is_dir():
        problem = "its folder does not exist"
    elif not os.access(target.parent, os.W_OK):
        problem = "its folder is not writable"
    if problem:
        raise OutputError(
            f"cannot write {quoted(path)}",
            expected="the name of a file in a folder that can be written to",
            got=problem,
            remedy="choose another path",
        )
    return target


def check_outputs(*paths: str | Path | None) -> None:
    """Check every file that a command is to write; None is none, and ``-`` standard output.

    Raises
    ------
    OutputError
        As `check_writable`.
    """
    for path in paths:
        if path is not None and path != "-":
            check_writable(path)


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, and rename it into place when the block succeeds.

    On any failure, Ctrl-C included, the temporary file is removed and ``path`` is as it was.

    Raises
    ------
    OutputError
        If the operating system refuses (no such folder, no permission, disk full).
    """
    target = check_writable(path)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name[:50]}.", suffix=".part", dir=target.parent
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise OutputError(
            f"cannot write {quoted(path)}",
            got=quoted(error.strerror or error),
            remedy="choose another path, or make room",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_writable_folder(path: str | Path) -> Path:
    """Return ``path`` if a folder can be created there; called before long work starts.

    Raises
    ------
    OutputError
        If something is there already, or the folder above is missing or not writable.
    """
    target = Path(path)
    problem = ""
    if os.path.lexists(target):
        problem = "one that exists"
    elif not target.parent.is_dir():
        problem = "a folder above it that does not exist"
    elif not os.access(target.parent, os.W_OK):
        problem = "a folder above it that is not writable"
    if problem:
        raise OutputError(
            f"cannot write the folder {quoted(path)}",
            expected="a new one, in a folder that can be written to",
            got=problem,
            remedy="choose another path",
        )
    return target


@contextmanager
def folder_written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``, and rename it when the block succeeds.

    On any failure, Ctrl-C included, the temporary folder is removed and nothing is at ``path``.

    Raises
    ------
    OutputError
        If something is at ``path``, or the operating system refuses (no such folder, no
        permission, disk full).
    """
    target = check_writable_folder(path)
    temporary: Path | None = None
    try:
        temporary = Path(
            tempfile.mkdtemp(prefix=f".{target.name[:50]}.", suffix=".part", dir=target.parent)
        )
        yield temporary
        check_writable_folder(path)  # a rename would replace a folder that is empty
        temporary.chmod(0o777 & ~_umask())
        temporary.rename(target)
    except OSError as error:
        raise OutputError(
            f"cannot write the folder {quoted(path)}",
            got=quoted(error.strerror or error),
            remedy="choose another path, or make room",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    """The process's umask; mkstemp files are private, results should be as readable as others."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
