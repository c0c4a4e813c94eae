"""The positional kernel of every head as small pictures."""

from __future__ import annotations

import numpy as np

from poslens.axes import BLOCK, HEAD, KEY_BLOCK
from poslens.report import words
from poslens.report.figures import drawing, panels
from poslens.report.figures.drawing import Figure, Layout, Trace
from poslens.report.figures.heads import SHARE, of_first_layer
from poslens.study import Labelled, Study

_BELOW = 108  # pixels below the panels, for an axis and the colour bar
_MOST_PANELS = 16
_ROUNDING = 1e-9  # of the largest value of any head


def kernel_heads(study: Study) -> Figure:
    """The kernel of every head of the first layer, each on its own scale; averaged over blocks."""
    name, title = "kernel-heads", "What position adds to each head's attention"
    unexplained = not any(measure.startswith("kernel.") for measure in study.undefined)
    empty = drawing.absent(
        study, name, title, "kernel.picture", related=SHARE, optional=unexplained
    )
    if empty:
        return empty
    array = study.data["kernel.picture"]
    index = drawing.along(array, HEAD)
    values = np.nan_to_num(array.values)  # no pairs; and 0 is within the range of a centred kernel
    spread = np.ptp(values, axis=(1, 2))
    size = np.abs(values).max(axis=(1, 2))
    # What is left of a kernel that is constant along rows is rounding, and stays pale.
    size = np.maximum(size, _ROUNDING * size.max() or 1.0)
    chosen = np.sort(np.argsort(-spread, kind="stable")[:_MOST_PANELS])
    shares = of_first_layer(study, SHARE)
    titles = [_panel_title(head, shares.get(head)) for head in index[chosen].tolist()]
    wide = _grid(titles, most=4, side=190)
    narrow = _grid(titles, most=2, side=138)
    traces = [
        _panel(array, head, float(size[head]), number)
        for number, head in enumerate(chosen.tolist())
    ]
    # Every panel has a scale of its own, so the bar says where its ends are, not how much.
    most = float(size[chosen[0]])
    bar = drawing.colour_bar("logit against the mean of its row", panels.bar_at(wide, _BELOW))
    bar |= {"tickvals": [-most, 0, most], "ticktext": ["lower", "equal", "higher"]}
    traces[0] |= {"showscale": True, "colorbar": bar}
    own = {"layout": narrow, "colorbar": {"y": panels.bar_at(narrow, _BELOW)}}
    layout = drawing.layout(**wide, meta={"narrow": own})
    layout["margin"] = {**layout["margin"], "b": _BELOW}
    reading = _heads_reading(array, shares, chosen.size)
    if "kernel.note" in study.data:
        reading += f" Here it is {words.visible(study.data['kernel.note'].values)}."
    return Figure(name, title, reading, traces, layout)


def _panel_title(head: int, share: float | None) -> str:
    if share is None:
        return f"head {head}"
    return f"head {head} · " + (f"{share:.2f}" if np.isfinite(share) else words.NOTHING)


def _panel(array: Labelled, head: int, size: float, number: int) -> Trace:
    return {
        "type": "heatmap",
        "x": drawing.along(array, KEY_BLOCK),
        "y": drawing.along(array, BLOCK),
        "z": drawing.float32(array.values[head]),
        "zmin": -size,
        "zmid": 0,
        "zmax": size,
        "colorscale": drawing.DIVERGING,
        "showscale": False,
        "hoverongaps": False,
        "hovertemplate": f"head {drawing.along(array, HEAD)[head]}, query %{{y}}, key %{{x}}"
        "<br>%{z:+.3g} against the row's mean<extra></extra>",
        "xaxis": f"x{panels.suffix(number)}",
        "yaxis": f"y{panels.suffix(number)}",
    }


def _grid(titles: list[str], *, most: int, side: int) -> Layout:
    """Square panels, at most so many beside each other; ``side`` is their size in pixels."""
    columns = min(most, len(titles))
    return panels.grid(
        titles,
        columns=columns,
        height=side if columns > 1 else 2 * side,
        below=_BELOW,
        x={"title": "key position", "nticks": 4},
        y={"title": "query position", "nticks": 4, "autorange": "reversed"},
        square=True,
    )


def _heads_reading(array: Labelled, shares: dict[int, float], shown: int) -> str:
    text = "One panel for each head of the first layer: orange where position raises a logit above "
    text += "its row's mean, blue where it lowers it, on each head's own scale. Stripes along the "
    text += "diagonal mean that distance decides; upright stripes, that some keys are favoured "
    text += "from everywhere."
    count = array.values.shape[0]
    if shown < count:
        text += f" Of {count} heads, the {shown} with the widest range are shown."
    first = drawing.along(array, BLOCK)
    size = int(first[1] - first[0]) if first.size > 1 else 1
    if size > 1:
        text += f" Each cell averages {size} × {size} pairs of positions."
    known = {head: share for head, share in shares.items() if np.isfinite(share)}
    if not known:
        return text
    text += " Above each panel stands the share of what varies along a row that distance alone "
    text += "sets: "
    low, high = min(known, key=lambda h: known[h]), max(known, key=lambda h: known[h])
    if known[low] >= 1 - 1e-9:
        return text + "all of it, in every head."
    least, most = words.shown(known[low]), words.shown(known[high])
    return text + f"from {least} (head {low}) to {most} (head {high})."
