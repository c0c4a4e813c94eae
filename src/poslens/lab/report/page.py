"""An experiment as one HTML page that opens offline."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

import numpy as np

from poslens.files import written_whole
from poslens.lab.experiment import FOR_PEOPLE
from poslens.lab.report.shown import (
    accuracies,
    as_study,
    evaluated,
    losses,
    middle,
    perplexities,
)
from poslens.lab.results import LabResults
from poslens.lab.tasks import Task
from poslens.report import html, sections, words


def write_report(results: LabResults, path: str | Path) -> None:
    """Write the claims, the figures, the evaluation and the provenance of an experiment.

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
    """What was found by scheme and length, over seeds."""
    lengths, context = evaluated(results), results.experiment.model.context
    if not lengths:
        return "<p>No run is done.</p>"
    if isinstance(results.experiment.data, Task):
        said = "Right answers on held-out contexts, and loss in nats per answer: mean over seeds, "
        said += "and range."
        columns = [("", length, _right) for length in lengths]
        columns += [(" loss", length, _loss) for length in lengths]
    else:
        said = "Held-out perplexity, per byte: geometric mean over seeds, and range."
        columns = [("", length, _perplexity) for length in lengths]
        columns += [(" sliding", length, _sliding) for length in lengths[1:]]
    head = "".join(
        f'<th scope="col">{length // context}×{kind}'
        f'<br><span class="id">{length:,} positions</span></th>'
        for kind, length, _ in columns
    )
    rows = ""
    for label in results.labels:
        cells = "".join(f"<td>{cell(results, label, length)}</td>" for _, length, cell in columns)
        name = f'{sections.text(label)}<br><span class="id">{escape(_owned(results, label))}</span>'
        rows += f'<tr><th scope="row">{name}</th>{cells}</tr>'
    return (
        f"<p>{said}</p>"
        '<div class="scroll" role="region" tabindex="0" aria-labelledby="measures">'
        f'<table class="beside"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody>'
        "</table></div>"
    )


def _owned(results: LabResults, label: str) -> str:
    runs = list(results.of(label).values())
    owned = runs[0].record["parameters"]
    beside = f"{words.counted(len(runs), 'seed')}, {owned['position']:,} of {owned['all']:,} "
    return beside + "parameters are positions"


def _perplexity(results: LabResults, label: str, length: int) -> str:
    return _cell(perplexities(results, label, length, sliding=False), middle, words.shown)


def _sliding(results: LabResults, label: str, length: int) -> str:
    return _cell(perplexities(results, label, length, sliding=True), middle, words.shown)


def _right(results: LabResults, label: str, length: int) -> str:
    return _cell(accuracies(results, label, length), _mean, lambda share: f"{share:.1%}")


def _loss(results: LabResults, label: str, length: int) -> str:
    return _cell(losses(results, label, length), _mean, words.shown)


def _mean(values: np.ndarray) -> float:
    return float(values.mean())


def _cell(
    found: np.ndarray, centre: Callable[[np.ndarray], float], shown: Callable[[float], str]
) -> str:
    """One for all seeds, and the range."""
    if not found.size:
        return words.NOTHING
    span = f"{shown(float(found.min()))} … {shown(float(found.max()))}"
    return (
        f'<span class="number">{escape(shown(centre(found)))}</span>'
        f'<span class="number interval">{escape(span)}</span>'
    )


def _provenance(results: LabResults) -> str:
    experiment = results.experiment
    computed = dict.fromkeys(
        f"PosLens {one['poslens']}, torch {one['torch']}, {one['device']}, "
        f"{words.counted(one['threads'], 'thread')} a run"
        for one in (run.record["computed"] for run in results.runs)
    )
    kind = "task" if isinstance(experiment.data, Task) else "text"
    seconds = [run.record["computed"]["seconds"] for run in results.runs]
    entries = [
        ("Expected", experiment.expected),
        ("Cost", experiment.cost),
        ("Hardware", experiment.hardware),
        ("Computed with", "; ".join(computed)),
        ("Time", f"{sum(seconds):,.0f} seconds in all runs" if seconds else ""),
        (kind.capitalize(), "; ".join(dict.fromkeys(run.record[kind] for run in results.runs))),
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
