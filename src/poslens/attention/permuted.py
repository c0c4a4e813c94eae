"""The null `permutation` for `kernel.relative_share`: the table's rows in random order.

Queries and keys are functions of the rows one by one, so a new order of the rows is the same new
order of both, in all heads of a layer. Draws are in float32: only a rank among them is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from poslens.attention.additive import relative_share
from poslens.attention.factored import (
    cross_correlation,
    factored_sums,
    gathered,
    sums_in_dtype,
)
from poslens.attention.sums import KernelSums
from poslens.attention.validate import check_heads
from poslens.axes import HeadRows, Keys, Queries
from poslens.errors import UndefinedMeasureError
from poslens.parallel import in_threads

_Advance = Callable[[int], None]


@dataclass(frozen=True)
class _Head:
    """One head in units of its own size, so that float32 holds it, and what no order changes."""

    queries: HeadRows
    keys: HeadRows
    square_energy: float  # within rows, over the bidirectional square
    scale: float

    def sums(self, order: np.ndarray, *, causal: bool) -> KernelSums:
        queries, keys = self.queries[None, order], self.keys[None, order]
        if causal:
            return sums_in_dtype(queries, keys, causal=True)
        means = np.zeros((1, keys.shape[2]), keys.dtype)
        diagonals = cross_correlation(queries, keys, means, lags=order.size - 1)
        energy, scale = np.array([self.square_energy]), np.array([self.scale])
        return KernelSums(False, energy, diagonals, np.zeros((1, order.size)), scale)


def permuted_shares(
    queries: Queries,
    keys: Keys,
    *,
    causal: bool,
    draws: int,
    seed: int,
    advance: _Advance = lambda _: None,
) -> Float[np.ndarray, "draw"]:
    """Draw the median over heads of the relative share with positions in random order.

    Parameters
    ----------
    queries, keys
        As in `poslens.attention.factored_kernel`.
    causal
        Whether row t may attend to s ≤ t only, or to all positions.
    draws
        How many orders.
    seed
        Each draw has its own generator from it, so that their order cannot matter.
    advance
        Called with 1 after each draw.

    Returns
    -------
    draws
        Shape (draw,), to a relative 1e-4. Heads whose kernel is constant along rows are left out.

    Raises
    ------
    TableError
        See `poslens.attention.validate.check_heads`.
    UndefinedMeasureError
        If the kernels of all heads are constant along rows.
    """
    queries, keys = check_heads(queries, keys)
    heads = _varying_heads(queries, keys, causal=causal)
    if not heads:
        raise UndefinedMeasureError("the kernels of all heads are constant along rows")
    generators = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(draws)]
    found = []
    for value in in_threads([partial(_draw, heads, rng, causal=causal) for rng in generators]):
        found.append(value)
        advance(1)
    return np.array(found, dtype=np.float64)


def _draw(heads: list[_Head], rng: np.random.Generator, *, causal: bool) -> float:
    order = rng.permutation(heads[0].keys.shape[0])
    sums = gathered([head.sums(order, causal=causal) for head in heads], causal=causal)
    return float(np.median([share for share in relative_share(sums) if share is not None]))


def _varying_heads(queries: Queries, keys: Keys, *, causal: bool) -> list[_Head]:
    group = queries.shape[0] // keys.shape[0]
    square = factored_sums(queries, keys, causal=False)
    varies = factored_sums(queries, keys, causal=True).varies if causal else square.varies
    heads = []
    for head in np.flatnonzero(varies & square.varies):
        q = queries[head].astype(np.float64)
        k = keys[head // group].astype(np.float64)
        k -= k.mean(axis=0)
        q_size, k_size = np.sqrt(np.mean(q**2)), np.sqrt(np.mean(k**2))
        heads.append(
            _Head(
                (q / q_size).astype(np.float32),
                (k / k_size).astype(np.float32),
                float(square.energy[head] / (q_size * k_size) ** 2),
                float(square.scale[head] / (q_size * k_size)),
            )
        )
    return heads
