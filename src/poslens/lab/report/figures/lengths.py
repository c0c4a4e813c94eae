"""Beyond the trained length: perplexity by length, and loss by position."""

from __future__ import annotations

import numpy as np

from poslens.lab.report.figures.lines import (
    TICKS,
    binned,
    empty,
    length_axis,
    log_edges,
    ranged,
    scheme_line,
)
from poslens.lab.report.shown import evaluated, middle, perplexities
from poslens.lab.results import LabResults
from poslens.report import words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Layout, Trace

_BINS = 80
_PER_DECADE = (1, 1.5, 2, 3, 4, 5, 7)  # ticks of a perplexity


def extrapolation(results: LabResults) -> Figure:
    """Held-out perplexity against length, with the range over seeds; sliding windows dashed."""
    name, title = "extrapolation", "Perplexity beyond the trained length"
    if not results.runs:
        return empty(name, title)
    lengths = evaluated(results)
    traces = [_whole(results, label, lengths) for label in results.labels]
    for label in results.labels:
        traces += _sliding(results, label, lengths)
    nowhere = np.array([np.nan])  # a line for the legend alone
    traces.append(drawing.line(nowhere, nowhere, "sliding window", drawing.MUTED, dash="dot"))
    layout = drawing.layout(
        480,
        hovermode="closest",
        xaxis=length_axis(results, lengths),
        yaxis=drawing.axis("perplexity", type="log", **_ticks(results, lengths)),
    )
    return Figure(name, title, _reading(results, lengths), traces, layout)


def _ticks(results: LabResults, lengths: list[int]) -> Layout:
    """A few round numbers: Plotly's own would be one, or fill a phone's width."""
    found = np.concatenate(
        [
            perplexities(results, label, length, sliding=sliding)
            for label in results.labels
            for length in lengths
            for sliding in (False, True)
        ]
    )
    found = found[np.isfinite(found)]
    decades = 10.0 ** np.arange(0, 300)
    every = (decades[:, None] * np.array(_PER_DECADE)).ravel()
    low, high = found.min() / 1.2, found.max() * 1.2
    kept = every[(every >= low) & (every <= high)]
    while len(kept) > 9:
        kept = kept[::2]
    return {
        "tickmode": "array",
        "tickvals": kept.tolist(),
        "ticktext": [f"{value:,.3g}" for value in kept],
    }


def _whole(results: LabResults, label: str, lengths: list[int]) -> Trace:
    found = {
        length: values
        for length in lengths
        if (values := perplexities(results, label, length, sliding=False)).size
        and np.isfinite(values).all()
    }
    centre = np.array([middle(values) for values in found.values()])
    trace = ranged(results, label, found, centre)
    hover = f"{trace['name']}, length %{{x}}: perplexity %{{y:.4g}}<extra></extra>"
    return trace | {"hovertemplate": hover}


def _sliding(results: LabResults, label: str, lengths: list[int]) -> list[Trace]:
    found = {
        length: middle(values)
        for length in lengths
        if (values := perplexities(results, label, length, sliding=True)).size
        and np.isfinite(values).all()
    }
    if not found:
        return []
    # From where no window slides: at the trained length both are the same.
    first = perplexities(results, label, lengths[0], sliding=False)
    found = {lengths[0]: middle(first), **found} if first.size else found
    y = np.array(list(found.values()))
    trace = scheme_line(results, label, np.array(list(found)), y, dash="dot", width=1.5)
    hover = f"{trace['name']}, sliding window, length %{{x}}: %{{y:.4g}}<extra></extra>"
    return [trace | {"showlegend": False, "hovertemplate": hover}]


def _reading(results: LabResults, lengths: list[int]) -> str:
    text = "Perplexity on the same held-out bytes, in windows of each length: the mean over seeds, "
    text += "and their range. Dotted, the baseline of a model that never sees more than the trained"
    text += " length."
    length = 4 * lengths[0] if 4 * lengths[0] in lengths else lengths[-1]
    if length == lengths[0]:
        return text
    grown: dict[str, float] = {}
    for label in results.labels:
        near, far = (perplexities(results, label, at, sliding=False) for at in (lengths[0], length))
        if near.size and near.size == far.size:
            grown[label] = middle(far) / middle(near)
    if grown:
        each = ", ".join(f"{words.shown(ratio)} ({label})" for label, ratio in grown.items())
        text += f" At {length // lengths[0]}× the trained length it is, times that at 1×: {each}."
    return text


def by_position(results: LabResults) -> Figure:
    """Held-out loss at each position of the longest contexts."""
    name, title = "by-position", "Loss by position in the longest context"
    lengths = evaluated(results)
    longest = [label for label in results.labels if _at(results, label, lengths[-1], False)]
    if not longest:
        return empty(name, title)
    context = results.experiment.model.context
    edges = log_edges(lengths[-1], _BINS)
    centre = (edges[:-1] + edges[1:] + 1) / 2  # counted from 1, which a logarithm needs
    traces: list[Trace] = []
    for sliding in (False, True):
        for label in longest:
            found = _at(results, label, lengths[-1], sliding)
            if not found:
                continue
            y = binned(np.mean(found, axis=0), edges)
            options: dict[str, str | float] = {"dash": "dot", "width": 1.25} if sliding else {}
            kind = ", sliding window" if sliding else ""
            trace = scheme_line(results, label, centre, y, **options)
            hover = f"{trace['name']}{kind}, position %{{x:.0f}}: %{{y:.3f}} nats<extra></extra>"
            traces.append(trace | {"showlegend": not sliding, "hovertemplate": hover})
    ticks = [tick for tick in TICKS if tick <= lengths[-1]]
    layout = drawing.layout(
        440,
        hovermode="closest",
        xaxis=drawing.axis(
            "position, counted from 1",
            type="log",
            tickmode="array",
            tickvals=[int(tick) for tick in ticks],
            ticktext=[f"{tick:,}" for tick in ticks],
        ),
        yaxis=drawing.axis("loss in nats per byte"),
        shapes=[_mark(context)],
        annotations=[_mark_name(context)],
    )
    return Figure(name, title, _position_reading(results, longest, lengths[-1]), traces, layout)


def _at(results: LabResults, label: str, length: int, sliding: bool) -> list[np.ndarray]:
    every = [run.sliding if sliding else run.lengths for run in results.of(label).values()]
    found = [curves[length].by_position for curves in every if length in curves]
    return [loss for loss in found if loss is not None]


def _mark(context: int) -> Layout:
    edge = context + 0.5
    line = {"color": drawing.MUTED, "width": 1, "dash": "dash"}
    return {"type": "line", "x0": edge, "x1": edge, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _mark_name(context: int) -> Layout:
    return {
        "x": float(np.log10(context + 0.5)),
        "y": 1,
        "yref": "paper",
        "text": "trained length",
        "showarrow": False,
        "xanchor": "right",
        "yanchor": "top",
        "xshift": -4,
        "font": {"color": drawing.MUTED},
    }


def _position_reading(results: LabResults, labels: list[str], length: int) -> str:
    context = results.experiment.model.context
    text = f"Contexts of {length:,} bytes, read at once; the mean over contexts and seeds, and over"
    text += " neighbouring positions. Dotted, with a sliding window of the trained length. "
    parts = []
    for label in labels:
        mean = np.mean(_at(results, label, length, False), axis=0)
        last, beyond = mean[context // 2 : context].mean(), mean[context:].mean()
        parts.append(f"{words.shown(float(beyond - last))} ({label})")
    text += "Beyond the trained length the loss is, less that in the second half within it: "
    return text + ", ".join(parts) + " nats."
