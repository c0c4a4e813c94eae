"""Experiments on synthetic tasks: what is read and refused, evaluated, claimed and shown."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from lab_experiments import TOML, contents, written
from rich.console import Console

from poslens.claims.claim import Verdict
from poslens.errors import LabError, SettingError
from poslens.lab.batches import IGNORED
from poslens.lab.claims import lab_claims
from poslens.lab.experiment import Experiment
from poslens.lab.model import Decoder
from poslens.lab.one_run import Job, run_one
from poslens.lab.reading import read_experiment
from poslens.lab.report import page
from poslens.lab.report.figures import figures
from poslens.lab.report.terminal import summary
from poslens.lab.results import LabResults, read_results
from poslens.lab.runs import run_experiment
from poslens.lab.state import load_training
from poslens.lab.tasks import TASKS, Copy, Counting, Lookup, Reverse
from poslens.lab.train import Training

LOOKUP = "task = 'lookup'\nback = 3\nsymbols = 5"
LENGTHS = (16, 48)


def on_task(folder: Path, data: str = LOOKUP, *changes: str) -> Experiment:
    toml = TOML.replace('file = "text.txt"', data)
    return read_experiment(written(folder, toml), ["evaluate.factors=[1, 3]", *changes])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment on a task, done without interruption."""
    folder = tmp_path_factory.mktemp("tasks")
    short = "{ scheme = 'learned', rows = 16, label = 'short' }"
    changes = ("evaluate.contexts=37", f"schemes=['learned', 'rope', {short}]")
    run_experiment(on_task(folder, LOOKUP, *changes), folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def found(whole: Path) -> LabResults:
    return read_results(whole)


@pytest.mark.parametrize(
    ("data", "task"),
    [
        ("task = 'copy'", Copy()),
        ("task = 'reverse'\nsymbols = 3", Reverse(3)),
        ("task = 'lookup'", Lookup()),
        (LOOKUP, Lookup(5, back=3)),
        ("task = 'counting'\nsymbols = 9", Counting(9)),
    ],
)
def test_a_task_is_read_and_written(data: str, task: object, tmp_path: Path) -> None:
    experiment = on_task(tmp_path, data)
    assert experiment.data == task
    assert type(experiment.data) is type(task)
    assert experiment.batches() is experiment.data
    assert experiment.model.vocabulary == experiment.data.vocabulary
    path = tmp_path / "copy.toml"
    path.write_text(experiment.to_toml(), encoding="utf-8")
    assert read_experiment(path) == experiment


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("task = 'revers'", ["unknown task 'revers'", "one of copy, reverse", "mean reverse?"]),
        ("task = 3", ["'data.task'", "a string"]),
        ("task = 'copy'\nback = 3", ["unknown key 'data.back'", "one of symbols"]),
        ("task = 'lookup'\nbak = 3", ["unknown key 'data.bak'", "did you mean back?"]),
        ("task = 'lookup'\nback = 'x'", ["'data.back'", "a whole number"]),
        ("task = 'copy'\nfile = 'text.txt'", ["no 'data.file'", "leave one of them out"]),
        ("task = 'copy'\nheld_out = 0.1", ["no 'data.held_out'", "leave one of them out"]),
        ("task = 'copy'\nsymbols = 1", ["symbols", "at least 2", "got 1"]),
        ("task = 'lookup'\nback = 16", ["is so short", "at least 17 positions", "got 16"]),
        ("task = 'counting'\nsymbols = 17", ["is so short", "at least 17 positions", "got 16"]),
        ("task = 'copy'\n[evaluate]\nstride = 4", ["evaluate.stride", "on a text", "leave it out"]),
        ("task = 'copy'\n[evaluate]\ncontexts = 0", ["evaluate.contexts", "at least 1"]),
    ],
)
def test_what_cannot_be_asked_is_named(data: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises((LabError, SettingError)) as caught:
        on_task(tmp_path, data)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_a_model_has_the_vocabulary_of_its_task(tmp_path: Path) -> None:
    experiment = on_task(tmp_path)
    with pytest.raises(LabError, match=r"not for Lookup.* a vocabulary of 6, got 256"):
        replace(experiment, model=replace(experiment.model, vocabulary=256))


def test_results_are_those_of_the_saved_models(found: LabResults, whole: Path) -> None:
    """Loss and accuracy again, from logits; a table without rows for a length has none there."""
    experiment = found.experiment
    task = experiment.data
    assert isinstance(task, Lookup)
    assert [run.name for run in found.runs if not run.sliding] == [
        f"{label}-{seed}" for label in ("learned", "rope", "short") for seed in (0, 3)
    ]
    for run in found.runs:
        arm = experiment.arm(run.label)
        model = Decoder(experiment.model, experiment.encoding(arm, run.seed), run.seed)
        load_training(Training(model, task, experiment.recipe_of(run.seed)), run.folder.state)
        assert tuple(run.lengths) == (LENGTHS if run.label != "short" else LENGTHS[:1])
        assert run.loss == run.lengths[16].loss
        for length, curve in run.lengths.items():
            inputs, targets = task.held_out(37, length, 0)
            with torch.no_grad():
                logits = model(torch.from_numpy(inputs)).double().numpy()
            asked = targets != IGNORED
            assert asked.sum() == 37 * (length - 3)
            right = (logits.argmax(-1) == targets)[asked].mean()
            logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            said = np.take_along_axis(logs, np.where(asked, targets, 0)[..., None], -1)[..., 0]
            assert curve.accuracy == pytest.approx(right, abs=1e-12)
            assert curve.loss == pytest.approx(-said[asked].mean(), rel=1e-5)
            assert curve.by_position is None
        record = json.loads(run.folder.result.read_text())
        assert record["task"] == "Lookup(symbols=5, back=3)"
        assert "text" not in record
        assert set(record["lengths"]["16"]) == {"loss", "accuracy"}


@pytest.mark.parametrize("name", [name for name in TASKS if name != "lookup"])
def test_every_task_is_done(name: str, tmp_path: Path) -> None:
    experiment = on_task(tmp_path, f"task = '{name}'\nsymbols = 7", "recipe.steps=2")
    outcome = run_one(Job(experiment, "rope", 3, tmp_path / "out"))
    assert outcome.problem == ""
    assert outcome.loss == pytest.approx(np.log(8), rel=0.1)


def test_a_run_that_goes_on_gives_the_same(found: LabResults, whole: Path, tmp_path: Path) -> None:
    job = Job(found.experiment, "rope", 3, tmp_path)
    assert run_one(job).problem == ""
    job.run_folder.result.unlink()
    assert run_one(job).problem == ""
    assert contents(job.run_folder.path) == contents(whole / "runs" / "rope-3")
    other = replace(found.experiment, data=Reverse(5))
    with pytest.raises(LabError, match=r"another experiment: expected data\.task 'reverse'"):
        run_experiment(other, whole, resume=True)


def test_claims_about_perplexity_are_not_made_of_tasks(found: LabResults) -> None:
    claims = {claim.id: claim for claim in lab_claims(found)}
    claim = claims["relative.extrapolates"]
    assert claim.verdict == Verdict.NOT_APPLICABLE
    assert "perplexity on text" in claim.note
    assert "the task lookup" in claim.note
    assert claims["learned.trained_rows"].verdict != Verdict.NOT_APPLICABLE


def test_the_figure_is_means_over_seeds_with_their_range(found: LabResults) -> None:
    drawn = figures(found)
    assert [figure.name for figure in drawn] == [
        "accuracy", "training", "path-learned", "path-short", "geometry"
    ]  # fmt: skip
    for figure in drawn:
        assert isinstance(figure.plotly(), go.Figure)
        assert "nan" not in figure.reading
    whole = drawn[0].plotly()
    assert [trace.name for trace in whole.data] == ["learned", "rope", "short"]
    for trace in whole.data:
        runs = found.of(trace.name).values()
        shares = np.array([[one.accuracy for one in run.lengths.values()] for run in runs])
        np.testing.assert_array_equal(trace.x, LENGTHS[: shares.shape[1]])
        np.testing.assert_allclose(trace.y, shares.mean(0), rtol=1e-6)
        above, below = trace.error_y.array, trace.error_y.arrayminus
        np.testing.assert_allclose(trace.y + above, shares.max(0), rtol=1e-6)
        np.testing.assert_allclose(trace.y - below, shares.min(0), rtol=1e-6)
    assert whole.layout.shapes[0].y0 == 1 / 5
    assert "37 contexts" in drawn[0].reading
    assert drawn[1].plotly().layout.yaxis.title.text == "loss in nats per answer"


def test_the_page_says_what_was_found(found: LabResults) -> None:
    text = page.page(found)
    for run in found.runs:
        for curve in run.lengths.values():
            assert f"{curve.accuracy:.1%}" in text
    for said in ("Lookup(symbols=5, back=3)", "<dt>Task</dt>", "3× loss", "48 positions"):
        assert said in text
    for unsaid in ("sliding", "<dt>Text</dt>", "per byte", "erplexity per"):
        assert unsaid not in text.split('id="figure-data"')[0]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_summary_has_every_share_and_its_range(found: LabResults, width: int) -> None:
    output = StringIO()
    Console(width=width, file=output).print(summary(found), highlight=False)
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= min(width, 80)
    (row,) = [place for place, line in enumerate(lines) if line.startswith("rope")]
    runs = found.of("rope").values()
    shares = [[100 * (run.lengths[at].accuracy or 0) for run in runs] for at in LENGTHS]
    assert lines[row].split() == ["rope", "2", *(f"{np.mean(one):.1f}" for one in shares)]
    span = " ".join(f"{min(one):.0f} … {max(one):.0f}" for one in shares)
    assert " ".join(lines[row + 1].split()) == span
    assert "sliding" not in output.getvalue()


def test_a_page_of_nothing_says_why(found: LabResults) -> None:
    names = tuple(run.name for run in found.runs)
    nothing = replace(found, runs=(), absent=names)
    text = page.page(nothing)
    assert "No run is done." in text
    assert text.count("no run") >= 3
    output = StringIO()
    Console(width=80, file=output).print(summary(nothing), highlight=False)
    assert "not done: learned-0" in output.getvalue()
