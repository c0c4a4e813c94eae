"""The labelled arrays of a study: what figures draw, and what is saved with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from poslens import axes
from poslens.axes import Rows
from poslens.claims.null_draws import NullDraws
from poslens.geometry import cosine, norms, trajectory
from poslens.geometry.table import TableMeasures
from poslens.study import Labelled

QUANTILES = np.array([0.05, 0.5, 0.95])
SHOWN_COMPONENTS = 3


def labelled_arrays(
    rows: Rows,
    measures: TableMeasures,
    draws: Mapping[str, NullDraws],
    first_position: int = 0,
) -> dict[str, Labelled]:
    """Return the arrays by ``group.variable``; one that is undefined on the table is left out.

    Parameters
    ----------
    rows
        The table in the analysed view, shape (position, dim).
    measures, draws
        Of that table.
    first_position
        The position of row 0.
    """
    position = first_position + np.arange(rows.shape[0])
    found = {
        "norm.row": Labelled((axes.POSITION,), norms.row_norms(rows), {axes.POSITION: position})
    }
    for build in (_cosine, _difference, _components, _trajectory, _shift):
        found.update(build(rows, measures, position))
    for name, (null, measure, axis) in _BANDS.items():
        band = _band(draws.get(null), measure, axis, found)
        if band is not None:
            found[name] = band
    return found


def _cosine(rows: Rows, measures: TableMeasures, position: np.ndarray) -> dict[str, Labelled]:
    found = {}
    for name in ("cosine.profile", "cosine.centered_profile"):
        if measures.values[name] is not None:
            values = np.asarray(measures.values[name])
            found[name] = Labelled((axes.LAG,), values, {axes.LAG: np.arange(values.size)})
    if measures.profile is not None:
        matrix, starts = cosine.block_means(rows)
        blocks = {axes.BLOCK: position[starts], axes.KEY_BLOCK: position[starts]}
        found["cosine.matrix"] = Labelled((axes.BLOCK, axes.KEY_BLOCK), matrix, blocks)
    if measures.fits:
        found["cosine.fit"] = Labelled(
            (axes.FAMILY, axes.FIT_LAG),
            np.stack([fit.curve for fit in measures.fits]),
            {
                axes.FAMILY: np.array([fit.family for fit in measures.fits]),
                axes.FIT_LAG: np.arange(measures.fits[0].curve.size),
            },
        )
    return found


def _difference(rows: Rows, measures: TableMeasures, position: np.ndarray) -> dict[str, Labelled]:  # noqa: ARG001
    return _by_key(measures, "difference.parallel_at", axes.STRIDE)


def _components(rows: Rows, measures: TableMeasures, position: np.ndarray) -> dict[str, Labelled]:  # noqa: ARG001
    if measures.components is None:
        return {}
    explained = measures.components.explained
    coords = {axes.COMPONENT: 1 + np.arange(explained.size)}
    return {"pca.explained": Labelled((axes.COMPONENT,), explained, coords)}


def _trajectory(rows: Rows, measures: TableMeasures, position: np.ndarray) -> dict[str, Labelled]:
    if measures.components is None:
        return {}
    best = trajectory.helix(rows)
    scores = measures.components.scores[:, :SHOWN_COMPONENTS]
    directions = measures.components.directions[:, : scores.shape[1]]
    mean = rows.mean(axis=0)
    curves = {
        "trajectory.scores": scores,
        "trajectory.linear_fit": (trajectory.fitted(rows) - mean) @ directions,
        "trajectory.helix_fit": (trajectory.fitted(rows, best.turns) - mean) @ directions,
    }
    coords = {axes.POSITION: position, axes.COMPONENT: 1 + np.arange(scores.shape[1])}
    found = {
        name: Labelled((axes.POSITION, axes.COMPONENT), np.ascontiguousarray(values), coords)
        for name, values in curves.items()
    }
    found["trajectory.helix_r2"] = Labelled(
        (axes.TURNS,), best.r2_grid, {axes.TURNS: best.turns_grid}
    )
    return found


def _shift(rows: Rows, measures: TableMeasures, position: np.ndarray) -> dict[str, Labelled]:  # noqa: ARG001
    found = {}
    for name in ("shift.rotation_r2", "shift.r2", "shift.rank"):
        found.update(_by_key(measures, name, axes.SHIFT))
    return found


def _by_key(measures: TableMeasures, name: str, axis: str) -> dict[str, Labelled]:
    """A measure that is indexed by text keys, as an array; an undefined entry is NaN there."""
    values = measures.values[name]
    if values is None:
        return {}
    keys = np.array([int(key) for key in values])
    numbers = [math.nan if value is None else float(value) for value in values.values()]
    return {name: Labelled((axis,), np.array(numbers), {axis: keys})}


# Bands of quantiles over null draws: the null model, the drawn measure, and its axis.
_BANDS: Mapping[str, tuple[str, str, str | None]] = {
    "norm.null_gaussian": ("gaussian", "norm.row", None),
    "cosine.null_permutation": ("permutation", "cosine.profile", axes.FIT_LAG),
    "difference.null_permutation": ("permutation", "difference.parallel_at", axes.STRIDE),
    "pca.null_surrogate": ("surrogate", "pca.explained", axes.LEADING_COMPONENT),
    "shift.null_random_walk": ("random_walk", "shift.rotation_r2", axes.SHIFT),
}

_COORDS: Mapping[str, Callable[[int, Mapping[str, Labelled]], np.ndarray]] = {
    axes.FIT_LAG: lambda size, _: np.arange(size),
    axes.STRIDE: lambda _, found: found["difference.parallel_at"].coords[axes.STRIDE],
    axes.LEADING_COMPONENT: lambda size, _: 1 + np.arange(size),
    axes.SHIFT: lambda _, found: found["shift.rotation_r2"].coords[axes.SHIFT],
}


def _band(
    draws: NullDraws | None, measure: str, axis: str | None, found: Mapping[str, Labelled]
) -> Labelled | None:
    """Quantiles of a measure over draws, at each point of its axis (over all of it for None)."""
    values = None if draws is None else draws.values.get(measure)
    if values is None:
        return None
    coords = {axes.QUANTILE: QUANTILES}
    if axis is None:
        return Labelled((axes.QUANTILE,), np.quantile(values, QUANTILES), coords)
    needed = {axes.STRIDE: "difference.parallel_at", axes.SHIFT: "shift.rotation_r2"}.get(axis)
    if needed is not None and needed not in found:
        return None
    # A draw on which the measure was undefined is NaN throughout, and so is its quantile.
    band = np.quantile(values, QUANTILES, axis=0)
    coords[axis] = _COORDS[axis](values.shape[1], found)
    return Labelled((axes.QUANTILE, axis), band, coords)
