"""The path that the position part of the hidden states traces, through the layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from poslens.axes import COMPONENT, LAYER, POSITION
from poslens.report import words
from poslens.report.figures import drawing, trajectory
from poslens.report.figures.drawing import Figure, Layout
from poslens.study import Study

_NAME, _TITLE = "layered-paths", "The path of the positions, layer by layer"
_SCORES, _EXPLAINED = "hidden.scores", "hidden.explained"


def layered_paths(study: Study) -> Figure:
    """The position part of each layer in its first three components; a slider goes through them."""
    empty = drawing.absent(study, _NAME, _TITLE, _SCORES, optional=True)
    if empty:
        return empty
    array = study.data[_SCORES]
    order = [array.dims.index(dim) for dim in (LAYER, POSITION, COMPONENT)]
    scores = np.transpose(array.values, order)
    known = np.flatnonzero(np.isfinite(scores).all(axis=(1, 2)))
    if known.size == 0:
        return Figure(_NAME, _TITLE, missing="no layer has components", optional=True)
    layers, position = drawing.along(array, LAYER)[known], drawing.along(array, POSITION)
    scores, explained = scores[known], _explained(study)
    traces = [
        trajectory.path(of, position) | {"name": f"layer {layer}", "visible": number == 0}
        for number, (layer, of) in enumerate(zip(layers.tolist(), scores, strict=True))
    ]
    scenes = [trajectory.scene(of, position) for of in scores]
    titles = [_title(layer, explained) for layer in layers.tolist()]
    layout = drawing.layout(
        680,
        scene=scenes[0],
        margin={"l": 0, "r": 0, "t": 40, "b": 0},
        title={
            "text": titles[0],
            "font": {"size": 13},
            "x": 0,
            "xanchor": "left",
            "y": 1,
            "yanchor": "top",
            "yref": "container",
            "pad": {"t": 8, "l": 8},
        },
        sliders=[_slider(layers, titles, scenes)] if layers.size > 1 else [],
        # With its slider, on a phone.
        meta={"narrow": {"layout": {"height": 500, "title": {"font": {"size": 11}}}}},
    )
    return Figure(_NAME, _TITLE, _reading(layers, explained), traces, layout)


def _explained(study: Study) -> dict[int, float]:
    """The share of the variance that the drawn components hold, by layer."""
    array = study.data.get(_EXPLAINED)
    if array is None:
        return {}
    shares = np.moveaxis(array.values, array.dims.index(LAYER), 0)[:, : trajectory.DRAWN]
    found = zip(drawing.along(array, LAYER).tolist(), shares.sum(axis=1).tolist(), strict=True)
    return {layer: share for layer, share in found if np.isfinite(share)}


def _title(layer: int, explained: dict[int, float]) -> str:
    text = f"Layer {layer}"
    if layer in explained:
        text += f": {words.percent(explained[layer])} of the variance in PC1–PC{trajectory.DRAWN}"
    return text


def _slider(layers: np.ndarray, titles: list[str], scenes: list[Layout]) -> dict[str, Any]:
    """A slider whose steps show one trace each, under its own title; the camera stays."""
    steps = [
        {
            "label": str(layer),
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
        for number, (layer, title, scene) in enumerate(
            zip(layers.tolist(), titles, scenes, strict=True)
        )
    ]
    return {
        "active": 0,
        "steps": steps,
        "currentvalue": {"visible": False},  # the title names the layer
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


def _reading(layers: np.ndarray, explained: dict[int, float]) -> str:
    text = "The part of the hidden states that position alone sets, in its own first three "
    text += "components in every layer, each layer on its own scale."
    text += " Move the slider through the layers, and turn the path by dragging."
    if layers.size == 1:
        text = text.replace(" Move the slider through the layers, and turn", " Turn")
    if explained:
        low, high = (by(explained, key=lambda layer: explained[layer]) for by in (min, max))
        text += f" These components hold {words.percent(explained[high])} of the variance in layer "
        text += f"{high}"
        if low != high:
            text += f", where they hold most, and {words.percent(explained[low])} in layer {low}, "
            text += "where they hold least"
        text += "."
    return text
