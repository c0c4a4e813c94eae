"""One run of an experiment: train, evaluate, export; to go on after a kill at any moment."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from poslens._version import __version__
from poslens.encodings import Encoding
from poslens.errors import LabError, OutputError, PosLensError, quoted
from poslens.geometry import measures_of_table
from poslens.lab.data import Split
from poslens.lab.experiment import Experiment
from poslens.lab.export import export
from poslens.lab.folders import RunFolder, write_json
from poslens.lab.held_out import evaluated
from poslens.lab.metrics_file import appending
from poslens.lab.model import Decoder
from poslens.lab.results import SCHEMA, read_run, read_table, snapshots_of
from poslens.lab.snapshots import save_snapshot, snapshot_steps
from poslens.lab.state import load_training, save_training
from poslens.lab.tasks import Task
from poslens.lab.train import Training

LOCK_SECONDS = 10.0  # for a process that ends because its parent was killed


@dataclass(frozen=True)
class Job:
    """One run, as it is sent to a process.

    Attributes
    ----------
    experiment
        What it is a run of.
    label, seed
        Which.
    folder
        The experiment's; on a cluster, one that all machines see.
    """

    experiment: Experiment
    label: str
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """The run's name, and that of its folder."""
        return f"{self.label}-{self.seed}"

    @property
    def run_folder(self) -> RunFolder:
        """Where it is written."""
        return RunFolder.of(self.folder, self.label, self.seed)


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    name
        Of the run.
    problem
        Why it stopped; empty where it is done.
    loss
        On what is held out, at the trained length, in nats per token; None where it stopped.
    """

    name: str
    problem: str = ""
    loss: float | None = None


def run_one(job: Job, advance: Callable[[int], None] | None = None) -> Outcome:
    """Do a run, from its last saved state where there is one.

    The number of torch's threads is the experiment's while it lasts. A run that stops leaves
    ``error.json`` beside its last good state.

    Parameters
    ----------
    job
        Which run.
    advance
        Called with the steps that are done.

    Returns
    -------
    Outcome
        What went wrong is in it; nothing but a fault of PosLens is raised.
    """
    folder = job.run_folder
    try:
        folder.create()
        lock = FileLock(folder.path / ".lock")
        with _locked(lock, job.name), _threads(job.experiment.compute.threads):
            loss = _run(job, folder, advance or (lambda _: None))
    except PosLensError as error:
        return _stopped(job, str(error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        return _stopped(
            job, f"out of memory: {quoted(error)}; take fewer workers or smaller batches"
        )
    return Outcome(job.name, loss=loss)


def _stopped(job: Job, problem: str) -> Outcome:
    with suppress(OutputError):  # a full disk may be why
        write_json(job.run_folder.error, {"problem": problem})
    return Outcome(job.name, problem)


def _run(job: Job, folder: RunFolder, advance: Callable[[int], None]) -> float:
    experiment = job.experiment
    if folder.result.exists():
        advance(experiment.recipe.steps)
        return read_run(folder, job.label, job.seed).loss
    folder.error.unlink(missing_ok=True)
    begun = time.perf_counter()
    batches = experiment.batches()
    encoding = experiment.encoding(experiment.arm(job.label), job.seed)
    model = Decoder(experiment.model, encoding, job.seed).to(experiment.compute.device)
    training = Training(model, batches, experiment.recipe_of(job.seed))
    _train(training, experiment, folder, advance)
    found = evaluated(model, experiment, batches)
    found["snapshots"] = _measured(folder, encoding, experiment.model.context)
    found["not_exported"] = _exported(model, folder)
    about = _about(job, model, batches, encoding, time.perf_counter() - begun)
    write_json(folder.result, {**about, **found})
    return float(found["loss"])


def _train(
    training: Training,
    experiment: Experiment,
    folder: RunFolder,
    advance: Callable[[int], None],
) -> None:
    """Train to the end; whatever a state has counted was written before it."""
    steps, model = training.recipe.steps, training.model
    kept = set(snapshot_steps(steps, experiment.record.snapshots))
    if folder.state.exists():
        _go_on(training, folder)
    else:
        save_snapshot(model, folder.snapshots, 0)
    advance(training.step)
    with appending(folder.metrics, training.step) as metrics:
        for shown in training.run():
            metrics.write(shown)
            done = training.step
            if done in kept:
                save_snapshot(model, folder.snapshots, done)
            if done % experiment.record.state == 0 or done == steps:
                _require_finite(model, done)
                metrics.sync()
                save_training(training, folder.state)
            advance(done)


def _go_on(training: Training, folder: RunFolder) -> None:
    try:
        load_training(training, folder.state)
    except LabError as error:
        raise LabError(
            error.problem,
            expected=error.expected,
            got=error.got,
            remedy=f"remove the folder {quoted(folder.path, 1000)} to begin the run anew",
        ) from error


def _require_finite(model: Decoder, step: int) -> None:
    """Keep weights that broke down from replacing a good state."""
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise LabError(
                f"training broke down at step {step - 1}",
                expected="finite weights after it",
                got=f"others in {name}",
                remedy="give a lower rate or a longer warm-up",
            )


def _measured(folder: RunFolder, encoding: Encoding, context: int) -> list[dict[str, Any]]:
    """The geometry of each snapshot of a learned table, over the rows that were trained."""
    if encoding.name != "learned":
        return [{"step": step, "measures": {}} for step in snapshots_of(folder.snapshots)]
    found = []
    for step, path in snapshots_of(folder.snapshots).items():
        values = measures_of_table(read_table(path)[:context]).values
        scalars = {k: v for k, v in values.items() if not isinstance(v, list | dict)}
        found.append({"step": step, "measures": scalars})
    return found


def _exported(model: Decoder, folder: RunFolder) -> str:
    """Write the model's folder whole; return why there is none where transformers has no such."""
    unfinished = folder.path / ".model.part"
    try:
        export(model, unfinished)
        folder.replace_model(unfinished)
    except LabError as error:
        return str(error)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return ""


def _about(
    job: Job, model: Decoder, batches: Split | Task, encoding: Encoding, seconds: float
) -> dict[str, Any]:
    owned = sum(weight.numel() for weight in model.position.parameters())
    return {
        "schema": SCHEMA,
        "label": job.label,
        "seed": job.seed,
        "encoding": repr(encoding),
        **_read(batches),
        "parameters": {"position": owned, "all": sum(w.numel() for w in model.parameters())},
        "computed": {
            "poslens": __version__,
            "torch": torch.__version__,
            "device": job.experiment.compute.device,
            "threads": torch.get_num_threads(),
            "seconds": seconds,
        },
    }


def _read(batches: Split | Task) -> dict[str, str]:
    if isinstance(batches, Task):
        return {"task": repr(batches)}
    return {"text": repr(batches.text)}


@contextmanager
def _locked(lock: FileLock, name: str) -> Iterator[None]:
    try:
        held = lock.acquire(timeout=LOCK_SECONDS)
    except Timeout as error:
        raise LabError(
            f"another process is at the run {name}",
            remedy="wait for it, or end it and give --resume",
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write {quoted(lock.lock_file)}",
            got=quoted(error.strerror or error),
            remedy="choose another path, or make room",
        ) from error
    with held:
        yield


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Have torch use so many threads, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
