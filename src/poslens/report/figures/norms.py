"""How long the rows are."""

from __future__ import annotations

import numpy as np

from poslens.axes import POSITION
from poslens.report import words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure
from poslens.study import Study

_NAME, _TITLE = "norms", "Row norms by position"
_FEW = 80  # rows that are drawn as points too


def row_norms(study: Study) -> Figure:
    """Row norms by position: outlier rows, the median, and the band of the Gaussian null."""
    empty = drawing.absent(study, _NAME, _TITLE, "norm.row")
    if empty:
        return empty
    array = study.data["norm.row"]
    position, norms = drawing.along(array, POSITION), array.values
    median = float(np.median(norms))
    ends = position[[0, -1]]
    traces = []
    null = study.data.get("norm.null_gaussian")
    if null is not None:
        traces += drawing.quantile_band(null, ends, "Gaussian null, 5–95 %")
    row = drawing.line(position, norms, "row", drawing.BLUE, width=1.5)
    row["mode"] = "lines+markers" if norms.size <= _FEW else "lines"
    traces += [
        row,
        drawing.line(
            ends, np.full(2, median), f"median {words.shown(median)}", drawing.INK, dash="dash"
        ),
    ]
    outliers = _outliers(study, norms.size)
    if outliers:
        traces.append(
            drawing.points(
                position[outliers],
                norms[outliers],
                "outlier rows",
                drawing.VERMILION,
                symbol="diamond",
            )
        )
    layout = drawing.layout(
        380, xaxis=drawing.axis("position"), yaxis=drawing.axis("‖p‖", rangemode="tozero")
    )
    return Figure(_NAME, _TITLE, _reading(study, norms, median, outliers, position), traces, layout)


def _outliers(study: Study, length: int) -> list[int]:
    """Indices of the rows that the study calls outliers."""
    rows = study.measures.get("norm.outlier_rows")
    if not isinstance(rows, list):
        return []
    return [row for row in rows if isinstance(row, int) and 0 <= row < length]


def _reading(
    study: Study, norms: np.ndarray, median: float, outliers: list[int], position: np.ndarray
) -> str:
    low, high = np.quantile(norms, [0.05, 0.95])
    spread = drawing.number(study, "norm.cv")
    text = f"Nine rows in ten have a norm between {words.shown(float(low))} and "
    text += f"{words.shown(float(high))}"
    if spread is not None:
        text += f"; over all rows the standard deviation is {words.percent(spread)} of the mean"
    text += "."
    if outliers:
        farthest = max(outliers, key=lambda row: abs(norms[row] - median))
        verb = "lies" if len(outliers) == 1 else "lie"
        text += f" {words.counted(len(outliers), 'row')} {verb} far from the median "
        text += f"({words.listed(position[outliers].tolist(), 6)})"
        if median > 0:
            ratio = words.shown(float(norms[farthest] / median))
            text += f"; row {position[farthest]} is {ratio} times as long as the median row"
        text += "."
    null = study.data.get("norm.null_gaussian")
    if null is not None:
        floor, _, ceiling = (float(edge) for edge in drawing.quantiles(null))
        inside = float(np.mean((norms >= floor) & (norms <= ceiling)))
        text += " Independent Gaussian rows of the same covariance scale would put 90 % of rows "
        text += f"between {words.shown(floor)} and {words.shown(ceiling)}; "
        text += f"here {words.percent(inside)} lie there."
    return text
