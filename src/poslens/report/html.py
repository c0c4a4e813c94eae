"""A study as one HTML page that opens offline, and as a fragment for notebooks."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from poslens._version import __version__
from poslens.claims.claim import Verdict
from poslens.files import written_whole
from poslens.report import by_layer, sections, words
from poslens.study import Study

if TYPE_CHECKING:
    from poslens.report.figures import Figure

# Inside <script> nothing ends the element early, and nothing is a line end that JSON knows and
# older JavaScript does not.
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028"} | {
    "\u2029": "\\u2029"
}


def write_html(study: Study, path: str | Path) -> None:
    """Write one self-contained page: the claims, the figures, the measures, the provenance.

    The same study gives the same bytes. The page loads nothing: plotly.js is inside, and its
    Content-Security-Policy forbids the network and every script but its own two.

    Raises
    ------
    OutputError
        If ``path`` cannot be written; nothing is left behind.
    """
    with written_whole(path) as temporary:
        temporary.write_bytes(page(study).encode("utf-8"))


def page(study: Study) -> str:
    """Return the page that `write_html` writes."""
    # Plotly takes longer to import than the rest of this room: only a page needs it.
    from poslens.report.figures import FIGURES

    figures = [draw(study) for draw in FIGURES]
    # Without a table, what a page says of tables would be that it lacks them.
    quiet = study.length is None
    figures = [figure for figure in figures if not (figure.missing and (quiet or figure.optional))]
    return assembled(
        figures,
        title=words.short_name(study),
        facts=sections.facts(study),
        summary=sections.summary(study),
        claims=sections.claims(study) + by_layer.section(study),
        measures=sections.measures(study),
        provenance=sections.provenance(study),
    )


def assembled(figures: Sequence[Figure], *, title: str, **parts: str) -> str:
    """Return a page of figures and parts.

    Parameters
    ----------
    figures
        Those without data say why.
    title
        Plain text.
    parts
        HTML by the names in ``page.html``: facts, summary, claims, measures and provenance. Where
        ``claims`` is empty the page has no section of claims.
    """
    from plotly.offline import get_plotlyjs

    drawn = [
        {"id": f"plot-{figure.name}", "data": figure.data, "layout": figure.layout}
        for figure in figures
        if not figure.missing
    ]
    # A hash covers the bytes as a browser sees them, with its own line ends.
    plotly, script = (_unix(source) for source in (get_plotlyjs(), _packaged("page.js")))
    return Template(_packaged("page.html")).substitute(
        parts | {"claims": _claims_section(parts["claims"])},
        script_hashes=" ".join(_hash(source) for source in (plotly, script)),
        version=escape(__version__),
        title=escape(title),
        style=_packaged("page.css"),
        heading=sections.breakable(escape(title)),
        figures="\n".join(_figure(figure.name, figure) for figure in figures),
        data=in_script(drawn),
        plotly=plotly,
        script=script,
    )


def _claims_section(claims: str) -> str:
    return Template(_packaged("claims.html")).substitute(claims=claims) if claims else ""


def _unbroken(text: str) -> str:
    """A sentence whose numbers stay with their signs, 12 % or k = 8, and terms in one piece."""
    for sign in (" = ", " · "):
        text = text.replace(sign, sign.replace(" ", "&nbsp;"))
    return text.replace(" %", "&nbsp;%")


def _figure(name: str, figure: Any) -> str:
    title = escape(figure.title)
    label = f"title-{name}"
    head = f'<h3 id="{label}">{title}</h3>'
    if figure.missing:
        return (
            f'<figure aria-labelledby="{label}"><figcaption>{head}'
            f'<p class="missing">Not drawn: {sections.text(figure.missing)}.</p>'
            "</figcaption></figure>"
        )
    reading = _unbroken(sections.text(figure.reading))
    height = int(figure.layout["height"])
    return (
        f'<figure aria-labelledby="{label}"><figcaption>{head}'
        f'<p class="reading" id="reading-{name}">{reading}</p></figcaption>'
        f'<div class="plot" id="plot-{name}" role="img" style="--height:{height}px" '
        f'aria-labelledby="{label}" aria-describedby="reading-{name}"></div></figure>'
    )


def in_script(value: Any) -> str:
    """Return JSON that is safe inside a ``<script>`` element, arrays as base64 of their bytes."""
    encoded = json.dumps(_encoded(value), ensure_ascii=False, separators=(",", ":"))
    for character, escaped in _IN_SCRIPT.items():  # thirty times as quick as str.translate
        encoded = encoded.replace(character, escaped)
    return encoded


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _typed(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _encoded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(entry) for entry in value]
    return value


def _typed(array: np.ndarray) -> Any:
    """Plotly's typed arrays: little-endian bytes of a dtype that JavaScript has."""
    small = array.astype(np.int32 if array.dtype.kind in "iu" else np.float32, copy=False)
    kind = "i4" if small.dtype.kind == "i" else "f4"
    data = base64.b64encode(small.astype(f"<{kind}", copy=False).tobytes()).decode("ascii")
    typed = {"dtype": kind, "bdata": data}
    if small.ndim > 1:
        typed["shape"] = ", ".join(str(size) for size in small.shape)
    return typed


def _packaged(name: str) -> str:
    return resources.files("poslens.report").joinpath(name).read_text(encoding="utf-8")


def _unix(source: str) -> str:
    return source.replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"


NOTEBOOK_STYLE = """
.poslens{font:14px/1.45 system-ui,sans-serif;color:inherit;max-width:60rem;overflow-x:auto}
.poslens p{margin:0 0 .5em}.poslens small{opacity:.75}
.poslens table{border-collapse:collapse;color:inherit;margin:0}
.poslens th,.poslens td{padding:.3em .9em .3em 0;text-align:left;vertical-align:top;
background:none;color:inherit;border:0;border-top:1px solid rgba(128,128,128,.35)}
.poslens thead th{border-top:0;font-weight:500;opacity:.75;white-space:nowrap}
.poslens tbody th{font-weight:400;min-width:18em}.poslens .n{white-space:nowrap;
font-variant-numeric:tabular-nums}.poslens .v{white-space:nowrap;font-weight:600}
.poslens .v i{display:inline-block;width:1.2em;font-style:normal}
"""
# Middle tones, which can be told from white and from black paper; the word beside them says it.
NOTEBOOK_COLOURS = {
    Verdict.SUPPORTED: "#0a9169",
    Verdict.CONTRADICTED: "#d9660a",
    Verdict.INCONCLUSIVE: "#a98600",
    Verdict.NOT_APPLICABLE: "inherit",
}


def notebook_html(study: Study) -> str:
    """Return the claims as a fragment that styles itself, for light and dark notebooks."""
    rows = "".join(_notebook_row(claim) for claim in words.tested(study))
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("Verdict", "Claim", "Value", "Bar", "95 % interval", "Null model")
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    counts = ", ".join(f"{n} {verdict}" for verdict, n in words.verdict_counts(study) if n)
    reasons = "; ".join(
        f"{', '.join(sections.text(claim.id) for claim in group)}: {sections.text(reason)}"
        for reason, group in words.not_applicable(study).items()
    )
    aside = f"<p><small>Not applicable: {reasons}.</small></p>" if reasons else ""
    facts = " · ".join(escape(fact) for fact in words.table_facts(study))
    layers = "".join(
        f"<li>{sections.text(name)}: {sections.text(told)}</li>"
        for name, told in by_layer.said(study).items()
    )
    if layers:
        aside += f"<p><strong>{by_layer.TITLE}</strong></p><ul>{layers}</ul>"
    return (
        f'<div class="poslens"><style>{NOTEBOOK_STYLE}</style>'
        f"<p><strong>{sections.text(words.table_title(study))}</strong><br>"
        f"<small>{facts} · {counts}</small></p>{table}{aside}</div>"
    )


def _notebook_row(claim: Any) -> str:
    colour = NOTEBOOK_COLOURS[claim.verdict]
    note = f"<br><small>{sections.text(claim.note)}</small>" if claim.note else ""
    cells = (
        words.shown(claim.value, claim.bar),
        words.bar_text(claim.bar),
        words.interval_text(claim),
        words.null_text(claim),
    )
    numbers = "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells)
    return (
        f'<tr><td class="v"><i style="color:{colour}" aria-hidden="true">'
        f"{words.symbol(claim.verdict)}</i>{claim.verdict}</td>"
        f'<th scope="row">{sections.text(claim.id)}{note}</th>{numbers}</tr>'
    )
