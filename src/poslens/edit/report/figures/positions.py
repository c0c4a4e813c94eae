"""By position: what each edit costs there."""

from __future__ import annotations

import math

import numpy as np

from poslens.edit.costs import compression_edges, extension_edges, mean_kl
from poslens.edit.profiles import Edges, binned
from poslens.edit.report import shown
from poslens.edit.report.figures.lines import baseline, log_axis, method_line, upright
from poslens.edit.results import Candidate, Compression, Extension, Tried
from poslens.report import words
from poslens.report.figures import drawing, panels
from poslens.report.figures.drawing import Figure, Trace

_HOVER = "%{fullData.name}, position %{x:.0f}: %{y:.4g} nats<extra></extra>"


def compressed_loss(found: Compression) -> Figure:
    """Loss by position: of the original, the chosen table, and others of about its size."""
    name, title = "loss-by-position", "Loss by position"
    edges = compression_edges(found)
    if edges is None or found.original is None:
        return Figure(name, title, missing=shown.why_no_loss(found), optional=True)
    at, before = _centres(edges), found.original
    original = binned(before.positions, before.losses, edges)
    panelled: list[tuple[int, Trace]] = []
    for number, one in _beside(found):
        if one.scores is None:
            continue
        y = binned(one.scores.positions, one.scores.losses, edges)
        if shown.same(one, found.chosen):
            panelled.append((0, method_line(at, y, shown.named(one), number)))
        trace = method_line(at, y - original, shown.named(one), number)
        panelled.append((1, trace | {"showlegend": not shown.same(one, found.chosen)}))
    panelled.append((0, drawing.line(at, original, "original", drawing.INK, dash="dot")))
    grid = panels.grid(
        ["loss in nats per token", "what each table adds, in nats"],
        columns=1,
        height=190,
        below=52,
        x={"title": "position", "range": [0, int(edges[-1])]},
        y={"title": "", "nticks": 6},
    )
    layout = drawing.layout(grid.pop("height") + 40, hovermode="closest", **grid)
    layout["margin"] = {**layout["margin"], "t": 56}
    traces = [
        trace | {"xaxis": f"x{panels.suffix(panel)}", "yaxis": f"y{panels.suffix(panel)}"}
        for panel, trace in panelled
    ]
    text = f"The mean over contexts and {_width(edges)}: of the original "
    text += f"{shown.nats(before.mean)} nats per token over all positions, of the chosen "
    chosen = found.chosen.scores
    text += f"{shown.nats(None if chosen is None else chosen.mean)}. Below, of each other method, "
    text += "the table that comes nearest to the chosen one in size."
    return Figure(
        name, title, text, [trace | {"hovertemplate": _HOVER} for trace in traces], layout
    )


def compressed_kl(found: Compression) -> Figure:
    """KL of the output from the original's by position, of the same tables."""
    name, title = "kl-by-position", "How far the predictions move, by position"
    edges = compression_edges(found)
    traces: list[Trace] = []
    for number, one in _beside(found) if edges is not None else ():
        scores = one.scores
        if edges is None or scores is None or scores.divergences is None:
            continue
        y = _above_zero(binned(scores.positions, scores.divergences, edges))
        trace = method_line(_centres(edges), y, shown.named(one), number)
        traces.append(trace | {"hovertemplate": _HOVER})
    if not any(np.isfinite(trace["y"]).any() for trace in traces):
        why = "no distribution differs from the original's" if traces else shown.why_no_loss(found)
        return Figure(name, title, missing=why, optional=not traces)
    values = np.concatenate([trace["y"] for trace in traces])
    layout = drawing.layout(
        420,
        hovermode="closest",
        xaxis=drawing.axis("position", range=[0, 1 if edges is None else int(edges[-1])]),
        yaxis=log_axis("KL in nats", values[np.isfinite(values)]),
    )
    text = "KL(original ‖ compressed) of the distributions over the vocabulary, the mean over "
    text += "contexts and neighbouring positions, of the same tables."
    moved = mean_kl(found.chosen.scores)
    if moved is not None:
        text += f" Over all positions the chosen table's is {words.shown(moved)} nats."
    return Figure(name, title, text, traces, layout)


def _beside(found: Compression) -> list[tuple[int, Candidate]]:
    """The chosen table, and of every other method with losses the one nearest to it in size."""
    kept = []
    for number, method in enumerate(shown.methods(found)):
        of = [one for one in found.tried if one.method == method and one.scores is not None]
        if method == found.chosen.method:
            kept += [(number, one) for one in of if shown.same(one, found.chosen)]
        elif of:
            kept.append((number, min(of, key=lambda one: _apart(one, found.chosen))))
    return kept


def _apart(one: Candidate, other: Candidate) -> float:
    return abs(math.log(max(one.numbers, 1) / max(other.numbers, 1)))


def extended_loss(found: Extension) -> Figure:
    """Loss by position for each method, and for the baselines."""
    name, title = "loss-by-position", "Loss by position, within the trained length and beyond"
    edges = extension_edges(found)
    if edges is None:
        return Figure(name, title, missing=shown.why_no_loss(found))
    traces: list[Trace] = []
    for number, one in _numbered(found, baselines=False):
        if one.scores is not None:
            y = binned(one.scores.positions, one.scores.losses, edges)
            traces.append(method_line(_centres(edges), y, one.method, number))
    for number, one in _numbered(found, baselines=True):
        if one.scores is not None:
            y = binned(one.scores.positions, one.scores.losses, edges)
            traces.append(baseline(_centres(edges), y, one.method, number))
    line, text = upright(found.trained, "trained length", left=2 * found.trained > found.to)
    layout = drawing.layout(
        460 + 12 * len(traces),
        hovermode="closest",
        xaxis=drawing.axis("position", range=[0, found.to]),
        yaxis=drawing.axis("loss in nats per token"),
        shapes=[line],
        annotations=[text],
    )
    drawn = [trace | {"hovertemplate": _HOVER} for trace in traces]
    return Figure(name, title, _extended_reading(found, edges), drawn, layout)


def _extended_reading(found: Extension, edges: Edges) -> str:
    text = f"The mean over contexts and {_width(edges)}. Dashed, what needs no edit: to "
    text += "cut, or to slide a window."
    order = shown.by_loss(found)
    if len(order) > 1:
        (best, low), (worst, high) = order[0], order[-1]
        text += f" Beyond the trained length the mean goes from {shown.nats(low)} "
        text += f"({words.visible(best.method)}) to {shown.nats(high)} "
        text += f"({words.visible(worst.method)}) nats per token."
    return text


def _numbered(found: Extension, *, baselines: bool) -> list[tuple[int, Tried]]:
    return list(enumerate(one for one in found.tried if one.baseline == baselines))


def _centres(edges: Edges) -> np.ndarray:
    """The middle of each bin of whole positions."""
    return drawing.float32((edges[:-1] + edges[1:] - 1) / 2)


def _width(edges: Edges) -> str:
    widest = int(np.diff(edges).max())
    return "positions" if widest == 1 else f"{widest} neighbouring positions"


def _above_zero(values: np.ndarray) -> np.ndarray:
    """Values that a logarithmic axis has a place for; NaN, which lifts the pen, for others."""
    return np.where(values > 0, values, np.nan)
