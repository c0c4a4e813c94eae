"""From offsets s - t to pairs of positions, the same for every scheme that biases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from poslens.axes import HeadOffsets, KeyPositions, Offsets, PairBias, QueryPositions
from poslens.encodings.validate import finite_positions, whole_positions


def over_pairs(
    profile: Callable[[Offsets], HeadOffsets],
    query_positions: QueryPositions,
    key_positions: KeyPositions,
) -> PairBias:
    """Return a profile's values at every pair, shape (head, query_pos, key_pos)."""
    queries, keys = finite_positions(query_positions), finite_positions(key_positions)
    offsets = keys[None, :] - queries[:, None]
    biases = profile(offsets.ravel())
    return biases.reshape(len(biases), *offsets.shape)


def whole_offsets(
    query_positions: QueryPositions, key_positions: KeyPositions
) -> Int[np.ndarray, "query_pos key_pos"]:
    """Return s - t of every pair.

    Raises
    ------
    SettingError
        If a position is no whole number.
    """
    queries, keys = whole_positions(query_positions), whole_positions(key_positions)
    return np.asarray(keys[None, :] - queries[:, None])


def causal_distance(offsets: Float[np.ndarray, "offset"]) -> Float[np.ndarray, "offset"]:
    """Return t - s, and 0 for keys after the query, which a causal model masks."""
    return np.asarray(np.maximum(-offsets, 0))


def gathered(
    products: Float[np.ndarray, "head query_pos distance"],
    rows: Int[np.ndarray, "query_pos key_pos"],
) -> PairBias:
    """Return at every pair the product with the row of its distance.

    Parameters
    ----------
    products
        Of each query with each row of a relative table.
    rows
        The row of each pair.

    Returns
    -------
    PairBias
        Shape (head, query_pos, key_pos).
    """
    return np.take_along_axis(products, np.broadcast_to(rows, (len(products), *rows.shape)), axis=2)
