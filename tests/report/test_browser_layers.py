"""The figures of models that read a text, in a real browser: panels, the slider, and a phone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import layer_studies as layered
from browser import Page, browser, find_chromium

CHROMIUM = find_chromium()
# Where CI sets this, a missing browser is a failure and no skip.
REQUIRED = os.environ.get("POSLENS_REQUIRE_BROWSER") == "1"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED, reason="no Chromium on PATH to open the page with"
)

MODELS = {"six": (6, 12), "thirty": (30, 9), "one": (1, 12)}
NAMES = ["share-map", "share-stack", "one-head", "hidden-states", "layered-paths"]
PATHS = "document.getElementById('plot-layered-paths')"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, (layers, heads) in MODELS.items():
        layered.model(layers, heads).report(folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in MODELS}


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    assert CHROMIUM is not None, "POSLENS_REQUIRE_BROWSER is set, but there is no Chromium on PATH"
    with browser(CHROMIUM) as page:
        yield page


def boxes(tab: Page, selector: str) -> list[list[float]]:
    """Left, top, right and bottom of elements, in pixels."""
    found = tab.evaluate(
        f"[...document.querySelectorAll({selector!r})].map(node => "
        "(r => [r.left, r.top, r.right, r.bottom])(node.getBoundingClientRect()))"
    )
    assert isinstance(found, list)
    return found


def shown(tab: Page) -> tuple[list[int], str, int]:
    """The layers that are drawn, the title, and the slider's step."""
    visible, title, active = tab.evaluate(
        f"[{PATHS}._fullData.flatMap((trace, i) => trace.visible === true ? [i] : []), "
        f"{PATHS}._fullLayout.title.text, {PATHS}.layout.sliders[0].active]"
    )
    return visible, title, active


@pytest.mark.parametrize(("width", "theme"), [(1280, "dark"), (390, "light")])
@pytest.mark.parametrize("model", MODELS)
def test_each_is_drawn_and_no_text_covers_another(
    tab: Page, pages: dict[str, Path], model: str, width: int, theme: str
) -> None:
    tab.theme(theme)
    tab.size(width, 844, phone=width < 500)
    tab.open(pages[model])
    drawn = tab.evaluate(
        "[...document.querySelectorAll('.plot')].map(plot => "
        "[plot.id, plot.querySelectorAll('svg .trace, svg .hm, canvas').length])"
    )
    assert [name for name, _ in drawn] == [f"plot-{name}" for name in NAMES]
    assert all(count for _, count in drawn)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    kinds = ("xtitle", "ytitle", "cbtitle text", "annotation-text-g text", "gtitle")
    selector = ", ".join(f".plot .{kind}" for kind in kinds)
    texts = [box for box in boxes(tab, selector) if box[2] > box[0]]
    assert len(texts) > 15
    for i, a in enumerate(texts):
        for b in texts[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)
    heats = boxes(tab, "#plot-one-head .hm image")
    assert len(heats) == 6
    for left, top, right, bottom in heats:
        assert right - left == pytest.approx(bottom - top, abs=2.0)
        assert right - left > (200 if width > 500 else 95)
    assert len({round(box[0]) for box in heats}) == (3 if width > 500 else 2)
    assert tab.errors == []
    tab.size(1280)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_slider_goes_through_the_layers(tab: Page, pages: dict[str, Path], width: int) -> None:
    tab.theme("light")
    tab.size(width, 844, phone=width < 500)
    tab.open(pages["six"])
    tab.evaluate(f"{PATHS}.scrollIntoView({{block: 'end'}})")
    assert shown(tab) == ([0], "Layer 0: 98 % of the variance in PC1–PC3", 0)
    before = tab.evaluate(f"{PATHS}._fullLayout.scene.xaxis.range[1]")
    labels = boxes(tab, "#plot-layered-paths .slider-label")
    assert len(labels) == 7
    bar = boxes(tab, "#plot-layered-paths .cbaxis")[0]
    rail = boxes(tab, "#plot-layered-paths .slider-rail-rect")[0]
    assert bar[3] <= rail[1]  # the numbers of the colour bar stand above the slider
    x, y = (labels[4][0] + labels[4][2]) / 2, (labels[4][1] + labels[4][3]) / 2
    tab.mouse("mouseMoved", x, y, 0)
    tab.mouse("mousePressed", x, y, 1)
    tab.mouse("mouseReleased", x, y, 0)
    tab.wait_for(f"{PATHS}.layout.sliders[0].active === 4", 20)
    tab.wait_for(f"{PATHS}._fullData[4].visible === true", 20)
    expected = ([4], "Layer 4: 85 % of the variance in PC1–PC3", 4)
    assert shown(tab) == expected
    # Each layer has its own scale, and its ends their labels.
    assert tab.evaluate(f"{PATHS}._fullLayout.scene.xaxis.range[1]") > 2 * before
    ends = f"{PATHS}._fullLayout.scene.annotations.map(each => each.x)"
    scores = layered.hidden(7)["hidden.scores"].values
    assert tab.evaluate(ends) == pytest.approx(scores[4, [0, -1], 0].tolist(), rel=1e-5)
    # A change of theme draws everything anew, and the slider stays where it was.
    tab.theme("dark")
    tab.wait_for(f"{PATHS}._fullLayout.paper_bgcolor === '#16181c'", 20)
    tab.wait_for(f"{PATHS}._fullData[4].visible === true", 20)
    assert shown(tab) == expected
    assert tab.errors == []
    tab.theme("light")
    tab.size(1280)


def test_a_wide_grid_of_claims_scrolls_by_itself(tab: Page, pages: dict[str, Path]) -> None:
    tab.size(390, 844, phone=True)
    tab.open(pages["thirty"])
    table = "document.querySelector('table.layers')"
    assert tab.evaluate(f"{table}.scrollWidth") > 390
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.evaluate(f"{table}.parentElement.scrollLeft = 300")
    name, last = boxes(tab, "table.layers tbody tr:first-child > :is(th, td:last-child)")
    assert name[0] == pytest.approx(18, abs=2)  # names stay in view
    assert last[2] < 390 + 300
    tab.size(1280)
