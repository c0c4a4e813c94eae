"""Lines of methods, each in one style in all figures, and the marks beside them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from poslens.report.figures import drawing
from poslens.report.figures.drawing import Layout, Trace

_SYMBOLS = ("", "circle-open", "diamond-open", "square-open", "x-thin-open")
_LEGEND = 28  # characters of a name
_SPREAD = (1, 3)  # ticks of a decade


def colour(number: int) -> str:
    """Return the colour of a method by its place among those tried."""
    return drawing.CYCLE[number % len(drawing.CYCLE)]


def method_line(x: np.ndarray, y: np.ndarray, name: str, number: int) -> Trace:
    """Return a method's line; from the sixth method on, with marks of a shape of its own."""
    trace = drawing.line(x, y, short(name), colour(number))
    symbol = _SYMBOLS[number // len(drawing.CYCLE) % len(_SYMBOLS)]
    if symbol:
        trace |= {"mode": "lines+markers", "marker": {"symbol": symbol, "size": 7}}
    return trace | {"legendgroup": drawing.plain(name)}


def baseline(x: np.ndarray, y: np.ndarray, name: str, number: int) -> Trace:
    """Return a baseline's line, dashed."""
    dash = drawing.DASHES[1:][number % (len(drawing.DASHES) - 1)]
    return drawing.line(x, y, short(name), drawing.MUTED, dash=dash)


def short(name: str) -> str:
    """Return a name in few enough characters for a legend."""
    return name if len(name) <= _LEGEND else name[: _LEGEND - 1] + "…"


def upright(at: float | int, text: str, *, log: bool = False, left: bool = True) -> list[Layout]:
    """Return a dashed vertical line, and its name to its left or right, as shape and annotation."""
    line = {"color": drawing.MUTED, "width": 1, "dash": "dash"}
    return [
        {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": line},
        {
            "x": math.log10(at) if log else at,
            "y": 1,
            "yref": "paper",
            "text": text,
            "showarrow": False,
            "xanchor": "right" if left else "left",
            "yanchor": "top",
            "xshift": -4 if left else 4,
            "font": {"color": drawing.MUTED},
        },
    ]


def log_axis(title: str, values: np.ndarray) -> Layout:
    """Return a logarithmic axis that holds positive values, with few enough ticks for a phone."""
    low, high = float(values.min()) / 1.15, float(values.max()) * 1.15
    kept = _log_ticks(low, high)
    return drawing.axis(
        title,
        type="log",
        tickmode="array",
        tickvals=kept,
        ticktext=[f"{tick:,.0f}" if 1e3 <= tick < 1e9 else f"{tick:.4g}" for tick in kept],
        range=[math.log10(low), math.log10(high)],
    )


def _log_ticks(low: float, high: float) -> list[float]:
    """Three to eight round numbers, or else both ends of what is between."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5), range(1, 10)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        kept = [tick for tick in ticks if low <= tick <= high]
        if len(kept) >= 3:
            return kept[:: -(-len(kept) // 8)]
    return [float(f"{end:.3g}") for end in (1.15 * low, high / 1.15)]


class Stretched:
    """A scale that is linear within ± ``unit`` and logarithmic beyond: arsinh(x / unit).

    What matters about a change of loss is on which side of a small bar it is; a bad method raises
    it by thousands of bars.
    """

    def __init__(self, unit: float) -> None:
        self.unit = unit

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return where values are drawn."""
        return np.asarray(np.arcsinh(values / self.unit))

    def axis(
        self, title: str, values: np.ndarray, text: Callable[[float], str], **options: object
    ) -> Layout:
        """Return an axis that holds ``values`` and 0, labelled with the values themselves."""
        low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        ticks = self._ticks(low, high)
        ends = self(np.array([min(low, -0.3 * self.unit), max(high, 1.2 * self.unit)]))
        room = 0.05 * float(ends[1] - ends[0])
        return drawing.axis(
            title,
            tickmode="array",
            tickvals=[float(at) for at in self(np.array(ticks))],
            ticktext=[text(tick) for tick in ticks],
            range=[float(ends[0]) - room, float(ends[1]) + room],
            **options,
        )

    def _ticks(self, low: float, high: float) -> list[float]:
        most = max(-low, high, self.unit)
        decades = math.ceil(math.log10(most / self.unit)) + 1
        spread = _SPREAD if decades <= 3 else (1,)
        sizes = [self.unit * step * 10.0**decade for decade in range(decades) for step in spread]
        below = [-size for size in reversed(sizes) if -size >= 1.05 * low]
        return [*below, 0.0, *(size for size in sizes if size <= max(1.05 * high, self.unit))]
