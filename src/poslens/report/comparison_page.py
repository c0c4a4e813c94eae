"""Studies side by side as one HTML page that opens offline, and as a fragment for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from poslens.claims.claim import Claim
from poslens.files import written_whole
from poslens.report import aligned, html, sections, words
from poslens.report.glossary import GROUPS, MEANINGS
from poslens.study import Study


def write_comparison(studies: Sequence[Study], labels: Sequence[str], path: str | Path) -> None:
    """Write one self-contained page: claims and measures side by side, and profiles overlaid.

    It has the template of a study's page, and loads as little: see `poslens.report.html`.

    Raises
    ------
    OutputError
        If ``path`` cannot be written; nothing is left behind.
    """
    with written_whole(path) as temporary:
        temporary.write_bytes(comparison_page(studies, labels).encode("utf-8"))


def comparison_page(studies: Sequence[Study], labels: Sequence[str]) -> str:
    """Return the page that `write_comparison` writes."""
    from poslens.report.figures.overlaid import cosine_profiles, kernel_profiles

    return html.assembled(
        [cosine_profiles(studies, labels), kernel_profiles(studies, labels)],
        title=f"{len(studies)} sources side by side",
        facts=_settings(studies),
        summary=_sources(studies, labels),
        claims=claims_table(studies, labels) + _inapplicable(studies, labels),
        measures=_measures_table(studies, labels),
        provenance="".join(
            f"<h3>{sections.text(label)}</h3>{sections.provenance(study)}"
            for study, label in zip(studies, labels, strict=True)
        ),
    )


def _settings(studies: Sequence[Study]) -> str:
    """View, null tables and seed, where the studies share them."""
    shared = dict.fromkeys(
        f"{words.visible(study.settings.view)} view · {study.settings.nulls:,} tables of each "
        f"null model · seed {study.settings.seed}"
        for study in studies
    )
    return escape(next(iter(shared))) if len(shared) == 1 else "analysed with different settings"


def _sources(studies: Sequence[Study], labels: Sequence[str]) -> str:
    items = "".join(
        f"<li><b>{sections.text(label)}</b> "
        f"{sections.text(study.recognised or words.table_title(study))}</li>"
        for study, label in zip(studies, labels, strict=True)
    )
    return f'<ol class="sources">{items}</ol>'


def claims_table(studies: Sequence[Study], labels: Sequence[str]) -> str:
    """Return scheme and shape, then verdict, value and interval of every claim that applies."""
    about = [
        _row(name, "", [escape(cell) for cell in cells])
        for name, cells in aligned.facts(studies).items()
    ]
    rows = []
    for name, row in aligned.tested(studies).items():
        statement = next(claim.statement for claim in row if claim is not None)
        bar = aligned.shared_bar(row)
        shown = sections.breakable(sections.text(name).replace(".", ".<wbr>"))
        head = f'<code class="id">{shown}</code> {_bar(bar)}'
        rows.append(_row(statement, head, [_claim(claim, bar) for claim in row]))
    return _table("claims", labels, {"": about, "Claim": rows})


def _bar(bar: str) -> str:
    return f'<span class="id">{escape(bar).replace(" ", "&nbsp;")}</span>' if bar else ""


def _claim(claim: Claim | None, bar: str) -> str:
    """A cell: verdict, value, interval, and the claim's own bar where the row has none."""
    if claim is None:
        return ""
    shown = sections.verdict("span", claim.verdict)
    if not aligned.applies(claim):
        return shown
    interval = words.interval_text(claim)
    if claim.value is not None:
        shown += f'<span class="number">{escape(words.shown(claim.value, claim.bar))}</span>'
    if interval:
        shown += f'<span class="number interval">{escape(interval)}</span>'
    return shown if bar else shown + _bar(words.bar_text(claim.bar))


def _inapplicable(studies: Sequence[Study], labels: Sequence[str]) -> str:
    """Why claims do not apply, source by source."""
    items = ""
    for study, label in zip(studies, labels, strict=True):
        reasons = words.not_applicable(study)
        if not aligned.tested([study]):
            most = max(reasons, key=lambda reason: len(reasons[reason]), default="none was tested")
            why = f"no claim applies: {sections.text(most)}"
        else:
            why = "; ".join(
                f"{', '.join(f'<code>{sections.text(claim.id)}</code>' for claim in group)}: "
                f"{sections.text(reason)}"
                for reason, group in reasons.items()
            )
        items += f"<li><b>{sections.text(label)}</b>: {why}</li>" if why else ""
    return f'<div class="aside"><h3>Not applicable</h3><ul>{items}</ul></div>' if items else ""


def _measures_table(studies: Sequence[Study], labels: Sequence[str]) -> str:
    groups: dict[str, list[str]] = {}
    for name, values in aligned.with_kernels(studies).items():
        meaning = MEANINGS.get(name, "")
        if name in aligned.BY_HEAD:
            meaning = f"{meaning}, median over heads" if meaning else "median over heads"
        head = f'<span class="id">{sections.text(meaning)}</span>'
        group = name.split(".", 1)[0]
        cells = [
            f'<span class="number">{escape(words.value_text(value))}</span>' for value in values
        ]
        groups.setdefault(GROUPS.get(group, group), []).append(_row(name, head, cells))
    if not groups:
        return "<p>None of these sources adds a table to measure.</p>"
    return _table("measures", labels, groups)


def _row(name: str, below: str, cells: Sequence[str]) -> str:
    """A row: the name as data, below it HTML, and each source's cell as HTML."""
    lower = f"<br>{below}" if below else ""
    columns = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row">{sections.text(name)}{lower}</th>{columns}</tr>'


def _table(named: str, labels: Sequence[str], groups: Mapping[str, Sequence[str]]) -> str:
    """A table with a column for each source, which scrolls sideways where it is too wide."""
    head = "".join(
        f'<th scope="col">{sections.breakable(sections.text(label))}</th>' for label in labels
    )
    bodies = ""
    for title, rows in groups.items():
        bodies += (
            f"<tbody>{_heading(title, len(labels) + 1)}{''.join(rows)}</tbody>" if rows else ""
        )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{named}">'
        f'<table class="beside"><thead><tr><td></td>{head}</tr></thead>{bodies}</table></div>'
    )


def _heading(title: str, columns: int) -> str:
    if not title:
        return ""
    cell = f'<th scope="rowgroup" colspan="{columns}"><span>{sections.text(title)}</span></th>'
    return f'<tr class="group">{cell}</tr>'


def comparison_fragment(studies: Sequence[Study], labels: Sequence[str]) -> str:
    """Return the claims side by side as a fragment that styles itself, for notebooks."""
    head = "".join(f'<th scope="col">{sections.text(label)}</th>' for label in labels)
    facts = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        f"{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, cells in aligned.facts(studies).items()
    )
    rows = "".join(
        f'<tr><th scope="row">{sections.text(name)}</th>'
        f"{''.join(_notebook_cell(claim) for claim in row)}</tr>"
        for name, row in aligned.tested(studies).items()
    )
    return (
        f'<div class="poslens"><style>{html.NOTEBOOK_STYLE}</style><table>'
        f'<thead><tr><th scope="col">Claim</th>{head}</tr></thead><tbody>{facts}{rows}</tbody>'
        "</table></div>"
    )


def _notebook_cell(claim: Claim | None) -> str:
    if claim is None:
        return "<td></td>"
    colour = html.NOTEBOOK_COLOURS[claim.verdict]
    value = words.shown(claim.value, claim.bar) if aligned.applies(claim) else ""
    return (
        f'<td class="n"><i style="color:{colour};font-style:normal" title="{claim.verdict}">'
        f"{words.symbol(claim.verdict)}</i> {escape(value)}</td>"
    )
