"""The site in a real browser: figures drawn from its own files, in the theme of the reader."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from browser import browser, find_chromium

CHROMIUM = find_chromium()
# Where CI sets this, a missing browser is a failure and no skip.
REQUIRED = os.environ.get("POSLENS_REQUIRE_BROWSER") == "1"
DRAWN = "[...document.querySelectorAll('.plot')].map(p => p.querySelectorAll('.trace').length)"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
PAPER = "document.querySelector('.plot .main-svg').style.background"


@pytest.mark.skipif(CHROMIUM is None and not REQUIRED, reason="no Chromium on PATH")
def test_the_figures_are_drawn_on_the_colour_of_the_page(site: Path) -> None:
    assert CHROMIUM is not None, "POSLENS_REQUIRE_BROWSER is set, but there is no Chromium on PATH"
    with browser(CHROMIUM) as tab:
        papers = set()
        for theme, width in (("light", 1280), ("dark", 390)):
            tab.size(width, phone=width < 500)
            tab.theme(theme)
            tab.open(site / "claims" / "relative.html")
            drawn = tab.evaluate(DRAWN)
            assert len(drawn) == 3
            assert all(drawn)
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            paper = tab.evaluate(PAPER)
            assert paper == tab.evaluate(BACKGROUND)
            papers.add(paper)
        assert len(papers) == 2
        assert tab.errors == []
        own = site.as_uri()
        assert not [url for url in tab.requests if not url.startswith((own, "data:", "blob:"))]
