"""In which layers claims hold: one rule for the terminal, a notebook and the page."""

from __future__ import annotations

import dataclasses
import io
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from poslens.claims.claim import Verdict
from poslens.report import by_layer, html
from poslens.report.comparison_page import comparison_fragment, comparison_page
from poslens.report.side_by_side import print_side_by_side
from poslens.report.terminal import print_claims
from poslens.study import LayerStudy, Study

sys.path.insert(0, str(Path(__file__).parent))

import layer_studies as layered

MakeStudy = Callable[..., Study]
YES, NO, UNSURE, APART = (
    Verdict.SUPPORTED,
    Verdict.CONTRADICTED,
    Verdict.INCONCLUSIVE,
    Verdict.NOT_APPLICABLE,
)
VERDICTS = {
    "trajectory.smooth": [YES, YES, YES, YES, YES, NO, NO],
    "norm.stable": [YES] * 7,
    "pca.few_components": [NO, YES, NO, UNSURE, UNSURE, UNSURE, APART],
    "tokens.apart": [APART] * 6 + [NO],
    "sinusoid.no_parameters": [APART] * 7,
}


@pytest.fixture
def study(make_study: MakeStudy) -> Study:
    return dataclasses.replace(make_study(), layers=layered.layer_studies(VERDICTS))


def printed(study: Study, width: int = 80, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    print_claims(study, Console(file=stream, width=width))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


class Table(HTMLParser):
    """The cells of the grid: (class, title, words) of each, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[tuple[str, str, str]]] = []
        self.cell: tuple[str, str] | None = None
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            found = dict(attrs)
            self.cell, self.words = (found.get("class") or "", found.get("title") or ""), ""

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self.cell is not None:
            self.rows[-1].append((*self.cell, self.words))
            self.cell = None


def grid(study: Study) -> list[list[tuple[str, str, str]]]:
    parser = Table()
    parser.feed(re.findall(r'<table class="layers.*?</table>', html.page(study), re.DOTALL)[0])
    return parser.rows


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], ""),
        ([3], "3"),
        ([3, 4], "3, 4"),
        ([0, 1, 2], "0–2"),
        ([0, 1, 2, 4, 6, 7, 8, 9, 11, 12], "0–2, 4, 6–9, 11, 12"),
    ],
)
def test_runs_of_layers(numbers: list[int], text: str) -> None:
    assert by_layer.runs(numbers) == text


def test_a_sentence_for_each_claim_that_applies_somewhere(study: Study) -> None:
    assert by_layer.said(study) == {
        "trajectory.smooth": "supported in layers 0–4; contradicted in 5, 6",
        "norm.stable": "supported in every layer",
        "pca.few_components": "supported in layer 1; contradicted in 0, 2; inconclusive in 3–5",
        "tokens.apart": "contradicted in layer 6",
    }
    one = dataclasses.replace(study, layers=study.layers[:1])
    assert by_layer.said(one)["norm.stable"] == "supported in layer 0"


def test_layers_may_have_other_claims_and_numbers(study: Study) -> None:
    layers = [
        LayerStudy(2 * layer.layer + 1, layer.measures, layer.claims) for layer in study.layers
    ]
    layers[0] = LayerStudy(1, {}, layers[0].claims[1:])
    other = dataclasses.replace(study, layers=tuple(layers))
    assert by_layer.said(other)["trajectory.smooth"] == (
        "supported in layers 3, 5, 7, 9; contradicted in 11, 13"
    )
    rows = grid(other)
    assert [words for _, _, words in rows[0]] == ["Layer", *(str(k) for k in range(1, 14, 2))]
    smooth = next(row for row in rows if row[0][2].startswith("trajectory.smooth"))
    assert smooth[1] == ("", "", "")


def test_the_terminal_takes_one_line_a_claim(study: Study) -> None:
    lines = printed(study).splitlines()
    start = lines.index("claims by layer, on what position sets in the hidden states")
    assert lines[start + 2 :] == [
        "trajectory.smooth   supported in layers 0–4; contradicted in 5, 6",
        "norm.stable         supported in every layer",
        "pca.few_components  supported in layer 1; contradicted in 0, 2; inconclusive in",
        "                    3–5",
        "tokens.apart        contradicted in layer 6",
    ]


@pytest.mark.parametrize("width", [24, 40, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_line_is_wider_than_the_terminal(study: Study, width: int, encoding: str) -> None:
    layers = tuple(
        dataclasses.replace(
            layer,
            claims=tuple(
                dataclasses.replace(claim, id=claim.id + "漢字" * 20) for claim in layer.claims
            ),
        )
        for layer in study.layers
    )
    for each in (study, dataclasses.replace(study, layers=layers)):
        text = printed(each, width, encoding)
        assert max(cell_len(line) for line in text.splitlines()) <= min(width, 80)
        assert "supported" in text


def test_the_grid_has_a_cell_for_each_layer(study: Study) -> None:
    head, *rows = grid(study)
    assert [words for _, _, words in head] == ["Layer", *"0123456"]
    assert [row[0][2].split("supported")[0].split("contra")[0] for row in rows] == [
        name for name in VERDICTS if name != "sinusoid.no_parameters"
    ]
    signs = {YES: "✓", NO: "✗", UNSURE: "?", APART: "–"}
    for row, verdicts in zip(rows, VERDICTS.values(), strict=False):
        for layer, (cell, verdict) in enumerate(zip(row[1:], verdicts, strict=True)):
            kind, title, words = cell
            assert kind == verdict.value.replace(" ", "-")
            # The words are there for a screen reader too, not in the colour or the title alone.
            assert words == signs[verdict] + title
            assert title.startswith(f"layer {layer}: {verdict}")
            value = f", {0.5 + 0.01 * layer:.3f} (≥ 0.5)"
            assert title.endswith(value) == (verdict != APART)


def test_the_page_says_where_most_and_fewest_hold(study: Study) -> None:
    page = html.page(study)
    assert "Of 4 claims, most are supported in layer 1 (3) and fewest in layer 5 (1)." in page
    same = dataclasses.replace(study, layers=layered.layer_studies({"norm.stable": [YES, YES]}))
    assert "In every layer, 1 of 1 claim is supported." in html.page(same)
    ids = re.findall(r'\sid="([^"]+)"', page.split("<script")[0])
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'aria-(?:labelledby|describedby)="([^"]+)"', page):
        assert reference in ids


def test_without_layers_nothing_is_said_of_them(study: Study, make_study: MakeStudy) -> None:
    apart = layered.layer_studies({"tokens.apart": [APART, APART]})
    for each in (make_study(), dataclasses.replace(study, layers=apart)):
        assert by_layer.said(each) == {}
        assert by_layer.TITLE not in html.page(each)
        assert by_layer.TITLE not in html.notebook_html(each)
        assert by_layer.TITLE.lower() not in printed(each)


def test_a_notebook_has_the_sentences(study: Study) -> None:
    fragment = html.notebook_html(study)
    assert "<li>trajectory.smooth: supported in layers 0–4; contradicted in 5, 6</li>" in fragment


@pytest.mark.parametrize("name", ["</td><script>x</script>", '"><img src=x onerror=y>', "a\nb\x1b"])
def test_hostile_names_stay_text(study: Study, name: str) -> None:
    layers = tuple(
        dataclasses.replace(
            layer,
            claims=tuple(
                dataclasses.replace(claim, id=name + claim.id, bar=name) for claim in layer.claims
            ),
        )
        for layer in study.layers
    )
    hostile = dataclasses.replace(study, layers=layers)
    for draw in (html.page, html.notebook_html):
        for tag in ("<script", "<img"):
            assert draw(hostile).count(tag) == draw(study).count(tag)
    assert all(c == "\n" or c.isprintable() for c in printed(hostile))


def test_studies_with_and_without_layers_are_compared(make_study: MakeStudy) -> None:
    model = layered.model(3, 6, length=9)
    for studies in ([model, make_study()], [make_study(), model], [model, model]):
        page = comparison_page(studies, ["one", "two"])
        assert "attention.reconstruction_error" in page
        assert "attention.share" not in page.split("<script")[0]
        assert "hidden." not in page.split("<script")[0]
        assert "<table" in comparison_fragment(studies, ["one", "two"])
        stream = io.StringIO()
        print_side_by_side(studies, ["one", "two"], Console(file=stream, width=80))
        assert max(map(len, stream.getvalue().splitlines())) <= 80
