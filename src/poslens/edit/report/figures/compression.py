"""A table in fewer numbers: its error and the model's loss, against what is kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poslens.edit.claim import BAR, SHARE, claim_rank
from poslens.edit.costs import drifted, saved
from poslens.edit.report import shown
from poslens.edit.report.figures.lines import (
    Stretched,
    colour,
    log_axis,
    method_line,
    short,
    upright,
)
from poslens.edit.results import Candidate, Compression, Interval
from poslens.report import words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Layout, Trace

_EXACT = 1e-12  # an error that is rounding has no place on a logarithmic axis
_STAR = {"symbol": "star", "size": 15, "line": {"color": drawing.INK, "width": 1.5}}


def error(found: Compression) -> Figure:
    """Relative error against the numbers stored, one line for each method."""
    name, title = "error", "Error of the table against what is stored"
    inexact = [one for one in found.tried if one.error > _EXACT]
    if not inexact:
        return Figure(name, title, missing="every table that was tried is the original")
    traces = []
    for number, method in enumerate(shown.methods(found)):
        of = [one for one in inexact if one.method == method]
        trace = _dotted(
            np.array([one.numbers for one in of]),
            np.array([one.error for one in of]),
            method,
            number,
        )
        hover = "%{fullData.name}, rank %{customdata}: error %{y:.3g} in %{x:,} numbers"
        ranks = np.array([one.rank for one in of])
        traces.append(trace | {"customdata": ranks, "hovertemplate": hover + "<extra></extra>"})
    if found.chosen.error > _EXACT:
        traces.append(_star(found, found.chosen.numbers, found.chosen.error))
    whole = found.table.length * found.table.dim
    quarter, quarter_name = upright(whole / SHARE, "a quarter of the table", log=True)
    sizes = [one.numbers for one in inexact]
    layout = drawing.layout(
        440,
        hovermode="closest",
        xaxis=log_axis("numbers stored", np.array([*sizes, whole / SHARE])),
        yaxis=log_axis("‖P − P̂‖ ÷ ‖P‖", np.array([one.error for one in inexact])),
        shapes=[quarter],
        annotations=[quarter_name],
    )
    return Figure(name, title, _error_reading(found), traces, layout)


def _error_reading(found: Compression) -> str:
    whole = found.table.length * found.table.dim
    one = found.chosen
    text = f"The table has {whole:,} numbers. Chosen, the star: {shown.named(one)}, in "
    text += f"{words.counted(one.numbers, 'number')}, {words.percent(1 - saved(found, one))} of "
    text += f"them, with an error of {words.shown(one.error)}."
    within = [each for each in found.tried if SHARE * each.numbers <= whole]
    if within:
        best = min(within, key=lambda each: each.error)
        text += f" Within a quarter of the numbers the least error is {words.shown(best.error)} "
        text += f"({shown.named(best)})."
    return text


def loss(found: Compression) -> Figure:
    """Relative increase of the mean loss against rank, with its interval and the claim's bar."""
    name, title = "loss", "Loss of the model against rank"
    costs = [(one, cost) for one in found.tried if (cost := shown.raised(found, one)) is not None]
    if not costs:
        return Figure(name, title, missing=shown.why_no_loss(found))
    scale = Stretched(BAR)
    traces: list[Trace] = []
    for number, method in enumerate(shown.methods(found)):
        of = [(one.rank, *cost) for one, cost in costs if one.method == method]
        if of:
            traces += _raised(of, method, number, scale)
    chosen = shown.raised(found, found.chosen)
    if chosen is not None:
        at = float(scale(np.array([chosen[0]]))[0])
        traces.append(_star(found, found.chosen.rank, at))
    ends = [end for _, (value, interval) in costs for end in (value, *(interval or ()))]
    ranks = [one.rank for one, _ in costs]
    layout = drawing.layout(
        460,
        hovermode="closest",
        xaxis=log_axis("rank", np.array(ranks)),
        yaxis=scale.axis(
            "increase of the mean loss", np.array(ends), lambda share: f"{100 * share:g} %"
        ),
    )
    bar, bar_name = _level(float(scale(np.array([BAR]))[0]), "1 %")
    layout |= {"shapes": [bar], "annotations": [bar_name]}
    within = claim_rank(found.table.length, found.table.dim)
    if min(ranks) <= within <= max(ranks):
        left = within**2 > min(ranks) * max(ranks)  # on the side with more room
        line, text = upright(within, f"rank {within:,}: a quarter", log=True, left=left)
        layout["shapes"].append(line)
        layout["annotations"].append(text)
    return Figure(name, title, _loss_reading(found, costs), traces, layout)


def _raised(
    of: Sequence[tuple[int, float, Interval | None]], method: str, number: int, scale: Stretched
) -> list[Trace]:
    """The line of a method, and before it the band of its intervals."""
    ranks, values = np.array([rank for rank, *_ in of]), np.array([value for _, value, _ in of])
    trace = _dotted(ranks, scale(values), method, number)
    trace["customdata"] = [
        [shown.points(value), shown.percents(interval)] for _, value, interval in of
    ]
    trace["hovertemplate"] = (
        "%{fullData.name}, rank %{x}: %{customdata[0]}<br>%{customdata[1]}<extra></extra>"
    )
    spans = [(rank, *interval) for rank, _, interval in of if interval is not None]
    if not spans:
        return [trace]
    at, low, high = (np.array(column) for column in zip(*spans, strict=True))
    band = {
        "type": "scatter",
        "mode": "lines",
        "x": np.concatenate([at, at[::-1]]),
        "y": drawing.float32(scale(np.concatenate([low, high[::-1]]))),
        "name": trace["name"],
        "legendgroup": trace["legendgroup"],
        "showlegend": False,
        "fill": "toself",
        "fillcolor": colour(number),
        "line": {"width": 0, "color": colour(number)},
        "opacity": 0.2,
        "hoverinfo": "skip",
    }
    return [band, trace]


def _loss_reading(
    found: Compression, costs: Sequence[tuple[Candidate, tuple[float, Interval | None]]]
) -> str:
    text = "By how much a compressed table raises the mean loss, as a share of it: the scale is "
    text += "linear up to 1 % and logarithmic beyond. Bands are 95 % intervals over contexts."
    chosen = shown.raised(found, found.chosen)
    if chosen is not None:
        text += f" Chosen, the star: {shown.named(found.chosen)}, {shown.points(chosen[0])}"
        text += f" ({shown.percents(chosen[1])})." if chosen[1] else "."
    small: dict[str, int] = {}
    for one, (value, _) in costs:
        if value <= BAR:
            small[one.method] = min(one.rank, small.get(one.method, one.rank))
    if small:
        each = ", ".join(f"{rank:,} ({words.visible(method)})" for method, rank in small.items())
        text += f" The smallest rank tried that raises it by at most 1 %: {each}."
    return text


def drift(found: Compression) -> Figure:
    """Of a model without a head: how far its hidden states move, against rank."""
    name, title = "drift", "Drift of the hidden states against rank"
    moved = [(one, found_drift) for one in found.tried if (found_drift := drifted(one.drift))]
    moved = [(one, both) for one, both in moved if min(both) > 0]
    if not moved:
        return Figure(name, title, missing="no hidden states were compared", optional=True)
    traces: list[Trace] = []
    for number, method in enumerate(shown.methods(found)):
        of = [(one.rank, *both) for one, both in moved if one.method == method]
        if not of:
            continue
        rank, state, pooled = (np.array(column) for column in zip(*of, strict=True))
        for y, kind, dash in ((state, "states", "solid"), (pooled, "their mean", "dot")):
            trace = _dotted(rank, y, f"{short(method)}: {kind}", number)
            trace["line"] |= {"dash": dash}
            trace["showlegend"] = dash == "solid"
            hover = "%{fullData.name}, rank %{x}: 1 − cosine %{y:.3g}<extra></extra>"
            traces.append(trace | {"hovertemplate": hover})
    ranks = [one.rank for one, _ in moved]
    layout = drawing.layout(
        440,
        hovermode="closest",
        xaxis=log_axis("rank", np.array(ranks)),
        yaxis=log_axis("1 − cosine", np.array([both for _, both in moved])),
    )
    text = "How far the last hidden states turn from those of the original: 1 − their cosine, mean "
    text += "over contexts and positions; dotted, the same of their mean over positions, which is "
    text += "what sentence embeddings are."
    chosen = drifted(found.chosen.drift)
    if chosen is not None:
        text += f" With the chosen table: {words.shown(chosen[0])} and {words.shown(chosen[1])}."
    return Figure(name, title, text, traces, layout)


def _dotted(x: np.ndarray, y: np.ndarray, method: str, number: int) -> Trace:
    trace = method_line(x, y, method, number)
    return trace | {"mode": "lines+markers", "marker": {"size": 6} | trace.get("marker", {})}


def _star(found: Compression, x: int, y: float) -> Trace:
    number = shown.methods(found).index(found.chosen.method)
    trace = drawing.points(np.array([x]), np.array([y]), "chosen", colour(number))
    text = drawing.plain(short(found.chosen.method)) + f", rank {found.chosen.rank:,}: chosen"
    trace["marker"] = trace["marker"] | _STAR
    return trace | {"hovertemplate": f"{text}<extra></extra>".replace("%{", "% {")}


def _level(at: float, text: str) -> list[Layout]:
    line = {"color": drawing.MUTED, "width": 1, "dash": "dash"}
    return [
        {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": at, "y1": at, "line": line},
        {
            "x": 1,
            "xref": "paper",
            "y": at,
            "text": text,
            "showarrow": False,
            "xanchor": "right",
            "yanchor": "bottom",
            "font": {"color": drawing.MUTED},
        },
    ]
