"""The command line: exit status, what goes to which stream, and errors of one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import poslens
from poslens.cli import app
from poslens.command_line import terminated_as_interrupted


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def process(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "poslens", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # noqa: S603


@pytest.fixture
def table(tmp_path: Path, curve: np.ndarray) -> Path:
    path = tmp_path / "table.npy"
    np.save(path, curve)
    return path


def test_claims_are_printed_within_eighty_columns(table: Path) -> None:
    done = process("analyze", str(table), "--nulls", "99")
    assert done.returncode == 0
    assert done.stderr == ""
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    for claim in ("norm.stable", "trajectory.smooth", "pca.few_components"):
        assert claim in done.stdout
    assert "\x1b" not in done.stdout  # no colours where nobody sees them


def test_json_on_standard_output_is_alone(table: Path, curve: np.ndarray) -> None:
    done = process("analyze", str(table), "--json", "-", "--nulls", "19", "--seed", "2")
    record = json.loads(done.stdout)
    same = poslens.analyze(str(table), nulls=19, seed=2)
    assert done.stdout == same.to_json()
    assert record["settings"] == {"view": "raw", "nulls": 19, "seed": 2}


def test_everything_can_be_written_at_once(table: Path, tmp_path: Path) -> None:
    html, record, saved = (tmp_path / name for name in ("a.html", "a.json", "a.nc"))
    outputs = ("--html", str(html), "--json", str(record), "--save", str(saved))
    done = run("analyze", str(table), "--nulls", "19", *outputs)
    assert done.exit_code == 0, done.output
    assert html.read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert json.loads(record.read_text(encoding="utf-8"))["schema"] == 1
    assert poslens.open_study(saved).to_json() == record.read_text(encoding="utf-8")


def test_settings_reach_the_analysis(table: Path) -> None:
    options = ("--rows", "1:100", "--bar", "norm.stable=0.31", "--nulls", "0", "--json", "-")
    record = json.loads(run("analyze", str(table), *options).stdout)
    assert record["table"]["length"] == 99
    assert record["settings"]["bars"] == {"norm.stable": 0.31}
    stable = next(claim for claim in record["claims"] if claim["id"] == "norm.stable")
    assert stable["bar"] == "<= 0.31"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.npy"], ["missing.npy", "expected"]),
        (["sinusoidal:length=2,dim=4"], ["length"]),
        (["TABLE", "--html", "no/such/folder.html"], ["cannot write", "folder"]),
        (["TABLE", "--rows", "7"], ["START:STOP"]),
        (["TABLE", "--rows", "a:b"], ["START:STOP"]),
        (["TABLE", "--bar", "norm.stable"], ["CLAIM=VALUE"]),
        (["TABLE", "--bar", "norm.stable=x"], ["CLAIM=VALUE"]),
        (["TABLE", "--bar", "norm.stabel=1"], ["norm.stable"]),
        (["TABLE", "--view", "side"], ["raw or effective"]),
        (["TABLE", "--view", "effective"], ["--view raw"]),
        (["TABLE", "--part", "encoder"], ["encoder"]),
        (["bad\nname\x1b[31m.npy"], ["name"]),
    ],
)
def test_an_error_is_one_line_and_status_one(
    table: Path, arguments: list[str], words: list[str]
) -> None:
    full = [str(table) if word == "TABLE" else word for word in arguments]
    done = run("analyze", *full)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("poslens: ")
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    "arguments", [["analyze"], ["analyse", "x"], ["analyze", "x", "--sead", "1"], ["compare"]]
)
def test_bad_usage_is_status_two(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_unwritable_output_is_noticed_before_the_work(tmp_path: Path) -> None:
    """The source does not exist either, but the output is checked first."""
    done = run("analyze", "missing.npy", "--save", str(tmp_path / "no" / "x.nc"))
    assert "cannot write" in done.stderr


def test_sources_are_compared_side_by_side(minilm: Path, smollm2_path: Path) -> None:
    sources = (str(minilm), str(smollm2_path), "alibi:heads=12", "sinusoidal:length=512,dim=384")
    done = process("compare", *sources, "--nulls", "0")
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert rows["scheme"] == ["learned", "rope", "alibi", "sinusoidal"]
    assert rows["learned.trained_rows"] == ["✓", "0", "–", "–", "–"]
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert "\x1b" not in done.stdout


def test_a_comparison_is_written(table: Path, tmp_path: Path) -> None:
    html, record = tmp_path / "a.html", tmp_path / "a.json"
    labels = ("--label", "curve", "--label", "two\nlines")
    outputs = ("--html", str(html), "--json", str(record))
    done = run("compare", str(table), "nope", "--nulls", "0", *labels, *outputs)
    assert done.exit_code == 0, done.output
    assert "1 curve" in done.stdout
    assert html.read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert json.loads(record.read_text(encoding="utf-8"))["labels"] == ["curve", r"two\nlines"]


def test_json_of_a_comparison_is_alone_on_standard_output(table: Path) -> None:
    options = ("--nulls", "19", "--seed", "2", "--rows", "1:100")
    done = process("compare", str(table), str(table), *options, "--json", "-")
    assert done.stderr == ""
    same = poslens.compare([str(table)] * 2, nulls=19, seed=2, rows=(1, 100))
    assert done.stdout == same.to_json()
    alone = json.loads(run("analyze", str(table), *options, "--json", "-").stdout)
    assert json.loads(done.stdout)["studies"] == [alone, alone]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["TABLE"], ["two sources or more"]),
        (["TABLE", "missing.npy"], ["missing.npy", "expected"]),
        (["TABLE", "alibi:heads=12", "--rows", "1:9"], ["'alibi:heads=12'", "--rows"]),
        (["TABLE", "TABLE", "--view", "effective"], ["table.npy", "--view raw"]),
        (["TABLE", "nope", "--label", "a"], ["2 different ones"]),
        (["TABLE", "nope", "--html", "no/such/folder.html"], ["cannot write", "folder"]),
        (["TABLE", "bad\nname\x1b[31m.npy"], ["name"]),
    ],
)
def test_an_error_of_a_comparison_is_one_line(
    table: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    full = [str(table) if word == "TABLE" else word for word in arguments]
    record = tmp_path / "record.json"
    done = run("compare", *full, "--json", str(record))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("poslens: ")
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr
    assert not record.exists()
    for word in words:
        assert word in done.stderr


def test_a_traceback_only_with_debug() -> None:
    assert "Traceback" not in process("analyze", "missing.npy").stderr
    assert "Traceback" in process("analyze", "missing.npy", "--debug").stderr


def test_a_closed_pipe_is_no_error_message(table: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "poslens", "analyze", str(table), "--nulls", "0"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603
    os.close(write)
    assert "Traceback" not in done.stderr


def test_version_and_help() -> None:
    assert run("--version").stdout == f"poslens {poslens.__version__}\n"
    shown = run("analyze", "--help").stdout
    for option in ("--part", "--view", "--rows", "--nulls", "--seed", "--bar", "--html", "--json"):
        assert option in shown
    assert {"analyze", "compare"} <= set(run("--help").stdout.split())


def test_importing_poslens_loads_no_library() -> None:
    heavy = "numpy scipy xarray plotly rich typer h5py jaxtyping"
    code = f"import sys, poslens; print([m for m in '{heavy}'.split() if m in sys.modules])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "[]\n"


def test_every_public_name_is_there() -> None:
    for name in poslens.__all__:
        assert getattr(poslens, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = poslens.nothing


def test_sigterm_is_an_exception_for_as_long_as_a_command_runs() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, terminated_as_interrupted():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_handler_of_the_callers_stays() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with terminated_as_interrupted():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


def test_another_thread_leaves_sigterm_alone() -> None:
    found: list[object] = []

    def enter() -> None:
        with terminated_as_interrupted():
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [before]
