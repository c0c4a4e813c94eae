"""The figures of the kernel in a real browser: panels, themes, and a phone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import kernel_studies as kernels
from browser import Page, browser, find_chromium

from poslens.study import Labelled

CHROMIUM = find_chromium()
# Where CI sets this, a missing browser is a failure and no skip.
REQUIRED = os.environ.get("POSLENS_REQUIRE_BROWSER") == "1"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED, reason="no Chromium on PATH to open the page with"
)

MakeData = Callable[[], dict[str, Labelled]]
MODELS: dict[str, tuple[MakeData, list[str]]] = {
    "causal": (lambda: kernels.learned(12), ["kernel-heads", "kernel-profiles", "head-map"]),
    "forty": (lambda: kernels.learned(40), ["kernel-heads", "kernel-profiles", "head-map"]),
    "rope": (lambda: kernels.rope(24), ["kernel-profiles", "head-map", "wavelengths"]),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, (data, _) in MODELS.items():
        kernels.study_of(data()).report(folder / f"{name}.html")
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


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("model", MODELS)
def test_each_is_drawn_without_an_error(
    tab: Page, pages: dict[str, Path], model: str, theme: str
) -> None:
    tab.size(1280)
    tab.theme(theme)
    tab.open(pages[model])
    names = tab.evaluate("[...document.querySelectorAll('.plot')].map(plot => plot.id)")
    assert names == [f"plot-{name}" for name in MODELS[model][1]]
    drawn = tab.evaluate(
        "[...document.querySelectorAll('.plot')]"
        ".map(plot => plot.querySelectorAll('svg .trace, svg .hm').length)"
    )
    assert all(drawn)
    assert tab.errors == []
    paper = tab.evaluate("document.querySelector('.plot')._fullLayout.paper_bgcolor")
    assert paper == {"light": "#fdfdfc", "dark": "#16181c"}[theme]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("model", ["causal", "forty"])
def test_panels_are_square_and_apart(
    tab: Page, pages: dict[str, Path], model: str, width: int
) -> None:
    tab.theme("light")
    tab.size(width, 844, phone=width < 500)
    tab.open(pages[model])
    heats = boxes(tab, "#plot-kernel-heads .hm image")
    assert len(heats) == {"causal": 12, "forty": 16}[model]
    for left, top, right, bottom in heats:
        assert right - left == pytest.approx(bottom - top, abs=2.0)
        assert right - left > (150 if width > 500 else 100)
        assert right <= width
    assert len({round(box[0]) for box in heats}) == (4 if width > 500 else 2)
    # A title stands above its panel, and on no other.
    titles = boxes(tab, "#plot-kernel-heads .annotation")
    assert len(titles) == len(heats)
    for left, top, right, bottom in titles:
        for box in heats:
            assert bottom <= box[1] + 2 or top >= box[3] - 2 or left >= box[2] or right <= box[0]
    assert tab.errors == []
    tab.size(1280)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("model", MODELS)
def test_no_title_covers_another(tab: Page, pages: dict[str, Path], model: str, width: int) -> None:
    tab.size(width, 844, phone=width < 500)
    tab.open(pages[model])
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    texts = boxes(tab, ".plot .xtitle, .plot .ytitle, .plot .cbtitle text, .plot .cbaxis text")
    texts = [box for box in texts if box[2] > box[0]]
    assert len(texts) > 6
    for i, a in enumerate(texts):
        for b in texts[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)
    assert tab.errors == []
    tab.size(1280)


def test_a_double_click_shows_all_offsets(tab: Page, pages: dict[str, Path]) -> None:
    tab.size(1280)
    tab.open(pages["causal"])
    plot = "document.getElementById('plot-kernel-profiles')"
    tab.evaluate(f"{plot}.scrollIntoView({{block: 'center'}})")
    left = f"{plot}._fullLayout.xaxis.range[0]"
    assert -70 < tab.evaluate(left) < -64
    x, y, width, height = tab.evaluate(
        f"(r => [r.x, r.y, r.width, r.height])({plot}.querySelector('.nsewdrag')"
        ".getBoundingClientRect())"
    )
    for clicks in (1, 2):
        for kind in ("mousePressed", "mouseReleased"):
            tab.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x + width / 2,
                y=y + height / 3,
                button="left",
                clickCount=clicks,
            )
    tab.wait_for(f"{left} < -125", 20)
    assert tab.errors == []


def test_a_line_says_its_head(tab: Page, pages: dict[str, Path]) -> None:
    tab.size(1280)
    tab.open(pages["causal"])
    plot = "document.getElementById('plot-kernel-profiles')"
    tab.evaluate(f"{plot}.scrollIntoView({{block: 'center'}})")
    x, y = tab.evaluate(
        f"((plot, layout) => {{"
        " const box = plot.getBoundingClientRect();"
        " const line = plot.calcdata.find(each =>"
        " (each[0].trace.hovertemplate || '').startsWith('head 5,'));"
        " const point = line.find(each => each.x === -5);"
        " return [box.x + layout.xaxis._offset + layout.xaxis.d2p(point.x),"
        " box.y + layout.yaxis._offset + layout.yaxis.d2p(point.y)];"
        f"}})({plot}, {plot}._fullLayout)"
    )
    tab.mouse("mouseMoved", x - 8, y, 0)
    tab.mouse("mouseMoved", x, y, 0)
    said = f"[...{plot}.querySelectorAll('.hovertext')].map(node => node.textContent).join()"
    tab.wait_for(f"{said}.startsWith('head 5, offset −5: 0.')", 20)
    assert tab.errors == []
