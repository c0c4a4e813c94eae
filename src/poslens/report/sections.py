"""The parts of the page, as HTML. Every string from data passes `text` on its way in."""

from __future__ import annotations

import re
from html import escape

from poslens.claims.claim import Claim, Verdict
from poslens.report import words
from poslens.report.glossary import DRAWN, GROUPS, MEANINGS
from poslens.study import Study

_COLUMNS = ("Verdict", "Claim", "Value", "Bar", "95 % interval", "Null model")


def text(value: object) -> str:
    """Return data as HTML text: visible characters only, with markup escaped."""
    return escape(words.visible(value), quote=True)


def breakable(name: str) -> str:
    """Return a name that a narrow screen may break after its separators, rather than anywhere."""
    return re.sub(r"([/,:_])(?=\w)", r"\1<wbr>", name)


def verdict_class(said: Verdict) -> str:
    """Return the CSS class of a verdict."""
    return said.value.replace(" ", "-")


def facts(study: Study) -> str:
    """Return tensor, family, scheme, shape and view as one line."""
    tensor = study.source.tensor
    named = [f"<code>{text(tensor)}</code>"] if tensor is not None else []
    return " · ".join(named + [escape(fact) for fact in words.table_facts(study)])


def summary(study: Study) -> str:
    """Return how many claims have each verdict."""
    items = "".join(
        f"<li><b>{count}</b>{verdict('span', each)}</li>"
        for each, count in words.verdict_counts(study)
        if count
    )
    return f'<ul class="summary">{items}</ul>' if items else ""


def verdict(tag: str, said: Verdict) -> str:
    """Return a verdict as an element: its sign and its word."""
    # A screen reader reads the word; the sign beside it is for the eye.
    sign = f'<i aria-hidden="true">{words.symbol(said)}</i>'
    role = ' role="cell"' if tag == "td" else ""
    return f'<{tag}{role} class="verdict {verdict_class(said)}">{sign}{said}</{tag}>'


def claims(study: Study) -> str:
    """Return the table of tested claims, and after it those that do not apply, by reason."""
    rows = "".join(_claim_row(claim) for claim in words.tested(study))
    head = "".join(f'<th role="columnheader" scope="col">{name}</th>' for name in _COLUMNS)
    # On a phone the rows become cards; the roles keep it a table for a screen reader there.
    table = (
        '<table class="claims" role="table" aria-labelledby="claims">'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{rows}</tbody></table>'
    )
    return (table if rows else "<p>No claim applies to this table.</p>") + inapplicable(study)


def _claim_row(claim: Claim) -> str:
    note = f'<span class="note">{text(claim.note)}</span>' if claim.note else ""
    name = (
        f'<th role="rowheader" scope="row"><span class="statement">{text(claim.statement)}</span>'
        f'<code class="id">{text(claim.id)}</code> <span class="id">§ {text(claim.section)}</span>'
        f"{note}</th>"
    )
    numbers = (
        ("Value", "value", words.shown(claim.value, claim.bar)),
        ("Bar", "bar", words.bar_text(claim.bar)),
        ("95 % interval", "interval", words.interval_text(claim)),
        ("Null model", "null", words.null_text(claim)),
    )
    cells = "".join(
        f'<td role="cell" class="number {kind}{"" if value else " empty"}" data-label="{label}">'
        f"{_unbroken(value) if kind == 'null' else escape(value)}</td>"
        for label, kind, value in numbers
    )
    identifier = escape(words.visible(claim.id), quote=True)
    return (
        f'<tr role="row" id="claim-{identifier}">{verdict("td", claim.verdict)}{name}{cells}</tr>'
    )


def _unbroken(value: str) -> str:
    """Text of a narrow cell that may break after a comma alone: the null's name, then its p."""
    return escape(value).replace(" ", "&nbsp;").replace(",&nbsp;", ", ")


def inapplicable(study: Study) -> str:
    """Return the claims that do not apply, by their reason."""
    reasons = words.not_applicable(study)
    if not reasons:
        return ""
    items = "".join(
        f"<li>{', '.join(f'<code>{text(claim.id)}</code>' for claim in group)}: {text(reason)}</li>"
        for reason, group in reasons.items()
    )
    return f'<div class="aside"><h3>Not applicable here</h3><ul>{items}</ul></div>'


def measures(study: Study) -> str:
    """Return every measure with its meaning, in groups; those without a value say why."""
    groups: dict[str, list[str]] = {}
    for name in study.measures:
        if name in DRAWN and study.measures[name] is not None:
            continue
        groups.setdefault(name.split(".", 1)[0], []).append(_measure(study, name))
    ordered = [key for key in GROUPS if key in groups]
    ordered += [key for key in groups if key not in GROUPS]
    blocks = "".join(
        f'<div class="group"><h3>{text(GROUPS.get(key, key))}</h3><dl>{"".join(groups[key])}</dl>'
        "</div>"
        for key in ordered
    )
    return f'<div class="groups">{blocks}</div>' if blocks else "<p>None.</p>"


def _measure(study: Study, name: str) -> str:
    value = study.measures[name]
    why = study.undefined.get(name, "no value") if value is None else MEANINGS.get(name, "")
    meaning = f"<span>{text(why)}</span>" if why else ""
    shown = escape(words.value_text(value)).replace(", ", ",<br>" if ":" in str(value) else ", ")
    return f"<div><dt><code>{text(name)}</code>{meaning}</dt><dd>{shown}</dd></div>"


def provenance(study: Study) -> str:
    """Return where the table came from, and all that is needed to repeat the analysis."""
    source, settings = study.source, study.settings
    entries: list[tuple[str, object]] = [
        ("Source", source.uri),
        ("Revision", source.revision),
        ("Tensor", source.tensor),
        ("Family", source.family),
        ("Scheme", source.scheme),
        ("Rows left out before position 0", source.row_offset or None),
        ("Recognised", study.recognised or None),
        (
            "Shape",
            None
            if study.length is None
            else f"{study.length:,} positions × {study.dim:,} dimensions",
        ),
        ("Stored as", source.dtype),
        ("SHA-256", source.sha256),
        ("Bytes read", f"{source.bytes_read:,}"),
        ("Kernels", str(study.data["kernel.note"].values) if "kernel.note" in study.data else None),
        ("View", settings.view),
        ("Rows", None if settings.rows is None else f"{settings.rows[0]}:{settings.rows[1]}"),
        ("Null tables", f"{settings.nulls:,} of each null model"),
        ("Seed", settings.seed),
        ("Bars changed", ", ".join(f"{k} {v:g}" for k, v in sorted(settings.bars.items())) or None),
        ("Versions", ", ".join(f"{k} {v}" for k, v in study.versions.items()) or None),
    ]
    rows = "".join(
        f"<dt>{label}</dt><dd>{_provenance_value(label, text(value))}</dd>"
        for label, value in entries
        if value is not None and value != ""
    )
    return f'<dl class="provenance">{rows}</dl>'


def _provenance_value(label: str, shown: str) -> str:
    return f"<code>{shown}</code>" if label in {"Source", "Tensor", "SHA-256"} else shown
