"""The page of a comparison in a real browser: drawn, offline, and wide tables that scroll alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import poslens

sys.path.insert(0, str(Path(__file__).parent))

from browser import Page, browser, find_chromium

CHROMIUM = find_chromium()
REQUIRED = os.environ.get("POSLENS_REQUIRE_BROWSER") == "1"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED, reason="no Chromium on PATH to open the page with"
)
HEADS = "document.getElementById('plot-kernel-profiles')._fullData[0]"


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = ["alibi:heads=12", "sinusoidal:length=131,dim=24", "nope", "rope:head_dim=64"]
    labels = ["a/" * 30, "sines", "</script>", "rope"]
    path = tmp_path_factory.mktemp("page") / "comparison.html"
    poslens.compare(sources, labels=labels, nulls=0).report(path)
    return path


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    assert CHROMIUM is not None, "POSLENS_REQUIRE_BROWSER is set, but there is no Chromium on PATH"
    with browser(CHROMIUM) as page:
        yield page


def test_both_figures_are_drawn_without_an_error(tab: Page, page_path: Path) -> None:
    tab.size(1280)
    tab.open(page_path)
    drawn = "[...document.querySelectorAll('.plot')].map(p => p.querySelectorAll('.trace').length)"
    assert tab.evaluate(drawn) == [1, 3]
    assert tab.errors == []
    own = page_path.as_uri()
    assert [u for u in tab.requests if u != own and not u.startswith(("data:", "blob:"))] == []


def test_a_click_on_the_legend_shows_every_head(tab: Page, page_path: Path) -> None:
    tab.size(1280)
    tab.open(page_path)
    tab.evaluate("document.getElementById('plot-kernel-profiles').scrollIntoView({block:'center'})")
    assert tab.evaluate(f"{HEADS}.visible") == "legendonly"
    x, y = tab.evaluate(
        "(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelectorAll("
        "'#plot-kernel-profiles .legendtoggle')[1].getBoundingClientRect())"
    )
    tab.mouse("mouseMoved", x, y, 0)
    tab.mouse("mousePressed", x, y, 1)
    tab.mouse("mouseReleased", x, y, 0)
    tab.wait_for(f"{HEADS}.visible === true", 10)
    assert tab.evaluate(f"{HEADS}.name").endswith(": each of 12 heads")
    assert tab.errors == []


def test_on_a_phone_the_tables_scroll_and_the_page_does_not(tab: Page, page_path: Path) -> None:
    tab.size(390, 844, phone=True)
    tab.open(page_path)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.evaluate("document.querySelector('.scroll').scrollWidth") > 390
    assert tab.errors == []
