"""What `make bench` writes, from a run that was recorded; and what it runs."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from _common import Row, from_json, to_json
from _figure import scaling_figure
from _hot import HOT, known
from _page import EXPLAINED_BELOW, bound_seconds, missed, page
from _scaling import exponent, series
from all import HERE, benchmarks, title

RECORD: dict[str, Any] = json.loads(
    (Path(__file__).parent / "record.json").read_text(encoding="utf-8")
)


def test_every_file_is_run_or_shared() -> None:
    run = {path.name for path in benchmarks()}
    assert {"attention.py", "geometry.py", "kernel.py", "lab.py", "sources.py"} <= run
    rest = {path.name for path in HERE.glob("*.py")} - run
    assert {name for name in rest if not name.startswith("_")} == {"all.py", "notebook.py"}


@pytest.mark.parametrize("file", benchmarks(), ids=lambda path: path.name)
def test_every_file_that_is_run_takes_both_options(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert title(file).endswith((".", "bar.", "ratios."))
    assert "[--quick] [--json FILE]" in text


def test_a_file_says_what_its_options_do() -> None:
    command = [sys.executable, str(HERE / "kernel.py"), "--help"]
    shown = subprocess.run(  # noqa: S603 - of this project
        command, capture_output=True, text=True, check=True
    ).stdout
    assert "--quick" in shown
    assert "--json" in shown


def test_rows_come_back_from_json() -> None:
    rows = [Row("a", "1 s", "2 s", 0.5, 0.6), Row("b", "3", "", 2.0, 1.2, at_least=True)]
    assert from_json(json.loads(json.dumps(to_json(rows, "PyTorch")))) == (rows, "PyTorch")


@pytest.mark.parametrize(
    ("figure", "bar", "at_least", "met"),
    [
        (0.3, 0.33, False, True),
        (0.34, 0.33, False, False),
        (1.3, 1.2, True, True),
        (1.1, 1.2, True, False),
        (9.0, None, False, True),
        (float("nan"), 0.33, False, False),
        (float("nan"), 0.33, True, False),
    ],
)
def test_a_bar_is_met_or_missed(
    figure: float, bar: float | None, at_least: bool, met: bool
) -> None:
    assert Row("", "", "", figure, bar, at_least).met is met


def test_the_page_has_every_figure_with_its_bar() -> None:
    lines = page(RECORD).splitlines()
    for one in RECORD["benchmarks"]:
        rows, peer = from_json(one["rows"])
        for row in rows:
            verdict = "" if row.bar is None else "met" if row.met else "**missed**"
            cells = (row.what, row.poslens, row.beside, f"{row.figure:.3g}", row.shown_bar)
            assert f"| {' | '.join([*cells, verdict])} |" in lines
        assert f"### `benchmarks/{one['file']}`" in lines
        assert any(line.startswith(f"|  | PosLens | {peer} |") for line in lines)


def test_what_missed_is_named() -> None:
    record = {
        "benchmarks": [
            {"file": "a.py", "status": 1, "rows": to_json([Row("x", "", "", 2.0, 1.0)], "b")},
            {"file": "c.py", "status": 1, "rows": []},
            {"file": "d.py", "status": 0, "rows": to_json([Row("y", "", "", 1.0, 1.0)], "b")},
        ]
    }
    assert missed(record) == ["a.py: x", "c.py: failed"]


def test_the_page_names_the_machine_and_no_place_on_it() -> None:
    text = page(RECORD)
    assert RECORD["machine"]["processor"] in text
    assert RECORD["versions"]["numpy"] in text
    assert "/home" not in text
    assert str(HERE) not in text


def test_the_page_shows_stages_and_what_is_below_a_quarter() -> None:
    text = page(RECORD)
    for one in RECORD["profiles"]:
        for what, took in one["stages"]:
            assert f"| {what} | {took:.2f} s | {took / one['seconds']:.0%} |" in text
    limits = {hot.name: hot.limits for hot in HOT}
    (below,) = (line for line in text.splitlines() if line.startswith("Below a quarter"))
    for one in RECORD["bounds"]:
        share = bound_seconds(one, RECORD["peaks"]) / one["seconds"]
        assert (one["name"] in below) is (share < EXPLAINED_BELOW)
        assert limits[one["name"]] in text


def test_a_bound_is_the_time_of_what_takes_longest() -> None:
    rates = {"one": 1e9, "all": 2e9}
    peaks = dict.fromkeys(("dgemm", "sgemm", "drfft", "srfft", "copy", "normals"), rates)
    work = {"products": 4e9, "transforms": 2e9, "normals": 2e9, "moved": 1e9, "single": False}
    assert bound_seconds(work, peaks) == 4.0
    assert bound_seconds({**work, "moved": 20e9}, peaks) == 10.0
    assert bound_seconds({**work, "single": True}, {**peaks, "sgemm": {"all": 4e9}}) == 3.0


def test_exponents_are_those_of_the_last_decade() -> None:
    sizes = [64, 1024, 8192, 16_384, 32_768, 65_536]
    steep = [1e-9 * size**1.5 for size in sizes]
    assert exponent(sizes, steep) == pytest.approx(1.5, abs=1e-12)
    # What is constant on small sizes, in the first two points, does not flatten the rest.
    assert exponent(sizes, [5.0, 5.0, *steep[2:]]) == pytest.approx(1.5, abs=1e-12)
    assert exponent(sizes[:2], steep[:2]) is None
    assert exponent(sizes, [0.0] * 4 + steep[4:]) is None
    assert exponent([], []) is None


def test_a_point_is_measured_in_a_fresh_process() -> None:
    found = series("cosine profile", "L", (64, 96))
    assert [point["size"] for point in found["points"]] == [64, 96]
    assert all(point["seconds"] > 0 for point in found["points"])
    assert found["stopped"] == ""


def test_every_hot_measure_runs_and_has_operations() -> None:
    for hot in known().values():
        hot.ready(128, 64)()
        work = hot.work(128, 64)
        assert work.operations + work.normals > 0
        assert work.moved > 0


def test_the_figure_has_a_line_for_every_series_and_a_dot_for_every_point() -> None:
    text = scaling_figure(RECORD["scaling"])
    root = ET.fromstring(text)  # noqa: S314 - it was written here
    kind = "{http://www.w3.org/2000/svg}"
    points = sum(
        point[what] > 0
        for one in RECORD["scaling"]
        for point in one["points"]
        for what in ("seconds", "megabytes")
    )
    assert len(root.findall(f"{kind}circle")) == points
    words = [element.text for element in root.iter(f"{kind}text")]
    for name in {one["name"] for one in RECORD["scaling"]}:
        assert words.count(name) == 1
    assert text == scaling_figure(RECORD["scaling"])


def test_the_figure_stands_where_nothing_was_measured() -> None:
    ET.fromstring(scaling_figure([]))  # noqa: S314
    alone = {"name": "one", "along": "L", "points": [{"size": 64, "seconds": 1.0, "megabytes": 0}]}
    ET.fromstring(scaling_figure([alone]))  # noqa: S314
    assert scaling_figure([alone]).count("<circle") == 1
