"""A study made by hand in the terminal, in a notebook and on the page."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import re
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from poslens.claims.claim import Verdict
from poslens.errors import OutputError
from poslens.report import html
from poslens.report.terminal import print_claims
from poslens.study import Study

MakeStudy = Callable[..., Study]
OF_TABLES = 8  # figures; those of a kernel are left out where the study has none


def printed(study: Study, *, width: int = 80, encoding: str = "utf-8", **options: bool) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="\n")
    print_claims(study, Console(file=stream, width=width, **options))  # type: ignore[arg-type]
    stream.flush()
    return raw.getvalue().decode(encoding)


def cells(line: str) -> int:
    """Columns of a line, by Unicode's own widths rather than Rich's."""
    marks = sum(unicodedata.combining(c) != 0 for c in line)
    return len(line) + sum(unicodedata.east_asian_width(c) in "WF" for c in line) - marks


def test_a_claim_takes_one_line_and_its_reading(make_study: MakeStudy) -> None:
    lines = printed(make_study()).splitlines()
    at = next(i for i, line in enumerate(lines) if "cosine.neighbours_alike" in line)
    assert lines[at].split() == [
        *(["✓", "supported", "cosine.neighbours_alike", "0.988", "≥", "0.7", "0.981", "…", "0.992"])
    ]
    assert lines[at + 1] == "  null permutation, p = 0.010 · offset common to all rows: 25%"
    # Three figures would show 0.150, which meets the bar that the value misses.
    assert any(re.search(r"norm\.stable +0\.1504 +≤ 0\.15", line) for line in lines)
    assert lines[-2:] == ["  sinusoid.no_parameters", "    this table is learned"]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_lines_are_as_wide_as_the_terminal_and_never_wider_than_80(
    make_study: MakeStudy, width: int
) -> None:
    study = make_study()
    claims = tuple(
        dataclasses.replace(
            claim,
            id=claim.id + "漢" * 30,
            bar="<= " + "9" * 50,
            note="名前 " * 200,
            interval=(-1.2345e-10, 1.2345e100),
            null="e\u0301" * 90,
        )
        for claim in study.claims
    )
    source = dataclasses.replace(study.source, uri="/" + "路" * 500, tensor="💥" * 99)
    text = printed(dataclasses.replace(study, claims=claims, source=source), width=width)
    assert max(map(cells, text.splitlines())) <= min(width, 80)


def test_without_unicode_the_words_remain(make_study: MakeStudy) -> None:
    text = printed(make_study(), encoding="ascii")
    assert "+ supported" in text
    assert "x contradicted" in text
    assert max(map(len, text.splitlines())) <= 80


def test_colour_goes_to_terminals_alone(make_study: MakeStudy) -> None:
    assert "\x1b[" not in printed(make_study())
    coloured = printed(make_study(), force_terminal=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == printed(make_study())


def test_only_the_pages_own_scripts_may_run(make_study: MakeStudy) -> None:
    text = html.page(make_study())
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = re.findall(r"'sha256-([^']+)'", text.split("</head>")[0])
    digests = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    ]
    assert digests == hashes
    assert len(hashes) == 2
    assert "script-src 'unsafe-inline'" not in text.split("<style>")[0]


def test_the_page_tells_every_claim(make_study: MakeStudy) -> None:
    text = html.page(make_study())
    for claim in make_study().claims:
        assert claim.id in text
        assert claim.note in text
        if claim.verdict != Verdict.NOT_APPLICABLE:
            assert f'id="claim-{claim.id}"' in text
            assert claim.statement in text
            assert f"§ {claim.section}" in text
    assert '<td role="cell" class="number value" data-label="Value">0.1504</td>' in text
    assert "permutation, p&nbsp;=&nbsp;0.010" in text
    assert "the source has no token table" in text  # an undefined measure says why
    assert "norm.stable 0.15" in text  # a bar that was changed


def test_a_figure_without_data_is_replaced_by_its_reason(make_study: MakeStudy) -> None:
    text = html.page(make_study(3, 4))
    assert "Not drawn: needs more than 4 rows, got 3." in text
    assert text.count('class="plot"') == OF_TABLES - 1
    assert 'id="plot-shift"' not in text


def test_a_study_without_anything_is_shown(make_study: MakeStudy) -> None:
    bare = dataclasses.replace(make_study(), measures={}, claims=(), data={}, undefined={})
    assert html.page(bare).count("Not drawn: the study holds no data for it.") == OF_TABLES
    assert "<table" not in html.notebook_html(bare)
    assert "some/folder/of/a-model" in printed(bare)


def test_a_heading_is_the_end_of_a_path(make_study: MakeStudy) -> None:
    text = html.page(make_study())
    assert "<h1>of/<wbr>a-model</h1>" in text
    assert "<code>some/folder/of/a-model</code>" in text


def test_headings_and_labels_serve_a_screen_reader(make_study: MakeStudy) -> None:
    text = html.page(make_study())
    ids = re.findall(r'\sid="([^"]+)"', text.split("<script")[0])
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'aria-(?:labelledby|describedby)="([^"]+)"', text):
        assert reference in ids
    assert '<html lang="en">' in text
    assert re.findall(r"<h([1-6])", text.split("<script")[0])[0] == "1"
    assert text.count('role="img"') == OF_TABLES


def test_a_page_at_1024_positions_is_quick_and_small(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study(1024, 64)
    html.write_html(study, tmp_path / "first.html")  # imports and caches are not what is timed
    start = time.perf_counter()
    html.write_html(study, tmp_path / "page.html")
    # 0.1 s on an idle machine; the rest is room for a busy one.
    assert time.perf_counter() - start < 2
    assert (tmp_path / "page.html").stat().st_size < 12_000_000


def test_a_page_that_cannot_be_written_leaves_nothing(
    make_study: MakeStudy, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        html.write_html(make_study(), tmp_path / "none" / "page.html")
    assert list(tmp_path.iterdir()) == []
