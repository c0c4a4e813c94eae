"""The site says all that it should, and loads nothing from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

import poslens
from poslens import attention, encodings, lab
from poslens.claims.rules import RULES
from poslens.encodings import Rope, Sinusoidal
from poslens.geometry.frequencies import pair_frequencies
from poslens.report.glossary import DRAWN, MEANINGS

ROOT = Path(__file__).parents[2]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "embed": "src"}
LINKED = {"stylesheet", "icon", "shortcut", "preload", "modulepreload", "preconnect", "manifest"}


class Html(HTMLParser):
    """What a page loads, links to and names, and its scripts of data."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.plots: list[str] = []
        self.verdicts: dict[str, list[str]] = {}
        self.data: list[dict[str, object]] = []
        self._in_data = False
        self._caption = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.append(given["id"])
        if tag in LOADED and LOADED[tag] in given:
            self.loaded.append(given[LOADED[tag]])
        if tag == "link" and LINKED & set(given.get("rel", "").split()):
            self.loaded.append(given["href"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        classes = given.get("class", "").split()
        if tag == "figcaption":
            self._caption = given.get("id", "")
            self.verdicts[self._caption] = []
        if "verdict" in classes and self._caption:
            self.verdicts[self._caption].append(classes[1])
        if "plot" in classes:
            self.plots.append(given["id"])
        self._in_data = tag == "script" and given.get("id") == "figure-data"

    def handle_endtag(self, tag: str) -> None:
        if tag == "figcaption":
            self._caption = ""

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.data = json.loads(data)


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, Html]:
    """Every page by its path in the site."""
    return {path.relative_to(site).as_posix(): Html(path) for path in site.rglob("*.html")}


def of_claim(pages: dict[str, Html], claim: str) -> Html:
    (page,) = (page for path, page in pages.items() if claim in page.ids and "claims/" in path)
    return page


@pytest.mark.parametrize("claim", [rule.id for rule in RULES])
def test_every_claim_has_a_section_with_a_picture(pages: dict[str, Html], claim: str) -> None:
    page = of_claim(pages, claim)
    mark = "of-" + re.sub("[._]", "-", claim) + "-"
    verdicts = [said for name, said in page.verdicts.items() if name.startswith(mark)]
    assert verdicts
    decided = [said[0] for said in verdicts if said]
    if len(decided) >= 2 and claim != "relative.distance_only":
        assert decided[:2] == ["supported", "contradicted"]
    else:
        assert set(decided) <= {"supported"}


def test_every_picture_has_its_data(pages: dict[str, Html]) -> None:
    drawn = 0
    for page in pages.values():
        assert page.plots == [figure["id"] for figure in page.data]
        assert all(figure["data"] for figure in page.data)
        assert len(page.ids) == len(set(page.ids))
        drawn += len(page.plots)
    assert drawn >= len(RULES)


def test_every_measure_has_an_entry(pages: dict[str, Html]) -> None:
    contract = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z]+\.[^|]*?) \|", contract, flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z]+\.[a-z0-9_.]+)", row)}
    assert len(named) >= 50
    assert {*named, *MEANINGS, *DRAWN} <= set(pages["reference/measures.html"].ids)


def test_every_public_name_is_in_the_reference(pages: dict[str, Html]) -> None:
    for room in (poslens, attention, encodings, lab):
        page = pages[f"reference/api/{room.__name__.rpartition('.')[2]}.html"]
        told = " ".join(page.ids + page.links)
        for name in set(room.__all__) - {"__version__"}:
            assert re.search(rf"\b{name}\b", told), f"{room.__name__}.{name}"


def test_every_page_is_in_the_navigation(pages: dict[str, Html]) -> None:
    linked = {link.split("#")[0] for link in pages["index.html"].links}
    assert set(pages) - {"404.html"} <= linked | {"index.html"}
    for name in ("audit.html", "benchmarks.html", "adding.html", "families.html", "record.html"):
        assert name in pages


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[str, Html]) -> None:
    for path, page in pages.items():
        assert page.loaded
        for url in page.loaded:
            parts = urlsplit(url)
            assert not parts.scheme, f"{path} loads {url}"
            assert not parts.netloc, f"{path} loads {url}"
            # The page for what is not found is served at any depth, so its links are absolute.
            folder = site if parts.path.startswith("/") else (site / path).parent
            assert (folder / unquote(parts.path).lstrip("/")).is_file(), f"{path} loads {url}"
    styles = [*site.rglob("*.css"), *site.rglob("*.html")]
    for style in styles:
        text = style.read_text(encoding="utf-8")
        if style.suffix == ".html":
            text = " ".join(re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL))
        assert not re.findall(r"""(?:url\(|@import)\s*["']?\s*(?:https?:)?//""", text), style


def test_sinusoidal_and_rotary_frequencies_are_the_same() -> None:
    """What the page on `sinusoid.many_frequencies` says of its picture."""
    found = pair_frequencies(Sinusoidal(dim=64).table(np.arange(512)))
    cos, sin = Rope(head_dim=64).rotation(np.arange(2))
    np.testing.assert_allclose(found.values, np.arctan2(sin, cos)[1], rtol=1e-9)
