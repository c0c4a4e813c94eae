"""An experiment as one HTML page that opens offline."""

from __future__ import annotations

from html import escape
from pathlib import Path

from poslens.files import written_whole
from poslens.lab.experiment import FOR_PEOPLE
from poslens.lab.report.shown import as_study, evaluated, middle, perplexities
from poslens.lab.results import LabResults
from poslens.report import html, sections, words


def write_report(results: LabResults, path: str | Path) -> None:
    """Write the claims, the figures, the perplexities and the provenance of an experiment.

    The page is that of `poslens.report.html`: it loads nothing.

    Raises
    ------
    OutputError
        If ``path`` cannot be written; nothing is left behind.
    LabError
        If a file of a run is damaged.
    """
    with written_whole(path) as temporary:
        temporary.write_bytes(page(results).encode("utf-8"))


def page(results: LabResults) -> str:
    """Return the page that `write_report` writes."""
    # Plotly takes longer to import than the rest of this room: only a page needs it.
    from poslens.lab.report.figures import figures

    study = as_study(results)
    return html.assembled(
        figures(results),
        title=f"{results.experiment.name}: schemes side by side",
        facts=f"{sections.text(results.experiment.about)}<br>{escape(_facts(results))}",
        summary=sections.summary(study),
        claims=sections.claims(study) + _not_done(results),
        measures=_table(results),
        provenance=_provenance(results),
    )


def _facts(results: LabResults) -> str:
    experiment = results.experiment
    shape, recipe = experiment.model, experiment.recipe
    return " · ".join(
        (
            f"{len(experiment.schemes)} schemes × {words.counted(len(experiment.seeds), 'seed')}",
            f"{words.counted(shape.layers, 'layer')} of {words.counted(shape.heads, 'head')}",
            f"width {shape.width}",
            f"context {shape.context}",
            f"{words.counted(recipe.steps, 'step')} of {recipe.batch} contexts",
        )
    )


def _not_done(results: LabResults) -> str:
    items = [
        f"<li><b>{sections.text(name)}</b> stopped: {sections.text(problem)}</li>"
        for name, problem in results.stopped.items()
    ]
    if results.absent:
        items.append(f"<li>Not done: {sections.text(', '.join(results.absent))}</li>")
    if not items:
        return ""
    return f'<div class="aside"><h3>Runs that are not here</h3><ul>{"".join(items)}</ul></div>'


def _table(results: LabResults) -> str:
    """Perplexities by scheme and length, as geometric means over seeds with their ranges."""
    lengths, context = evaluated(results), results.experiment.model.context
    if not lengths:
        return "<p>No run is done.</p>"
    columns = [(length, False) for length in lengths] + [(at, True) for at in lengths[1:]]
    head = "".join(
        f'<th scope="col">{length // context}×{" sliding" if sliding else ""}'
        f'<br><span class="id">{length:,} positions</span></th>'
        for length, sliding in columns
    )
    rows = ""
    for label in results.labels:
        runs = list(results.of(label).values())
        owned = runs[0].record["parameters"]
        beside = f"{words.counted(len(runs), 'seed')}, {owned['position']:,} of {owned['all']:,} "
        beside += "parameters are positions"
        cells = "".join(
            f"<td>{_cell(results, label, length, sliding=sliding)}</td>"
            for length, sliding in columns
        )
        name = f'{sections.text(label)}<br><span class="id">{escape(beside)}</span>'
        rows += f'<tr><th scope="row">{name}</th>{cells}</tr>'
    return (
        "<p>Held-out perplexity, per byte: geometric mean over seeds, and range.</p>"
        '<div class="scroll" role="region" tabindex="0" aria-labelledby="measures">'
        f'<table class="beside"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody>'
        "</table></div>"
    )


def _cell(results: LabResults, label: str, length: int, *, sliding: bool) -> str:
    found = perplexities(results, label, length, sliding=sliding)
    if not found.size:
        return words.NOTHING
    span = f"{words.shown(float(found.min()))} … {words.shown(float(found.max()))}"
    return (
        f'<span class="number">{escape(words.shown(middle(found)))}</span>'
        f'<span class="number interval">{escape(span)}</span>'
    )


def _provenance(results: LabResults) -> str:
    experiment = results.experiment
    computed = dict.fromkeys(
        f"PosLens {one['poslens']}, torch {one['torch']}, {one['device']}, "
        f"{words.counted(one['threads'], 'thread')} a run"
        for one in (run.record["computed"] for run in results.runs)
    )
    seconds = [run.record["computed"]["seconds"] for run in results.runs]
    entries = [
        ("Expected", experiment.expected),
        ("Cost", experiment.cost),
        ("Hardware", experiment.hardware),
        ("Computed with", "; ".join(computed)),
        ("Time", f"{sum(seconds):,.0f} seconds in all runs" if seconds else ""),
        ("Text", "; ".join(dict.fromkeys(run.record["text"] for run in results.runs))),
        ("Seeds", ", ".join(map(str, experiment.seeds))),
    ]
    rows = "".join(
        f"<dt>{label}</dt><dd>{sections.text(value)}</dd>" for label, value in entries if value
    )
    settings = "<br>".join(map(sections.text, _settings(results)))
    return f'<dl class="provenance">{rows}<dt>Settings</dt><dd><code>{settings}</code></dd></dl>'


def _settings(results: LabResults) -> list[str]:
    """The lines of the experiment's file, without what stands beside them."""
    lines = results.experiment.to_toml().splitlines()
    return [line for line in lines if line and line.split(" = ")[0] not in FOR_PEOPLE]
