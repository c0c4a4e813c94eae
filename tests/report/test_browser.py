"""The page in a real browser: drawn without an error, without the network, and turnable."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from poslens.report.figures import FIGURES
from poslens.study import Study

sys.path.insert(0, str(Path(__file__).parent))

from browser import Page, browser, find_chromium

CHROMIUM = find_chromium()
# Where CI sets this, a missing browser is a failure and no skip.
REQUIRED = os.environ.get("POSLENS_REQUIRE_BROWSER") == "1"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED, reason="no Chromium on PATH to open the page with"
)


@pytest.fixture(scope="module")
def page_path(minilm_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "minilm.html"
    minilm_study.report(path)
    return path


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    assert CHROMIUM is not None, "POSLENS_REQUIRE_BROWSER is set, but there is no Chromium on PATH"
    with browser(CHROMIUM) as page:
        yield page


def test_every_figure_is_drawn_without_an_error(
    tab: Page, page_path: Path, minilm_study: Study
) -> None:
    tab.size(1280)
    tab.theme("light")
    tab.open(page_path)
    drawn = tab.evaluate(
        "[...document.querySelectorAll('.plot')].map(p => "
        "[p.id, p.querySelectorAll('svg .trace, svg .hm, canvas').length])"
    )
    assert len(drawn) == sum(not draw(minilm_study).missing for draw in FIGURES) >= 8
    assert all(count > 0 for _, count in drawn), drawn
    assert tab.errors == []
    own = page_path.as_uri()
    assert [
        url for url in tab.requests if url != own and not url.startswith(("data:", "blob:"))
    ] == []


def test_the_trajectory_is_turned_by_a_drag(tab: Page, page_path: Path) -> None:
    tab.size(1280)
    tab.open(page_path)
    camera = (
        "JSON.stringify(document.getElementById('plot-trajectory')._fullLayout.scene._scene"
        ".getCamera().eye)"
    )
    tab.evaluate("document.getElementById('plot-trajectory').scrollIntoView({block: 'center'})")
    before = tab.evaluate(camera)
    x, y, width, height = tab.evaluate(
        "(r => [r.x, r.y, r.width, r.height])"
        "(document.querySelector('#plot-trajectory canvas').getBoundingClientRect())"
    )
    tab.drag((x + width / 2, y + height / 2), (140, 60))
    tab.wait_for(f"{camera} !== {before!r}", 10)
    assert tab.evaluate(camera) != before
    assert tab.errors == []


def test_a_phone_scrolls_down_only(tab: Page, page_path: Path) -> None:
    tab.size(390, 844, phone=True)
    tab.open(page_path)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.errors == []


def test_the_figures_follow_the_theme(tab: Page, page_path: Path) -> None:
    tab.size(1280)
    tab.theme("light")
    tab.open(page_path)
    colour = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    paper = "getComputedStyle(document.body).backgroundColor"
    light = (tab.evaluate(colour), tab.evaluate(paper))
    tab.theme("dark")
    tab.wait_for(f"{colour} !== {light[0]!r}", 20)
    dark = (tab.evaluate(colour), tab.evaluate(paper))
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    assert tab.errors == []
