"""Studies side by side in a terminal, a notebook and a page, and their profiles overlaid."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

import poslens
from poslens.claims.claim import Verdict
from poslens.report import aligned, words
from poslens.report.comparison_page import comparison_fragment, comparison_page
from poslens.report.figures import drawing
from poslens.report.figures.overlaid import cosine_profiles, kernel_profiles
from poslens.report.html import in_script
from poslens.report.side_by_side import print_side_by_side
from poslens.study import Labelled, Study

MakeStudy = Callable[..., Study]

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[red]not markup[/red] [/]",
    "two\nlines\r\x1b[31m and an escape",
    "<b>bold</b> &amp; {{x}} $page ${page} %{x}",
    "漢字" * 60,
    "x" * 300,
    "\u2028\u2029\u202e",
)


@pytest.fixture(scope="module")
def alibi() -> Study:
    """A model without a table, and without what a study says of its kernel."""
    study = poslens.analyze("alibi:heads=12")
    claims = tuple(
        dataclasses.replace(claim, verdict=Verdict.NOT_APPLICABLE, value=None)
        for claim in study.claims
    )
    return dataclasses.replace(study, data={}, measures={}, undefined={}, claims=claims)


def with_kernel(study: Study, heads: np.ndarray, *, causal: bool = True) -> Study:
    """A study with a kernel: ``heads`` of shape (head, offset) at layer 0, others at layer 1."""
    length = heads.shape[1] if causal else (heads.shape[1] + 1) // 2
    offset = np.arange(1 - length, 1 if causal else length)
    coords = {"layer": np.arange(2), "head": np.arange(heads.shape[0]), "offset": offset}
    part = Labelled(("layer", "head", "offset"), np.stack([heads, 7 - 2 * heads]), coords)
    measures = {
        "kernel.relative_share": [0.1 * (head + 1) for head in range(heads.shape[0])],
        "kernel.half_distance": [2 * head + 1 for head in range(heads.shape[0])],
    }
    return dataclasses.replace(
        study,
        data={**study.data, "kernel.distance_part": part},
        measures={**study.measures, **measures},
    )


def printed(studies: Sequence[Study], labels: Sequence[str], width: int = 80) -> str:
    stream = io.StringIO()
    print_side_by_side(studies, labels, Console(file=stream, width=width))
    return stream.getvalue()


def named(study: Study, name: str) -> Study:
    source = dataclasses.replace(study.source, uri=name, tensor=name, family=name, scheme=name)
    claims = tuple(dataclasses.replace(claim, note=name) for claim in study.claims)
    return dataclasses.replace(study, source=source, claims=claims, recognised=name)


def line_of(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(name + " "))


def test_the_terminal_shows_every_source_beside_the_others(
    make_study: MakeStudy, alibi: Study
) -> None:
    text = printed([make_study(), alibi, make_study(131)], ["one", "two", "three"])
    assert line_of(text, "scheme").split() == ["scheme", "learned", "alibi", "learned"]
    assert line_of(text, "table").split("  ")[-1].strip() == "131 × 12"
    assert line_of(text, "norm.stable").split()[1:] == ["?", "0.1504", "–", "?", "0.1504"]
    assert line_of(text, "trajectory.linear").split()[1:] == ["✗", "0.120", "–", "✗", "0.120"]
    assert "sinusoid.no_parameters" not in text  # applies to none of them
    assert line_of(text, "pca.n80").split()[1:] == [
        words.value_text(make_study().measures["pca.n80"]),
        words.NOTHING,
        words.value_text(make_study(131).measures["pca.n80"]),
    ]
    assert alibi.recognised.split(",")[0] in text
    assert "✓ supported · ✗ contradicted · ? inconclusive · – not applicable" in text


def test_kernels_are_shown_as_the_median_over_heads(make_study: MakeStudy, alibi: Study) -> None:
    studies = [with_kernel(alibi, np.random.default_rng(0).normal(size=(6, 9))), make_study()]
    text = printed(studies, ["a", "b"])
    assert line_of(text, "kernel.relative_share").split()[1:] == ["0.350", words.NOTHING]
    assert line_of(text, "kernel.half_distance").split()[1:] == ["6", words.NOTHING]
    assert "median over the heads" in text
    assert "median over the heads" not in printed([make_study(), alibi], ["a", "b"])


@pytest.mark.parametrize(
    ("heads", "median"),
    [([None, 3, 1], 2.0), ([None], None), ([], None), (None, None), ([float("nan"), 4.0], 4.0)],
)
def test_the_median_is_over_heads_that_have_a_value(heads: Any, median: float | None) -> None:
    assert aligned.over_heads(heads) == median


@pytest.mark.parametrize(("width", "blocks"), [(80, 2), (120, 1), (200, 1), (40, 7)])
def test_columns_that_do_not_fit_follow_in_blocks(
    make_study: MakeStudy, alibi: Study, width: int, blocks: int
) -> None:
    labels = [f"source-{number}" for number in range(7)]
    text = printed([make_study(), *[alibi] * 6], labels, width)
    rows = [line for line in text.splitlines() if line.startswith("scheme")]
    assert len(rows) == blocks
    assert sum(row.split().count("alibi") for row in rows) == 6
    assert max(cell_len(line) for line in text.splitlines()) <= min(width, 120)
    for number in range(7):
        assert f"{number + 1} source-{number}" in text


def test_a_stream_without_unicode_loses_looks_alone(make_study: MakeStudy, alibi: Study) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_side_by_side([make_study(), alibi], ["é", "b"], Console(file=stream, width=80))
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert line_of(text, "cosine.neighbours_alike").split()[1:] == ["+", "0.988", "-"]
    assert line_of(text, "table").split()[1:] == ["64", "x", "12", "none"]


def test_sources_without_any_claim_or_measure(alibi: Study) -> None:
    assert "no claim applies to any of these" in printed([alibi, alibi], ["a", "b"])
    page = comparison_page([alibi, alibi], ["a", "b"])
    assert "None of these sources adds a table to measure." in page
    assert "Not drawn: a, b (no table)." in page


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(make_study: MakeStudy, alibi: Study, name: str) -> None:
    studies = [named(make_study(), name), named(alibi, name)]
    labels = [words.visible(name) + "1", words.visible(name) + "2"]
    text = printed(studies, labels)
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert all(c == "\n" or c.isprintable() for c in text)
    plain = comparison_page([make_study(), alibi], ["a", "b"])
    page = comparison_page(studies, labels)
    for tag in ("<script", "<img", "<b>bold", "<iframe"):
        assert page.count(tag) == plain.count(tag)
    assert "\u202e" not in page
    fragment = comparison_fragment(studies, labels)
    assert not re.search(r"<(script|img|iframe)|<b>bold", fragment)


@given(st.lists(st.text(max_size=80), min_size=2, max_size=2, unique=True))
@settings(max_examples=40, derandomize=True, deadline=None)
def test_any_label_can_be_shown(labels: list[str]) -> None:
    study = poslens.analyze("nope")
    text = printed([study, study], labels, 60)
    assert all(c == "\n" or c.isprintable() for c in text)
    assert max(cell_len(line) for line in text.splitlines()) <= 60


def test_the_page_shows_claims_measures_and_where_they_come_from(
    make_study: MakeStudy, alibi: Study
) -> None:
    study = make_study()
    page = comparison_page([study, alibi], ["first", "second"])
    flat = re.sub(r"<wbr>", "", page)
    for claim in study.claims:
        assert claim.id in flat
        assert (claim.statement in flat) == (claim.verdict is not Verdict.NOT_APPLICABLE)
    for name, values in aligned.with_kernels([study, alibi]).items():
        assert f">{name}<" in flat
        assert f'<span class="number">{words.value_text(values[0])}</span>' in flat
    for each in (study, alibi):
        assert words.visible(each.source.uri) in flat
    assert study.source.sha256 is not None
    assert study.source.sha256 in flat
    assert "no claim applies: this model adds no position table" in flat
    assert page.count("http-equiv") == 1
    assert "default-src 'none'" in page


def test_a_bar_that_differs_stands_with_each_value(make_study: MakeStudy) -> None:
    one, other = make_study(), make_study(131)
    claims = tuple(dataclasses.replace(claim, bar="<= 7.5") for claim in other.claims)
    other = dataclasses.replace(other, claims=claims)
    assert comparison_page([one, one], ["a", "b"]).count("≤&nbsp;0.15<") == 1
    page = comparison_page([one, other], ["a", "b"])
    assert page.count("≤&nbsp;0.15<") == 1
    assert page.count("≤&nbsp;7.5<") == len(words.tested(other))


def test_the_same_comparison_gives_the_same_bytes(
    make_study: MakeStudy, alibi: Study, tmp_path: Path
) -> None:
    pair = poslens.Comparison((make_study(), alibi), ("a", "b"))
    pair.report(tmp_path / "a.html")
    pair.report(tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == comparison_page(
        pair.studies, pair.labels
    )
    assert "✗" in pair._repr_html_()
    with pytest.raises(poslens.errors.OutputError):
        pair.report(tmp_path / "no" / "a.html")


def test_cosine_profiles_are_those_of_the_studies(make_study: MakeStudy, alibi: Study) -> None:
    studies = [make_study(), alibi, make_study(131)]
    figure = cosine_profiles(studies, ["one", "two", "three"])
    assert [trace["name"] for trace in figure.data] == ["one", "three"]
    for trace, study in zip(figure.data, (studies[0], studies[2]), strict=True):
        profile = study.data["cosine.profile"].values
        np.testing.assert_array_equal(trace["y"], profile[1:].astype(np.float32))
        assert trace["x"].tolist() == list(range(1, profile.size))
    assert "Not drawn: two (no table)." in figure.reading
    assert "distance none (one), none (three)" in figure.reading  # half_lag = L: never
    # A source has the same colour in both figures, whether or not it is drawn in the other.
    assert [trace["line"]["color"] for trace in figure.data] == [drawing.BLUE, drawing.GREEN]


def test_a_profile_that_is_undefined_says_why(make_study: MakeStudy, alibi: Study) -> None:
    study = make_study()
    poor = dataclasses.replace(
        study,
        data={k: v for k, v in study.data.items() if k != "cosine.profile"},
        undefined={"cosine.profile": "row 17 is <zero>"},
    )
    figure = cosine_profiles([study, poor], ["a", "b"])
    assert "Not drawn: b (row 17 is <zero>)." in figure.reading
    assert "row 17 is &lt;zero&gt;" in comparison_page([study, poor], ["a", "b"])
    assert (
        cosine_profiles([poor, alibi], ["p", "q"]).missing == "p (row 17 is <zero>); q (no table)"
    )


@pytest.mark.parametrize("causal", [True, False])
def test_kernels_are_scaled_and_their_median_is_drawn(alibi: Study, causal: bool) -> None:
    heads = np.random.default_rng(3).normal(size=(6, 131 if causal else 261))
    heads[4] = 2.5  # constant along distance: nothing to scale
    figure = kernel_profiles([alibi, with_kernel(alibi, heads, causal=causal)], ["none", "one"])
    thin, bold = figure.data
    past = (heads if causal else heads[:, :131])[:, ::-1]
    scaled = np.array([(f - f.min()) / (f.max() - f.min()) for f in np.delete(past, 4, 0)])
    assert bold["y"] == pytest.approx(np.median(scaled, axis=0), rel=1e-6, abs=1e-7)
    assert bold["customdata"].tolist() == (bold["x"] - 1).tolist() == list(range(131))
    drawn = thin["y"].reshape(5, 132)
    assert drawn[:, :-1] == pytest.approx(scaled, rel=1e-6, abs=1e-7)
    assert np.isnan(drawn[:, -1]).all()
    assert thin["visible"] == "legendonly"
    assert (thin["name"], bold["name"]) == ("one: each of 5 heads", "one")
    assert "distance 6 (one)" in figure.reading
    assert "Not drawn: none (no data)." in figure.reading


def test_long_kernels_are_thinned_by_head_but_not_in_the_median(alibi: Study) -> None:
    heads = -np.outer([1.0, 0.5], np.arange(5000.0)[::-1])
    thin, bold = kernel_profiles([with_kernel(alibi, heads), alibi], ["a", "b"]).data
    assert bold["x"].size == 5000
    assert thin["y"].size < 2 * 1025
    first = thin["y"][: thin["y"].size // 2 - 1]
    assert (first[0], first[-1]) == (1, 0)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_kernel_that_does_not_vary_is_not_drawn(alibi: Study, value: float) -> None:
    flat = with_kernel(alibi, np.full((3, 9), value))
    assert kernel_profiles([flat, flat], ["a", "b"]).missing == "a, b (the same at every distance)"


def test_what_a_study_says_of_its_kernel_is_drawn() -> None:
    studies = [
        poslens.analyze(text, nulls=0) for text in ("t5:heads=6,length=131", "alibi:heads=6")
    ]
    figure = kernel_profiles(studies, ["t5", "alibi"])
    for trace, study in zip(figure.data[2:], studies, strict=True):
        part = study.data["kernel.distance_part"]
        back = part.values[0][:, part.coords["offset"] <= 0][:, ::-1]
        low, high = back.min(axis=1, keepdims=True), back.max(axis=1, keepdims=True)
        scaled = np.median((back - low) / (high - low), axis=0)
        assert trace["y"] == pytest.approx(scaled, rel=1e-6, abs=1e-6)
        half = aligned.over_heads(study.measures["kernel.half_distance"])
        assert words.shown(half) in figure.reading


def test_the_overlaid_figures_are_valid_plotly(make_study: MakeStudy, alibi: Study) -> None:
    heads = np.random.default_rng(0).normal(size=(12, 40))
    studies = [with_kernel(make_study(), heads), with_kernel(alibi, heads[:1]), make_study()] * 6
    labels = [f"{name}-<i>{number}" for number, name in enumerate("abc" * 6)]
    script = resources.files("poslens.report").joinpath("page.js").read_text(encoding="utf-8")
    for draw in (cosine_profiles, kernel_profiles):
        figure = draw(studies, labels)
        assert len(figure.plotly().data) == len(figure.data) > 10
        looks = [(t["line"]["color"], t["line"]["dash"], t["line"]["width"]) for t in figure.data]
        assert len(set(looks)) == len(looks)
        assert not any("<" in trace["name"] for trace in figure.data)
        written = in_script([figure.data, figure.layout])
        json.loads(written)
        for colour in set(re.findall(r'"(#[0-9a-f]{6})"', written)):
            assert f'"{colour}":' in script  # its counterpart on dark paper
