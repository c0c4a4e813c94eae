"""All runs of an experiment, one after another or spread over an executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import torch

from poslens.errors import LabError, quoted
from poslens.files import written_whole
from poslens.lab.experiment import FOR_PEOPLE, Experiment
from poslens.lab.folders import EXPERIMENT, made
from poslens.lab.metrics_file import steps_written
from poslens.lab.one_run import Job, Outcome, run_one
from poslens.lab.reading import read_experiment
from poslens.lab.results import LabResults, read_results

Progress: TypeAlias = Callable[[str, int, int], None]
Finished: TypeAlias = Callable[[Outcome], None]

_POLL = 0.5  # seconds between looks at what other processes have written


def run_experiment(
    experiment: Experiment,
    folder: str | Path,
    *,
    resume: bool = False,
    executor: Executor | None = None,
    progress: Progress | None = None,
    finished: Finished | None = None,
) -> LabResults:
    """Do all runs of an experiment, and return what they found.

    A run that stops (its loss is no number, the disk is full) leaves the others as they are. On a
    CPU the results are the same however runs are spread, and whenever they were interrupted.

    Parameters
    ----------
    experiment
        What to do.
    folder
        Where to write; it must be new, or empty, without ``resume``.
    resume
        Whether to go on with an experiment in ``folder`` that was interrupted.
    executor
        What the runs are spread over: processes that start anew, or a cluster whose machines see
        the same ``folder``. None for this process.
    progress
        Called with (what is being done, steps done in all runs, steps in all).
    finished
        Called with each run's outcome.

    Raises
    ------
    LabError
        If the text is too short, ``folder`` is in use or of another experiment, there is no such
        device, or a process of the executor ended.
    OutputError
        If ``folder`` cannot be made.
    """
    _require_device(experiment.compute.device)
    batches = experiment.batches()
    batches.batch(1, experiment.model.context, seed=0, step=0)  # that there is one
    path = _taken(experiment, Path(folder).resolve(), resume=resume)
    jobs = [
        Job(experiment, arm.label, seed, path)
        for seed in experiment.seeds
        for arm in experiment.schemes
    ]
    if executor is None:
        outcomes = _one_after_another(jobs, progress)
    else:
        outcomes = _spread(jobs, executor, progress)
    for outcome in outcomes:
        if finished is not None:
            finished(outcome)
    return read_results(path)


def _one_after_another(jobs: list[Job], progress: Progress | None) -> Iterator[Outcome]:
    each = jobs[0].experiment.recipe.steps
    for number, job in enumerate(jobs):

        def advance(steps: int, job: Job = job, before: int = number * each) -> None:
            if progress is not None:
                progress(job.name, before + steps, each * len(jobs))

        yield run_one(job, advance)


def _spread(jobs: list[Job], executor: Executor, progress: Progress | None) -> Iterator[Outcome]:
    futures: dict[Future[Outcome], Job] = {executor.submit(run_one, job): job for job in jobs}
    waiting = set(futures)
    try:
        while waiting:
            done, waiting = wait(waiting, _POLL if progress else None, FIRST_COMPLETED)
            for future in done:
                yield _outcome(future, futures[future])
            if progress is not None:
                _report(jobs, len(waiting), progress)
    finally:
        for future in waiting:
            future.cancel()


def _outcome(future: Future[Outcome], job: Job) -> Outcome:
    try:
        return future.result()
    except BrokenExecutor as error:
        raise LabError(
            f"a process ended during the run {job.name} or beside it",
            got=quoted(error),
            remedy="free some memory or take fewer workers, and go on with --resume",
        ) from error


def _report(jobs: list[Job], waiting: int, progress: Progress) -> None:
    """Progress as the runs' own files have it, whichever machine they are on."""
    total = jobs[0].experiment.recipe.steps * len(jobs)
    done = sum(steps_written(job.run_folder.metrics) for job in jobs)
    progress(f"{len(jobs) - waiting} of {len(jobs)} runs", done, total)


def _require_device(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise LabError(
            "the experiment is for a GPU, and torch finds none here",
            expected="a GPU that torch can use",
            got="a CPU",
            remedy="take another experiment, or set compute.device=cpu if you have the time",
        )


def _taken(experiment: Experiment, folder: Path, *, resume: bool) -> Path:
    """Begin in a new folder, or go on in one of the same experiment."""
    written = folder / EXPERIMENT
    if written.is_file():
        _require_same(read_experiment(written), experiment, folder)
        if not resume:
            raise LabError(
                f"{quoted(folder)} has runs of this experiment already",
                expected="a new folder",
                remedy="give --resume to go on with them",
            )
        return folder
    if folder.is_dir() and any(not one.name.endswith(".part") for one in folder.iterdir()):
        raise LabError(
            f"{quoted(folder)} is in use",
            expected="a new folder, an empty one, or one of this experiment",
            got="other files",
        )
    with written_whole(made(folder) / EXPERIMENT) as temporary:
        temporary.write_text(experiment.to_toml(), encoding="utf-8")
    return folder


def _require_same(found: Experiment, wanted: Experiment, folder: Path) -> None:
    before, now = _settings(asdict(found)), _settings(asdict(wanted))
    for name in now | before:
        if name not in FOR_PEOPLE and before.get(name) != now.get(name):
            raise LabError(
                f"{quoted(folder)} belongs to another experiment",
                expected=f"{name} {quoted(now.get(name))}",
                got=quoted(before.get(name)),
                remedy="choose another folder, or go on with the settings that it was begun with",
            )


def _settings(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Every setting by its whole name, such as ``recipe.steps``."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{path}{key}"
        found |= _settings(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found
