"""The kernel averaged over blocks of positions, small enough to draw, without the L×L matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from poslens.attention.relative import relative_sums
from poslens.attention.validate import check_heads
from poslens.axes import HeadOffsets, HeadRows, Keys, Queries
from poslens.errors import SettingError
from poslens.parallel import in_threads


@dataclass(frozen=True)
class KernelPicture:
    """Block averages of the kernels of a layer.

    Attributes
    ----------
    means
        The mean of K over the allowed pairs of a block of queries and a block of keys, shape
        (head, block, key_block). NaN above the diagonal of a causal kernel: no pairs there.
    row_means
        The mean, over the same pairs, of the row means of K; the same shape.
    starts
        The first position of each block, shape (block,).
    """

    means: Float[np.ndarray, "head block key_block"]
    row_means: Float[np.ndarray, "head block key_block"]
    starts: Int[np.ndarray, "block"]

    @property
    def within_rows(self) -> Float[np.ndarray, "head block key_block"]:
        """Averages of the row-centred kernel, which is what softmax sees."""
        return np.asarray(self.means - self.row_means)

    def __add__(self, other: KernelPicture) -> KernelPicture:
        """Return the picture of the sum of two kernels over the same blocks."""
        return KernelPicture(
            self.means + other.means, self.row_means + other.row_means, self.starts
        )


def kernel_picture(queries: Queries, keys: Keys, *, causal: bool, most: int = 64) -> KernelPicture:
    """Return K_h(t, s) = q_t·k_s averaged over at most ``most`` × ``most`` blocks, in O(L·d_k).

    The mean of q_t·k_s over two blocks is the product of their mean vectors; in the blocks on the
    diagonal of a causal kernel, each query meets the sum of its block's keys up to itself.

    Parameters
    ----------
    queries, keys
        As in `poslens.attention.factored_kernel`.
    causal
        Whether row t may attend to s ≤ t only, or to all positions.
    most
        The largest number of blocks along an axis.

    Raises
    ------
    TableError
        See `poslens.attention.validate.check_heads`.
    SettingError
        If ``most`` is not positive.
    """
    queries, keys = check_heads(queries, keys)
    starts = block_starts(queries.shape[1], most)
    group = queries.shape[0] // keys.shape[0]
    averages = _causal_averages if causal else _bidirectional_averages
    tasks = [
        partial(averages, queries[head], keys[head // group], starts)
        for head in range(queries.shape[0])
    ]
    means, row_means = zip(*in_threads(tasks), strict=True)
    return KernelPicture(np.array(means), np.array(row_means), starts)


def block_starts(length: int, most: int) -> Int[np.ndarray, "block"]:
    """Return where equal blocks of positions begin, at most ``most`` of them.

    Raises
    ------
    SettingError
        If ``most`` is not positive.
    """
    if most < 1:
        raise SettingError(
            "a picture needs blocks", expected="at least 1", got=str(most), remedy="ask for more"
        )
    return np.arange(0, length, -(-length // most))


def _bidirectional_averages(
    queries: HeadRows, keys: HeadRows, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.diff(np.append(starts, queries.shape[0]))[:, None]
    Q = np.add.reduceat(queries, starts, axis=0, dtype=np.float64) / sizes
    K = np.add.reduceat(keys, starts, axis=0, dtype=np.float64) / sizes
    row_means = Q @ keys.mean(axis=0, dtype=np.float64)
    return Q @ K.T, np.repeat(row_means[:, None], starts.size, axis=1)


def _causal_averages(
    queries: HeadRows, keys: HeadRows, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    length = queries.shape[0]
    sizes = np.diff(np.append(starts, length))
    sums = np.cumsum(keys, axis=0, dtype=np.float64)
    row_means = np.einsum("td,td->t", queries, sums) / np.arange(1, length + 1)

    # Query t meets t - a + 1 keys of its own block, which starts at a.
    first = np.repeat(starts, sizes)
    own_count = np.arange(length) - first + 1
    own = sums - (sums - keys)[first]
    own_sums = np.add.reduceat(np.einsum("td,td->t", queries, own), starts)
    own_pairs = sizes * (sizes + 1) / 2
    own_rows = np.add.reduceat(own_count * row_means, starts)

    means, _ = _bidirectional_averages(queries, keys, starts)
    of_rows = np.repeat((np.add.reduceat(row_means, starts) / sizes)[:, None], starts.size, axis=1)
    for values, diagonal in ((means, own_sums), (of_rows, own_rows)):
        np.fill_diagonal(values, diagonal / own_pairs)
        values[np.triu_indices(starts.size, 1)] = np.nan
    return means, of_rows


def relative_picture(profiles: HeadOffsets, *, causal: bool, most: int = 64) -> KernelPicture:
    """Return K_h(t, s) = f_h(s - t) averaged over at most ``most`` × ``most`` blocks.

    Parameters
    ----------
    profiles
        f_h at the offsets of `poslens.attention.offsets`, shape (head, offset).
    causal
        Whether row t may attend to s ≤ t only, or to all positions.
    most
        The largest number of blocks along an axis.

    Raises
    ------
    TableError
        See `poslens.attention.validate.check_profiles`.
    SettingError
        If ``most`` is not positive.
    """
    row_means = relative_sums(profiles, causal=causal).row_means
    heads, length = row_means.shape
    starts = block_starts(length, most)
    stops = np.append(starts[1:], length)
    means = np.full((heads, starts.size, starts.size), np.nan)
    of_rows = np.full_like(means, np.nan)
    known: dict[tuple[int, int, int], np.ndarray] = {}  # blocks of equal sizes and offset are equal
    for a, (first, last) in enumerate(zip(starts, stops, strict=True)):
        for b in range(a + 1 if causal else starts.size):
            keys = np.arange(starts[b], stops[b])
            offset = keys - np.arange(first, last)[:, None]
            allowed = offset <= 0 if causal else np.ones_like(offset, dtype=bool)
            key = (int(starts[b] - first), int(last - first), keys.size)
            if key not in known:
                known[key] = profiles[:, offset[allowed] + length - 1].mean(axis=1)
            means[:, a, b] = known[key]
            weights = allowed.sum(axis=1)
            of_rows[:, a, b] = row_means[:, first:last] @ weights / weights.sum()
    return KernelPicture(means, of_rows, starts)
