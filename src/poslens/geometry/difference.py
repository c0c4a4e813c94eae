"""Difference vectors, and whether successive ones point the same way (`difference.*`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from poslens.axes import Rows
from poslens.errors import UndefinedMeasureError
from poslens.geometry.validate import require_lengths

_WEIGHTS = np.array([1, -4, 6, -4, 1])  # of a fourth difference
_MOST_NOISE = 0.5  # of squared differences; beyond, what is left of them is as uncertain as itself

_BLOCK_ROWS = 2048  # differences are formed a block at a time: cache-sized, no copy of the table


def strides(length: int) -> list[int]:
    """Return 1, 2, 4, 8 … while 2s < L: the strides at which parallelism is measured."""
    found = []
    stride = 1
    while 2 * stride < length:
        found.append(stride)
        stride *= 2
    return found


def cosines_of_differences(rows: Rows, stride: int = 1) -> np.ndarray:
    """Return cos(p_{t+s}-p_t, p_{t+2s}-p_{t+s}) for each t, shape (L - 2s,).

    Raises
    ------
    UndefinedMeasureError
        If two rows a stride apart are equal: their difference has no direction.
    """
    steps = rows.shape[0] - stride
    squares = np.empty(steps)
    products = np.empty(steps - stride)
    for start in range(0, steps, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, steps)
        reach = min(stop + stride, steps)  # each step needs the one a stride later
        delta = rows[start + stride : reach + stride] - rows[start:reach]
        squares[start:reach] = np.einsum("td,td->t", delta, delta)
        pairs = min(stop, steps - stride) - start
        if pairs > 0:
            products[start : start + pairs] = np.einsum(
                "td,td->t", delta[:pairs], delta[stride : stride + pairs]
            )
    lengths = np.sqrt(squares)
    require_lengths(lengths, rows, stride)
    return np.asarray(np.clip(products / (lengths[:-stride] * lengths[stride:]), -1.0, 1.0))


def parallel(rows: Rows, stride: int = 1) -> float:
    """Return the mean over t of cos(p_{t+s}-p_t, p_{t+2s}-p_{t+s}); ``difference.parallel`` at 1.

    Raises
    ------
    UndefinedMeasureError
        If two rows a stride apart are equal.
    """
    return float(cosines_of_differences(rows, stride).mean())


@dataclass(frozen=True)
class Noise:
    """What noise does to differences, and the stride that it allows.

    Attributes
    ----------
    stride
        s, the shortest stride of `strides` at which noise makes up at most half of the squared
        differences; 1 where there is none.
    share
        f, the noise's share of the squared differences at that stride; 0 where none is allowed.
    """

    stride: int
    share: float

    def without(self, cosines: np.ndarray) -> np.ndarray:
        """Return what mean cosines of successive differences are without noise.

        Two successive differences share a row, and its noise with opposite signs: white noise of
        share f leaves of a cosine c the value c(1 - f) - f/2. Mapped back, and cut at ±1.
        """
        return np.clip((cosines + self.share / 2) / (1 - self.share), -1.0, 1.0)


def noise(rows: Rows) -> Noise:
    """Return the noise of differences, told from the curve by fourth differences.

    White noise of variance σ² gives p_t - 4p_{t+1} + 6p_{t+2} - 4p_{t+3} + p_{t+4} the variance
    70σ² (the squared weights), and a wave of ω radians per position only ω⁸ of its own: these
    differences see noise where second ones, at ω⁴, still see bends (difference-based variance
    estimation: Hall, Kay & Titterington 1990, Biometrika 77).
    """
    if rows.shape[0] < _WEIGHTS.size:
        return Noise(1, 0.0)
    fourth = np.diff(rows, n=_WEIGHTS.size - 1, axis=0)
    variance = float(np.einsum("td,td->t", fourth, fourth).mean() / (_WEIGHTS @ _WEIGHTS))
    for stride in strides(rows.shape[0]):
        steps = rows[stride:] - rows[:-stride]
        squared = float(np.einsum("td,td->t", steps, steps).mean())
        if 2 * variance <= _MOST_NOISE * squared and squared > 0:
            return Noise(stride, 2 * variance / squared)
    return Noise(1, 0.0)


def by_stride(rows: Rows) -> Mapping[str, dict[str, float | int | None]]:
    """Return ``difference.parallel_at``, by stride as text; None at a stride without a value.

    Raises
    ------
    UndefinedMeasureError
        If there is none at any stride.
    """
    at: dict[str, float | int | None] = {}
    reason = ""
    for stride in strides(rows.shape[0]):
        try:
            at[str(stride)] = parallel(rows, stride)
        except UndefinedMeasureError as error:
            at[str(stride)], reason = None, reason or str(error)
    if all(value is None for value in at.values()):
        raise UndefinedMeasureError(reason)
    return {"difference.parallel_at": at}
