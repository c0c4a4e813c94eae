"""What distance alone adds to the logits of each head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poslens.axes import HEAD, LAYER, OFFSET
from poslens.report import words
from poslens.report.figures import drawing, heads, labels
from poslens.report.figures.drawing import Figure, Trace
from poslens.report.figures.heads import KINDS, OTHER, PEAK, SHARE, Kind
from poslens.study import Labelled, Study

_NAME, _TITLE = "kernel-profiles", "What distance alone adds to each head's attention"
_NEAR = 64  # offsets on each side that are in view at first
_CLEAR = 0.3  # of the height in view: marks above it have their head's number
_MOST_POINTS = 500_000  # what a browser still draws at once


@dataclass(frozen=True)
class _Line:
    """One head's line, and the index of its mark; None for a head that prefers no offset."""

    head: int
    kind: Kind
    values: np.ndarray
    top: int | None


def kernel_profiles(study: Study) -> Figure:
    """The part of each head's kernel that distance sets, against the offset, in the first layer."""
    wanted = "kernel.distance_part"
    empty = drawing.absent(study, _NAME, _TITLE, wanted, related=SHARE, optional=True)
    if empty:
        return empty
    array = study.data[wanted]
    offset = drawing.along(array, OFFSET)
    drawn = np.abs(offset) <= max(_NEAR, _reach(offset, array.values.shape[1]))
    offset = offset[drawn]
    lines = _lines(study, array, drawn, offset)
    near = np.abs(offset) <= _NEAR
    low = min(float(line.values[near].min()) for line in lines)
    high = max(float(line.values[near].max()) for line in lines)
    height, width = (high - low) or 1.0, float(np.ptp(offset[near])) or 1.0
    traces: list[Trace] = []
    for kind in (OTHER, *KINDS):
        of = [line for line in lines if line.kind is kind]
        traces += [_drawn(line, offset, first=line is of[0]) for line in of]
        traces += _marks(of, offset)
    traces += _names(lines, offset, near, low + _CLEAR * height, (width, height))
    left, right = float(offset[near][0]), float(offset[near][-1])
    after = 0.03 if right > 0 else 0.12  # at its very end, marks need room for their names
    layout = drawing.layout(
        440,
        hovermode="closest",
        xaxis=drawing.axis(
            "offset s − t, from query to key", range=[left - 0.03 * width, right + after * width]
        ),
        yaxis=drawing.axis("logit", range=[low - 0.06 * height, high + 0.06 * height]),
    )
    return Figure(_NAME, _TITLE, _reading(study, array, lines, offset), traces, layout)


def _reach(offset: np.ndarray, count: int) -> int:
    """The farthest offset that is drawn; all of them, unless there are very many."""
    return int(np.abs(offset).max() * min(1.0, _MOST_POINTS / (count * offset.size)))


def _lines(study: Study, array: Labelled, drawn: np.ndarray, offset: np.ndarray) -> list[_Line]:
    shares, peaks = heads.of_first_layer(study, SHARE), heads.of_first_layer(study, PEAK)
    nothing = float("nan")
    return [
        _Line(
            head=int(head),
            kind=heads.kind_of(shares.get(int(head), nothing), peaks.get(int(head), nothing)),
            values=values,
            top=_top(values, offset) if np.isfinite(peaks.get(int(head), 0.0)) else None,
        )
        for head, values in zip(drawing.along(array, HEAD), array.values[0][:, drawn], strict=True)
    ]


def _top(values: np.ndarray, offset: np.ndarray) -> int:
    """Index of the largest value; of equal ones, the nearest to the query."""
    tied = np.flatnonzero(values >= values.max() - 1e-9 * np.ptp(values))
    return int(tied[np.argmin(np.abs(offset[tied]))])


def _drawn(line: _Line, offset: np.ndarray, *, first: bool) -> Trace:
    thin = line.kind is OTHER
    trace = drawing.line(
        offset, line.values, line.kind.name, line.kind.colour, width=1.25 if thin else 2.0
    )
    # Evenly spaced x as two numbers keeps a page with many heads small.
    trace |= {"x": None, "x0": int(offset[0]), "dx": 1} | heads.in_legend(line.kind)
    trace["hovertemplate"] = f"head {line.head}, offset %{{x}}: %{{y:.3g}}<extra></extra>"
    return {**trace, "showlegend": first}


def _marks(lines: list[_Line], offset: np.ndarray) -> list[Trace]:
    """The marks at the lines' largest values; all lines are of one kind."""
    at = [(offset[line.top], line.values[line.top]) for line in lines if line.top is not None]
    if not at:
        return []
    (x, y), kind = np.transpose(at), lines[0].kind
    marks = drawing.points(x, y, kind.name, kind.colour, symbol=kind.symbol)
    return [marks | heads.in_legend(kind) | {"showlegend": False, "hoverinfo": "skip"}]


def _names(
    lines: list[_Line],
    offset: np.ndarray,
    near: np.ndarray,
    least: float,
    extent: tuple[float, float],
) -> list[Trace]:
    """The numbers of heads beside their marks, where no crowd of lines would cross them."""
    clear = [
        (offset[line.top], line.values[line.top], line.head)
        for line in lines
        if line.top is not None and near[line.top] and line.values[line.top] > least
    ]
    if not clear:
        return []
    x, y, names = np.transpose(clear)
    return [labels.beside(labels.merged(x, y, names.astype(int), *extent))]


def _reading(study: Study, array: Labelled, lines: list[_Line], offset: np.ndarray) -> str:
    near = np.abs(offset) <= _NEAR
    widest = max(lines, key=lambda line: float(np.ptp(line.values[near])))
    text = f"One line for each head of layer {drawing.along(array, LAYER)[0]}: what distance alone "
    text += "adds to a logit, without what is constant along rows, which softmax ignores. Within "
    text += f"{_NEAR} positions, head {widest.head} has the widest range, "
    text += f"{words.shown(float(np.ptp(widest.values[near])))}. "
    tops = {line.head: int(offset[line.top]) for line in lines if line.top is not None}
    text += "A mark stands at each line's largest value"
    far = sum(abs(top) > _NEAR for top in tops.values())
    text += f"; {far} of {len(tops)} lie beyond the view." if far else "."
    whole, drawn = int(np.abs(drawing.along(array, OFFSET)).max()), int(np.abs(offset).max())
    if drawn > _NEAR:
        text += f" The view opens on offsets up to {_NEAR}; a double click shows those up to "
        text += f"{drawn:,}."
    if drawn < whole:
        text += f" Offsets beyond, up to {whole:,}, are not drawn."
    peaks = heads.of_first_layer(study, PEAK)
    other = [head for head, top in tops.items() if peaks.get(head, top) != top]
    if other:
        text += f" In {'head' if len(other) == 1 else 'heads'} {words.listed(other)} it is not at "
        text += "the peak offset, which is that of the mean logits, constants along rows included."
    return text
