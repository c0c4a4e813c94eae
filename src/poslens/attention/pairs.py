"""From functions of distance to matrices over pairs of positions."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def at_pairs(
    profiles: Float[np.ndarray, "*lead offset"], length: int, *, causal: bool
) -> Float[np.ndarray, "*lead query_pos key_pos"]:
    """Return functions of s - t at every pair of the first positions.

    Parameters
    ----------
    profiles
        At the offsets of `poslens.attention.offsets`, of no fewer positions.
    length
        How many positions.
    causal
        Whether there are offsets up to 0 alone; after a query the value is then that at 0.
    """
    zero = profiles.shape[-1] - 1 if causal else (profiles.shape[-1] - 1) // 2
    offset = np.arange(length) - np.arange(length)[:, None]
    return np.asarray(profiles[..., np.minimum(offset, 0 if causal else length) + zero])
