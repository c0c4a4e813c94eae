"""On a task: the share of right answers by length."""

from __future__ import annotations

import numpy as np

from poslens.lab.report.figures.lines import empty, length_axis, ranged
from poslens.lab.report.shown import accuracies, evaluated
from poslens.lab.results import LabResults
from poslens.lab.tasks import Task
from poslens.report import words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Layout, Trace


def accuracy(results: LabResults, task: Task) -> Figure:
    """Share of right answers against length, with the range over seeds."""
    name, title = "accuracy", "Right answers beyond the trained length"
    if not results.runs:
        return empty(name, title)
    lengths = evaluated(results)
    layout = drawing.layout(
        480,
        hovermode="closest",
        xaxis=length_axis(results, lengths),
        yaxis=drawing.axis("share of right answers", range=[-0.03, 1.03], tickformat=".0%"),
        shapes=[_guess(task)],
    )
    traces = [_line(results, label, lengths) for label in results.labels]
    return Figure(name, title, _reading(results, task, lengths), traces, layout)


def _line(results: LabResults, label: str, lengths: list[int]) -> Trace:
    found = {length: accuracies(results, label, length) for length in lengths}
    found = {length: values for length, values in found.items() if values.size}
    centre = np.array([values.mean() for values in found.values()])
    trace = ranged(results, label, found, centre)
    hover = f"{trace['name']}, length %{{x}}: %{{y:.1%}} right<extra></extra>"
    return trace | {"hovertemplate": hover}


def _guess(task: Task) -> Layout:
    at = task.guessed
    line = {"color": drawing.MUTED, "width": 1, "dash": "dash"}
    return {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": at, "y1": at, "line": line}


def _reading(results: LabResults, task: Task, lengths: list[int]) -> str:
    text = f"The task {task.task}, on {results.experiment.contexts:,} contexts of each length that "
    text += "are the same for all runs: the mean over seeds, and their range. The dashed line, at "
    text += f"{words.percent(task.guessed)}, is what saying one symbol always gets."
    for length in dict.fromkeys((lengths[0], lengths[-1])):
        shares = {label: accuracies(results, label, length) for label in results.labels}
        each = ", ".join(
            f"{words.percent(float(values.mean()))} ({label})"
            for label, values in shares.items()
            if values.size
        )
        text += f" At {length // results.experiment.model.context}× the trained length: {each}."
    return text
