"""Whether successive steps point the same way."""

from __future__ import annotations

import numpy as np

from poslens.axes import STRIDE
from poslens.report import words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Trace
from poslens.study import Study

_NAME, _TITLE = "parallelism", "Parallelism of differences against stride"


def parallelism(study: Study) -> Figure:
    """Mean cosine between one difference and the next, at each stride."""
    empty = drawing.absent(study, _NAME, _TITLE, "difference.parallel_at")
    if empty:
        return empty
    array = study.data["difference.parallel_at"]
    stride, values = drawing.along(array, STRIDE), array.values
    null = study.data.get("difference.null_permutation")
    traces: list[Trace] = []
    if null is not None:
        traces += drawing.quantile_band(null, drawing.along(null, STRIDE), "random order, 5–95 %")
    measured = drawing.line(stride, values, "this table", drawing.BLUE, width=2.5)
    traces.append({**measured, "mode": "lines+markers", "marker": {"size": 8}})
    layout = drawing.layout(
        380,
        xaxis=drawing.axis(
            "stride s (log scale)", type="log", tickvals=stride, ticktext=[str(s) for s in stride]
        ),
        yaxis=drawing.axis("cosine of differences", range=[-1.05, 1.05]),
    )
    layout["yaxis"] |= {"zeroline": True, "zerolinecolor": drawing.MUTED, "zerolinewidth": 1}
    return Figure(_NAME, _TITLE, _reading(study, stride, values), traces, layout)


def _reading(study: Study, stride: np.ndarray, values: np.ndarray) -> str:
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return "The cosine of differences has no value at any stride."
    first = known[0]
    best = known[np.argmax(values[known])]
    text = "On a straight line every difference would have cosine 1 with the next; "
    text += f"at stride {stride[first]} it is {words.shown(float(values[first]))}"
    if best == first:
        text += ", and no longer stride does better."
    else:
        text += f", and most at stride {stride[best]}: {words.shown(float(values[best]))}."
    negative = [int(s) for s in stride[known][values[known] < 0]]
    if negative:
        text += f" It is negative, the path turning back, at stride {words.listed(negative, 10)}."
    null = study.data.get("difference.null_permutation")
    if null is not None:
        low, _, high = (float(edge[first]) for edge in drawing.quantiles(null))
        text += f" The same rows in random order give {words.shown(low)} to {words.shown(high)} "
        text += f"at stride {stride[first]}, since a jump away is followed by one back."
    return text
