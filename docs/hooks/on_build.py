"""What MkDocs calls: pages made from the code, claims with their pictures, one plotly.js.

The figures are those of the report, with its script: drawn in the reader's browser, from this
site's own files.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import measures
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url
from plotly.offline import get_plotlyjs

import claims
import poslens
from poslens.report import html

ROOT = Path(__file__).parents[2]
PLOTLY, SCRIPT = "assets/plotly.min.js", "assets/figures.js"
API = "reference/api/"
BY_MODULE = {"geometry"}  # rooms whose functions are public by the module that they are in

# Pages that a command writes. Until it has run, they say which.
WRITTEN = {
    "audit.md": ("Audit", "make audit"),
    "benchmarks.md": ("Benchmarks", "make bench"),
}
_CLAIM = re.compile(r"^## `([a-z_]+\.[a-z0-9_]+)`$", re.MULTILINE)
_EVERY_CLAIM = "<!-- every claim -->"

_QUIET = "      show_root_heading: false\n      show_root_toc_entry: false\n"

_drawn: dict[str, list[claims.Picture]] = {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the scripts that are made here."""
    made: dict[str, str] = {
        "contributing.md": _contributing(),
        "demo.md": (ROOT / "src/poslens/demo/README.md").read_text(encoding="utf-8"),
        "reference/measures.md": measures.page(ROOT / "docs/measures.md", pages()),
        PLOTLY: get_plotlyjs(),
        SCRIPT: (ROOT / "src/poslens/report/page.js").read_text(encoding="utf-8"),
    }
    for name, (title, command) in WRITTEN.items():
        if files.get_file_from_path(name) is None:
            made[name] = f"# {title}\n\n`{command}` writes this page.\n"
    for path in _leaves(config.nav):
        if path.startswith(API):
            made[path] = _api(PurePosixPath(path).stem)
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Fill in what the code says of each claim."""
    if not page.file.src_uri.startswith("claims/"):
        return markdown
    if _EVERY_CLAIM in markdown:
        beside = {claim: PurePosixPath(path).name for claim, path in pages().items()}
        markdown = markdown.replace(_EVERY_CLAIM, claims.table(beside))
    parts = _CLAIM.split(markdown)
    filled = [parts[0]]
    _drawn[page.file.src_uri] = []
    for claim, prose in zip(parts[1::2], parts[2::2], strict=True):
        pictures = claims.pictures(claim)
        _drawn[page.file.src_uri] += pictures
        figures = "\n\n".join(map(_figure, pictures))
        filled.append(f"{claims.heading(claim)}\n\n{claims.facts(claim)}\n{prose}\n{figures}\n\n")
    return "".join(filled)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Give a page with figures their data, and the scripts that draw them."""
    pictures = _drawn.get(page.file.src_uri)
    if not pictures:
        return output
    data = [
        {"id": f"plot-{each.id}", "data": each.figure.data, "layout": each.figure.layout}
        for each in pictures
    ]
    scripts = "".join(
        f'<script src="{get_relative_url(path, page.url)}"></script>' for path in (PLOTLY, SCRIPT)
    )
    told = f'<script type="application/json" id="figure-data">{html.in_script(data)}</script>'
    return output.replace("</body>", f"{told}{scripts}</body>")


def pages() -> dict[str, str]:
    """Return the page of each claim: the one that has its heading."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "docs/claims").glob("*.md")):
        for claim in _CLAIM.findall(path.read_text(encoding="utf-8")):
            found[claim] = f"claims/{path.name}"
    return found


def _figure(picture: claims.Picture) -> str:
    height = int(picture.figure.layout["height"])
    return (
        f'<figure class="poslens" aria-labelledby="of-{picture.id}">'
        f'<figcaption id="of-{picture.id}">{picture.caption}</figcaption>'
        f'<div class="plot" id="plot-{picture.id}" role="img" style="--height:{height}px" '
        f'aria-labelledby="of-{picture.id}"></div></figure>'
    )


def _contributing() -> str:
    """CONTRIBUTING.md, whose links to this folder become links within it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return text.replace("](docs/", "](")


def _api(name: str) -> str:
    """The reference of the package (``poslens``), or of one of its rooms."""
    within = name if name == "poslens" else f"poslens.{name}"
    room = importlib.import_module(within)
    title = f"# {within}\n\n"
    above = {} if room is poslens else {_home(poslens, each): each for each in poslens.__all__}
    if not hasattr(room, "__all__"):  # one module
        defined = [
            each
            for each, found in vars(room).items()
            if getattr(found, "__module__", "") == within
            and not each.startswith("_")
            and _home(room, each) not in above
        ]
        return f"{title}::: {within}\n    options:\n      members: {defined}\n" + _QUIET
    about = f"::: {within}\n    options:\n      members: false\n" + _QUIET
    if name in BY_MODULE:
        public = [f"{within}.{each.name}" for each in pkgutil.iter_modules(room.__path__)]
    else:
        public = [_home(room, each) for each in room.__all__ if _is_shown(room, each)]
    listed = [f"::: {path}\n" for path in public]
    # What the package itself names is on its page.
    listed = [
        f"- [{above[path]}][{path}]\n" if path in above else block
        for path, block in zip(public, listed, strict=True)
    ]
    return "\n".join([title, about, *sorted(listed, key=lambda block: block.startswith(":::"))])


def _is_shown(room: ModuleType, name: str) -> bool:
    """Whether a public name is described on the room's page: rooms within it are not."""
    return not name.startswith("__") and not isinstance(getattr(room, name), ModuleType)


def _home(room: ModuleType, name: str) -> str:
    """Where a name is defined. Its path by the room may be that of a module of the same name."""
    found = getattr(room, name)
    if inspect.isclass(found) or inspect.isfunction(found):
        return f"{found.__module__}.{found.__qualname__}"
    return f"{room.__name__}.{name}"


def _leaves(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    children = nav.values() if isinstance(nav, dict) else nav or ()
    return [path for child in children for path in _leaves(child)]
