"""What hidden states hold of the position, layer by layer."""

from __future__ import annotations

import numpy as np

from poslens.axes import LAYER, PART
from poslens.report import words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Layout, Trace
from poslens.study import Labelled, Study

SHARE = "hidden.share"
_NAME, _TITLE = "hidden-states", "Position and text in the hidden states"
_PARTS = {
    "pos": ("position", drawing.VERMILION),
    "ctx": ("text", drawing.BLUE),
    "resid": ("the rest", drawing.MUTED),
}
# Below the shares: the axis of each panel, and the measures on it.
_LINES: tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...] = (
    ("stable rank", (("hidden.stable_rank", "stable rank", drawing.VERMILION, "circle"),)),
    (
        "size",
        (
            ("hidden.incoherence", "incoherence", drawing.GREEN, "diamond"),
            ("hidden.relative_norm", "relative norm", drawing.PURPLE, "square"),
        ),
    ),
)
_ORTHOGONAL = 0.1


def hidden_states(study: Study) -> Figure:
    """Shares of position, text and rest in every layer, with stable rank and incoherence below."""
    unexplained = not any(measure.startswith("hidden.") for measure in study.undefined)
    empty = drawing.absent(study, _NAME, _TITLE, SHARE, optional=unexplained)
    if empty:
        return empty
    array = study.data[SHARE]
    layers, parts = drawing.along(array, LAYER), [str(part) for part in drawing.along(array, PART)]
    values = np.moveaxis(array.values, array.dims.index(LAYER), 0)
    traces: list[Trace] = []
    for number, part in enumerate(parts):
        name, colour = _PARTS.get(part, (words.visible(part), drawing.INK))
        traces.append(
            {
                "type": "bar",
                "x": layers,
                "y": drawing.float32(values[:, number]),
                "name": drawing.plain(name),
                "marker": {"color": colour, "line": {"color": drawing.PAPER, "width": 0.5}},
                "hovertemplate": f"layer %{{x}}<br>{drawing.plain(name)}: %{{y:.3f}}"
                "<extra></extra>",
            }
        )
    drawn = [
        (title, [line for line in lines if line[0] in study.data])
        for title, lines in _LINES
        if any(line[0] in study.data for line in lines)
    ]
    layout = _layout(layers, [title for title, _ in drawn])
    for number, (_, lines) in enumerate(drawn, start=2):
        where = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        traces += [_line(study, *line) | where for line in lines]
    return Figure(_NAME, _TITLE, _reading(study, values, layers, parts), traces, layout)


def _layout(layers: np.ndarray, below: list[str]) -> Layout:
    """The shares above, and panels below them on the same layers; heights in pixels."""
    shares, panel, gap = 260, 120, 24
    whole = shares + len(below) * (panel + gap)
    layout = drawing.layout(whole + 110, barmode="stack", bargap=0.12)
    layout["legend"] |= {"traceorder": "normal"}
    across = drawing.whole(layers)
    bottom = 1 - shares / whole
    titles = ["share of the variance", *below]
    for number, title in enumerate(titles):
        where = "" if number == 0 else str(number + 1)
        if number == 0:
            domain = [bottom, 1.0]
        else:
            top = bottom - gap / whole
            bottom = max(0.0, top - panel / whole)
            domain = [bottom, top]
        last = number == len(titles) - 1
        layout[f"xaxis{where}"] = drawing.axis(
            "layer" if last else "", anchor=f"y{where}", showgrid=False, showticklabels=last
        ) | (across if number == 0 else {**across, "matches": "x"})
        limits = {"range": [0, 1]} if number == 0 else {"rangemode": "tozero"}
        layout[f"yaxis{where}"] = drawing.axis(
            title, domain=domain, anchor=f"x{where}", nticks=6 if number == 0 else 4, **limits
        )
    return layout


def _line(study: Study, measure: str, name: str, colour: str, symbol: str) -> Trace:
    array = study.data[measure]
    line = drawing.line(drawing.along(array, LAYER), array.values, name, colour)
    return line | {
        "mode": "lines+markers",
        "marker": {"color": colour, "symbol": symbol, "size": 6},
        "hovertemplate": f"layer %{{x}}<br>{name}: %{{y:.3g}}<extra></extra>",
    }


def _reading(study: Study, values: np.ndarray, layers: np.ndarray, parts: list[str]) -> str:
    text = "Each hidden state is the mean of all, a part that its position sets, a part that its "
    text += "text sets, and the rest."
    if "pos" in parts:
        text += _position(values[:, parts.index("pos")], layers)
    rank = _finite(study.data.get("hidden.stable_rank"))
    if rank.size:
        low, high = words.shown(float(rank.min())), words.shown(float(rank.max()))
        text += f" The stable rank of the position part {_between(low, high)}: that many directions"
        text += " of equal size would hold as much."
    cosine = _finite(study.data.get("hidden.incoherence"))
    if cosine.size:
        most = float(cosine.max())
        apart = "nearly at right angles" if most <= _ORTHOGONAL else "not at right angles"
        text += " The incoherence, the largest |cosine| of a position part and a text part, is at "
        text += f"most {words.shown(most)}: they are {apart}"
        text += "." if most <= _ORTHOGONAL else " in every layer."
    norm = _finite(study.data.get("hidden.relative_norm"))
    if norm.size:
        low, high = words.shown(float(norm.min())), words.shown(float(norm.max()))
        text += " The relative norm, the position part's spectral norm against that of mean, "
        text += f"position and text, {_between(low, high)}."
    return text


def _between(low: str, high: str) -> str:
    return f"is {low}" if low == high else f"lies between {low} and {high}"


def _finite(array: Labelled | None) -> np.ndarray:
    return np.empty(0) if array is None else array.values[np.isfinite(array.values)]


def _position(share: np.ndarray, layers: np.ndarray) -> str:
    known = np.flatnonzero(np.isfinite(share))
    if known.size == 0:
        return ""
    first, last = known[0], known[-1]
    most = known[int(share[known].argmax())]
    text = f" Position holds {words.percent(float(share[first]))} of the variance in layer "
    text += f"{layers[first]}"
    if last != first:
        text += f" and {words.percent(float(share[last]))} in layer {layers[last]}"
    if most not in (first, last):
        text += f"; most, {words.percent(float(share[most]))}, in layer {layers[most]}"
    return text + "."
