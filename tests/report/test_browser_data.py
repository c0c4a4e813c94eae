"""Names from files in a real browser, and the page on paper."""

from __future__ import annotations

import base64
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from poslens.study import Study

sys.path.insert(0, str(Path(__file__).parent))

from browser import Page, browser, find_chromium

MakeStudy = Callable[..., Study]

CHROMIUM = find_chromium()
# Where CI sets this, a missing browser is a failure and no skip.
REQUIRED = os.environ.get("POSLENS_REQUIRE_BROWSER") == "1"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED, reason="no Chromium on PATH to open the page with"
)

ATTACKS = (
    "</script><script>alert(1)</script>",
    "</title></style><script>alert(2)</script>",
    '"><img src=x onerror=alert(3)>',
    '<a href="javascript:alert(4)">a</a>',
    "\u2028$title ${data} \\u003cscript\\u003e",
)


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    assert CHROMIUM is not None, "POSLENS_REQUIRE_BROWSER is set, but there is no Chromium on PATH"
    with browser(CHROMIUM) as page:
        page.call(
            "Page.addScriptToEvaluateOnNewDocument",
            source="window.alerts = []; window.alert = (text) => window.alerts.push(text);",
        )
        yield page


def test_no_name_from_a_file_becomes_markup(
    tab: Page, make_study: MakeStudy, tmp_path: Path
) -> None:
    study = make_study()
    everything = " ".join(ATTACKS)
    fit = study.data["cosine.fit"]
    named = dataclasses.replace(
        study,
        source=dataclasses.replace(
            study.source, uri=everything, tensor=everything, family=everything, sha256=everything
        ),
        claims=tuple(
            dataclasses.replace(c, id=a, note=a, statement=a, null=a and None)
            for c, a in zip(study.claims, ATTACKS, strict=False)
        ),
        measures={**study.measures, "cosine.best_family": ATTACKS[0], everything: None},
        undefined={everything: everything},
        data={
            **study.data,
            "cosine.fit": dataclasses.replace(
                fit, coords={**fit.coords, "family": np.array(ATTACKS)}
            ),
        },
    )
    path = tmp_path / "hostile.html"
    named.report(path)
    tab.size(1280)
    tab.open(path)
    assert tab.evaluate("window.alerts") == []
    # A blocked script or image would be an error in the console, by the page's policy.
    assert tab.errors == []
    assert tab.evaluate("document.querySelectorAll('body img, a[href^=javascript]').length") == 0
    assert tab.evaluate("document.querySelectorAll('script').length") == 3
    assert "</script><script>alert(1)</script>" in tab.evaluate("document.body.textContent")
    legend = "[...document.querySelectorAll('#plot-lag-profile .legendtext')]"
    texts = tab.evaluate(f"{legend}.map(node => node.textContent)")
    assert any(text.startswith("</script><script>alert(1)") for text in texts), texts


def test_it_prints_in_light_colours_and_comes_back(
    tab: Page, make_study: MakeStudy, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    make_study().report(path)
    tab.size(1280)
    tab.theme("dark")
    tab.open(path)
    plot = "document.getElementById('plot-norms')"
    ink = f"getComputedStyle({plot}.querySelector('.xtick text')).fill"
    width = f"Number({plot}.querySelector('.main-svg').getAttribute('width'))"
    dark, wide = tab.evaluate(ink), tab.evaluate(width)
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(ink) == "rgb(34, 38, 43)" != dark
    assert tab.evaluate(width) == 680 < wide
    tab.evaluate("window.dispatchEvent(new Event('afterprint'))")
    tab.wait_for(f"{width} === {wide}", 20)
    assert tab.evaluate(ink) == dark
    paper = base64.b64decode(tab.call("Page.printToPDF", printBackground=False)["data"])
    assert paper.startswith(b"%PDF")
    assert tab.errors == []
    tab.theme("light")


def test_a_turned_path_stays_turned_when_the_theme_changes(
    tab: Page, make_study: MakeStudy, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    make_study().report(path)
    tab.size(1280)
    tab.theme("light")
    tab.open(path)
    plot = "document.getElementById('plot-trajectory')"
    tab.evaluate(f"{plot}.scrollIntoView({{block: 'center'}})")
    eye = f"JSON.stringify({plot}._fullLayout.scene._scene.getCamera().eye)"
    before = tab.evaluate(eye)
    x, y, width, height = tab.evaluate(
        f"(r => [r.x, r.y, r.width, r.height])({plot}.querySelector('canvas')"
        ".getBoundingClientRect())"
    )
    tab.drag((x + width / 2, y + height / 2), (-120, 30))
    tab.wait_for(f"{eye} !== '{before}'", 20)
    turned = tab.evaluate(eye)
    tab.theme("dark")
    tab.wait_for(
        f"getComputedStyle({plot.replace('trajectory', 'norms')}.querySelector('.xtick text')).fill"
        " === 'rgb(228, 229, 227)'",
        20,
    )
    tab.wait_for(f"{plot}._fullLayout.paper_bgcolor === '#16181c'", 20)
    now = [float(number) for number in _numbers(tab.evaluate(eye))]
    assert now == pytest.approx([float(number) for number in _numbers(turned)], abs=1e-3)
    assert tab.errors == []


def _numbers(eye: str) -> list[float]:
    import json

    record = json.loads(eye)
    return [record[axis] for axis in "xyz"]
