"""What an experiment found: a folder of runs as one object, without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Real

from poslens.axes import PerPosition, Rows
from poslens.checkpoints import load_table
from poslens.errors import LabError, quoted
from poslens.lab.experiment import Experiment
from poslens.lab.folders import EXPERIMENT, RunFolder, read_json
from poslens.lab.metrics_file import read_metrics
from poslens.lab.reading import read_experiment

SCHEMA = 1
_MOST = 700.0  # nats; beyond it float64 has no perplexity


@dataclass(frozen=True, eq=False)
class Curve:
    """Held-out loss of one run at one length.

    Attributes
    ----------
    loss
        The mean over all tokens that count, in nats.
    by_position
        The mean at each position of the context, shape (position,); None on a task, which does not
        ask at each.
    accuracy
        The share of right answers; None on a text.
    """

    loss: float
    by_position: PerPosition | None = None
    accuracy: float | None = None

    @property
    def perplexity(self) -> float:
        """e to the loss; infinite where float64 has no such number."""
        return math.exp(self.loss) if self.loss < _MOST else math.inf


@dataclass(frozen=True)
class Snapshot:
    """What a scheme had learned after some steps.

    Attributes
    ----------
    step
        Steps that were done.
    measures
        Geometry of a learned table's rows within the context, by name; None where undefined.
    """

    step: int
    measures: Mapping[str, float | int | str | None]


@dataclass(frozen=True, eq=False)
class Run:
    """One run that is done.

    Attributes
    ----------
    label, seed
        Which scheme, and which seed.
    loss
        Held-out loss at the trained length, in nats per token.
    lengths
        By length, the whole context read at once.
    sliding
        By length, no more than a window of the trained length read at once; empty on a task.
    snapshots
        In the order of steps.
    record
        All of ``result.json``.
    folder
        The run's files.
    """

    label: str
    seed: int
    loss: float
    lengths: Mapping[int, Curve]
    sliding: Mapping[int, Curve]
    snapshots: tuple[Snapshot, ...]
    record: Mapping[str, Any]
    folder: RunFolder

    @property
    def name(self) -> str:
        """The run's name, and that of its folder."""
        return f"{self.label}-{self.seed}"

    @cached_property
    def metrics(self) -> dict[str, Real[np.ndarray, "step"]]:
        """Metrics of each step by name: step, loss, gradient_norm, rate, tokens_per_second."""
        return read_metrics(self.folder.metrics)

    def tables(self) -> dict[int, Rows]:
        """Return the table at each snapshot, by steps that were done.

        Raises
        ------
        LabError
            If the scheme has no table, or a file is damaged.
        """
        return {step: read_table(p) for step, p in snapshots_of(self.folder.snapshots).items()}


@dataclass(frozen=True, eq=False)
class LabResults:
    """What has been found so far.

    Attributes
    ----------
    experiment
        What was asked.
    runs
        Those that are done, in the order of schemes, then seeds.
    stopped
        Why others stopped, by name.
    absent
        Names of those that are not done, and have not stopped.
    """

    experiment: Experiment
    runs: tuple[Run, ...]
    stopped: Mapping[str, str]
    absent: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        """Schemes of which a run is done, in the experiment's order."""
        done = {run.label for run in self.runs}
        return [arm.label for arm in self.experiment.schemes if arm.label in done]

    def of(self, label: str) -> dict[int, Run]:
        """Return the runs of a scheme that are done, by seed."""
        return {run.seed: run for run in self.runs if run.label == label}


def read_results(folder: str | Path) -> LabResults:
    """Read the folder of an experiment, done or not.

    Raises
    ------
    LabError
        If it is no such folder, or a file in it is damaged.
    """
    path = Path(folder)
    if not (path / EXPERIMENT).is_file():
        raise LabError(
            f"{quoted(folder)} is no folder of an experiment",
            expected=f"the --out of `poslens lab run`, with {EXPERIMENT} in it",
            got="none" if path.is_dir() else "no folder",
        )
    experiment = read_experiment(path / EXPERIMENT)
    runs: list[Run] = []
    stopped: dict[str, str] = {}
    absent: list[str] = []
    for arm in experiment.schemes:
        for seed in experiment.seeds:
            one = RunFolder.of(path, arm.label, seed)
            if one.result.exists():
                runs.append(read_run(one, arm.label, seed))
            elif one.error.exists():
                stopped[one.path.name] = str(read_json(one.error).get("problem", "no reason given"))
            else:
                absent.append(one.path.name)
    return LabResults(experiment, tuple(runs), stopped, tuple(absent))


def read_run(folder: RunFolder, label: str, seed: int) -> Run:
    """Read one run that is done.

    Raises
    ------
    LabError
        If its result is damaged, or of another version.
    """
    record = read_json(folder.result)
    if record.get("schema") != SCHEMA:
        raise LabError(
            f"cannot read {quoted(folder.result)}",
            expected=f"schema {SCHEMA}",
            got=quoted(record.get("schema")),
        )
    try:
        return Run(
            label=label,
            seed=seed,
            loss=float(record["loss"]),
            lengths=_curves(record["lengths"]),
            sliding=_curves(record["sliding"]),
            snapshots=tuple(Snapshot(one["step"], one["measures"]) for one in record["snapshots"]),
            record=record,
            folder=folder,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LabError(
            f"{quoted(folder.result)} is damaged",
            expected="what `poslens lab run` wrote",
            got=quoted(error),
            remedy="remove it and give --resume to make it again",
        ) from error


def snapshots_of(folder: Path) -> dict[int, Path]:
    """Return the snapshots of a run by the steps that were done, ascending."""
    return {int(path.stem[5:]): path for path in sorted(folder.glob("step-*.safetensors"))}


def read_table(path: Path) -> Rows:
    """Read the table of one snapshot, shape (position, dim)."""
    return load_table(f"{path}::table").rows


def _curves(record: Mapping[str, Any]) -> dict[int, Curve]:
    return {int(length): _curve(one) for length, one in record.items()}


def _curve(one: Mapping[str, Any]) -> Curve:
    if "accuracy" in one:
        return Curve(float(one["loss"]), accuracy=float(one["accuracy"]))
    return Curve(float(one["loss"]), np.array(one["by_position"], dtype=np.float64))
