"""How alike positions are, and how that changes with their distance."""

from __future__ import annotations

import numpy as np

from poslens.axes import BLOCK, FAMILY, FIT_LAG, LAG, QUANTILE
from poslens.report import words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Trace
from poslens.study import Labelled, Study

_DASHES = ("dot", "dashdot", "longdash", "dash", "longdashdot")


def cosine_heatmap(study: Study) -> Figure:
    """Cosine between every two positions; averaged over blocks of positions in a long table."""
    name, title = "cosine-heatmap", "Cosine between positions"
    empty = drawing.absent(study, name, title, "cosine.matrix")
    if empty:
        return empty
    array = study.data["cosine.matrix"]
    first = drawing.along(array, BLOCK)
    size = int(first[1] - first[0]) if first.size > 1 else 1
    trace: Trace = {
        "type": "heatmap",
        "x": first,
        "y": first,
        "z": drawing.float32(array.values),
        "zmin": -1,
        "zmax": 1,
        "zmid": 0,
        "colorscale": drawing.DIVERGING,
        "colorbar": drawing.colour_bar("cosine", -0.14),
        "hovertemplate": "positions %{x} and %{y}<br>cosine %{z:.3f}<extra></extra>",
    }
    layout = drawing.layout(
        620,
        xaxis=drawing.axis("position", constrain="domain", showgrid=False),
        yaxis=drawing.axis(
            "position",
            autorange="reversed",
            scaleanchor="x",
            constrain="domain",
            showgrid=False,
        ),
    )
    return Figure(name, title, _heatmap_reading(study, array.values, size), [trace], layout)


def _heatmap_reading(study: Study, matrix: np.ndarray, size: int) -> str:
    text = ""
    if size > 1:
        text += f"Each cell averages {size} × {size} pairs of positions. "
    text += "Stripes along the diagonal mean that likeness depends on distance alone; squares and "
    text += "crosses mark particular positions."
    low, high = float(matrix.min()), float(matrix.max())
    text += f" The values run from {words.shown(low)} to {words.shown(high)}"
    share = drawing.number(study, "cosine.offset_share")
    if share is None:
        return text + "."
    text += f"; an offset that all rows share makes {words.percent(share)} of their squared length"
    return text + (", which lifts every cell." if share >= 0.1 else ".")


def lag_profile(study: Study) -> Figure:
    """Mean cosine at each distance, curves fitted to it, and the same rows in random order."""
    name, title = "lag-profile", "Cosine against distance"
    empty = drawing.absent(study, name, title, "cosine.profile")
    if empty:
        return empty
    profile = study.data["cosine.profile"]
    lag = drawing.along(profile, LAG)
    traces: list[Trace] = []
    null = study.data.get("cosine.null_permutation")
    if null is not None:
        # At distance 0 every order gives 1; the band starts where order matters.
        fit_lag = drawing.along(null, FIT_LAG)
        later = Labelled(null.dims, null.values[..., 1:], {QUANTILE: drawing.along(null, QUANTILE)})
        traces += drawing.quantile_band(later, fit_lag[1:], "random order, 5–95 %")
    traces.append(drawing.line(lag, profile.values, "raw", drawing.BLUE, width=2.5))
    centred = study.data.get("cosine.centered_profile")
    if centred is not None:
        values = centred.values
        along = drawing.along(centred, LAG)
        traces.append(drawing.line(along, values, "mean row removed", drawing.GREEN, width=1.5))
    traces += _fits(study)
    layout = drawing.layout(
        440,
        xaxis=drawing.axis("distance k between positions"),
        yaxis=drawing.axis("mean cosine"),
    )
    return Figure(name, title, _profile_reading(study, profile.values), traces, layout)


def _fits(study: Study) -> list[Trace]:
    """The fitted families: the best one bold, the others thin and dashed."""
    array = study.data.get("cosine.fit")
    if array is None:
        return []
    best = study.measures.get("cosine.best_family")
    lag = drawing.along(array, FIT_LAG)
    names = [words.visible(family) for family in drawing.along(array, FAMILY)]
    traces = []
    for index, family in enumerate(names):
        words_for = family.replace("_", " ").replace("+", " + ")
        if family == best:
            trace = drawing.line(
                lag, array.values[index], f"{words_for} (best fit)", drawing.VERMILION, width=2.5
            )
        else:
            dash = _DASHES[index % len(_DASHES)]
            trace = drawing.line(
                lag, array.values[index], words_for, drawing.MUTED, width=1.25, dash=dash
            )
        traces.append(trace)
    return sorted(traces, key=lambda trace: trace["line"]["color"] == drawing.VERMILION)


def _profile_reading(study: Study, profile: np.ndarray) -> str:
    text = f"Neighbours have cosine {words.shown(float(profile[1]))}"
    centred = drawing.number(study, "cosine.centered_adjacent")
    text += f" ({words.shown(centred)} without the mean row)" if centred is not None else ""
    half = drawing.number(study, "cosine.half_lag")
    if half is not None and half < profile.size:
        text += f"; it first falls to 0.5 at distance {words.shown(half)}"
        after = profile[int(half) :]
        peak = int(half) + int(np.argmax(after))
        if after.max() > 0.5:
            text += f" but is back at {words.shown(float(profile[peak]))} at distance {peak}"
    elif half is not None:
        text += "; it stays above 0.5 at every distance"
    text += "."
    fit = drawing.number(study, "cosine.exp_r2")
    if fit is not None:
        how = "well" if fit >= 0.9 else "badly" if fit < 0.5 else "in part"
        text += f" A decaying exponential describes it {how} (R² {words.shown(fit)})"
        best = study.measures.get("cosine.best_family")
        if isinstance(best, str):
            text += f"; of the five families, {words.visible(best).replace('_', ' ')} fits best"
        fitted = study.data.get("cosine.fit")
        if fitted is not None:
            last = int(drawing.along(fitted, FIT_LAG)[-1])
            text += f", over distances up to {last}"
        text += "."
    null = study.data.get("cosine.null_permutation")
    if null is not None:
        low, _, high = drawing.quantiles(null)
        if low.size > 1:
            band = f"{words.shown(float(low[1]))} and {words.shown(float(high[1]))}"
            text += f" In random order neighbours would have between {band}."
    return text
