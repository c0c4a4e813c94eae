"""Measures of a learned table while it is trained."""

from __future__ import annotations

import numpy as np

from poslens.lab.report.figures.lines import TICKS, empty, scheme_line
from poslens.lab.results import LabResults, Run
from poslens.report import words
from poslens.report.figures import drawing, panels
from poslens.report.figures.drawing import Figure, Trace

# Names in the contract, and what a panel calls them.
DRAWN = {
    "norm.mean": "mean norm",
    "trajectory.linear_r2": "a line's R²",
    "trajectory.noise_share": "noise share",
    "trajectory.roughness": "roughness",
    "cosine.centered_adjacent": "neighbours' cosine",
    "cosine.monotonicity": "fall of the cosine, ρ",
    "pca.n80": "components for 80 %",
    "pca.pc1_index_correlation": "PC1 with the index, |r|",
}
_BELOW = 52


def geometry(results: LabResults) -> Figure:
    """Geometry of each snapshot of learned tables, against steps: means over seeds, and seeds."""
    name, title = "geometry", "Geometry of the table while training"
    labels = [
        arm.label
        for arm in results.experiment.schemes
        if arm.scheme == "learned" and arm.label in results.labels
    ]
    if not labels:
        return empty(name, title, "no run with a learned table is done")
    grid = panels.grid(
        [drawing.plain(shown) for shown in DRAWN.values()],
        columns=2,
        height=130,
        below=_BELOW,
        x={
            "title": "steps + 1",
            "type": "log",
            "tickmode": "array",
            "tickvals": [int(tick) for tick in TICKS],
            "ticktext": [f"{tick:,}" for tick in TICKS],
        },
        y={"title": ""},
    )
    traces: list[Trace] = []
    for number, measure in enumerate(DRAWN):
        where = panels.suffix(number)
        for label in labels:
            for trace in _lines(results, label, measure, shown=number == 0):
                traces.append({**trace, "xaxis": f"x{where}", "yaxis": f"y{where}"})
        grid[f"yaxis{where}"] |= {"showticklabels": True, "nticks": 5}
    height = grid.pop("height")
    layout = drawing.layout(height + 24, hovermode="closest", **grid)
    layout["margin"] = {**layout["margin"], "t": 40}
    return Figure(name, title, _reading(results, labels), traces, layout)


def _lines(results: LabResults, label: str, measure: str, *, shown: bool) -> list[Trace]:
    """Each seed as a thin line, and the mean where every seed has a value."""
    series = [_series(run, measure) for run in results.of(label).values()]
    steps = np.array([one.step + 1 for one in next(iter(results.of(label).values())).snapshots])
    hidden = {"hoverinfo": "skip", "showlegend": False}
    found = [scheme_line(results, label, steps, y, width=0.75) | hidden for y in series]
    mean = scheme_line(results, label, steps, np.mean(series, axis=0))
    hover = f"{mean['name']}, after %{{customdata}} steps: %{{y:.3g}}<extra></extra>"
    return [*found, mean | {"showlegend": shown, "hovertemplate": hover, "customdata": steps - 1}]


def _series(run: Run, measure: str) -> np.ndarray:
    """The measure at each snapshot; NaN, which lifts the pen, where it has no value."""
    values = [one.measures.get(measure) for one in run.snapshots]
    return np.array([v if isinstance(v, int | float) else np.nan for v in values], dtype=float)


def _reading(results: LabResults, labels: list[str]) -> str:
    text = "Rows within the trained length at each snapshot: the mean over seeds, and each seed as "
    text += "a thin line. From the beginning to the end, "
    parts = []
    for label in labels:
        found = []
        for measure, word in (
            ("trajectory.roughness", "roughness"),
            ("trajectory.noise_share", "noise share"),
            ("pca.n80", "components for 80 %"),
        ):
            ends = np.mean(
                [_series(run, measure)[[0, -1]] for run in results.of(label).values()], 0
            )
            found.append(f"{word} {words.shown(float(ends[0]))} → {words.shown(float(ends[1]))}")
        parts.append(f"{label}: {', '.join(found)}")
    return text + "; ".join(parts) + "."
