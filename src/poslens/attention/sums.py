"""What is known of a kernel without its matrix: sums over rows and along diagonals.

A kernel K(t, s) is taken over its allowed pairs: s ≤ t where it is causal, all t and s where it is
bidirectional. Offsets k = s - t ascend: -(L-1) … 0, or -(L-1) … L-1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poslens.attention.validate import CANCELLATION
from poslens.axes import HeadOffsets, HeadPositions, Offsets, PerHead, PerOffset

# A mean along a short diagonal carries the rounding of the long ones, since all come from one FFT.
_PROFILE_ROUNDING = 10 * CANCELLATION


@dataclass(frozen=True)
class KernelSums:
    """Sums over the allowed pairs of each head's kernel.

    Softmax ignores what is constant along a row, so energy and diagonals are those of the kernel
    with each row centred over its allowed keys. That also keeps them exact where a row's constant
    is much larger than what varies along it.

    Attributes
    ----------
    causal
        Whether the allowed pairs are those with s ≤ t, or all.
    energy
        Σ (K(t, s) - row mean)², shape (head,): RSS(c_t) of the contract.
    diagonals
        Σ (K(t, s) - row mean) over the pairs at each offset, shape (head, offset).
    row_means
        The mean of each row of K over its allowed keys, shape (head, position).
    scale
        The size that |K| could reach if nothing cancelled, shape (head,): what rounding is
        measured against.
    """

    causal: bool
    energy: PerHead
    diagonals: HeadOffsets
    row_means: HeadPositions
    scale: PerHead

    @property
    def length(self) -> int:
        """L, the number of positions."""
        return int(self.row_means.shape[1])

    @property
    def varies(self) -> np.ndarray:
        """Whether each head's kernel varies along its rows at all, shape (head,).

        It does not where its root mean square within rows is below 1e-13 of `scale`.
        """
        pairs = pairs_at_offsets(self.length, causal=self.causal).sum()
        return np.asarray(self.energy > pairs * (CANCELLATION * self.scale) ** 2)

    @property
    def profile(self) -> HeadOffsets:
        """The mean of K over the pairs at each offset, ``kernel.profile``, shape (head, offset).

        Row constants are in it: where K(t, s) = u_t, it is the mean of u over those queries t that
        have a key at this offset, which may depend on the offset.
        """
        sums = self.diagonals + sums_at_offsets(self.row_means, causal=self.causal)
        return np.asarray(sums / pairs_at_offsets(self.length, causal=self.causal))

    @property
    def rounding(self) -> PerHead:
        """Below which differences within `profile` are rounding, shape (head,)."""
        return np.asarray(_PROFILE_ROUNDING * self.scale)


def offsets(length: int, *, causal: bool) -> Offsets:
    """Return the offsets k = s - t of L positions: -(L-1) … 0 if causal, else -(L-1) … L-1."""
    return np.arange(1 - length, 1 if causal else length)


def pairs_at_offsets(length: int, *, causal: bool) -> PerOffset:
    """Return how many pairs (t, s) there are at each offset, L - |k|, shape (offset,)."""
    return np.asarray(length - np.abs(offsets(length, causal=causal)), dtype=np.float64)


def sums_at_offsets(values: HeadPositions, *, causal: bool) -> HeadOffsets:
    """Return the sum of a value per row t over the rows that have a key at each offset.

    At k ≤ 0 these are the rows t ≥ -k; at k > 0 those with t ≤ L-1-k. Shape (head, offset).
    """
    from_the_end = np.cumsum(values[:, ::-1], axis=1)
    if causal:
        return from_the_end
    from_the_start = np.cumsum(values, axis=1)
    return np.concatenate([from_the_end, from_the_start[:, -2::-1]], axis=1)
