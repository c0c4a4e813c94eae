"""What all figures share: their parts, their colours, and how data become Plotly traces.

A figure is kept as plain Plotly data with NumPy arrays in it. `Figure.plotly` makes the
``plotly.graph_objects.Figure`` that notebooks show; the HTML page writes the same data without
the slow validation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, TypeAlias

import numpy as np
import plotly.graph_objects as go

from poslens.axes import QUANTILE
from poslens.errors import UndefinedMeasureError
from poslens.report.words import visible
from poslens.study import Labelled, Study

Trace: TypeAlias = dict[str, Any]
Layout: TypeAlias = dict[str, Any]

# Light theme; the page's script swaps each of these for its dark counterpart (page.js).
PAPER = "#fdfdfc"
INK = "#22262b"
MUTED = "#6a7077"
GRID = "#e4e5e3"
BAND = "rgba(106,112,119,0.28)"
BAND_EDGE = "rgba(106,112,119,0.55)"

# Okabe and Ito's colours, told apart with any colour vision.
BLUE = "#0072b2"
VERMILION = "#d55e00"
GREEN = "#009e73"
PURPLE = "#cc79a7"

# One for each source of a comparison, then again in other dashes: the remaining two of Okabe and
# Ito's are too pale for a line on white paper.
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, INK)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

# Viridis without its ends, which vanish on dark and on white paper.
SEQUENTIAL = [
    [0.0, "#46327e"],
    [0.25, "#365c8d"],
    [0.5, "#277f8e"],
    [0.75, "#1fa187"],
    [1.0, "#a0bf26"],
]
# Blue for opposed, orange for alike, paper for neither.
DIVERGING = [
    [0.0, "#08306b"],
    [0.2, "#2f6fb3"],
    [0.35, "#8fbde0"],
    [0.5, "#f7f6f3"],
    [0.65, "#f4b66f"],
    [0.8, "#cf6a14"],
    [1.0, "#7f2704"],
]


@dataclass(frozen=True)
class Figure:
    """One figure with the sentence that says what to see in it.

    Attributes
    ----------
    name
        Its name in the page: letters and hyphens.
    title
        What it shows.
    reading
        What to see, from the study's numbers.
    data, layout
        Plotly's traces and layout; both empty where the study has no data for the figure.
    missing
        Why there is nothing to draw; empty where there is.
    optional
        Whether a page leaves it out, rather than saying why, where there is nothing to draw.
    """

    name: str
    title: str
    reading: str = ""
    data: Sequence[Trace] = field(default_factory=list)
    layout: Layout = field(default_factory=dict)
    missing: str = ""
    optional: bool = False

    def plotly(self) -> go.Figure:
        """Return the figure for a notebook, or for saving.

        Raises
        ------
        UndefinedMeasureError
            If the study has no data for it.
        """
        if self.missing:
            raise UndefinedMeasureError(f"no figure {self.name!r}: {self.missing}")
        return go.Figure(data=list(self.data), layout=self.layout)


def absent(
    study: Study, name: str, title: str, *wanted: str, related: str = "", optional: bool = False
) -> Figure | None:
    """Return the figure that says why it is empty, or None where all wanted arrays are there.

    The reason is that of a wanted array, or else of a measure whose name starts with ``related``
    (with the group of the first that is lacking, if not given).
    """
    lacking = [array for array in wanted if array not in study.data]
    if not lacking:
        return None
    related = related or lacking[0].split(".", 1)[0] + "."
    reasons = [study.undefined.get(array) for array in lacking]
    reasons += [why for measure, why in study.undefined.items() if measure.startswith(related)]
    reason = next((why for why in reasons if why), "the study holds no data for it")
    return Figure(name, title, missing=visible(reason), optional=optional)


def along(array: Labelled, axis: str) -> np.ndarray:
    """Return the coordinate of an array along one axis; 0, 1, 2 … where it has none."""
    size = array.values.shape[array.dims.index(axis)]
    return np.asarray(array.coords.get(axis, np.arange(size)))


def float32(values: np.ndarray) -> np.ndarray:
    """Return values as drawn: no screen shows more than float32, and files are half as large."""
    return np.ascontiguousarray(values, dtype=np.float32)


def line(
    x: np.ndarray, y: np.ndarray, name: str, colour: str, *, width: float = 2, dash: str = "solid"
) -> Trace:
    """Return a line with its name in the legend."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": float32(y),
        "name": plain(name),
        "line": {"color": colour, "width": width, "dash": dash},
    }


def points(
    x: np.ndarray, y: np.ndarray, name: str, colour: str, *, symbol: str = "circle", size: int = 7
) -> Trace:
    """Return markers with their name in the legend."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": float32(y),
        "name": plain(name),
        "marker": {"color": colour, "symbol": symbol, "size": size},
    }


def quantile_band(band: Labelled, x: np.ndarray, name: str) -> list[Trace]:
    """Return the area between the lowest and highest quantile of null draws.

    One that is the same at every x (it has no second axis) is drawn over the whole of ``x``.
    """
    low, _, high = quantiles(band)
    low, high = (np.broadcast_to(edge, x.shape) for edge in (low, high))
    edge = {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "line": {"width": 0.75, "color": BAND_EDGE},  # a band may be thinner than a pixel
        "legendgroup": name,
        "hoverinfo": "skip",
    }
    return [
        {**edge, "y": float32(low), "showlegend": False, "name": plain(name)},
        {
            **edge,
            "y": float32(high),
            "fill": "tonexty",
            "fillcolor": BAND,
            "name": plain(name),
        },
    ]


def quantiles(band: Labelled) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the lowest, the middle and the highest quantile of null draws."""
    order = np.argsort(along(band, QUANTILE))
    values = np.moveaxis(band.values, band.dims.index(QUANTILE), 0)[order]
    low, middle, high = values[0], values[values.shape[0] // 2], values[-1]
    return np.asarray(low), np.asarray(middle), np.asarray(high)


def axis(title: str, **options: Any) -> Layout:
    """Return an axis with a title, a light grid and no zero line."""
    return {
        "title": {"text": plain(title), "standoff": 8},
        "gridcolor": GRID,
        "linecolor": GRID,
        "tickcolor": GRID,
        "ticks": "outside",
        "ticklen": 4,
        "zeroline": False,
        "automargin": True,
        **options,
    }


def whole(indices: np.ndarray) -> Layout:
    """Return options of an axis of whole indices: a tick at every one, or at a dozen at most."""
    first, last = int(indices[0]), int(indices[-1])
    step = -(-indices.size // 12)
    return {"tickmode": "linear", "tick0": first, "dtick": step, "range": [first - 0.5, last + 0.5]}


def layout(height: int, **options: Any) -> Layout:
    """Return a layout with the shared type, colours, margins and legend above the plot."""
    return {
        "height": height,
        "autosize": True,
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "font": {
            "family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
            "size": 13,
            "color": INK,
        },
        "margin": {"l": 56, "r": 12, "t": 16, "b": 48},
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "bgcolor": "rgba(0,0,0,0)",
        },
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": MUTED, "font": {"color": INK}},
        "colorway": [BLUE, VERMILION, GREEN],
        **options,
    }


def colour_bar(title: str, below: float) -> Layout:
    """Return a thin colour bar under the plot, where it fits a phone as well."""
    return {
        "title": {"text": title, "side": "top"},
        "orientation": "h",
        "thickness": 10,
        "len": 0.6,
        "x": 0.5,
        "y": below,
        "yanchor": "top",
        "outlinewidth": 0,
    }


def plain(text: str) -> str:
    """Return data as Plotly text: Plotly reads pseudo-HTML, in which names must stay names."""
    return escape(visible(text), quote=False)


def number(study: Study, name: str) -> float | None:
    """Return a scalar measure, or None where it has no value."""
    value = study.measures.get(name)
    return None if value is None or isinstance(value, str | list | Mapping) else float(value)
