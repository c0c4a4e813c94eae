"""The table itself over position: before and after."""

from __future__ import annotations

import numpy as np

from poslens.axes import Rows
from poslens.edit.report import shown
from poslens.edit.report.figures.lines import upright
from poslens.edit.results import Compression, Extension
from poslens.report import words
from poslens.report.figures import drawing, panels
from poslens.report.figures.drawing import Figure, Layout, Trace

_DRAWN = 3  # principal components
_POINTS = 2048  # more than an axis has pixels would only make the page large
_HEIGHT, _BELOW = 150, 52


def compressed_table(found: Compression) -> Figure:
    """The rows on the first principal axes of the original, before and after."""
    before = found.table.rows
    axes, shares = _axes(before)
    mean = before.mean(axis=0)
    position = found.table.first_position + np.arange(len(before))
    kept = _kept(len(before))
    traces: list[Trace] = []
    kinds = (
        ("original", before, drawing.BLUE, 1.0, "solid"),
        (shown.named(found.chosen), found.rows, drawing.VERMILION, 2.0, "dash"),
    )
    for name, rows, colour, width, dash in kinds:
        scores = (rows[kept] - mean) @ axes
        traces += _panelled(position[kept], scores, name, colour, width, dash)
    where = panels.suffix(len(shares))
    moved = np.linalg.norm(found.rows[kept] - before[kept], axis=1)
    trace = drawing.line(position[kept], moved, kinds[1][0], drawing.VERMILION, width=1.25)
    trace |= {"xaxis": f"x{where}", "yaxis": f"y{where}", "showlegend": False}
    hover = "position %{x}: ‖p − p̂‖ %{y:.3g}<extra></extra>"
    traces.append(trace | {"hovertemplate": hover})
    text = "Rows less the mean row, on the first principal axes of the original table, by position;"
    text += " in the last panel, how far each row is from what it was."
    layout = _layout(shares, "‖p − p̂‖")
    layout[f"yaxis{where}"]["rangemode"] = "tozero"
    return Figure("table", "The table before and after", text, traces, layout)


def extended_table(found: Extension) -> Figure:
    """The rows of the longer table on the principal axes of its first rows, the trained ones."""
    name, title = "table", "The longer table"
    if found.rows is None:
        why = "nothing was chosen" if found.chosen is None else "this scheme has no table"
        return Figure(name, title, missing=why, optional=True)
    trained = found.rows[: found.trained]
    axes, shares = _axes(trained)
    kept = _kept(len(found.rows))
    scores = (found.rows[kept] - trained.mean(axis=0)) @ axes
    chosen = found.chosen or ""
    traces = _panelled(kept, scores, chosen, drawing.BLUE, 1.25, "solid", legend=False)
    layout = _layout(shares)
    for number in range(len(shares)):
        line, _ = upright(found.trained, "")
        where = panels.suffix(number)
        line |= {"xref": f"x{where}", "yref": f"y{where} domain"}
        layout.setdefault("shapes", []).append(line)
    text = f"The {len(found.rows):,} rows made by {words.visible(chosen)}, less the mean of the "
    text += f"first {len(trained):,}, on the principal axes of those. The line is at the trained "
    text += "length."
    return Figure(name, title, text, traces, layout)


def _axes(rows: Rows) -> tuple[np.ndarray, list[float]]:
    """The first principal axes as columns, each turned to end higher, and their shares."""
    centred = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    few = min(_DRAWN, rows.shape[1])
    axes, variances = vectors[:, ::-1][:, :few], np.maximum(values[::-1], 0)
    turned = np.where((centred[-1] - centred[0]) @ axes < 0, -1.0, 1.0)
    total = float(variances.sum())
    return axes * turned, [float(v) / total if total else 0.0 for v in variances[:few]]


def _kept(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(int))


def _panelled(
    position: np.ndarray,
    scores: np.ndarray,
    name: str,
    colour: str,
    width: float,
    dash: str,
    *,
    legend: bool = True,
) -> list[Trace]:
    """One line for each component, in a panel of its own."""
    traces = []
    for number, column in enumerate(scores.T):
        where = panels.suffix(number)
        trace = drawing.line(position, column, name, colour, width=width, dash=dash)
        trace |= {"xaxis": f"x{where}", "yaxis": f"y{where}", "legendgroup": trace["name"]}
        trace |= {"showlegend": legend and number == 0}
        hover = f"%{{fullData.name}}, position %{{x}}: PC{number + 1} %{{y:.3g}}<extra></extra>"
        traces.append(trace | {"hovertemplate": hover})
    return traces


def _layout(shares: list[float], *more: str) -> Layout:
    titles = [f"PC{number}, {words.percent(share)}" for number, share in enumerate(shares, start=1)]
    grid = panels.grid(
        [*titles, *more],
        columns=1,
        height=_HEIGHT,
        below=_BELOW,
        x={"title": "position"},
        y={"title": "", "nticks": 5},
    )
    height = grid.pop("height")
    layout = drawing.layout(height + 24, hovermode="closest", **grid)
    layout["margin"] = {**layout["margin"], "t": 40}
    return layout
