"""Paths of which a slider shows one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from poslens.report.figures import drawing
from poslens.report.figures.drawing import Layout


def layout(
    steps: Sequence[object], titles: Sequence[str], scenes: Sequence[Layout], first: int = 0
) -> Layout:
    """Return the layout of paths, one trace each, with a slider where there are several.

    Parameters
    ----------
    steps
        What the slider's steps are called.
    titles
        Of the figure at each step.
    scenes
        The space at each step, as `poslens.report.figures.trajectory.scene` makes it.
    first
        The number of the step that is seen first, whose trace alone is visible.
    """
    return drawing.layout(
        680,
        scene=scenes[first],
        margin={"l": 0, "r": 0, "t": 40, "b": 0},
        title={
            "text": titles[first],
            "font": {"size": 13},
            "x": 0,
            "xanchor": "left",
            "y": 1,
            "yanchor": "top",
            "yref": "container",
            "pad": {"t": 8, "l": 8},
        },
        sliders=[_slider(steps, titles, scenes, first)] if len(steps) > 1 else [],
        # With its slider, on a phone.
        meta={"narrow": {"layout": {"height": 500, "title": {"font": {"size": 11}}}}},
    )


def _slider(
    names: Sequence[object], titles: Sequence[str], scenes: Sequence[Layout], first: int
) -> dict[str, Any]:
    """A slider whose steps show one trace each, under its own title; the camera stays."""
    steps = [
        {
            "label": str(name),
            "method": "update",
            "args": [
                {"visible": [other == number for other in range(len(titles))]},
                {
                    "title.text": title,
                    "scene.annotations": scene["annotations"],
                    "scene.aspectmode": scene["aspectmode"],
                },
            ],
        }
        for number, (name, title, scene) in enumerate(zip(names, titles, scenes, strict=True))
    ]
    return {
        "active": first,
        "steps": steps,
        "currentvalue": {"visible": False},  # the title names the step
        "pad": {"t": 76, "b": 8, "l": 12, "r": 12},  # below the colour bar
        "len": 1,
        "x": 0,
        "y": 0,
        "yanchor": "top",
        "bgcolor": drawing.GRID,
        "bordercolor": drawing.MUTED,
        "activebgcolor": drawing.BLUE,
        "tickcolor": drawing.MUTED,
        "font": {"color": drawing.MUTED},
        "transition": {"duration": 0},
    }
