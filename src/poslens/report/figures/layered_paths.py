"""The path that the position part of the hidden states traces, through the layers."""

from __future__ import annotations

import numpy as np

from poslens.axes import COMPONENT, LAYER, POSITION
from poslens.report import words
from poslens.report.figures import drawing, stepped, trajectory
from poslens.report.figures.drawing import Figure
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
    layout = stepped.layout(layers.tolist(), titles, scenes)
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
