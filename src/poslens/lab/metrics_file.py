"""Metrics of each step as one line of JSON, appended as they come."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from poslens.errors import LabError, OutputError, quoted

if TYPE_CHECKING:
    from poslens.lab.train import Metrics

_TAIL = 1024  # bytes, more than a line has


class MetricsFile:
    """The lines of one run from its first step on; a line for step n is line n, counted from 0.

    Use `appending` to open one.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file

    def write(self, metrics: Metrics) -> None:
        """Append one step; a reader sees it at once.

        Raises
        ------
        OutputError
            If the operating system refuses.
        """
        line = json.dumps(asdict(metrics), allow_nan=False) + "\n"
        with _refusals(self._path):
            self._file.write(line.encode())
            self._file.flush()

    def sync(self) -> None:
        """Have the lines on the disk before a state that follows them.

        Raises
        ------
        OutputError
            If the operating system refuses.
        """
        with _refusals(self._path):
            os.fsync(self._file.fileno())


@contextmanager
def appending(path: Path, done: int) -> Iterator[MetricsFile]:
    """Open the metrics of a run that goes on after ``done`` steps; later lines are dropped.

    Raises
    ------
    LabError
        If the lines of those steps are not there.
    OutputError
        If the operating system refuses.
    """
    with _refusals(path):
        kept = _end_of(path, done)
        with path.open("ab") as file:
            file.truncate(kept)
    with _refusals(path), path.open("ab") as file:
        yield MetricsFile(path, file)


def read_metrics(path: Path) -> dict[str, np.ndarray]:
    """Return the whole lines of a run as arrays by name, each of shape (step,).

    Raises
    ------
    LabError
        If a whole line is damaged.
    """
    try:
        lines = [json.loads(line) for line in _whole_lines(path)]
        names = lines[0] if lines else ()
        return {name: np.array([line[name] for line in lines]) for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, quoted(error)) from error


def steps_written(path: Path) -> int:
    """Return how many steps a run has written, from the end of its file; 0 where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _TAIL, 0))
            lines = file.read().split(b"\n")
        return int(json.loads(lines[-2])["step"]) + 1
    except (OSError, ValueError, LookupError, TypeError):
        return 0


def _whole_lines(path: Path) -> list[bytes]:
    """The lines that end; what follows the last end was cut off by a kill."""
    if not path.exists():
        return []
    return path.read_bytes().split(b"\n")[:-1]


def _end_of(path: Path, done: int) -> int:
    """Bytes of the first ``done`` lines, which must be those of the first steps."""
    lines = _whole_lines(path)[:done]
    try:
        steps = [json.loads(line)["step"] for line in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, quoted(error)) from error
    if steps != list(range(done)):
        raise _damaged(path, f"{len(steps)} lines that do not count the {done} steps of the state")
    return sum(len(line) + 1 for line in lines)


def _damaged(path: Path, got: str) -> LabError:
    return LabError(
        f"{quoted(path)} is damaged",
        expected="a line of JSON for each step",
        got=got,
        remedy=f"remove the folder {quoted(path.parent, 1000)} to begin the run anew",
    )


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {quoted(path)}",
            got=quoted(error.strerror or error),
            remedy="make room, and go on with --resume",
        ) from error
