"""Sums of kernels that are a function of distance: K(t, s) = f(s - t), in O(L) per head.

RoPE with its mean query and key, ALiBi, the buckets of T5 and the relative keys of Shaw are such.
"""

from __future__ import annotations

import numpy as np

from poslens.attention.sums import KernelSums, pairs_at_offsets, sums_at_offsets
from poslens.attention.validate import check_profiles
from poslens.axes import HeadOffsets, HeadPositions, PerHead


def relative_sums(profiles: HeadOffsets, *, causal: bool) -> KernelSums:
    """Return the sums of K_h(t, s) = f_h(s - t).

    Parameters
    ----------
    profiles
        f_h at the offsets of `poslens.attention.offsets`, shape (head, offset): -(L-1) … 0 if
        causal, else -(L-1) … L-1.
    causal
        Whether row t may attend to s ≤ t only, or to all positions.

    Raises
    ------
    TableError
        See `poslens.attention.validate.check_profiles`.
    """
    return sums_of_profiles(check_profiles(profiles, causal=causal), causal=causal)


def sums_of_profiles(profiles: HeadOffsets, *, causal: bool) -> KernelSums:
    """Return the same of profiles that are checked."""
    length = profiles.shape[1] if causal else (profiles.shape[1] + 1) // 2
    pairs = pairs_at_offsets(length, causal=causal)
    # A constant matters to no row, but would cost digits; first its bulk goes, then the rest.
    start = profiles[:, length - 1 : length]
    f = profiles - start
    offset = (f @ pairs / pairs.sum())[:, None]
    f -= offset
    row_means = _causal_means(f) if causal else _bidirectional_means(f)
    return KernelSums(
        causal=causal,
        energy=_causal_energy(f) if causal else _bidirectional_energy(f, row_means),
        diagonals=pairs * f - sums_at_offsets(row_means, causal=causal),
        row_means=row_means + (offset + start),
        scale=np.abs(profiles).max(axis=1),
    )


def _causal_means(f: HeadOffsets) -> HeadPositions:
    """The mean over distances 0 … t of each row t."""
    by_distance = f[:, ::-1]
    return np.asarray(np.cumsum(by_distance, axis=1) / np.arange(1, f.shape[1] + 1))


def _bidirectional_means(f: HeadOffsets) -> HeadPositions:
    """The mean over the offsets -t … L-1-t of each row t."""
    length = (f.shape[1] + 1) // 2
    sums = np.pad(np.cumsum(f, axis=1), ((0, 0), (1, 0)))
    return np.asarray((sums[:, length:] - sums[:, :length])[:, ::-1] / length)


def _causal_energy(f: HeadOffsets) -> PerHead:
    """Σ_d (L-d) d/(d+1) (f_d - mean of those nearer)²: each row's scatter grows by one term."""
    length = f.shape[1]
    distance = np.arange(1, length)
    contrasts = f[:, -2::-1] - _causal_means(f)[:, :-1]
    return np.asarray(contrasts**2 @ ((length - distance) * distance / (distance + 1)))


def _bidirectional_energy(f: HeadOffsets, row_means: HeadPositions) -> PerHead:
    # At most half cancels once f is centred: between rows and offsets of a square, the largest
    # squared correlation is 1/2 (see `poslens.attention.additive`).
    length = row_means.shape[1]
    total = f**2 @ pairs_at_offsets(length, causal=False)
    return np.asarray(total - length * np.einsum("ht,ht->h", row_means, row_means))
