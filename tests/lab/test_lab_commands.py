"""``poslens lab``: exit status, one line for an error, and processes that end with their parent."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from lab_experiments import written
from typer.testing import CliRunner, Result

from poslens.cli import app
from poslens.lab.metrics_file import steps_written


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["lab", *arguments])


def test_importing_the_command_line_imports_no_torch() -> None:
    code = "import sys, poslens.cli; assert not {'torch', 'numpy', 'rich'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603
    assert done.returncode == 0


def test_what_is_shipped_is_listed() -> None:
    done = run("list")
    assert done.exit_code == 0
    for said in ("quick", "paper", "tasks", "cost:", "hardware:", "GPU"):
        assert said in done.stdout


def test_from_nothing_to_a_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    file = str(written(tmp_path))
    options = ("--out", str(out), "--workers", "1", "--set", "recipe.steps=4")
    done = run("run", file, *options)
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines()[0].startswith("learned-0: done, held-out loss")
    assert len(done.stderr.splitlines()) == 6
    assert "training.stabler" in done.stdout
    again = run("run", file, *options)
    assert again.exit_code == 1
    assert again.stderr.startswith("poslens: ")
    assert len(again.stderr.splitlines()) == 1
    assert "--resume" in again.stderr
    resumed = run("run", file, *options, "--resume")
    assert resumed.exit_code == 0
    assert resumed.stdout == done.stdout
    copied = run("run", str(out / "experiment.toml"), "--out", str(out), "--resume")
    assert copied.exit_code == 0
    reported = run("report", str(out))
    assert reported.exit_code == 0
    assert (out / "report.html").read_text().lower().startswith("<!doctype html>")
    found, pointed = done.stdout.rstrip().rsplit("\n", 1)
    assert pointed == f"`poslens lab report {out}` writes the report"
    assert reported.stdout.startswith(found)
    elsewhere = tmp_path / "elsewhere.html"
    assert run("report", str(out), "--html", str(elsewhere)).exit_code == 0
    assert elsewhere.read_bytes() == (out / "report.html").read_bytes()


def test_runs_that_stop_are_named_at_the_end(tmp_path: Path) -> None:
    changes = ("--set", "recipe.rate=1e38", "--set", "schemes=['rope']")
    options = ("--out", str(tmp_path / "out"), "--workers", "1")
    done = run("run", str(written(tmp_path)), *options, *changes)
    assert done.exit_code == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("poslens: 2 of 2 runs stopped")
    for said in ("rope-0: training broke down at step", "rope-3"):
        assert said in last
    # Nothing was done, so that there is nothing to report, and nothing saved to speak of.
    for false in ("others are done", "lab report", "sound"):
        assert false not in done.output


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_disk_that_is_too_full_for_the_reason_is_no_success(tmp_path: Path) -> None:
    out = tmp_path / "a b"
    command = ["run", str(written(tmp_path)), "--out", str(out), "--workers", "1"]
    command += ["--set", "recipe.steps=2", "--set", "schemes=['nope', 'learned']", "--resume"]
    command += ["--set", "seeds=[0]"]
    assert run(*command).exit_code == 0
    shutil.rmtree(out / "runs" / "learned-0")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        done = run(*command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert done.exit_code == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("poslens: 1 of 2 runs stopped: got learned-0: cannot write ")
    assert last.endswith(f"; the others are done: `poslens lab report '{out}'` shows them")
    assert not (out / "runs" / "learned-0" / "error.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "quik", "--out", "OUT"], ["quik", "one of demo, paper, quick, tasks"]),
        (["run", "FILE", "--out", "OUT", "--executor", "slurm"], ["processes or dask", "slurm"]),
        (["run", "FILE", "--out", "OUT", "--workers", "0"], ["at least 1", "--workers"]),
        (["run", "FILE", "--out", "OUT", "--set", "recipe.stepz=1"], ["did you mean steps?"]),
        (["report", "OUT"], ["no folder of an experiment"]),
    ],
)
def test_errors_are_one_line(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    places = {"FILE": str(written(tmp_path)), "OUT": str(tmp_path / "out")}
    done = run(*(places.get(argument, argument) for argument in arguments))
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_processes_end_with_their_parent(sent: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "poslens", "lab", "run", str(written(tmp_path))]
    options = ["--out", str(out), "--workers", "2", "--set", "recipe.steps=1000000"]
    parent = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)  # noqa: S603
    begun = [out / "runs" / name for name in ("learned-0", "rope-0")]
    end = time.monotonic() + 120
    while not all(steps_written(folder / "metrics.jsonl") for folder in begun):
        assert time.monotonic() < end
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(sent)
    _, said = parent.communicate(timeout=60)
    if sent != signal.SIGKILL:
        status, word = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}[
            sent
        ]
        assert parent.returncode == status
        assert said.splitlines()[-1].startswith(f"poslens: {word}; ")
        assert "--resume" in said
    # A run's lock is free when the process that held it has ended.
    for folder in begun:
        with FileLock(folder / ".lock", timeout=30):
            pass
