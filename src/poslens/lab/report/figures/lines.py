"""One line for each scheme, in one colour in all figures."""

from __future__ import annotations

import numpy as np

from poslens.lab.results import LabResults
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Trace

NONE_DONE = "no run is done"
TICKS = 4 ** np.arange(13)  # of a logarithmic axis


def scheme_line(
    results: LabResults, label: str, x: np.ndarray, y: np.ndarray, **options: str | float
) -> Trace:
    """Return a scheme's line, in its colour and with its name in the legend."""
    every = [arm.label for arm in results.experiment.schemes]
    lap, index = divmod(every.index(label), len(drawing.CYCLE))
    dash = str(options.pop("dash", drawing.DASHES[lap % len(drawing.DASHES)]))
    width = float(options.pop("width", 2))
    trace = drawing.line(x, y, label, drawing.CYCLE[index], width=width, dash=dash)
    return {**trace, "legendgroup": label, **options}


def empty(name: str, title: str, why: str = NONE_DONE) -> Figure:
    """Return the figure that says why there is nothing to draw."""
    return Figure(name, title, missing=why)


def binned(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the mean between each two edges, which ascend from 0 to the number of values."""
    return np.asarray(np.add.reduceat(values, edges[:-1]) / np.diff(edges))


def log_edges(count: int, bins: int) -> np.ndarray:
    """Return edges from 0 to ``count``, evenly spaced on a logarithmic scale but whole."""
    return np.unique(np.r_[0, np.rint(np.geomspace(1, count, bins)).astype(int)])
