"""Beyond the trained length: what each method costs, and how much more than the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from poslens.edit.costs import loss_over, seed_of
from poslens.edit.report import shown
from poslens.edit.report.figures.lines import Stretched
from poslens.edit.results import Extension, Interval, Recommendation, Tried
from poslens.report import words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Layout, Trace

_UNIT = 0.01  # nats up to which the scale of differences is linear
_NAME = 18  # characters beside an axis, on a phone too
_EACH = 30  # pixels of height for a method


def mean_losses(found: Extension) -> Figure:
    """Mean loss beyond the trained length with its interval, the lowest first."""
    name, title = "loss-beyond", "Mean loss beyond the trained length"
    order = [one for one, _ in shown.by_loss(found)]
    if not order:
        return Figure(name, title, missing=shown.why_no_loss(found), optional=True)
    seed = seed_of(found.settings)
    losses = [loss_over(one.scores, found.trained, None, seed) for one in order]
    known = [loss for loss in losses if loss is not None]
    traces: list[Trace] = []
    for kind, colour, of in _kinds(found, order):
        if not of:
            continue
        values = np.array([known[place][0] for place in of])
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "x": drawing.float32(values),
                "y": np.array(of),
                "name": kind,
                "marker": {"color": colour},
                "width": 0.72,
                "text": [shown.nats(value) for value in values],
                "textposition": "inside",
                "insidetextanchor": "start",
                "textangle": 0,
                "textfont": {"color": drawing.PAPER},
                "customdata": [shown.span(known[place][1]) for place in of],
                "hovertemplate": "%{x:.4f} nats per token<br>%{customdata}<extra></extra>",
                "error_x": _error([known[place] for place in of]),
            }
        )
    ends = [max(loss, (interval or (loss, loss))[1]) for loss, interval in known]
    layout = drawing.layout(
        110 + _EACH * len(order),
        hovermode="closest",
        barmode="overlay",
        xaxis=drawing.axis("nats per token", range=[0, 1.03 * max(ends)]),
        yaxis=_names(order),
    )
    return Figure(name, title, _reading(found), traces, layout)


def excesses(found: Extension) -> Figure:
    """By how many nats a token each costs more than the recommended, paired within contexts."""
    name, title = "excess", "What the others cost more"
    best = found.recommendation
    if best is None or not best.excess:
        why = "nothing is recommended" if best is None else "nothing else was measured"
        return Figure(name, title, missing=why, optional=True)
    order = [one for one, _ in shown.by_loss(found) if one.method in best.excess]
    scale = Stretched(_UNIT)
    traces: list[Trace] = []
    for kind, colour, of in _kinds(found, order):
        if not of:
            continue
        differences = [best.excess[order[place].method] for place in of]
        values = scale(np.array([value for value, _ in differences]))
        trace = drawing.points(drawing.float32(values), np.array(of), kind, colour, size=9)
        trace["y"] = np.array(of)
        trace["error_x"] = _error(differences, scale)
        trace["customdata"] = [
            [shown.nats(value), shown.span(interval)] for value, interval in differences
        ]
        hover = "%{customdata[0]} nats per token<br>%{customdata[1]}<extra></extra>"
        traces.append(trace | {"hovertemplate": hover})
    ends = [end for value, interval in best.excess.values() for end in (value, *(interval or ()))]
    zero = {"color": drawing.MUTED, "width": 1, "dash": "dash"}
    layout = drawing.layout(
        110 + _EACH * len(order),
        hovermode="closest",
        xaxis=scale.axis("nats per token more", np.array(ends), lambda tick: f"{tick:g}"),
        yaxis=_names(order),
        shapes=[
            {"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper", "line": zero}
        ],
    )
    return Figure(name, title, _excess_reading(best), traces, layout)


def _kinds(found: Extension, order: Sequence[Tried]) -> list[tuple[str, str, list[int]]]:
    """Name, colour and places in the order: recommended, other edits, baselines."""
    best = found.recommendation.method if found.recommendation else None
    places = range(len(order))
    return [
        ("recommended", drawing.GREEN, [i for i in places if order[i].method == best]),
        (
            "other edits",
            drawing.BLUE,
            [i for i in places if order[i].method != best and not order[i].baseline],
        ),
        ("no edit", drawing.MUTED, [i for i in places if order[i].baseline]),
    ]


def _error(
    found: Sequence[tuple[float, Interval | None]],
    scale: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> Layout:
    values = np.array([value for value, _ in found])
    ends = np.array([interval or (value, value) for value, interval in found])
    middle, low, high = scale(values), scale(ends[:, 0]), scale(ends[:, 1])
    return {
        "type": "data",
        "symmetric": False,
        "array": drawing.float32(np.maximum(high - middle, 0)),
        "arrayminus": drawing.float32(np.maximum(middle - low, 0)),
        "color": drawing.INK,
        "thickness": 1.5,
        "width": 4,
    }


def _names(order: Sequence[Tried]) -> Layout:
    names = [one.method for one in order]
    cut = [name if len(name) <= _NAME else name[: _NAME - 1] + "…" for name in names]
    return drawing.axis(
        "",
        tickmode="array",
        tickvals=list(range(len(order))),
        ticktext=[drawing.plain(name) for name in cut],
        range=[len(order) - 0.5, -0.5],
        showgrid=False,
        ticks="",
    )


def _reading(found: Extension) -> str:
    text = f"The mean over positions {found.trained:,} to {found.to - 1:,} and over contexts, with "
    text += "95 % intervals over contexts: how contexts differ from each other is in them, and "
    text += "does not tell methods apart that read the same ones."
    best = found.recommendation
    if best is None:
        return text
    text += f" Recommended is {words.visible(best.method)}, {shown.nats(best.loss)} nats per token"
    return text + (f" ({shown.span(best.interval)})." if best.interval else ".")


def _excess_reading(best: Recommendation) -> str:
    text = f"By how many nats a token costs more than with {words.visible(best.method)}: the mean "
    text += "of the differences within each context, with 95 % intervals; right of 0 is worse. The "
    text += "scale is linear up to 0.01 and logarithmic beyond."
    if best.tied:
        text += f" This text does not tell it from {words.listed(best.tied)}."
    better = [name for name, (_, interval) in best.excess.items() if interval and interval[1] < 0]
    if better:
        text += f" Better than every edit: {words.listed(better)}."
    return text
