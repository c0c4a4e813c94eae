"""Kernels of two parts: an added table's q_t·k_s, and a function of distance beside it (MPNet)."""

from __future__ import annotations

import numpy as np

from poslens.attention.relative import relative_sums
from poslens.attention.sums import KernelSums
from poslens.axes import HeadOffsets
from poslens.errors import TableError


def with_relative(sums: KernelSums, profiles: HeadOffsets) -> KernelSums:
    """Return the sums of K_h(t, s) + f_h(s - t) from those of K and from f.

    A row of K that is centred meets no constant of f's row, so that their products within rows sum
    to Σ_k f(k)·(the diagonal sums of centred K): O(L) per head.

    Parameters
    ----------
    sums
        Of K.
    profiles
        f at the offsets of `poslens.attention.offsets`, shape (head, offset).

    Raises
    ------
    TableError
        If the two differ in heads or offsets; see `poslens.attention.validate.check_profiles`.
    """
    if np.shape(profiles) != sums.diagonals.shape:
        raise TableError(
            "the two parts of a kernel do not fit together",
            expected=f"shape {sums.diagonals.shape}, (head, offset)",
            got=f"shape {np.shape(profiles)}",
            remedy="take both from the same layer and the same positions",
        )
    beside = relative_sums(profiles, causal=sums.causal)
    f = profiles - profiles.mean(axis=1, keepdims=True)
    return KernelSums(
        causal=sums.causal,
        energy=sums.energy + beside.energy + 2 * np.einsum("hk,hk->h", f, sums.diagonals),
        diagonals=sums.diagonals + beside.diagonals,
        row_means=sums.row_means + beside.row_means,
        scale=sums.scale + beside.scale,
    )
