"""What the files of an experiment and of its runs are called."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poslens.errors import LabError, OutputError, quoted
from poslens.files import written_whole

EXPERIMENT = "experiment.toml"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one scheme and seed: ``runs/<label>-<seed>`` in the experiment's.

    Attributes
    ----------
    path
        Where it is.
    """

    path: Path

    @classmethod
    def of(cls, experiment: Path, label: str, seed: int) -> RunFolder:
        """Return the folder of a scheme and seed."""
        return cls(experiment / "runs" / f"{label}-{seed}")

    @property
    def metrics(self) -> Path:
        """One line of JSON for each step."""
        return self.path / "metrics.jsonl"

    @property
    def state(self) -> Path:
        """Weights, the optimiser's state and the step, from which the run can go on."""
        return self.path / "state.safetensors"

    @property
    def snapshots(self) -> Path:
        """A folder with what the scheme had learned at some steps."""
        return self.path / "snapshots"

    @property
    def model(self) -> Path:
        """The trained model as transformers opens it, where it has such an architecture."""
        return self.path / "model"

    @property
    def result(self) -> Path:
        """The evaluation; where it is, the run is done."""
        return self.path / "result.json"

    @property
    def error(self) -> Path:
        """Why the run stopped, where it did."""
        return self.path / "error.json"

    def create(self) -> None:
        """Make the folders, and remove what a kill left half-written.

        Raises
        ------
        OutputError
            If the operating system refuses.
        """
        made(self.snapshots)
        with _refusals(self.path):
            names = (".*.part", ".tmp*")  # ours, and what safetensors writes beside them
            places = (self.path, self.snapshots)
            for leftover in [found for at in places for name in names for found in at.glob(name)]:
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()

    def replace_model(self, whole: Path) -> None:
        """Put a model's folder in its place, where an earlier attempt may have left one.

        Raises
        ------
        OutputError
            If the operating system refuses.
        """
        with _refusals(self.model):
            if self.model.exists():
                shutil.rmtree(self.model)
            whole.rename(self.model)


def made(folder: Path) -> Path:
    """Make a folder with those above it.

    Raises
    ------
    OutputError
        If the operating system refuses.
    """
    with _refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _refusals(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write to the folder {quoted(folder)}",
            got=quoted(error.strerror or error),
            remedy="choose another path, or make room",
        ) from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON whole; a NaN is refused.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that `write_json` wrote.

    Raises
    ------
    LabError
        If it cannot be read, or is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
        got = "JSON of another kind"
    except (OSError, ValueError) as error:
        got = quoted(error)
    raise LabError(
        f"{quoted(path)} is damaged",
        expected="what `poslens lab run` wrote",
        got=got,
        remedy="remove it and give --resume to make it again",
    )
