"""A compression or an extension as one HTML page that opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from poslens.checkpoints.table import Source
from poslens.edit.costs import drifted, loss_over, mean_kl, perplexity, saved, seed_of
from poslens.edit.report import shown
from poslens.edit.results import Candidate, Compression, Extension, Interval, Tried
from poslens.files import written_whole
from poslens.report import html, sections, words

Cell = tuple[str, str]  # what is said, and a smaller line below it


def write_compression(found: Compression, path: str | Path) -> None:
    """Write the claim, the figures, what was tried and the provenance of a compression.

    The page is that of `poslens.report.html`: it loads nothing.

    Raises
    ------
    OutputError
        If ``path`` cannot be written; nothing is left behind.
    """
    with written_whole(path) as temporary:
        temporary.write_bytes(compression_page(found).encode("utf-8"))


def write_extension(found: Extension, path: str | Path) -> None:
    """Write the recommendation, the figures, what was tried and the provenance of an extension.

    The page is that of `poslens.report.html`: it loads nothing.

    Raises
    ------
    OutputError
        If ``path`` cannot be written; nothing is left behind.
    """
    with written_whole(path) as temporary:
        temporary.write_bytes(extension_page(found).encode("utf-8"))


def compression_page(found: Compression) -> str:
    """Return the page that `write_compression` writes."""
    # Plotly takes longer to import than the rest of this room: only a page needs it.
    from poslens.edit.report.figures import compression_figures

    study = shown.as_study(found)
    return html.assembled(
        compression_figures(found),
        title=f"{words.short_uri(found.table.source.uri)}: its table in fewer numbers",
        facts=sections.facts(study),
        summary=_summary(_chosen(found)),
        claims=sections.claims(study),
        measures=_tried_tables(found),
        provenance=_provenance(_source(found.table.source), found.read, found.settings),
    )


def extension_page(found: Extension) -> str:
    """Return the page that `write_extension` writes."""
    from poslens.edit.report.figures import extension_figures

    facts = f"{words.visible(found.scheme)} · {found.trained:,} → {found.to:,} positions"
    return html.assembled(
        extension_figures(found),
        title=f"{words.short_uri(found.uri)}: a longer context",
        facts=escape(facts),
        summary=_summary(_recommended(found)) + _tied(found),
        claims="",
        measures=_extended_tables(found),
        provenance=_provenance([("Source", found.uri)], found.read, found.settings),
    )


def _summary(items: Sequence[tuple[str, str]]) -> str:
    listed = "".join(f"<li><b>{sections.text(value)}</b>{sections.text(of)}</li>"
                     for value, of in items)  # fmt: skip
    return f'<ul class="summary">{listed}</ul>' if listed else ""


def _chosen(found: Compression) -> list[tuple[str, str]]:
    """The chosen table in a few numbers."""
    one = found.chosen
    items = [
        (shown.named(one), "chosen"),
        (words.percent(saved(found, one)), "of the numbers saved"),
        (words.shown(one.error), "error, of ‖P‖"),
    ]
    raised, moved = shown.raised(found, one), drifted(one.drift)
    if raised is not None:
        items.append((shown.points(raised[0]), "on the mean loss"))
    if moved is not None:
        items.append((words.shown(moved[1]), "1 − cosine, pooled states"))
    return items


def _recommended(found: Extension) -> list[tuple[str, str]]:
    best = found.recommendation
    if best is None:
        return [(found.chosen, "chosen")] if found.chosen is not None else []
    items = [
        (best.method, "recommended"),
        (shown.nats(best.loss), "nats per token beyond"),
        (shown.short(perplexity(best.loss)), "perplexity beyond"),
    ]
    if found.chosen is not None and found.chosen != best.method:
        items.append((found.chosen, "chosen"))
    return items


def _tied(found: Extension) -> str:
    """What the text does not tell from the recommended, and what does as well without an edit."""
    best = found.recommendation
    told = []
    if best is not None and best.tied:
        few = "" if best.interval else " It has too few contexts for intervals."
        told.append(f"This text does not tell it from {words.listed(best.tied)}.{few}")
    if without := shown.cheaper(found):
        told.append(f"{without[0].upper()}{without[1:]}.")
    return "".join(f'<p class="facts">{sections.text(each)}</p>' for each in told)


def _tried_tables(found: Compression) -> str:
    """What was tried by method and rank, and what each costs."""
    heads = ["numbers", "error"]
    if found.original is not None:
        heads += ["loss", "increase", "KL"]
    if any(one.drift is not None for one in found.tried):
        heads += ["1 − cosine", "pooled"]
    text = "Every rank that was tried. Below the numbers stored stands the share of the table's "
    text += "bytes that they save, in the same dtype; the error is ‖P − P̂‖ ÷ ‖P‖, Frobenius"
    if found.original is not None:
        text += f"; the original loses {shown.nats(found.original.mean)} nats per token"
    body = ""
    for method in shown.methods(found):
        body += f'<tr class="group"><th colspan="{1 + len(heads)}" scope="rowgroup">'
        body += f"<span>{sections.text(method)}</span></th></tr>"
        for one in found.tried:
            if one.method == method:
                mark = "chosen" if shown.same(one, found.chosen) else ""
                body += _row(f"rank {one.rank:,}", mark, _candidate(found, one, heads))
    return f"<p>{text}.</p>" + _table(heads, body)


def _candidate(found: Compression, one: Candidate, heads: Sequence[str]) -> list[Cell]:
    increase, interval = shown.raised(found, one) or (None, None)
    state, pooled = drifted(one.drift) or (None, None)
    cells = {
        "numbers": (f"{one.numbers:,}", f"saves {words.percent(saved(found, one))}"),
        "error": (words.shown(one.error), ""),
        "loss": (shown.nats(one.scores.mean if one.scores else None), ""),
        "increase": (
            shown.points(increase),
            shown.percents(interval).removesuffix(" %") if interval else "",
        ),
        "KL": (shown.short(mean_kl(one.scores)), ""),
        "1 − cosine": (shown.short(state), ""),
        "pooled": (shown.short(pooled), ""),
    }
    return [cells[head] for head in heads]


def _extended_tables(found: Extension) -> str:
    """What every method does, and what it costs within the trained length and beyond."""
    heads = ["beyond", "perplexity", "excess", "within"]
    order = [one for one, _ in shown.by_loss(found)]
    order += [one for one in found.tried if all(one is not other for other in order)]
    best = found.recommendation
    body = ""
    for one in order:
        mark = "no edit" if one.baseline else ""
        if best is not None and one.method == best.method:
            mark = "recommended"
        elif one.method == found.chosen:
            mark = "chosen"
        told = ": ".join(part for part in (mark, words.visible(one.about)) if part)
        body += _row(one.method, told, _costs(found, one))
    text = "Mean losses in nats per token, with 95 % intervals over contexts; the excess over the "
    text += "recommended method is paired within contexts."
    return f"<p>{text}</p>" + _table(heads, body)


def _costs(found: Extension, one: Tried) -> list[Cell]:
    seed, best = seed_of(found.settings), found.recommendation
    beyond = loss_over(one.scores, found.trained, None, seed)
    within = loss_over(one.scores, 0, found.trained, seed)
    excess = best.excess.get(one.method) if best else None
    return [
        _loss(beyond),
        (shown.short(perplexity(beyond[0])) if beyond else words.NOTHING, ""),
        _loss(excess),
        _loss(within),
    ]


def _loss(found: tuple[float, Interval | None] | None) -> Cell:
    if found is None:
        return words.NOTHING, ""
    loss, interval = found
    return shown.nats(loss), shown.span(interval) if interval else ""


def _table(heads: Sequence[str], body: str) -> str:
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    return (
        '<div class="scroll" role="region" tabindex="0" aria-labelledby="measures">'
        f'<table class="beside"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(name: str, told: str, cells: Sequence[Cell]) -> str:
    below = f'<br><span class="id">{sections.text(told)}</span>' if told else ""
    filled = "".join(
        f'<td><span class="number">{escape(value)}</span>'
        + (f'<span class="number interval">{escape(small)}</span>' if small else "")
        + "</td>"
        for value, small in cells
    )
    return f'<tr><th scope="row">{sections.text(name)}{below}</th>{filled}</tr>'


def _source(source: Source) -> list[tuple[str, object]]:
    return [
        ("Source", source.uri),
        ("Revision", source.revision),
        ("Tensor", source.tensor),
        ("Family", source.family),
        ("Scheme", source.scheme),
        ("Stored as", source.dtype),
        ("SHA-256", source.sha256),
    ]


def _provenance(
    source: Sequence[tuple[str, object]], read: str, settings: Mapping[str, Any]
) -> str:
    entries = [*source, ("Read", read)]
    entries += [(str(name).replace("_", " ").capitalize(), of) for name, of in settings.items()]
    rows = "".join(
        f"<dt>{sections.text(label)}</dt><dd>{sections.text(value)}</dd>"
        for label, value in entries
        if value is not None and value != ""
    )
    return f'<dl class="provenance">{rows}</dl>'
