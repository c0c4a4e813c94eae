"""How much of each head's logits is content, and how much position."""

from __future__ import annotations

import numpy as np

from poslens.axes import HEAD, LAYER, TERM
from poslens.report import words
from poslens.report.figures import drawing, panels, terms
from poslens.report.figures.drawing import Figure, Layout, Trace
from poslens.report.figures.terms import POSITION_ALONE, SHARE
from poslens.study import Labelled, Study

_MAP, _STACK = "share-map", "share-stack"
_BELOW = 116  # pixels below the panels, for an axis and the colour bar
_SCALE = "share of the variance along rows"
_TALL = 16  # layers from which all panels stand beside each other
_WRITTEN = 16  # heads, at most, whose values stand in their cells
_MOSTLY = 0.5
_NONE = "the logits vary along the rows of no head"
_MEANING = (
    "the five shares of a head sum to 1, and one is negative or above 1 where terms work against "
    "each other"
)


def share_map(study: Study) -> Figure:
    """The share of every term in every head: a map over layers and heads for each term."""
    title = "Content and position in each head's logits"
    unexplained = not any(measure.startswith("attention.") for measure in study.undefined)
    empty = drawing.absent(study, _MAP, title, SHARE, optional=unexplained)
    if empty:
        return empty
    array = _ordered(study.data[SHARE])
    if not _known(array).any():
        return Figure(_MAP, title, missing=_NONE, optional=unexplained)
    # One is the natural end: more is only where terms work against each other.
    end, beyond = terms.scale_end(array.values, least=1.0)
    one = array.values.shape[0] == 1
    traces, layout = _rows(array, end) if one else _panels(array, end)
    return Figure(_MAP, title, _map_reading(array, end, beyond), traces, layout)


def _ordered(array: Labelled) -> Labelled:
    """The same array with its axes in the order layer, head, term."""
    dims = (LAYER, HEAD, TERM)
    values = np.transpose(array.values, [array.dims.index(dim) for dim in dims])
    return Labelled(dims, np.asarray(values, dtype=np.float64), array.coords)


def _known(array: Labelled) -> np.ndarray:
    """Which heads have shares, shape (layer, head): those whose logits vary along rows."""
    return np.asarray(np.isfinite(array.values).all(axis=2))


def _names(array: Labelled) -> list[str]:
    return [str(term) for term in drawing.along(array, TERM)]


def _heat(end: float) -> Trace:
    return {
        "type": "heatmap",
        "zmin": -end,
        "zmid": 0,
        "zmax": end,
        "colorscale": drawing.DIVERGING,
        "showscale": False,
        "hoverongaps": False,
    }


def _panels(array: Labelled, end: float) -> tuple[list[Trace], Layout]:
    layers, heads = drawing.along(array, LAYER), drawing.along(array, HEAD)
    gap = 1 if max(layers.size, heads.size) <= 2 * _TALL else 0
    means = array.values[_known(array)].mean(axis=0)
    titles: list[tuple[str, str]] = []
    traces: list[Trace] = []
    for number, term in enumerate(_names(array)):
        name = drawing.plain(terms.name(term))
        titles.append((name, f"mean {terms.share_text(float(means[number]))}"))
        where = {"xaxis": f"x{panels.suffix(number)}", "yaxis": f"y{panels.suffix(number)}"}
        traces.append(
            _heat(end)
            | where
            | {
                "x": heads,
                "y": layers,
                "z": drawing.float32(array.values[:, :, number]),
                "xgap": gap,
                "ygap": gap,
                "hovertemplate": f"layer %{{y}}, head %{{x}}<br>{name}: %{{z:.3f}}<extra></extra>",
            }
        )
    tall = layers.size >= _TALL
    wide, narrow = (
        panels.grid(
            [between.join((name.replace(" · ", dot), mean)) for name, mean in titles],
            columns=min(columns, len(titles)),
            height=int(np.clip(cell * layers.size, 90, 30 * cell)),
            below=_BELOW,
            x={"title": "head", **drawing.whole(heads), "dtick": -(-heads.size // ticks)},
            y={"title": "layer", **drawing.whole(layers)},
        )
        for columns, cell, ticks, between, dot in (
            (5, 14, 5, "<br>", " · ") if tall else (3, 22, 12, ", ", " · "),
            (3, 9, 4, "<br>", "·") if tall else (2, 14, 6, "<br>", " · "),  # on a phone
        )
    )
    bar = drawing.colour_bar(_SCALE, panels.bar_at(wide, _BELOW))
    traces[0] |= {"showscale": True, "colorbar": bar}
    own = {"layout": narrow, "colorbar": {"y": panels.bar_at(narrow, _BELOW)}}
    layout = drawing.layout(**wide, meta={"narrow": own})
    layout["margin"] = {**layout["margin"], "b": _BELOW}
    return traces, layout


def _rows(array: Labelled, end: float) -> tuple[list[Trace], Layout]:
    """One layer: terms below each other, heads beside each other, and the values in their cells."""
    heads, names = drawing.along(array, HEAD), [terms.name(term) for term in _names(array)]
    values, height = array.values[0].T, 44 * len(names) + _BELOW + 16
    layer = drawing.along(array, LAYER)[0]
    below = [-56 / (pixels - _BELOW - 16) for pixels in (height, height)]
    heat = _heat(end) | {
        "x": heads,
        "y": np.arange(len(names)),
        "z": drawing.float32(values),
        "xgap": 1,
        "ygap": 1,
        "customdata": [[drawing.plain(name)] * heads.size for name in names],
        "hovertemplate": f"layer {layer}, head %{{x}}<br>%{{customdata}}: %{{z:.3f}}"
        "<extra></extra>",
        "showscale": True,
        "colorbar": drawing.colour_bar(_SCALE, below[0]),
    }
    written = [
        {
            "text": terms.share_text(float(share)),
            "x": int(heads[head]),
            "y": term,
            "showarrow": False,
            # The ends of the scale are far from the paper, in either theme.
            "font": {"color": drawing.PAPER if abs(share) > end / 2 else drawing.INK},
        }
        for (term, head), share in np.ndenumerate(values)
        if heads.size <= _WRITTEN and np.isfinite(share)
    ]
    layout = drawing.layout(
        height,
        annotations=written,
        xaxis=drawing.axis("head", showgrid=False, **drawing.whole(heads)),
        yaxis=drawing.axis(
            "",
            showgrid=False,
            range=[len(names) - 0.5, -0.5],
            tickvals=list(range(len(names))),
            ticktext=[drawing.plain(name) for name in names],
        ),
        # A phone's cells are too small for numbers.
        meta={"narrow": {"layout": {"annotations": [], "height": height}}},
    )
    layout["margin"] = {**layout["margin"], "b": _BELOW}
    return [heat], layout


def _over_heads(array: Labelled) -> np.ndarray:
    """Mean over the heads that have shares, shape (layer, term); layers without any are left out.

    As every head's shares do, they sum to 1.
    """
    known = _known(array)
    return np.array(
        [of[has].mean(axis=0) for of, has in zip(array.values, known, strict=True) if has.any()]
    )


def _map_reading(array: Labelled, end: float, beyond: int) -> str:
    names, known = _names(array), _known(array)
    text = "How much of what varies along the rows of a head's logits comes from each term, the "
    text += f"query's part named first: {_MEANING}. Orange is above 0 and blue below, on one scale "
    text += f"to ±{words.shown(end)}"
    if beyond:
        text += f"; {words.counted(beyond, 'value')} beyond {'has' if beyond == 1 else 'have'} the "
        text += "colour of its ends"
    text += "."
    means = array.values[known].mean(axis=0)
    parts = [
        f"{words.percent(mean)} from {terms.name(term)}"
        for term, mean in zip(names, means, strict=True)
    ]
    text += f" On average over the heads, {', '.join(parts)}."
    if POSITION_ALONE in names:
        text += _position_alone(array, names.index(POSITION_ALONE), known)
    unknown = int((~known).sum())
    if unknown:
        text += f" {words.counted(unknown, 'head')} of {known.size} "
        text += ("has" if unknown == 1 else "have") + " no value."
    return text


def _position_alone(array: Labelled, term: int, known: np.ndarray) -> str:
    layers, heads = drawing.along(array, LAYER), drawing.along(array, HEAD)
    of = np.where(known, array.values[:, :, term], -np.inf)
    layer, head = np.unravel_index(int(of.argmax()), of.shape)
    named = terms.name(POSITION_ALONE)
    share, mostly = words.percent(float(of.max())), int((of >= _MOSTLY).sum())
    place = f"head {heads[head]}"
    place += "" if layers.size == 1 else f" of layer {layers[layer]}"
    count = f"{mostly} of {words.counted(int(known.sum()), 'head')}"
    have = f"it has at least half in {count}" if mostly else f"it has half in none of {known.sum()}"
    return f" {named.capitalize()} has most in {place}, {share}; {have}."


def share_stack(study: Study) -> Figure:
    """The shares on top of each other: by layer, averaged over heads; by head in one layer."""
    title = "What the logits are made of, layer by layer"
    empty = drawing.absent(study, _STACK, title, SHARE, optional=True)
    if empty:
        return empty
    array = _ordered(study.data[SHARE])
    known = _known(array)
    if not known.any():
        return Figure(_STACK, title, missing=_NONE, optional=True)
    one = array.values.shape[0] == 1
    if one:
        title = f"What the logits of layer {drawing.along(array, LAYER)[0]} are made of, by head"
        along, values, what = drawing.along(array, HEAD)[known[0]], array.values[0][known[0]], HEAD
    else:
        along, values = drawing.along(array, LAYER)[known.any(axis=1)], _over_heads(array)
        what = LAYER
    traces: list[Trace] = [
        {
            "type": "bar",
            "x": along,
            "y": drawing.float32(values[:, number]),
            "name": drawing.plain(terms.name(term)),
            "marker": {"color": terms.colour(term), "line": {"color": drawing.PAPER, "width": 0.5}},
            "hovertemplate": f"{what} %{{x}}<br>{drawing.plain(terms.name(term))}: %{{y:.3f}}"
            "<extra></extra>",
        }
        for number, term in enumerate(_names(array))
    ]
    whole = drawing.along(array, HEAD if one else LAYER)
    layout = drawing.layout(
        420,
        barmode="relative",
        bargap=0.12,
        xaxis=drawing.axis(what, showgrid=False, **drawing.whole(whole)),
        yaxis=drawing.axis("share" if one else "share, mean over heads", zeroline=True)
        | {"zerolinecolor": drawing.MUTED},
    )
    layout["legend"] |= {"traceorder": "normal"}
    reading = _stack_reading(_names(array), values, along, what)
    return Figure(_STACK, title, reading, traces, layout)


def _stack_reading(names: list[str], values: np.ndarray, along: np.ndarray, what: str) -> str:
    text = "What is below 0 works against the rest; all parts of a bar, with their signs, sum to 1."
    position = [number for number, term in enumerate(names) if "position" in term]
    if not position:
        return text
    part = values[:, position].sum(axis=1)
    low, high = int(part.argmin()), int(part.argmax())
    text += " The terms that position has a part in make up "
    if part.size == 1:
        return text + f"{words.percent(float(part[0]))} in {what} {along[0]}."
    text += (
        f"{words.percent(float(part[high]))} in {what} {along[high]}, where they have most, and "
    )
    text += f"{words.percent(float(part[low]))} in {what} {along[low]}, where they have least"
    if what == LAYER and part.size - 1 not in (low, high):
        text += f"; in the last layer {words.percent(float(part[-1]))}"
    return text + "."
