"""Panels beside and below each other, each with a title above it."""

from __future__ import annotations

from collections.abc import Sequence

from poslens.report.figures import drawing
from poslens.report.figures.drawing import Layout

_ABOVE, _TOP = 30, 16  # pixels for a panel's title, and above the first of them


def suffix(number: int) -> str:
    """Return what Plotly appends to the axes of a panel, counted from 0."""
    return "" if number == 0 else str(number + 1)


def grid(
    titles: Sequence[str],
    *,
    columns: int,
    height: int,
    below: int,
    x: Layout,
    y: Layout,
    square: bool = False,
) -> Layout:
    """Return height, axes and titles of panels in rows from the upper left.

    Parameters
    ----------
    titles
        Of the panels, as Plotly text.
    columns
        Panels beside each other.
    height
        Of one panel, in pixels.
    below
        Pixels below the panels, for an axis and a colour bar.
    x, y
        Options of every panel's axes; ``"title"`` as text, which stands with the tick labels at
        the lowest and the first panels alone.
    square
        Whether both axes have one scale.
    """
    rows = -(-len(titles) // columns)
    apart = 0.12 / columns  # share of the width between panels
    whole = rows * (height + _ABOVE)
    wide = (1 - apart * (columns - 1)) / columns
    found: Layout = {"height": whole + below + _TOP, "annotations": []}
    for number, title in enumerate(titles):
        row, column = divmod(number, columns)
        left, top = column * (wide + apart), 1 - (row * (height + _ABOVE) + _ABOVE) / whole
        where = suffix(number)
        across = {"domain": [left, left + wide], "anchor": f"y{where}"}
        up = {"domain": [max(0.0, top - height / whole), top], "anchor": f"x{where}"}
        if square:
            across |= {"constrain": "domain"}
            up |= {"constrain": "domain", "scaleanchor": f"x{where}"}
        found[f"xaxis{where}"] = _axis(x, across, shown=number + columns >= len(titles))
        found[f"yaxis{where}"] = _axis(y, up, shown=column == 0)
        found["annotations"].append(_title(title, where))
    return found


def _axis(options: Layout, place: Layout, *, shown: bool) -> Layout:
    own = {key: value for key, value in options.items() if key != "title"}
    title = str(options["title"]) if shown else ""
    return drawing.axis(title, showgrid=False, showticklabels=shown, **{**own, **place})


def _title(text: str, where: str) -> Layout:
    return {
        "text": text,
        "xref": f"x{where} domain",
        "yref": f"y{where} domain",
        "x": 0,
        "y": 1,
        "xanchor": "left",
        "yanchor": "bottom",
        "align": "left",
        "showarrow": False,
    }


def bar_at(grid: Layout, below: int, under: int = 56) -> float:
    """Return where the top of a colour bar is: ``under`` pixels below the lowest panels."""
    return float(-under / (grid["height"] - below - _TOP))
