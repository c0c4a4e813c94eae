"""The numbers of heads beside their marks, several in one label where they would overlap."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from scipy.sparse.csgraph import connected_components

from poslens.report.figures import drawing
from poslens.report.figures.drawing import Trace

Place: TypeAlias = tuple[float, float, str]

_BESIDE, _ABOVE = 0.06, 0.045  # marks nearer than these shares of the plot have one label
_RUNS = 3  # that a label names


def merged(
    x: np.ndarray, y: np.ndarray, heads: np.ndarray, width: float, height: float
) -> list[Place]:
    """Return (x, y, text) of labels: one for all marks whose own labels would cover one another."""
    near = (np.abs(x[:, None] - x) <= _BESIDE * width) & (np.abs(y[:, None] - y) <= _ABOVE * height)
    group = connected_components(near, directed=False)[1]
    found: list[Place] = []
    for number in range(group.max(initial=-1) + 1):
        of = np.flatnonzero(group == number)
        found.append((float(x[of].max()), float(y[of].mean()), _runs(heads[of])))
    return found


def _runs(heads: np.ndarray) -> str:
    """Heads in few characters: 0–3, 5, 7 and how many more."""
    order = np.unique(heads)
    runs = np.split(order, np.flatnonzero(np.diff(order) > 1) + 1)
    few = [f"{run[0]}" if run.size == 1 else f"{run[0]}–{run[-1]}" for run in runs[:_RUNS]]
    rest = sum(run.size for run in runs[_RUNS:])
    return ", ".join(few) + (f" +{rest}" if rest else "")


def beside(places: list[Place]) -> Trace:
    """Return the trace of what `merged` returns, each to the right of its mark."""
    x, y, text = zip(*places, strict=True)
    return {
        "type": "scatter",
        "mode": "text",
        "x": list(x),
        "y": list(y),
        "text": [f"\u2002\u2002{each}" for each in text],  # clear of the mark
        "textposition": "middle right",
        "textfont": {"color": drawing.INK, "size": 12},
        "hoverinfo": "skip",
        "showlegend": False,
        "cliponaxis": False,
    }
