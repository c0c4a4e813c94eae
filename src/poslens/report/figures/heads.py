"""Where each head's kernel peaks, and how much of it is a matter of distance alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poslens.axes import HEAD, LAYER
from poslens.report import words
from poslens.report.figures import drawing, labels
from poslens.report.figures.drawing import Figure, Layout, Trace
from poslens.study import Study

SHARE, PEAK = "kernel.relative_share", "kernel.peak_offset"
_NAME, _TITLE = "head-map", "Where each head looks, by position alone"
_MOSTLY = 0.5  # the share from which a head is called by its peak
_TICKS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)
_NARROW = 420  # pixels: the height that page.js gives to heat maps on a phone


@dataclass(frozen=True)
class Kind:
    """Heads that are called by where they peak.

    Attributes
    ----------
    name
        As in "previous-token heads".
    peak
        Their peak offset; None for heads without a name.
    colour, symbol
        Of their lines and marks, the same in every figure.
    """

    name: str
    peak: int | None
    colour: str
    symbol: str


OTHER = Kind("other", None, drawing.MUTED, "circle")
KINDS = (
    Kind("previous-token", -1, drawing.VERMILION, "diamond"),
    Kind("self", 0, drawing.BLUE, "square"),
    Kind("next-token", 1, drawing.GREEN, "triangle-up"),
)


def kind_of(share: float, peak: float) -> Kind:
    """Return the kind of a head; a head whose share is below one half has no name."""
    if not share >= _MOSTLY:
        return OTHER
    return next((kind for kind in KINDS if kind.peak == peak), OTHER)


def in_legend(kind: Kind) -> Trace:
    """Return a trace's place in the legend: names first, though they are drawn above the rest."""
    return {"legendgroup": kind.name, "legendrank": 1001 if kind is OTHER else 1000}


def of_first_layer(study: Study, measure: str) -> dict[int, float]:
    """Return a measure of the first layer by head; empty where the study does not have it."""
    array = study.data.get(measure)
    if array is None:
        return {}
    heads = drawing.along(array, HEAD)
    return {int(head): float(value) for head, value in zip(heads, array.values[0], strict=True)}


def signed(offset: int) -> str:
    """Return an offset with its sign."""
    return "0" if offset == 0 else f"{'+' if offset > 0 else '−'}{abs(offset):,}"


def compressed(offset: np.ndarray) -> np.ndarray:
    """Return sign(k)·log2(1 + |k|): near offsets apart, far ones together."""
    return np.asarray(np.sign(offset) * np.log2(1 + np.abs(offset)))


def head_map(study: Study) -> Figure:
    """Each head by its peak offset and relative share; over layers, a map of the peak offsets."""
    empty = drawing.absent(study, _NAME, _TITLE, SHARE, PEAK, related=SHARE, optional=True)
    if empty:
        return empty
    shares, peaks = study.data[SHARE].values, study.data[PEAK].values
    known = np.isfinite(shares) & np.isfinite(peaks)
    if not known.any():
        why = study.undefined.get(SHARE) or "position favours no key in any head"
        return Figure(_NAME, _TITLE, missing=words.visible(why), optional=True)
    heads = drawing.along(study.data[SHARE], HEAD)
    layers = drawing.along(study.data[SHARE], LAYER)
    if layers.size == 1:
        traces, layout = _scattered(shares[0], peaks[0], heads)
    else:
        traces, layout = _mapped(shares, peaks, heads, layers)
    reading = _reading(shares, peaks, heads, layers)
    return Figure(_NAME, _TITLE, reading, traces, layout)


def _scattered(
    shares: np.ndarray, peaks: np.ndarray, heads: np.ndarray
) -> tuple[list[Trace], Layout]:
    known = np.flatnonzero(np.isfinite(shares) & np.isfinite(peaks))
    x = compressed(peaks)
    traces: list[Trace] = []
    for kind in (OTHER, *KINDS):
        of = [i for i in known if kind_of(shares[i], peaks[i]) is kind]
        if not of:
            continue
        marks = drawing.points(
            drawing.float32(x[of]), shares[of], kind.name, kind.colour, symbol=kind.symbol, size=10
        )
        marks["text"] = [f"head {heads[i]}: peak offset {signed(int(peaks[i]))}" for i in of]
        marks["hovertemplate"] = "%{text}, relative share %{y:.3f}<extra></extra>"
        traces.append({**marks, **in_legend(kind), "cliponaxis": False})
    ticks = _ticks(peaks[known])
    ends = compressed(np.array([ticks[0], ticks[-1]]))
    few = [k for k in ticks if abs(k) not in _TICKS[1::2]]  # on a phone
    left, right = min(ends[0], x[known].min()), max(ends[1], x[known].max())
    room = max(0.5, 0.05 * (right - left))
    left, right = left - room, right + 2 * room
    traces.append(
        labels.beside(labels.merged(x[known], shares[known], heads[known], right - left, 1.0))
    )
    layout = drawing.layout(
        420,
        xaxis=drawing.axis(
            "peak offset s − t (log scale)",
            range=[left, right],
            **_ticks_at(ticks),
        ),
        yaxis=drawing.axis("relative share", range=[-0.04, 1.08]),
        shapes=[
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": _MOSTLY,
                "y1": _MOSTLY,
                "line": {"color": drawing.MUTED, "width": 1, "dash": "dot"},
            }
        ],
        meta={"narrow": {"layout": {"xaxis": _ticks_at(few)}}},
    )
    return traces, layout


def _ticks(peaks: np.ndarray) -> list[int]:
    """0, and the offsets 1, 4, 16 … as far as there are peaks, on the sides that have any."""
    least, most = min(-1.0, peaks.min()), peaks.max()
    return [
        *(-k for k in reversed(_TICKS) if -k >= least),
        0,
        *(k for k in _TICKS if k <= most),
    ]


def _ticks_at(offsets: list[int]) -> Layout:
    at = compressed(np.array(offsets)).tolist()
    return {"tickvals": at, "ticktext": [signed(k) for k in offsets]}


def _mapped(
    shares: np.ndarray, peaks: np.ndarray, heads: np.ndarray, layers: np.ndarray
) -> tuple[list[Trace], Layout]:
    z = compressed(peaks)
    far = max(1.0, float(np.nanmax(np.abs(z))))
    both = bool(np.nanmax(peaks) > 0)
    ticks = _ticks(peaks[np.isfinite(peaks)])
    height = int(np.clip(24 * layers.size + 180, 320, 720))
    below = [-56 / (pixels - 124) for pixels in (height, _NARROW)]  # under an axis and its title
    bar = drawing.colour_bar("peak offset s − t (log scale)", below[0])
    heat: Trace = {
        "type": "heatmap",
        "x": heads,
        "y": layers,
        "z": drawing.float32(z),
        "zmin": -far,
        "zmax": far if both else 0,
        "colorscale": drawing.DIVERGING if both else drawing.SEQUENTIAL,
        "colorbar": bar | _ticks_at(ticks),
        "text": [
            [
                _told(layer, head, share, peak)
                for head, share, peak in zip(heads.tolist(), of_heads, at, strict=True)
            ]
            for layer, of_heads, at in zip(layers.tolist(), shares, peaks, strict=True)
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
    }
    marks = []
    for kind in KINDS:
        of = _of_kind(kind, shares, peaks)
        if of.size:
            mark = drawing.points(
                heads[of[:, 1]], layers[of[:, 0]], kind.name, kind.colour, symbol=kind.symbol
            )
            mark["marker"]["line"] = {"color": drawing.PAPER, "width": 1}
            marks.append({**mark, "hoverinfo": "skip"})
    layout = drawing.layout(
        height,
        xaxis=drawing.axis("head", showgrid=False, **drawing.whole(heads)),
        yaxis=drawing.axis("layer", showgrid=False, **drawing.whole(layers)),
        meta={"narrow": {"colorbar": {"y": below[1]}}},
    )
    layout["margin"] = {**layout["margin"], "b": 108}
    return [heat, *marks], layout


def _told(layer: int, head: int, share: float, peak: float) -> str:
    if not np.isfinite(peak):
        return ""
    return (
        f"layer {layer}, head {head}: peak offset {signed(int(peak))}, relative share {share:.3f}"
    )


def _of_kind(kind: Kind, shares: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Indices (layer, head) of the heads of a kind, shape (found, 2)."""
    flat = [kind_of(*pair) is kind for pair in zip(shares.flat, peaks.flat, strict=True)]
    return np.argwhere(np.reshape(flat, shares.shape))


def _reading(shares: np.ndarray, peaks: np.ndarray, heads: np.ndarray, layers: np.ndarray) -> str:
    text = "The peak offset is where, from a token, the key lies that position favours most; the "
    text += "relative share is how much of what varies along a row distance alone sets."
    text += f" A head whose share is at least {_MOSTLY} is named by its peak"
    text += "." if layers.size == 1 else " (L2H5 is head 5 of layer 2)."
    for kind in KINDS:
        names = [
            f"{heads[head]}" if layers.size == 1 else f"L{layers[layer]}H{heads[head]}"
            for layer, head in _of_kind(kind, shares, peaks)
        ]
        if names:
            plural = "head" if len(names) == 1 else "heads"
            where = f"{kind.name.capitalize()} {plural} (peak at {signed(kind.peak or 0)})"
            text += f" {where}: {words.listed(names)}."
        elif kind.peak == -1:
            text += f" No head is a {kind.name} head (peak at −1)."
    unknown = int(np.count_nonzero(~(np.isfinite(shares) & np.isfinite(peaks))))
    if unknown:
        text += f" {words.counted(unknown, 'head')} of {shares.size} "
        text += ("has" if unknown == 1 else "have") + " no value, and no mark."
    return text
