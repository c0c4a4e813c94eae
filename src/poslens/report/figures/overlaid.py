"""Profiles of several sources in one figure: cosine of their tables, and kernels of their heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from poslens.axes import HEAD, LAG, LAYER, OFFSET
from poslens.report import aligned, words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Layout, Trace
from poslens.study import Labelled, Study

_LEGEND = 36  # characters of a label
_TICKS = 4 ** np.arange(13)
_HEAD_POINTS = 1024


def cosine_profiles(studies: Sequence[Study], labels: Sequence[str]) -> Figure:
    """Mean cosine at each distance, one line for each table."""
    name, title = "cosine-profiles", "Cosine against distance"
    traces: list[Trace] = []
    absent: dict[str, str] = {}
    for number, (study, label) in enumerate(zip(studies, labels, strict=True)):
        array = study.data.get("cosine.profile")
        if array is None:
            absent[label] = _why_no_profile(study)
            continue
        # Distance 0 is 1 in every table, and has no place on a logarithmic axis.
        lag, values = drawing.along(array, LAG)[1:], array.values[1:]
        traces.append(_line(lag, values, label, number) | {"hovertemplate": _hover("cosine")})
    if not traces:
        return Figure(name, title, missing=_listed(absent))
    layout = _layout(
        len(traces),
        xaxis=_distance_axis("distance k between positions", 0),
        yaxis=drawing.axis("mean cosine"),
    )
    halves = {
        label: _half(study)
        for study, label in zip(studies, labels, strict=True)
        if label not in absent
    }
    text = "The mean cosine of two positions, against their distance. "
    text += f"It first falls to 0.5 at distance {_by_label(halves)}."
    return Figure(name, title, text + _beside(absent), traces, layout)


def kernel_profiles(studies: Sequence[Study], labels: Sequence[str]) -> Figure:
    """What heads add to a logit for distance alone, scaled to run from 0 to 1.

    Bold, the median over the heads of the first layer; thin, at a click on the legend, each head.
    Every head is scaled by its own range over the keys at and before the query.
    """
    name, title = "kernel-profiles", "Kernel against distance"
    bold: list[Trace] = []
    thin: list[Trace] = []  # drawn first, so that the bold lines lie over them
    absent: dict[str, str] = {}
    for number, (study, label) in enumerate(zip(studies, labels, strict=True)):
        found = _scaled_heads(study)
        if found is None:
            absent[label] = _why_no_kernel(study)
            continue
        distance, heads = found
        median = _line(distance + 1, np.median(heads, axis=0), label, number)
        hover = _hover("scaled kernel", "%{customdata}")
        rank = {"legendrank": 2 * number}
        bold.append(median | rank | {"customdata": distance, "hovertemplate": hover})
        if heads.shape[0] > 1:
            thin.append(_thin(distance, heads, label, number))
    if not bold:
        return Figure(name, title, missing=_listed(absent))
    layout = _layout(
        len(bold) + len(thin),
        xaxis=_distance_axis("distance t − s from the query back to the key", 1),
        yaxis=drawing.axis("kernel, scaled to 0 … 1"),
    )
    return Figure(name, title, _kernel_reading(studies, labels, absent), [*thin, *bold], layout)


def _scaled_heads(study: Study) -> tuple[np.ndarray, np.ndarray] | None:
    """Distances, and of each head that varies with them its kernel scaled to [0, 1]."""
    array = study.data.get("kernel.distance_part")
    if array is None:
        return None
    values = _first_layer(array)
    offset = drawing.along(array, OFFSET)
    back = np.flatnonzero(offset <= 0)[::-1]
    distance, heads = -offset[back].astype(np.int64), values[:, back]
    heads = heads[np.isfinite(heads).all(axis=1)]
    if heads.size == 0:
        return None
    low, high = heads.min(axis=1, keepdims=True), heads.max(axis=1, keepdims=True)
    varies = (high > low)[:, 0]
    if not varies.any():
        return None
    return distance, ((heads - low)[varies] / (high - low)[varies])


def _first_layer(array: Labelled) -> np.ndarray:
    """The first layer's values, shape (head, offset)."""
    values = np.take(array.values, 0, axis=array.dims.index(LAYER))
    dims = [dim for dim in array.dims if dim != LAYER]
    return np.asarray(np.moveaxis(values, (dims.index(HEAD), dims.index(OFFSET)), (0, 1)))


def _thin(distance: np.ndarray, heads: np.ndarray, label: str, number: int) -> Trace:
    """Every head in one trace, so that one click shows them; NaN lifts the pen between two."""
    kept = np.arange(distance.size)
    if kept.size > _HEAD_POINTS:  # more than the axis has pixels would only make the page large
        kept = np.unique(np.geomspace(1, kept.size, _HEAD_POINTS).round().astype(int)) - 1
    gap = np.full((heads.shape[0], 1), np.nan)
    y = np.hstack([heads[:, kept], gap]).ravel()
    x = np.tile(np.append(distance[kept] + 1, distance[kept][-1] + 1), heads.shape[0])
    trace = _line(x, y, label, number)
    trace["name"] = drawing.plain(f"{_short(label)}: each of {heads.shape[0]} heads")
    trace["line"] = {**trace["line"], "width": 0.75}
    beside = {"legendrank": 2 * number + 1, "visible": "legendonly"}
    return {**trace, **beside, "hoverinfo": "skip", "connectgaps": False}


def _line(x: np.ndarray, y: np.ndarray, label: str, number: int) -> Trace:
    lap, index = divmod(number, len(drawing.CYCLE))
    dash = drawing.DASHES[lap % len(drawing.DASHES)]
    return drawing.line(x, y, _short(label), drawing.CYCLE[index], dash=dash)


def _short(label: str) -> str:
    shown = words.visible(label)
    return shown if len(shown) <= _LEGEND else shown[: _LEGEND - 1] + "…"


def _hover(what: str, distance: str = "%{x}") -> str:
    return f"distance {distance}<br>{what} %{{y:.3f}}"


def _layout(entries: int, **axes: Layout) -> Layout:
    made = drawing.layout(440 + 12 * entries, **axes)
    made["hoverlabel"]["namelength"] = -1
    return made


def _distance_axis(title: str, shift: int) -> Layout:
    """A logarithmic axis of distance + ``shift``, labelled with the distances themselves."""
    ticks = _TICKS if shift == 0 else np.append(0, _TICKS)
    return drawing.axis(
        title,
        type="log",
        tickmode="array",
        tickvals=[int(tick) + shift for tick in ticks],
        ticktext=[f"{tick:,}" for tick in ticks],
    )


def _kernel_reading(
    studies: Sequence[Study], labels: Sequence[str], absent: Mapping[str, str]
) -> str:
    text = "What a head adds to a logit for distance alone, at the first layer, each head scaled "
    text += "to run from 0 to 1 over its distances: a line is the median of the heads, and a click "
    text += "on the legend shows every one."
    halves = {
        label: aligned.over_heads(study.measures.get("kernel.half_distance"))
        for study, label in zip(studies, labels, strict=True)
    }
    known = {label: half for label, half in halves.items() if half is not None}
    if known:
        text += f" The median head has lost half of its range at distance {_by_label(known)}."
    return text + _beside(absent)


def _half(study: Study) -> float | None:
    """The distance at which the mean cosine is first at most 0.5; None where it never is."""
    half = drawing.number(study, "cosine.half_lag")
    return None if half is None or half >= study.data["cosine.profile"].values.size else half


def _by_label(distances: Mapping[str, float | None]) -> str:
    return ", ".join(
        f"{'none' if distance is None else words.shown(distance)} ({words.visible(label)})"
        for label, distance in distances.items()
    )


def _beside(absent: Mapping[str, str]) -> str:
    return f" Not drawn: {_listed(absent)}." if absent else ""


def _listed(absent: Mapping[str, str]) -> str:
    """The sources without data, by the reason."""
    reasons: dict[str, list[str]] = {}
    for label, reason in absent.items():
        reasons.setdefault(reason, []).append(label)
    return "; ".join(
        f"{words.listed(names)} ({words.visible(reason)})" for reason, names in reasons.items()
    )


def _why_no_profile(study: Study) -> str:
    reason = study.undefined.get("cosine.profile")
    return reason or ("no table" if study.length is None else "no data")


def _why_no_kernel(study: Study) -> str:
    if "kernel.distance_part" in study.data:
        return "the same at every distance"
    return study.undefined.get("kernel.relative_share") or "no data"
