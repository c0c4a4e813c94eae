"""The positional kernel: what positions alone add to the logits of each head."""

from __future__ import annotations

import numpy as np

from poslens.axes import BLOCK, HEAD, KEY_BLOCK, LAYER, OFFSET
from poslens.report import words
from poslens.report.figures import drawing, heads
from poslens.report.figures.drawing import Figure, Layout, Trace
from poslens.report.figures.heads import KINDS, OTHER, PEAK, SHARE
from poslens.study import Labelled, Study

_NAN = float("nan")
_MOST_PANELS = 16
_NEAR = 64  # offsets on each side that are in view at first
_ROUNDING = 1e-9  # of the largest value of any head
_CLEAR = 0.3  # of the height: lines that rise above it have their head's number
_MOST_POINTS = 500_000  # what a browser still draws at once


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
    shares = _first_layer(study.data.get(SHARE))
    titles = [_panel_title(index[head], shares.get(int(index[head]))) for head in chosen]
    wide = _grid(titles, columns=4, side=190)
    narrow = _grid(titles, columns=2, side=138)
    traces = [_panel(array, head, float(size[head]), number) for number, head in enumerate(chosen)]
    layout = drawing.layout(**wide, meta={"narrow": narrow})
    layout["margin"] = {**layout["margin"], "b": 108}
    return Figure(name, title, _heads_reading(array, shares, chosen.size), traces, layout)


def _first_layer(array: Labelled | None) -> dict[int, float]:
    """A measure of the first layer by head; empty where there is none."""
    if array is None:
        return {}
    values = heads.by_layer(array)[0]
    return {int(h): float(v) for h, v in zip(drawing.along(array, HEAD), values, strict=True)}


def _panel_title(head: int, share: float | None) -> str:
    if share is None:
        return f"head {head}"
    return f"head {head} · " + (f"{share:.2f}" if np.isfinite(share) else words.NOTHING)


def _panel(array: Labelled, head: int, size: float, number: int) -> Trace:
    trace: Trace = {
        "type": "heatmap",
        "x": drawing.along(array, KEY_BLOCK),
        "y": drawing.along(array, BLOCK),
        "z": drawing.float32(array.values[head]),
        "zmin": -size,
        "zmid": 0,
        "zmax": size,
        "colorscale": drawing.DIVERGING,
        "showscale": number == 0,
        "hoverongaps": False,
        "hovertemplate": f"head {drawing.along(array, HEAD)[head]}, query %{{y}}, key %{{x}}"
        "<br>%{z:+.3g} against the row's mean<extra></extra>",
        "xaxis": f"x{_suffix(number)}",
        "yaxis": f"y{_suffix(number)}",
    }
    if number == 0:
        # Every panel has a scale of its own, so the bar says where its ends are, not how much.
        bar = drawing.colour_bar("logit against the mean of its row", 0)
        bar |= {"yref": "container", "yanchor": "bottom"}
        bar |= {"tickvals": [-size, 0, size], "ticktext": ["lower", "equal", "higher"]}
        trace["colorbar"] = bar
    return trace


def _suffix(number: int) -> str:
    return "" if number == 0 else str(number + 1)


def _grid(titles: list[str], *, columns: int, side: int) -> Layout:
    """Axes and titles of square panels in rows; ``side`` is their size in pixels."""
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    side = side if columns > 1 else 2 * side
    above, apart = 30, 0.12 / columns  # pixels for a title; share of the width between panels
    whole = rows * (side + above)
    wide = (1 - apart * (columns - 1)) / columns
    found: Layout = {"height": whole + 124, "annotations": []}
    for number, title in enumerate(titles):
        row, column = divmod(number, columns)
        left, top = column * (wide + apart), 1 - (row * (side + above) + above) / whole
        lowest = number + columns >= len(titles)
        where = _suffix(number)
        found[f"xaxis{where}"] = drawing.axis(
            "key" if lowest else "",
            domain=[left, left + wide],
            anchor=f"y{where}",
            constrain="domain",
            showgrid=False,
            showticklabels=lowest,
            nticks=4,
        )
        found[f"yaxis{where}"] = drawing.axis(
            "query" if column == 0 else "",
            domain=[max(0.0, top - side / whole), top],
            anchor=f"x{where}",
            autorange="reversed",
            scaleanchor=f"x{where}",
            constrain="domain",
            showgrid=False,
            showticklabels=column == 0,
            nticks=4,
        )
        found["annotations"].append(
            {
                "text": title,
                "xref": f"x{where} domain",
                "yref": f"y{where} domain",
                "x": 0,
                "y": 1,
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
    return found


def _heads_reading(array: Labelled, shares: dict[int, float], panels: int) -> str:
    text = "One panel for each head of the first layer: orange where position raises a logit above "
    text += "its row's mean, blue where it lowers it, on each head's own scale. Stripes along the "
    text += "diagonal mean that distance decides; upright stripes, that some keys are favoured "
    text += "from everywhere."
    count = array.values.shape[0]
    if panels < count:
        text += f" Of {count} heads, the {panels} with the widest range are shown."
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


def kernel_profiles(study: Study) -> Figure:
    """The part of each head's kernel that distance sets, against the offset, in the first layer."""
    name, title = "kernel-profiles", "What distance alone adds to each head's attention"
    wanted = "kernel.distance_part"
    empty = drawing.absent(study, name, title, wanted, related=SHARE, optional=True)
    if empty:
        return empty
    array = study.data[wanted]
    values = np.asarray(array.values[0], dtype=np.float64)
    offset, index = drawing.along(array, OFFSET), drawing.along(array, HEAD)
    drawn = np.abs(offset) <= max(_NEAR, _reach(offset, index.size))
    values, offset = values[:, drawn], offset[drawn]
    of_head = {int(head): row for row, head in enumerate(index)}
    shares, peaks = (_first_layer(study.data.get(measure)) for measure in (SHARE, PEAK))
    kinds = {head: heads.kind_of(shares.get(head, _NAN), peaks.get(head, _NAN)) for head in of_head}
    tops = _tops(values, offset, of_head, peaks)
    near = np.abs(offset) <= _NEAR
    low, high = float(values[:, near].min()), float(values[:, near].max())
    height, width = (high - low) or 1.0, float(np.ptp(offset[near])) or 1.0
    traces: list[Trace] = []
    for kind in (OTHER, *KINDS):
        of = [head for head in of_head if kinds[head] is kind]
        for head in of:
            line = drawing.line(
                offset,
                values[of_head[head]],
                kind.name,
                kind.colour,
                width=1.25 if kind is OTHER else 2,
            )
            line |= _spaced(offset) | heads.in_legend(kind)
            line["hovertemplate"] = f"head {head}, offset %{{x}}: %{{y:.3g}}<extra></extra>"
            traces.append({**line, "showlegend": head == of[0]})
        marked = [head for head in of if head in tops]
        if marked:
            at = [tops[head] for head in marked]
            y = values[[of_head[head] for head in marked], at]
            peak = drawing.points(offset[at], y, kind.name, kind.colour, symbol=kind.symbol)
            peak |= heads.in_legend(kind) | {"showlegend": False, "hoverinfo": "skip"}
            traces.append(peak)
    # Among the lines of a crowd no number could be read.
    clear = low + _CLEAR * height
    seen = [head for head, top in tops.items() if near[top] and values[of_head[head], top] > clear]
    if seen:
        at = [tops[head] for head in seen]
        y = values[[of_head[head] for head in seen], at]
        traces.append(heads.labels(heads.merged(offset[at], y, seen, width, height)))
    left, right = float(offset[near][0]), float(offset[near][-1])
    layout = drawing.layout(
        440,
        hovermode="closest",
        xaxis=drawing.axis(
            "offset s − t, from query to key", range=[left - 0.03 * width, right + 0.03 * width]
        ),
        yaxis=drawing.axis("logit", range=[low - 0.06 * height, high + 0.06 * height]),
    )
    reading = _profiles_reading(array, values, offset, tops, peaks)
    return Figure(name, title, reading, traces, layout)


def _reach(offset: np.ndarray, count: int) -> int:
    """The farthest offset that is drawn; all of them, unless there are very many."""
    return int(np.abs(offset).max() * min(1.0, _MOST_POINTS / (count * offset.size)))


def _spaced(offset: np.ndarray) -> Trace:
    """Evenly spaced x as two numbers, which keeps a page with many heads small."""
    return {"x": None, "x0": int(offset[0]), "dx": int(offset[1] - offset[0])}


def _tops(
    values: np.ndarray, offset: np.ndarray, of_head: dict[int, int], peaks: dict[int, float]
) -> dict[int, int]:
    """Index of each head's largest value, of equal ones the nearest; none for a flat line."""
    found = {}
    for head, row in of_head.items():
        line = values[row]
        if np.isfinite(peaks.get(head, 0.0)):
            tied = np.flatnonzero(line >= line.max() - 1e-9 * np.ptp(line))
            found[head] = int(tied[np.argmin(np.abs(offset[tied]))])
    return found


def _profiles_reading(
    array: Labelled,
    values: np.ndarray,
    offset: np.ndarray,
    tops: dict[int, int],
    peaks: dict[int, float],
) -> str:
    layer, index = drawing.along(array, LAYER)[0], drawing.along(array, HEAD)
    ranges = np.ptp(values[:, np.abs(offset) <= _NEAR], axis=1)
    text = f"One line for each head of layer {layer}: what distance alone adds to a logit, without "
    text += f"what is constant along rows, which softmax ignores. Within {_NEAR} positions, head "
    text += f"{index[ranges.argmax()]} has the widest range, {words.shown(float(ranges.max()))}. "
    text += "A mark stands at each line's largest value"
    far = sum(abs(offset[top]) > _NEAR for top in tops.values())
    text += f"; {far} of {len(tops)} lie beyond the view." if far else "."
    whole, drawn = int(np.abs(drawing.along(array, OFFSET)).max()), int(np.abs(offset).max())
    if drawn > _NEAR:
        text += f" The view opens on offsets up to {_NEAR}; a double click shows those up to "
        text += f"{drawn:,}."
    if drawn < whole:
        text += f" Offsets beyond, up to {whole:,}, are not drawn."
    other = [head for head, top in tops.items() if peaks.get(head, offset[top]) != offset[top]]
    if other:
        text += f" In {'head' if len(other) == 1 else 'heads'} {words.listed(other)} it is not at "
        text += "the peak offset, which is that of the mean logits, constants along rows included."
    return text
