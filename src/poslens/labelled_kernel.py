"""The measures and labelled arrays of a model's positional kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from poslens import axes
from poslens.kernels import Kernels
from poslens.study import Labelled

PER_HEAD = ("relative_share", "half_distance", "symmetry", "peak_offset")
NAMES = ("kernel.profile", *(f"kernel.{name}" for name in PER_HEAD))


def kernel_measures(kernels: Kernels) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the ``kernel.*`` measures of the first layer, and why one has no value."""
    if not kernels.measures:
        return dict.fromkeys(NAMES), dict.fromkeys(NAMES, kernels.reason)
    return dict(kernels.measures[0].values), {}


def kernel_arrays(kernels: Kernels, first_position: int = 0) -> dict[str, Labelled]:
    """Return the arrays by ``group.variable``; what is not known is left out.

    Parameters
    ----------
    kernels
        Of a model.
    first_position
        The position of row 0.
    """
    found: dict[str, Labelled] = {}
    if kernels.context is not None:
        found["kernel.context"] = Labelled((), np.array(kernels.context))
    if kernels.wavelengths:
        found["kernel.wavelength"] = _wavelengths(kernels)
    if not kernels.measures:
        return found
    if kernels.note:
        found["kernel.note"] = Labelled((), np.array(kernels.note))
    heads = np.arange(kernels.measures[0].profile.shape[0])
    layers = {axes.LAYER: np.array(kernels.layers), axes.HEAD: heads}
    along = {**layers, axes.OFFSET: np.asarray(kernels.measures[0].offsets)}
    for name in ("profile", "distance_part"):
        values = np.stack([getattr(one, name) for one in kernels.measures])
        dims = (axes.LAYER, axes.HEAD, axes.OFFSET)
        found[f"kernel.{name}"] = Labelled(dims, values, along)
    for name in PER_HEAD:
        values = np.array([_numbers(getattr(one, name)) for one in kernels.measures])
        found[f"kernel.{name}"] = Labelled((axes.LAYER, axes.HEAD), values, layers)
    if kernels.picture is not None:
        starts = first_position + kernels.picture.starts
        found["kernel.picture"] = Labelled(
            (axes.HEAD, axes.BLOCK, axes.KEY_BLOCK),
            kernels.picture.within_rows,
            {axes.HEAD: heads, axes.BLOCK: starts, axes.KEY_BLOCK: starts},
        )
    if kernels.bands is not None:
        found["kernel.band_energy"] = Labelled(
            (axes.HEAD, axes.PLANE),
            kernels.bands.energy,
            {axes.HEAD: heads, axes.PLANE: np.arange(kernels.bands.energy.shape[1])},
        )
    return found


def _numbers(values: Sequence[float | int | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _wavelengths(kernels: Kernels) -> Labelled:
    """One row a rotation, padded with NaN where one has fewer planes."""
    most = max(waves.size for _, waves in kernels.wavelengths)
    values = np.full((len(kernels.wavelengths), most), np.nan)
    for row, (_, waves) in zip(values, kernels.wavelengths, strict=True):
        row[: waves.size] = waves
    names = np.array([name for name, _ in kernels.wavelengths])
    coords = {axes.ROTATION: names, axes.PLANE: np.arange(most)}
    return Labelled((axes.ROTATION, axes.PLANE), values, coords)
