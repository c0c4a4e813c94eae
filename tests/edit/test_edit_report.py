"""Pages, figures and terminal: the numbers that were found, and names that stay data."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from edit_results import compression, extension, renamed_compression, renamed_extension
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from poslens.claims.over_contexts import of_mean
from poslens.edit.costs import compression_edges, extension_edges
from poslens.edit.profiles import binned
from poslens.edit.report import page, shown
from poslens.edit.report.columns import Column, rows
from poslens.edit.report.figures import compression_figures, extension_figures
from poslens.edit.report.figures.lines import Stretched, log_axis
from poslens.edit.report.terminal import compression_table, extension_table
from poslens.edit.results import Compression, Extension
from poslens.errors import OutputError

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[red]not markup[/red] [/]",
    "two\nlines\r\x1b[31m and an escape",
    "<b>bold</b> &amp; %{x} $page ${page}",
    "漢字" * 60,
    "x" * 300,
    "\u2028\u2029\u202e",
)


@pytest.fixture(scope="module")
def compressed() -> Compression:
    return compression()


@pytest.fixture(scope="module")
def extended() -> Extension:
    return extension()


def printed(renderable: Any, width: int = 80) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(renderable, highlight=False)
    return stream.getvalue().splitlines()


def drawn(figures: list[Any], name: str) -> go.Figure:
    return next(figure for figure in figures if figure.name == name).plotly()


def named(figure: go.Figure, name: str) -> Any:
    return next(
        trace for trace in figure.data if trace.name == name and trace.showlegend is not False
    )


def test_plotly_accepts_every_figure(compressed: Compression, extended: Extension) -> None:
    headless = compression(head=False)
    by_page = {
        ("error", "loss", "loss-by-position", "kl-by-position", "table"): compression_figures(
            compressed
        ),
        ("error", "loss", "drift", "table"): compression_figures(headless),
        ("error", "loss", "table"): compression_figures(compression(text=False)),
        ("loss-by-position", "loss-beyond", "excess", "table"): extension_figures(extended),
        ("loss-by-position", "table"): extension_figures(
            replace(extension(text=False), chosen="tile")
        ),
        ("loss-by-position",): extension_figures(replace(extension(text=False), rows=None)),
    }
    for names, figures in by_page.items():
        assert tuple(figure.name for figure in figures) == names
        for figure in figures:
            if figure.missing:
                assert figure.name.startswith("loss")
                continue
            assert isinstance(figure.plotly(), go.Figure)
            assert figure.reading
            assert "nan" not in figure.reading


def test_errors_are_drawn_against_numbers(compressed: Compression) -> None:
    figure = drawn(compression_figures(compressed), "error")
    for method in ("svd", "spline+svd"):
        of = [one for one in compressed.tried if one.method == method and one.error > 0]
        trace = named(figure, method)
        assert list(trace.x) == [one.numbers for one in of]
        np.testing.assert_allclose(trace.y, [one.error for one in of], rtol=1e-6)
        assert list(trace.customdata) == [one.rank for one in of]
    star = named(figure, "chosen")
    assert (star.x[0], star.marker.symbol) == (compressed.chosen.numbers, "star")
    assert star.y[0] == pytest.approx(compressed.chosen.error, rel=1e-6)
    assert figure.layout.shapes[0].x0 == 127 * 48 / 4


def test_losses_are_drawn_with_intervals_and_the_bar(compressed: Compression) -> None:
    figure = drawn(compression_figures(compressed), "loss")
    trace = named(figure, "cosine")
    of = [one for one in compressed.tried if one.method == "cosine"]
    costs = [shown.raised(compressed, one) for one in of]
    values = [cost[0] for cost in costs if cost]
    assert list(trace.x) == [one.rank for one in of]
    np.testing.assert_allclose(trace.y, np.arcsinh(np.array(values) / 0.01), rtol=1e-5, atol=1e-7)
    assert [data[0] for data in trace.customdata] == [shown.points(value) for value in values]
    band = next(one for one in figure.data if one.fill == "toself" and one.name == "cosine")
    ends = np.array([cost[1] for cost in costs if cost])
    edge = np.concatenate([ends[:, 0], ends[::-1, 1]])
    np.testing.assert_allclose(np.sinh(band.y) * 0.01, edge, rtol=1e-5, atol=1e-7)
    assert figure.layout.shapes[0].y0 == pytest.approx(np.arcsinh(1), rel=1e-6)
    assert figure.layout.shapes[1].x0 == 8


def test_positions_are_drawn_in_bins(compressed: Compression, extended: Extension) -> None:
    figures = compression_figures(compressed)
    edges = compression_edges(compressed)
    assert edges is not None
    chosen, original = compressed.chosen.scores, compressed.original
    assert chosen is not None
    assert chosen.divergences is not None
    assert original is not None
    trace = named(drawn(figures, "loss-by-position"), "original")
    expected = binned(original.positions, original.losses, edges)
    np.testing.assert_allclose(trace.y, expected, rtol=1e-6)
    added = [t for t in drawn(figures, "loss-by-position").data if t.name == "svd, rank 8"][1]
    after = binned(chosen.positions, chosen.losses, edges)
    np.testing.assert_allclose(added.y, after - expected, rtol=1e-5)
    kl = named(drawn(figures, "kl-by-position"), "svd, rank 8")
    expected = binned(chosen.positions, chosen.divergences, edges)
    np.testing.assert_allclose(kl.y, expected, rtol=1e-6)
    figure = drawn(extension_figures(extended), "loss-by-position")
    edges = extension_edges(extended)
    assert edges is not None
    for one in extended.tried:
        assert one.scores is not None
        trace = named(figure, one.method)
        expected = binned(one.scores.positions, one.scores.losses, edges)
        np.testing.assert_allclose(trace.y, expected, rtol=1e-6)
        np.testing.assert_allclose(trace.x, (edges[:-1] + edges[1:] - 1) / 2)
        assert (trace.line.dash == "solid") == (not one.baseline)
    assert figure.layout.shapes[0].x0 == 128
    looks = {(t.line.color, t.line.dash, t.marker.symbol) for t in figure.data}
    assert len(looks) == len(extended.tried)


def test_bars_are_sorted_with_intervals_and_the_recommended_marked(extended: Extension) -> None:
    figure = drawn(extension_figures(extended), "loss-beyond")
    best = extended.recommendation
    assert best is not None
    means = {
        one.method: of_mean(one.scores.by_context(128), 0) and one.scores.by_context(128)
        for one in extended.tried
        if one.scores is not None
    }
    order = sorted(means, key=lambda name: float(np.mean(means[name])))
    assert list(figure.layout.yaxis.ticktext) == order
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the lowest loss on top
    marked = named(figure, "recommended")
    assert [order[place] for place in marked.y] == [best.method]
    seen = {}
    for trace in figure.data:
        for place, x, more, less in zip(
            trace.y, trace.x, trace.error_x.array, trace.error_x.arrayminus, strict=True
        ):
            seen[order[place]] = (x - less, x, x + more)
    for name, values in means.items():
        low, high = of_mean(values, 0) or (math.nan, math.nan)
        assert seen[name] == pytest.approx((low, float(np.mean(values)), high), rel=1e-5)
    other = drawn(extension_figures(extended), "excess")
    names = other.layout.yaxis.ticktext
    drawn_at = {
        names[place]: math.sinh(x) * 0.01
        for trace in other.data
        for place, x in zip(trace.y, trace.x, strict=True)
    }
    assert drawn_at == pytest.approx({k: v for k, (v, _) in best.excess.items()}, rel=1e-4)


def test_the_table_is_drawn_before_and_after(compressed: Compression) -> None:
    figure = drawn(compression_figures(compressed), "table")
    before = compressed.table.rows - compressed.table.rows.mean(axis=0)
    values = np.linalg.svd(before, compute_uv=False)
    for place in range(3):
        assert np.linalg.norm(figure.data[place].y) == pytest.approx(values[place], rel=1e-5)
    assert figure.data[0].y[-1] > figure.data[0].y[0]
    moved = np.linalg.norm(compressed.rows - compressed.table.rows, axis=1)
    np.testing.assert_allclose(figure.data[-1].y, moved, rtol=1e-5)


@given(st.floats(1e-4, 1e6), st.floats(0, 1e6))
@settings(deadline=None, derandomize=True)
def test_axes_hold_what_is_drawn(high: float, low: float) -> None:
    scale = Stretched(0.01)
    values = np.array([-low, high])
    axis = scale.axis("", values, str)
    left, right = axis["range"]
    assert left <= scale(values).min()
    assert right >= scale(values).max()
    assert 0.0 in axis["tickvals"]
    assert len(axis["tickvals"]) <= 20
    assert axis["tickvals"] == sorted(set(axis["tickvals"]))
    other = log_axis("", np.array([high, 1 + low]))
    assert other["range"][0] < math.log10(min(high, 1 + low))
    assert other["range"][1] > math.log10(max(high, 1 + low))
    assert 1 <= len(other["tickvals"]) <= 10


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_pages_say_what_was_found(compressed: Compression, extended: Extension) -> None:
    text = page.compression_page(compressed)
    said = " ".join(" ".join(Tags(text).words).split())
    for expected in ("gpt2: its table in fewer numbers", "svd, rank 8", "memory.compressible"):
        assert expected in said
    for one in compressed.tried:
        assert f"{one.numbers:,}" in said
        assert one.scores is not None
        assert shown.nats(one.scores.mean) in said
    assert page.compression_page(compressed) == text  # the same bytes
    assert 'id="claims"' in text
    text = page.extension_page(extended)
    said = " ".join(" ".join(Tags(text).words).split())
    assert "some/gpt2: a longer context" in said
    assert "hierarchical recommended" in said
    assert 'id="claims"' not in text
    for one in extended.tried:
        assert one.about in said
        assert one.scores is not None
        assert shown.nats(float(one.scores.by_context(128).mean())) in said
    assert "too few contexts for intervals" in page.extension_page(extension(4))
    assert "no text was read" in page.extension_page(extension(text=False))


@pytest.mark.parametrize("name", [" ".join(HOSTILE), HOSTILE[0]])
def test_names_stay_data_in_pages(name: str, compressed: Compression, extended: Extension) -> None:
    pages: tuple[tuple[Callable[..., str], Any, Any], ...] = (
        (page.compression_page, compressed, renamed_compression(compressed, name)),
        (page.extension_page, extended, renamed_extension(extended, name)),
    )
    for write, plain, renamed in pages:
        text = write(renamed)
        ours, theirs = (Tags(one).found for one in (write(plain), text))
        assert {tag for tag, _ in theirs} - {"wbr"} <= {tag for tag, _ in ours}
        for tag in ("script", "style", "title", "img"):
            assert [t for t, _ in theirs].count(tag) == [t for t, _ in ours].count(tag)
        assert not any(key.startswith(("on", "src")) for _, own in theirs for key in own)
        data = re.search(r'id="figure-data">(.*?)</script>', text, re.S)
        assert data is not None
        assert "<" not in data[1]
        for figure in json.loads(data[1]):
            for trace in figure["data"]:
                assert "<" not in trace.get("name", "")
        assert "\x1b" not in text
        assert "\u202e" not in text


@pytest.mark.parametrize("width", [50, 60, 80, 200])
@pytest.mark.parametrize("name", ["", *HOSTILE])
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    found, other = compression(5), extension(5)
    if name:
        found, other = renamed_compression(found, name), renamed_extension(other, name)
    for lines in (
        printed(compression_table(found), width),
        printed(extension_table(other), width),
    ):
        assert max(map(cell_len, lines)) <= min(width, 80)
        assert not any("\x1b" in line or "\u202e" in line for line in lines)


def test_no_number_is_cut_or_wrapped(compressed: Compression, extended: Extension) -> None:
    lines = printed(compression_table(compressed))
    for one in compressed.tried:
        if one.rank not in (1, 8, 48):
            continue
        cost = shown.raised(compressed, one)
        assert cost is not None
        line = next(
            line for line in lines if re.match(rf"[* ] {re.escape(one.method)} +{one.rank} ", line)
        )
        assert shown.points(cost[0]) in line
        assert shown.percents(cost[1]) in line
        assert shown.short(one.error) in line
        assert line.startswith("*") == shown.same(one, compressed.chosen)
    assert any("memory.compressible" in line for line in lines)
    lines = printed(extension_table(extended))
    best = extended.recommendation
    assert best is not None
    for one in extended.tried:
        assert one.scores is not None
        line = next(line for line in lines if re.match(rf"[*= ] {one.method} ", line))
        assert shown.nats(float(one.scores.by_context(128).mean())) in line
        if one.method in best.excess:
            value, interval = best.excess[one.method]
            assert f"{value:+,.4f}" in line
            assert shown.span(interval) in line
        assert line.startswith("*") == (one.method == best.method)


def test_ties_are_named(extended: Extension) -> None:
    best = extended.recommendation
    assert best is not None
    tied = replace(extended, recommendation=replace(best, tied=("tile", "cut")), chosen="tile")
    lines = printed(extension_table(tied))
    marked = [line.split()[1] for line in lines if line.startswith("= ")]
    assert sorted(marked) == ["cut", "tile"]
    assert "does not tell it from tile, cut; chosen: tile" in " ".join(lines)
    text = " ".join(Tags(page.extension_page(tied)).words)
    assert "This text does not tell it from tile, cut." in text


def test_columns_that_do_not_fit_are_left_out_whole() -> None:
    columns = [Column("a", ["123456"]), Column("b", ["1 … 2"], 2), Column("c", ["777"], 1)]
    wide, narrow, least = (
        [line.plain for line in rows("name", ["x" * 30], [""], columns, width)]
        for width in (60, 33, 12)
    )
    assert wide[2].split() == ["x" * 23 + "…", "123456", "1", "…", "2", "777"]
    assert narrow[2].split() == ["x" * 19 + "…", "123456", "777"]
    assert least[2].split()[1:] == ["123456"]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "+0.000 %"),
        (0.01, "+1.00 %"),
        (-0.0123, "-1.23 %"),
        (0.00004, "+0.004 %"),
        (1e-7, "+1e-05 %"),
        (0.5, "+50.0 %"),
        (123.0, "+12,300 %"),
        (math.inf, "—"),
        (None, "—"),
    ],
)
def test_shares_keep_their_sign(share: float | None, text: str) -> None:
    assert shown.points(share) == text


def test_pages_are_written_whole(
    tmp_path: Path, compressed: Compression, extended: Extension
) -> None:
    page.write_compression(compressed, tmp_path / "c.html")
    page.write_extension(extended, tmp_path / "e.html")
    assert (tmp_path / "c.html").read_text("utf-8") == page.compression_page(compressed)
    assert (tmp_path / "e.html").read_text("utf-8") == page.extension_page(extended)
    with pytest.raises(OutputError):
        page.write_extension(extended, tmp_path / "none" / "e.html")


def test_what_needs_no_edit_is_said_where_the_text_tells_it(extended: Extension) -> None:
    best = extended.recommendation
    assert best is not None
    value, interval = best.excess["sliding"]
    assert interval is not None
    assert interval[1] < 0
    said = shown.cheaper(extended)
    assert said.startswith("sliding (a window that slides) needs no edit, and its loss is lower by")
    assert f"{-value:.4f} ({-interval[1]:.4f} … {-interval[0]:.4f}) nats" in said
    lines = printed(extension_table(extended))
    assert said in " ".join(" ".join(lines).split())
    assert "ds no edit, and its loss is lower by" in page.extension_page(extended)
    few = extension(4)
    assert shown.cheaper(few) == ""
    assert "an interval needs 5 contexts" in " ".join(printed(extension_table(few)))
    assert shown.cheaper(extension(text=False)) == ""


def test_the_chosen_is_marked_where_nothing_was_measured() -> None:
    found = replace(extension(text=False), chosen="tile")
    lines = printed(extension_table(found))
    assert "* tile: the whole table again and again" in lines
    assert [line for line in lines if line.startswith("*")] == [
        "* tile: the whole table again and again", "* chosen"
    ]  # fmt: skip


def test_the_loss_within_the_trained_length_is_in_the_terminal(extended: Extension) -> None:
    lines = printed(extension_table(extended))
    head = next(line for line in lines if "excess" in line)
    assert "within" in head
    for one in extended.tried:
        assert one.scores is not None
        loss = one.scores.by_context(0, extended.trained).mean()
        row = next(line for line in lines if line[2:].split(" ")[0] == one.method)
        assert f"{loss:.4f}" in row
