"""One line for each scheme, in one colour in all figures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from poslens.lab.results import LabResults
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Layout, Trace

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


def ranged(
    results: LabResults, label: str, found: Mapping[int, np.ndarray], centre: np.ndarray
) -> Trace:
    """Return a scheme's line with points, and at each length the range over seeds."""
    low, high = (np.array([by(values) for values in found.values()]) for by in (np.min, np.max))
    trace = scheme_line(results, label, np.array(list(found)), centre)
    colour = trace["line"]["color"]
    return trace | {
        "mode": "lines+markers",
        "marker": {"color": colour, "size": 7},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": drawing.float32(np.maximum(high - centre, 0)),
            "arrayminus": drawing.float32(np.maximum(centre - low, 0)),
            "color": colour,
            "thickness": 1.5,
            "width": 4,
        },
    }


def length_axis(results: LabResults, lengths: list[int]) -> Layout:
    """Return the axis of lengths that are multiples of the trained one."""
    context = results.experiment.model.context
    ticks = {
        "tickmode": "array",
        "tickvals": lengths,
        "ticktext": [f"{length // context}×<br>{length:,}" for length in lengths],
    }
    return drawing.axis("length, of the trained one and in positions", type="log", **ticks)


def empty(name: str, title: str, why: str = NONE_DONE) -> Figure:
    """Return the figure that says why there is nothing to draw."""
    return Figure(name, title, missing=why)


def binned(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the mean between each two edges, which ascend from 0 to the number of values."""
    return np.asarray(np.add.reduceat(values, edges[:-1]) / np.diff(edges))


def log_edges(count: int, bins: int) -> np.ndarray:
    """Return edges from 0 to ``count``, evenly spaced on a logarithmic scale but whole."""
    return np.unique(np.r_[0, np.rint(np.geomspace(1, count, bins)).astype(int)])
