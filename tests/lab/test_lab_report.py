"""The report on an experiment: its figures, its page, and what a terminal shows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from io import StringIO

import numpy as np
import plotly.graph_objects as go
import pytest
from lab_experiments import small
from rich.console import Console

from poslens.lab.claims import lab_claims
from poslens.lab.report import page
from poslens.lab.report.figures import figures
from poslens.lab.report.figures.lines import binned, log_edges
from poslens.lab.report.terminal import summary
from poslens.lab.results import LabResults
from poslens.lab.runs import run_experiment


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> LabResults:
    folder = tmp_path_factory.mktemp("report")
    return run_experiment(small(folder, "about='a < b & c'"), folder / "out")


def empty(found: LabResults) -> LabResults:
    names = tuple(run.name for run in found.runs)
    return replace(found, runs=(), absent=names[1:], stopped={names[0]: "loss <nan> at step 3"})


def printed(results: LabResults, width: int) -> list[str]:
    output = StringIO()
    Console(width=width, file=output).print(summary(results), highlight=False)
    return output.getvalue().splitlines()


def test_plotly_accepts_every_figure(found: LabResults) -> None:
    drawn = figures(found)
    assert [figure.name for figure in drawn] == [
        "extrapolation",
        "by-position",
        "training",
        "path-learned",
        "path-smooth",
        "geometry",
    ]
    for figure in drawn:
        assert isinstance(figure.plotly(), go.Figure)
        assert figure.reading
        assert "nan" not in figure.reading


def test_curves_are_means_over_seeds_with_their_range(found: LabResults) -> None:
    data = figures(found)[0].plotly().data
    line = next(trace for trace in data if trace.name == "rope")
    losses = [[run.lengths[n].loss for n in (16, 32, 64, 128)] for run in found.of("rope").values()]
    mean, most = np.exp(np.mean(losses, axis=0)), np.exp(np.max(losses, axis=0))
    np.testing.assert_allclose(line.x, [16, 32, 64, 128])
    np.testing.assert_allclose(line.y, mean, rtol=1e-6)
    np.testing.assert_allclose(line.error_y.array, most - mean, rtol=1e-4, atol=1e-6)
    dotted = [trace for trace in data if trace.line.dash == "dot" and trace.legendgroup == "rope"]
    sliding = [[run.sliding[n].loss for n in (32, 64, 128)] for run in found.of("rope").values()]
    np.testing.assert_allclose(dotted[0].y[1:], np.exp(np.mean(sliding, axis=0)), rtol=1e-6)
    assert dotted[0].y[0] == line.y[0]  # at the trained length nothing slides


def test_a_slider_shows_one_snapshot_at_a_time(found: LabResults) -> None:
    run = found.of("learned")[0]
    figure = next(one for one in figures(found) if one.name == "path-learned").plotly()
    (slider,) = figure.layout.sliders
    assert [step.label for step in slider.steps] == ["0", "1", "2", "5", "11"]
    assert [trace.visible for trace in figure.data] == [False] * 4 + [True]
    assert slider.active == 4
    for number, step in enumerate(slider.steps):
        shown = step.args[0]["visible"]
        assert shown == [other == number for other in range(5)]
    # Distances of drawn points are those of the rows along the axes of the last table.
    rows = run.tables()[11][:16]
    centred = rows - rows.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False)[:3]
    last = np.stack([figure.data[-1][letter] for letter in "xyz"])
    np.testing.assert_allclose(np.linalg.norm(last, axis=1), values, rtol=1e-5)


def test_no_line_leaves_its_bins(found: LabResults) -> None:
    edges = log_edges(128, 20)
    values = np.random.default_rng(0).normal(size=128)
    assert (edges[0], edges[-1]) == (0, 128)
    assert (np.diff(edges) > 0).all()
    means = binned(values, edges)
    for mean, low, high in zip(means, edges[:-1], edges[1:], strict=True):
        assert mean == pytest.approx(values[low:high].mean(), rel=1e-12)


def test_the_page_says_what_was_found(found: LabResults) -> None:
    text = page.page(found)
    assert "<h1>small: schemes side by side</h1>" in text
    assert "a &lt; b &amp; c" in text
    assert "<script>a < b" not in text
    for claim in lab_claims(found):
        assert claim.id in text
    data = re.search(r'id="figure-data">(.*?)</script>', text, re.S)
    assert data is not None
    assert len(json.loads(data[1])) == 6
    for shown in ("Expected", "Nothing.", "A second.", "recipe", "2 seeds", "128 positions"):
        assert shown in text
    assert page.page(found) == text  # the same bytes


def test_a_page_of_nothing_says_why(found: LabResults) -> None:
    text = page.page(empty(found))
    assert text.count("no run") >= 4
    assert "loss &lt;nan&gt; at step 3" in text
    assert "Not done: learned-3" in text
    assert "No run is done." in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_summary_fits_a_terminal(found: LabResults, width: int) -> None:
    for results in (found, empty(found)):
        lines = printed(results, width)
        assert max(map(len, lines)) <= min(width, 80)
        text = " ".join(lines)
        assert "relative.extrapolates" in text
        assert "a < b & c" in text


def test_the_summary_has_every_perplexity(found: LabResults) -> None:
    row = next(line for line in printed(found, 80) if line.startswith("rope")).split()
    assert row[:2] == ["rope", "2"]
    losses = [run.lengths[64].loss for run in found.of("rope").values()]
    assert float(row[4]) == pytest.approx(np.exp(np.mean(losses)), rel=0.01)
    assert len(row) == 7
