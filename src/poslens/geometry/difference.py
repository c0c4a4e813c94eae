"""Difference vectors, and whether successive ones point the same way (`difference.*`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from poslens.axes import PerStep, Rows
from poslens.errors import UndefinedMeasureError
from poslens.geometry.validate import require_lengths

_WEIGHTS = np.array([1, -4, 6, -4, 1])  # of a fourth difference
# A random walk's steps look like noise of 4/7 of their square at stride 1 and of 2/7 at stride 2:
# at most a half keeps its steps from being taken for parallel ones under noise.
_MOST_NOISE = 0.5

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
    products, squares = _products(rows, stride)
    lengths = np.sqrt(squares)
    require_lengths(lengths, rows, stride)
    return np.asarray(np.clip(products / (lengths[:-stride] * lengths[stride:]), -1.0, 1.0))


def _products(rows: Rows, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Products of successive differences, shape (L - 2s,), and squared differences, (L - s,)."""
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
    return products, squares


def parallel(rows: Rows, stride: int = 1) -> float:
    """Return the mean over t of cos(p_{t+s}-p_t, p_{t+2s}-p_{t+s}); ``difference.parallel`` at 1.

    Raises
    ------
    UndefinedMeasureError
        If two rows a stride apart are equal.
    """
    return float(cosines_of_differences(rows, stride).mean())


@dataclass(frozen=True)
class Denoised:
    """Successive differences, at the shortest stride that noise allows and less what noise adds.

    White noise of variance σ² adds -σ² to the product of successive differences, which share a row,
    and 2σ² to a squared difference.

    Attributes
    ----------
    stride
        s, the shortest stride at which noise makes up at most half of the squared differences; 1
        where there is none.
    all_noise
        Whether there is none: rows in random order are all noise, and nothing is taken off.
    variance
        σ², summed over dimensions; 0 where nothing is taken off.
    products
        (p_{t+s}-p_t)·(p_{t+2s}-p_{t+s}) + σ² for each t, shape (L - 2s,).
    lengths
        ‖p_{t+s}-p_t‖ ‖p_{t+2s}-p_{t+s}‖ - 2σ², likewise.
    """

    stride: int
    all_noise: bool
    variance: float
    products: PerStep
    lengths: PerStep

    @property
    def cosine(self) -> float:
        """Sum of the products ÷ sum of the lengths: a mean cosine, long differences counting more.

        Within [-1, 1] but for the scatter of σ²'s estimate, which is cut off.
        """
        return float(np.clip(self.products.sum() / self.lengths.sum(), -1.0, 1.0))


def denoised(rows: Rows) -> Denoised:
    """Return the successive differences of a table without what noise does to them.

    Raises
    ------
    UndefinedMeasureError
        If all rows are identical.
    """
    variance = noise_variance(rows)
    last = (rows.shape[0] - 1) // 2

    def allowed(stride: int) -> bool:
        return 2 * variance <= _MOST_NOISE * float(_pairs(rows, stride)[1].mean())

    # Doubled until one is allowed, then halved in on the shortest.
    low, high = 0, 1
    while high < last and not allowed(high):
        low, high = high, min(2 * high, last)
    if not allowed(high):
        products, lengths = _pairs(rows, 1)
        require_lengths(np.atleast_1d(lengths.sum() ** 0.5), rows, 1)
        return Denoised(1, all_noise=True, variance=0.0, products=products, lengths=lengths)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if allowed(middle) else (middle, high)
    products, lengths = _pairs(rows, high)
    require_lengths(np.atleast_1d(lengths.sum() ** 0.5), rows, high)
    return Denoised(
        high,
        all_noise=False,
        variance=variance,
        products=products + variance,
        lengths=lengths - 2 * variance,
    )


def noise_variance(rows: Rows) -> float:
    """Return the variance of white noise on a smooth curve, summed over dimensions.

    From fourth differences p_t - 4p_{t+1} + 6p_{t+2} - 4p_{t+3} + p_{t+4} (difference-based
    variance estimation: Hall, Kay & Titterington 1990, Biometrika 77): noise gives them 70 times
    its variance (the squared weights), and a wave of ω radians per position only ω⁸ times its own,
    where second differences, at ω⁴, still take bends for noise. Their median over positions, as a
    row far from all others is no noise; it is that of a χ² with d degrees of freedom (Wilson &
    Hilferty 1931). 0 for fewer than five rows.
    """
    if rows.shape[0] < _WEIGHTS.size:
        return 0.0
    fourth = np.diff(rows, n=_WEIGHTS.size - 1, axis=0)
    median = float(np.median(np.einsum("td,td->t", fourth, fourth)))
    return float(median / (_WEIGHTS @ _WEIGHTS) / (1 - 2 / (9 * rows.shape[1])) ** 3)


def _pairs(rows: Rows, stride: int) -> tuple[PerStep, PerStep]:
    """Products and lengths of successive differences at a stride, each of shape (L - 2s,)."""
    products, squares = _products(rows, stride)
    return products, np.sqrt(squares[:-stride] * squares[stride:])


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
