"""Terminal, notebook and page: what they show is the study, and names from files stay data."""

from __future__ import annotations

import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import poslens
from poslens.claims.claim import Verdict
from poslens.report import html
from poslens.report.figures import FIGURES
from poslens.report.terminal import print_claims
from poslens.study import Study

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[red]not markup[/red] [/]",
    "two\nlines\r\x1b[31m and an escape",
    "<b>bold</b> &amp; {{x}} $page ${page}",
    "漢字" * 60,
    "x" * 300,
    "\u2028\u2029\u202e",
)


@pytest.fixture(scope="module")
def study(curve: np.ndarray) -> Study:
    return poslens.analyze(curve, nulls=40)


def named(study: Study, name: str) -> Study:
    source = dataclasses.replace(study.source, uri=name, tensor=name, family=name)
    claims = tuple(dataclasses.replace(claim, note=name) for claim in study.claims)
    return dataclasses.replace(study, source=source, claims=claims)


def printed(study: Study, width: int = 80) -> str:
    stream = io.StringIO()
    print_claims(study, Console(file=stream, width=width))
    return stream.getvalue()


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def tags(text: str) -> Tags:
    parser = Tags()
    parser.feed(text)
    return parser


def test_the_terminal_shows_every_claim_with_its_value(study: Study) -> None:
    text = printed(study)
    for claim in study.claims:
        assert claim.id in text
        if claim.value is not None:
            row = next(line for line in text.splitlines() if claim.id in line)
            assert claim.verdict.value in row
            shown = re.findall(r"-?\d[\d.e+-]*", row.split(claim.id)[1])[0]
            assert float(shown) == pytest.approx(claim.value, rel=0.01, abs=1e-9)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_line_is_wider_than_the_terminal(study: Study, name: str) -> None:
    from rich.cells import cell_len

    text = printed(named(study, name))
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    assert "\u202e" not in text


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_name_can_be_printed_and_escaped(name: str) -> None:
    small = named(_small(), name)
    text = printed(small)
    assert all(c == "\n" or c.isprintable() for c in text)
    fragment = html.notebook_html(small)
    assert [tag for tag, _ in tags(fragment).found if tag in ("script", "img", "iframe")] == []


_SMALL: list[Study] = []


def _small() -> Study:
    if not _SMALL:
        rows = np.cumsum(np.random.default_rng(0).standard_normal((20, 4)), axis=0)
        _SMALL.append(poslens.analyze(rows, nulls=0))
    return _SMALL[0]


def test_the_page_is_one_file_that_loads_nothing(study: Study) -> None:
    text = html.page(study)
    found = tags(text)
    for tag, attributes in found.found:
        assert "src" not in attributes, tag
        assert not (attributes.get("href") or "").startswith(("http", "//")), tag
        assert not any(name.startswith("on") for name in attributes)
    policy = next(a for t, a in found.found if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in (policy["content"] or "")
    assert "unsafe-eval" not in (policy["content"] or "")


def test_the_page_shows_claims_figures_and_provenance(study: Study) -> None:
    words = " ".join(" ".join(tags(html.page(study)).words).split())
    for claim in study.claims:
        assert claim.id in words
        if claim.verdict is not Verdict.NOT_APPLICABLE:
            assert claim.statement in words
    for draw in FIGURES:
        figure = draw(study)
        if figure.optional:  # left out where there is nothing to draw
            assert figure.title not in words
            continue
        assert figure.title in words
        assert f"Not drawn: {figure.missing}" in words if figure.missing else figure.reading
    assert study.source.sha256 in words
    for version in study.versions.values():
        assert version in words


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text_in_the_page(study: Study, name: str) -> None:
    plain, hostile = tags(html.page(study)), tags(html.page(named(study, name)))
    scripts = sum(tag == "script" for tag, _ in plain.found)
    assert sum(tag == "script" for tag, _ in hostile.found) == scripts
    assert not any(tag == "img" for tag, _ in hostile.found)
    assert not any(key.startswith("on") for _, attributes in hostile.found for key in attributes)


def test_json_in_a_script_cannot_end_it() -> None:
    encoded = html.in_script({"title": "</script><!--\u2028", "n": [1, 2.5]})
    assert "<" not in encoded
    assert "\u2028" not in encoded
    import json

    assert json.loads(encoded) == {"title": "</script><!--\u2028", "n": [1, 2.5]}


def test_the_same_study_gives_the_same_bytes(study: Study, tmp_path: Path) -> None:
    study.report(tmp_path / "a.html")
    study.report(tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.html").stat().st_size < 12_000_000


def test_figures_draw_the_numbers_of_the_study(study: Study) -> None:
    figures = {draw.__name__: draw(study) for draw in FIGURES}
    heat = next(t for t in figures["cosine_heatmap"].data if t["type"] == "heatmap")
    assert heat["z"] == pytest.approx(study.data["cosine.matrix"].values, abs=1e-6)
    path = next(t for t in figures["trajectory"].data if t["type"] == "scatter3d")
    scores = study.data["trajectory.scores"].values
    for axis, column in zip("xyz", scores.T, strict=True):
        assert path[axis] == pytest.approx(column, rel=1e-5, abs=1e-6)
    raw = next(t for t in figures["lag_profile"].data if t["name"] == "raw")
    assert raw["y"] == pytest.approx(study.data["cosine.profile"].values, abs=1e-6)
    this = next(t for t in figures["parallelism"].data if t["name"] == "this table")
    assert this["y"] == pytest.approx(study.data["difference.parallel_at"].values, abs=1e-6)


def test_figures_are_valid_plotly(study: Study) -> None:
    drawn = [figure for figure in (draw(study) for draw in FIGURES) if not figure.missing]
    assert len(drawn) >= 8
    for figure in drawn:
        assert len(figure.plotly().data) == len(figure.data)


def test_a_figure_without_data_says_why(curve: np.ndarray) -> None:
    rows = curve.copy()
    rows[17] = 0
    poor = poslens.analyze(rows, nulls=0)
    figures = {draw.__name__: draw(poor) for draw in FIGURES}
    for name in ("cosine_heatmap", "lag_profile"):
        assert "row 17" in figures[name].missing
        assert figures[name].data == []
    assert not figures["trajectory"].missing
    assert "row 17" in html.page(poor)


@pytest.mark.parametrize(("length", "dim"), [(3, 1), (3, 4), (4, 2), (5, 2), (11, 3), (1301, 5)])
def test_tables_of_any_size_are_shown(length: int, dim: int) -> None:
    rows = np.cumsum(np.random.default_rng(1).standard_normal((length, dim)), axis=0)
    found = poslens.analyze(rows, nulls=19)
    assert html.page(found).count('class="plot"') == sum(
        not draw(found).missing for draw in FIGURES
    )
    assert max(len(line) for line in printed(found).splitlines()) <= 80
    if length > 1024:
        assert found.data["cosine.matrix"].values.shape == (651, 651)


def test_a_notebook_shows_the_claims(study: Study) -> None:
    fragment = study._repr_html_()
    assert "trajectory.smooth" in fragment
    assert "<script" not in fragment
