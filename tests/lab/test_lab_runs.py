"""Runs: the same results however they are spread, and whenever they are killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
import torch
from filelock import FileLock
from lab_experiments import contents, small
from safetensors.torch import load_file, save_file

import poslens
from poslens.errors import LabError, OutputError
from poslens.lab import one_run
from poslens.lab.executors import processes
from poslens.lab.experiment import Experiment
from poslens.lab.metrics_file import MetricsFile, appending, read_metrics, steps_written
from poslens.lab.one_run import Job, Outcome, run_one
from poslens.lab.results import LabResults, read_results
from poslens.lab.runs import run_experiment
from poslens.lab.train import Metrics

NAMES = ["learned-0", "rope-0", "smooth-0", "learned-3", "rope-3", "smooth-3"]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return small(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def whole(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment, done without interruption, in one process."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    run_experiment(experiment, folder)
    return folder


def one_scheme(experiment: Experiment, folder: Path) -> Job:
    return Job(experiment, "learned", 3, folder)


def test_a_run_leaves_what_it_says(experiment: Experiment, whole: Path) -> None:
    found = read_results(whole)
    assert [run.name for run in found.runs] == [
        f"{arm}-{seed}" for arm in ("learned", "rope", "smooth") for seed in (0, 3)
    ]
    assert not found.stopped
    assert not found.absent
    for run in found.runs:
        assert list(run.lengths) == [16, 32, 64, 128]
        assert list(run.sliding) == [32, 64, 128]
        assert run.loss == run.lengths[16].loss
        assert run.metrics["step"].tolist() == list(range(11))
        for length, curve in (*run.lengths.items(), *run.sliding.items()):
            assert curve.by_position.shape == (length,)
            np.testing.assert_allclose(curve.by_position.mean(), curve.loss, rtol=1e-12)
    assert [s.step for s in found.runs[0].snapshots] == [0, 1, 2, 5, 11]


def test_the_models_open_as_models(whole: Path) -> None:
    found = read_results(whole)
    learned, rope = found.of("learned")[3], found.of("rope")[3]
    table = poslens.load_table(str(learned.folder.model))
    np.testing.assert_array_equal(table.rows, learned.tables()[11])
    assert poslens.describe(str(rope.folder.model)).family == "gpt_neox"


def test_rows_beyond_the_context_stay_as_they_began(whole: Path, experiment: Experiment) -> None:
    for seed, run in read_results(whole).of("learned").items():
        began, ended = run.tables()[0], run.tables()[11]
        drawn = experiment.encoding(experiment.arm("learned"), seed)
        np.testing.assert_array_equal(began, drawn.table(np.arange(128)).astype(np.float32))
        np.testing.assert_array_equal(began[16:], ended[16:])
        assert (began[:16] != ended[:16]).any(axis=1).all()


def test_measures_are_those_of_the_trained_rows(whole: Path) -> None:
    for run in read_results(whole).of("smooth").values():
        for snapshot in run.snapshots:
            rows = run.tables()[snapshot.step][:16]
            again = poslens.geometry.measures_of_table(rows).values
            assert snapshot.measures == {
                name: again[name] for name in snapshot.measures if name in again
            }
            assert snapshot.measures["trajectory.roughness"] is not None


def test_one_scheme_does_not_move_another(
    experiment: Experiment, whole: Path, tmp_path: Path
) -> None:
    job = Job(experiment, "rope", 3, tmp_path)
    assert run_one(job) == Outcome("rope-3", loss=read_results(whole).of("rope")[3].loss)
    assert contents(tmp_path / "runs" / "rope-3") == contents(whole / "runs" / "rope-3")


def test_processes_give_the_same(experiment: Experiment, whole: Path, tmp_path: Path) -> None:
    told: list[Outcome] = []
    shown: list[tuple[str, int, int]] = []
    with processes(2) as executor:
        run_experiment(
            experiment,
            tmp_path / "out",
            executor=executor,
            progress=lambda *said: shown.append(said),
            finished=told.append,
        )
    assert contents(tmp_path / "out") == contents(whole)
    assert sorted(outcome.name for outcome in told) == sorted(NAMES)
    assert shown[-1] == ("6 of 6 runs", 66, 66)


def test_dask_gives_the_same(experiment: Experiment, whole: Path, tmp_path: Path) -> None:
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
    )
    with cluster, distributed.Client(cluster) as client, client.get_executor() as executor:
        run_experiment(experiment, tmp_path / "out", executor=executor)
    assert contents(tmp_path / "out") == contents(whole)


def test_progress_and_outcomes_are_told(experiment: Experiment, whole: Path) -> None:
    shown: list[tuple[str, int, int]] = []
    told: list[Outcome] = []
    run_experiment(
        experiment,
        whole,
        resume=True,
        progress=lambda *said: shown.append(said),
        finished=told.append,
    )
    assert [outcome.name for outcome in told] == NAMES
    assert [done for _, done, _ in shown] == [11, 22, 33, 44, 55, 66]
    assert {total for _, _, total in shown} == {66}


def test_threads_are_the_experiments_and_then_as_before(
    experiment: Experiment, tmp_path: Path
) -> None:
    torch.set_num_threads(2)
    assert run_one(one_scheme(experiment, tmp_path)).problem == ""
    assert torch.get_num_threads() == 2
    record = json.loads((tmp_path / "runs" / "learned-3" / "result.json").read_text())
    assert record["computed"]["threads"] == 1


# Kills


def _killed_after(job: Job, events: int) -> None:
    """Do a run, and kill this process at one of its calls to the operating system."""
    seen = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event.startswith(("os.", "open", "shutil.")) and str(job.folder) in str(arguments):
            seen += 1
            if seen == events:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    run_one(job)


def _in_a_process(job: Job, events: int) -> int | None:
    # A fork, as torch takes seconds to import; this process has one thread.
    process = multiprocessing.get_context("fork").Process(target=_killed_after, args=(job, events))
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_killed_at_any_call_to_the_system_a_run_goes_on_to_the_same(
    experiment: Experiment, whole: Path, tmp_path: Path
) -> None:
    job = one_scheme(experiment, tmp_path)
    # At the end alone, a run makes more calls than that.
    for events in np.random.default_rng(4).integers(1, 80, 12).tolist():
        assert _in_a_process(job, events) == -signal.SIGKILL
    assert not job.run_folder.result.exists()
    assert run_one(job).problem == ""
    assert contents(job.run_folder.path) == contents(whole / "runs" / "learned-3")


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_killed_at_any_time_an_experiment_goes_on_to_the_same(
    experiment: Experiment, whole: Path, tmp_path: Path
) -> None:
    fork = multiprocessing.get_context("fork")
    draws = np.random.default_rng(5)
    for _ in range(8):
        process = fork.Process(
            target=run_experiment, args=(experiment, tmp_path), kwargs={"resume": True}
        )
        process.start()
        time.sleep(draws.uniform(0.0, 0.6))
        process.kill()
        process.join()
        # Whatever the moment, what is there can be read.
        if (tmp_path / "experiment.toml").exists():
            read_results(tmp_path)
    run_experiment(experiment, tmp_path, resume=True)
    assert contents(tmp_path) == contents(whole)


def test_lines_beyond_the_state_and_a_line_cut_off_are_dropped(
    experiment: Experiment, whole: Path, tmp_path: Path
) -> None:
    job = one_scheme(experiment, tmp_path)
    folder = job.run_folder
    shutil.copytree(whole / "runs" / "learned-3", folder.path)
    folder.result.unlink()
    shutil.rmtree(folder.model)
    whole_lines = folder.metrics.read_bytes()
    folder.metrics.write_bytes(whole_lines + b'{"step": 11, "loss": 9.0}\n{"step": 12, "lo')
    assert steps_written(folder.metrics) == 12
    assert run_one(job).problem == ""
    assert folder.metrics.read_bytes() == whole_lines
    assert contents(folder.path) == contents(whole / "runs" / "learned-3")


# What goes wrong


def _outcomes(experiment: Experiment, folder: Path) -> tuple[dict[str, str], LabResults]:
    told: list[Outcome] = []
    found = run_experiment(experiment, folder, resume=True, finished=told.append)
    return {outcome.name: outcome.problem for outcome in told}, found


def test_a_folder_with_runs_is_not_taken_without_resume(
    experiment: Experiment, whole: Path
) -> None:
    before = contents(whole)
    with pytest.raises(LabError, match=r"has runs of this experiment already.*--resume"):
        run_experiment(experiment, whole)
    assert contents(whole) == before


def test_a_folder_of_another_experiment_is_refused(experiment: Experiment, whole: Path) -> None:
    other = replace(experiment, recipe=replace(experiment.recipe, steps=12))
    for resume in (False, True):
        with pytest.raises(LabError, match=r"another experiment: .*recipe.steps '12', got '11'"):
            run_experiment(other, whole, resume=resume)


def test_what_is_said_of_an_experiment_may_change(experiment: Experiment, whole: Path) -> None:
    before = contents(whole)
    found = run_experiment(replace(experiment, expected="Something."), whole, resume=True)
    assert len(found.runs) == 6
    assert contents(whole) == before


def test_a_folder_in_use_is_refused(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(LabError, match="is in use"):
            run_experiment(experiment, tmp_path, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_nothing_is_made_where_a_text_or_device_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    long = small(tmp_path, "model.context=100")
    with pytest.raises(LabError, match="too short"):
        run_experiment(long, folder)
    if not torch.cuda.is_available():
        with pytest.raises(LabError, match="for a GPU"):
            run_experiment(small(tmp_path, "compute.device=cuda"), folder)
    assert not folder.exists()


def test_a_damaged_state_stops_its_run_alone(
    experiment: Experiment, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(whole, folder)
    (folder / "runs" / "rope-0" / "result.json").unlink()
    damaged = folder / "runs" / "rope-0" / "state.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    problems, found = _outcomes(experiment, folder)
    problem = problems.pop("rope-0")
    assert "is no state of a training" in problem
    assert problem.endswith(f"; remove the folder '{damaged.parent}' to begin the run anew")
    assert set(problems.values()) == {""}
    assert list(found.stopped) == ["rope-0"]
    assert len(found.runs) == 5
    shutil.rmtree(damaged.parent)
    run_experiment(experiment, folder, resume=True)
    assert contents(folder) == contents(whole)


def test_a_damaged_result_is_named(experiment: Experiment, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(whole, folder)
    for broken in ("{", "[]", '{"schema": 1}', '{"schema": 7}'):
        (folder / "runs" / "rope-0" / "result.json").write_text(broken)
        with pytest.raises(LabError, match=r"rope-0/result\.json"):
            read_results(folder)
    with pytest.raises(LabError, match="no folder of an experiment"):
        read_results(folder / "runs")


def test_a_loss_that_is_no_number_stops_its_run_alone(
    experiment: Experiment, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(whole, folder)
    broken = folder / "runs" / "smooth-3"
    (broken / "result.json").unlink()
    # A state in which a weight is far too large: the next loss is no number.
    with (broken / "metrics.jsonl").open() as file:
        lines = file.readlines()[:8]
    (broken / "metrics.jsonl").write_text("".join(lines))
    tensors = load_file(broken / "state.safetensors")
    about = {"format": 1, "step": 8, "run": _run_of(broken / "state.safetensors")}
    tensors["weight.tokens.weight"].fill_(1e38)
    save_file(tensors, broken / "state.safetensors", {"poslens.lab": json.dumps(about)})
    kept = (broken / "state.safetensors").read_bytes()
    problems, found = _outcomes(experiment, folder)
    assert "training broke down at step 8" in problems["smooth-3"]
    assert [name for name, problem in problems.items() if problem] == ["smooth-3"]
    assert found.stopped == {"smooth-3": problems["smooth-3"]}
    assert (broken / "state.safetensors").read_bytes() == kept
    assert len(read_metrics(broken / "metrics.jsonl")["step"]) == 8


def _run_of(path: Path) -> Any:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["poslens.lab"])["run"]


def test_weights_that_break_down_replace_no_good_state(tmp_path: Path) -> None:
    experiment = small(tmp_path, "recipe.rate=1e38", "record.state=1", "recipe.warmup=3")
    job = Job(experiment, "rope", 0, tmp_path / "out")
    outcome = run_one(job)
    assert "training broke down at step" in outcome.problem
    assert json.loads(job.run_folder.error.read_text()) == {"problem": outcome.problem}
    if job.run_folder.state.exists():
        tensors = load_file(job.run_folder.state)
        assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    assert not job.run_folder.result.exists()


def test_an_evaluation_that_is_no_number_stops_its_run(
    experiment: Experiment, whole: Path, tmp_path: Path
) -> None:
    job = one_scheme(experiment, tmp_path)
    shutil.copytree(whole / "runs" / "learned-3", job.run_folder.path)
    job.run_folder.result.unlink()
    tensors = load_file(job.run_folder.state)
    about = {"format": 1, "step": 11, "run": _run_of(job.run_folder.state)}
    tensors["weight.tokens.weight"].fill_(1e38)
    save_file(tensors, job.run_folder.state, {"poslens.lab": json.dumps(about)})
    assert "the evaluation at 16 positions broke down" in run_one(job).problem
    assert not job.run_folder.result.exists()


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, as on a disk that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize(
    ("size", "trained", "refused"),
    [
        (4_000, False, "step-00000000.safetensors"),
        (20_000, False, "state.safetensors"),
        (4_000, True, "tokenizer.json"),
        (20_000, True, "model.safetensors"),
        (0, True, "config.json"),
    ],
)
def test_a_full_disk_leaves_nothing_half_written(
    size: int, trained: bool, refused: str, experiment: Experiment, whole: Path, tmp_path: Path
) -> None:
    job = one_scheme(experiment, tmp_path)
    folder = job.run_folder
    if trained:
        shutil.copytree(whole / "runs" / "learned-3", folder.path)
        folder.result.unlink()
        shutil.rmtree(folder.model)
    with _largest_file(size):
        outcome = run_one(job)
    # Of a long path the message leaves out some of the file's name.
    assert re.match(rf"cannot write .*/{refused[:5]}.*File too large", outcome.problem)
    assert "make room" in outcome.problem
    assert folder.state.exists() == trained
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]
    assert not list(tmp_path.rglob(".tmp*"))
    assert run_one(job).problem == ""
    assert not folder.error.exists()
    assert contents(folder.path) == contents(whole / "runs" / "learned-3")


def test_what_a_kill_left_half_written_is_removed(experiment: Experiment, tmp_path: Path) -> None:
    folder = one_scheme(experiment, tmp_path).run_folder
    folder.create()
    for place in (folder.path, folder.snapshots):
        (place / ".state.safetensors.x1.part").write_bytes(b"half")
        (place / ".tmpAbC123").write_bytes(b"half")
    (folder.path / ".model.part").mkdir()
    folder.create()
    assert list(folder.path.rglob("*")) == [folder.snapshots]


def test_a_lock_that_cannot_be_taken_stops_its_run(experiment: Experiment, tmp_path: Path) -> None:
    job = one_scheme(experiment, tmp_path)
    (job.run_folder.path / ".lock").mkdir(parents=True)
    assert run_one(job).problem.startswith("cannot write ")


def test_metrics_on_a_full_disk_are_an_output_error(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists() and not os.environ.get("CI"):
        pytest.skip("needs /dev/full, which Linux has, and so has whatever runs the CI")
    link = tmp_path / "metrics.jsonl"
    link.symlink_to(full)
    said = r"metrics\.jsonl.*No space left.*--resume"
    with link.open("wb", buffering=0) as file, pytest.raises(OutputError, match=said):
        MetricsFile(link, file).write(Metrics(0, 1.0, 1.0, 1.0, 1.0))


def test_metrics_that_lack_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for content in ('{"step": 0}\n', '{"step": 0}\n{"step": 2}\n', '{"step": 0}\n[]\n', "x\ny\n"):
        path.write_text(content)
        said = f"is damaged.*remove the folder '{tmp_path}' to begin"
        with pytest.raises(LabError, match=said), appending(path, 2):
            pass
        assert path.read_text() == content


def test_two_processes_do_not_share_a_run(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_run, "LOCK_SECONDS", 0.05)
    job = one_scheme(experiment, tmp_path)
    job.run_folder.create()
    with FileLock(job.run_folder.path / ".lock"):
        assert "another process is at the run learned-3" in run_one(job).problem


def _ended(*_: object) -> None:
    os._exit(3)


def test_a_process_that_ends_is_named(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poslens.lab.runs.run_one", _ended)
    with processes(1) as executor, pytest.raises(LabError, match="a process ended during the run"):
        run_experiment(experiment, tmp_path / "out", executor=executor)


def test_any_executor_will_do(experiment: Experiment, whole: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        run_experiment(experiment, tmp_path / "out", executor=executor)
    assert contents(tmp_path / "out") == contents(whole)
