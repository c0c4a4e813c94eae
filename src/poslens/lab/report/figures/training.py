"""The loss while training."""

from __future__ import annotations

import numpy as np

from poslens.lab.report.figures.lines import binned, empty, scheme_line
from poslens.lab.results import LabResults
from poslens.lab.tasks import Task
from poslens.report import words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Trace

_POINTS = 150


def training(results: LabResults) -> Figure:
    """Training loss against steps: the mean over seeds, and each seed as a thin line."""
    name, title = "training", "Loss while training"
    if not results.runs:
        return empty(name, title)
    steps = results.experiment.recipe.steps
    edges = np.unique(np.linspace(0, steps, min(steps, _POINTS) + 1).astype(int))
    centre = (edges[:-1] + edges[1:]) / 2
    thin: list[Trace] = []
    bold: list[Trace] = []
    last: dict[str, float] = {}
    for label in results.labels:
        curves = [binned(run.metrics["loss"], edges) for run in results.of(label).values()]
        hover = {"hoverinfo": "skip", "showlegend": False}
        thin += [scheme_line(results, label, centre, y, width=0.75) | hover for y in curves]
        mean = np.mean(curves, axis=0)
        trace = scheme_line(results, label, centre, mean)
        template = f"{trace['name']}, step %{{x:.0f}}: %{{y:.3f}} nats<extra></extra>"
        bold.append(trace | {"hovertemplate": template})
        last[label] = float(mean[-1])
    unit = "answer" if isinstance(results.experiment.data, Task) else "byte"
    layout = drawing.layout(
        440,
        hovermode="closest",
        xaxis=drawing.axis("step", rangemode="tozero"),
        yaxis=drawing.axis(f"loss in nats per {unit}", type="log", **_ticks(bold)),
    )
    text = f"The loss of each batch before its step, in means over {int(np.diff(edges).max())} "
    text += "steps: the mean over seeds, and each seed as a thin line. Schemes of one seed see the "
    text += "same batches. At the end: "
    text += ", ".join(f"{words.shown(loss)} ({label})" for label, loss in last.items()) + "."
    return Figure(name, title, text, [*thin, *bold], layout)


def _ticks(traces: list[Trace]) -> dict[str, object]:
    low = min(float(trace["y"].min()) for trace in traces)
    high = max(float(trace["y"].max()) for trace in traces)
    every: list[float] = [0.5, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 8, 10]
    if low < every[0]:  # of a task, whose loss may fall through decades
        every = [10.0**decade for decade in range(-9, 2)]
    kept = [tick for tick in every if low / 1.1 <= tick <= high * 1.1]
    return {"tickmode": "array", "tickvals": kept, "ticktext": [f"{tick:g}" for tick in kept]}
