"""Whether moving by k positions is one fixed rotation, or one fixed linear map."""

from __future__ import annotations

import numpy as np

from poslens.axes import SHIFT
from poslens.report import words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Trace
from poslens.study import Study

_NAME, _TITLE = "shift", "Is a shift one fixed map?"


def shift(study: Study) -> Figure:
    """R² on held-out pairs of the best rotation and the best linear map from p_t to p_{t+k}."""
    empty = drawing.absent(study, _NAME, _TITLE, "shift.rotation_r2")
    if empty:
        return empty
    rotation = study.data["shift.rotation_r2"]
    by = drawing.along(rotation, SHIFT)
    null = study.data.get("shift.null_random_walk")
    traces: list[Trace] = []
    if null is not None:
        traces += _ranges(null.values.shape[1], drawing.along(null, SHIFT), drawing.quantiles(null))
    traces.append(_marks(by, rotation.values, "rotation", drawing.BLUE, "circle"))
    linear = study.data.get("shift.r2")
    if linear is not None:
        along = drawing.along(linear, SHIFT)
        marks = _marks(along, linear.values, "any linear map", drawing.VERMILION, "diamond")
        rank = study.data.get("shift.rank")
        if rank is not None and rank.values.shape == linear.values.shape:
            marks["customdata"] = drawing.float32(rank.values)
            marks["hovertemplate"] = "k = %{x}: R² %{y:.4f}, rank %{customdata:.0f}"
        traces.append(marks)
    layout = drawing.layout(
        380,
        xaxis=drawing.axis(
            "shift k (log scale)",
            type="log",
            tickvals=by,
            ticktext=[str(k) for k in by],
            range=_log_range(by),
        ),
        yaxis=drawing.axis("R² on held-out pairs"),
    )
    return Figure(_NAME, _TITLE, _reading(study, by, rotation.values), traces, layout)


def _log_range(by: np.ndarray) -> list[float]:
    return [float(np.log10(by[0])) - 0.25, float(np.log10(by[-1])) + 0.25]


def _marks(x: np.ndarray, y: np.ndarray, name: str, colour: str, symbol: str) -> Trace:
    trace = drawing.line(x, y, name, colour, width=1.5)
    return {**trace, "mode": "lines+markers", "marker": {"size": 10, "symbol": symbol}}


def _ranges(
    size: int, by: np.ndarray, edges: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> list[Trace]:
    """The null's range at each k: a band, or one error bar where there is a single k."""
    low, middle, high = edges
    bars = drawing.points(by, middle, "random walk, rotation, 5–95 %", drawing.MUTED, size=1)
    bars["error_y"] = {
        "type": "data",
        "symmetric": False,
        "array": drawing.float32(high - middle),
        "arrayminus": drawing.float32(middle - low),
        "color": drawing.MUTED,
        "thickness": 6 if size else 1,
        "width": 0,
    }
    bars["marker"] |= {"symbol": "line-ew-open", "size": 18, "line": {"width": 3}}
    return [bars]


def _reading(study: Study, by: np.ndarray, rotation: np.ndarray) -> str:
    known = np.flatnonzero(np.isfinite(rotation))
    if not known.size:
        return "The rotation's R² has no value at any shift."
    worst = known[np.argmin(rotation[known])]
    scores = ", ".join(f"{words.shown(float(rotation[i]))} at k = {by[i]}" for i in known)
    text = f"If a shift by k were a rotation, R² would be 1 at every k; it is {scores}"
    linear = study.data.get("shift.r2")
    if linear is not None and linear.values.size > worst and np.isfinite(linear.values[worst]):
        freely = words.shown(float(linear.values[worst]))
        text += f". Any linear map, chosen freely, reaches {freely} at k = {by[worst]}"
    text += "."
    null = study.data.get("shift.null_random_walk")
    if null is None:
        return text
    low, _, high = (float(edge[worst]) for edge in drawing.quantiles(null))
    text += f" A random walk with the same step sizes scores {words.shown(low)} to "
    text += f"{words.shown(high)} at k = {by[worst]}"
    score = float(rotation[worst])
    if low <= score <= high:
        return text + ": the same, so a high R² alone shows nothing here."
    if score < low:
        return text + ", more than this table: a high R² needs no rotation."
    return text + ", less than this table."
