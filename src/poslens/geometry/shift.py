"""Is p_{t+k} one fixed linear map of p_t? (`shift.*`; article §2.1)

Both maps are fitted on three pairs in four and scored on the fourth, so that a map with d²
parameters cannot win by memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from poslens.axes import NewPairs, Pairs, Rows
from poslens.errors import UndefinedMeasureError

Procrustes = Callable[[Pairs, Pairs], np.ndarray]

SHIFTS = (1, 8, 64)
_RANK_TOLERANCE = 1e-12  # singular values below this share of the largest are zero
_SAME = 1e-12  # scores closer than this are equal; the lower rank is then preferred


def shifts(length: int) -> list[int]:
    """Return the shifts that are measured on a table of ``length`` rows: those with L > 4k."""
    return [k for k in SHIFTS if length > 4 * k]


def rotation_r2(rows: Rows, shift: int, solve: Procrustes | None = None) -> float:
    """Return R², on held-out pairs, of the orthogonal Q that best maps p_i to p_{i+k}.

    Q is the orthogonal Procrustes solution (Schönemann 1966). Where the fitted rows do not span
    the space it is not unique; the solution nearest to the identity is taken, which leaves alone,
    as far as it can, what the data say nothing about.

    Parameters
    ----------
    rows
        The table, shape (position, dim).
    shift
        k, in positions.
    solve
        From the fitted pairs to Q, shape (dim, dim); `nearest_rotation` by default.

    Raises
    ------
    UndefinedMeasureError
        If the held-out targets do not vary.
    """
    fit, held_out = _pairs(rows, shift, (0, 1, 2)), _pairs(rows, shift, (3,))
    return _r2(held_out[1], held_out[0] @ (solve or nearest_rotation)(*fit))


def linear_r2(rows: Rows, shift: int) -> tuple[float, int]:
    """Return R², on held-out pairs, of the best linear map of p_i to p_{i+k}, and its rank.

    The map is a least-squares fit truncated to the r leading singular directions of the first
    members, r from {2, 4, 8 …, numerical rank}, chosen on a third part of the pairs.

    Raises
    ------
    UndefinedMeasureError
        If the targets of a part do not vary.
    """
    select, choose = _pairs(rows, shift, (0, 1)), _pairs(rows, shift, (2,))
    rank = _best_rank(*select, *choose)
    fit, held_out = _pairs(rows, shift, (0, 1, 2)), _pairs(rows, shift, (3,))
    left, right = _truncated(*fit, held_out[0])
    return _r2(held_out[1], left[:, :rank] @ right[:rank]), rank


def shift_operator(rows: Rows, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Return A and B, shapes (dim, rank) and (rank, dim), such that p_{i+k} ≈ p_i A B.

    The map that `linear_r2` scores, of the rank that it chooses, but fitted on all pairs: none
    is held out from a map that is used and not judged.

    Raises
    ------
    UndefinedMeasureError
        If the pairs among which the rank is chosen do not vary, as where there is only one.
    """
    select, choose = _pairs(rows, shift, (0, 1)), _pairs(rows, shift, (2,))
    if choose[0].shape[0] < 2:
        raise UndefinedMeasureError(
            f"{rows.shape[0]} rows are too few to fit a shift by {shift} and to choose its rank"
        )
    rank = _best_rank(*select, *choose)
    left, right = _truncated(rows[:-shift], rows[shift:], np.eye(rows.shape[1]))
    return left[:, :rank], right[:rank]


def rotation_measures(rows: Rows) -> Mapping[str, dict[str, float | int | None]]:
    """Return ``shift.rotation_r2`` by shift as text; None where held-out targets do not vary.

    Raises
    ------
    UndefinedMeasureError
        If the table is too short for any shift.
    """
    return {"shift.rotation_r2": _by_shift(rows, lambda k: rotation_r2(rows, k))}


def linear_measures(rows: Rows) -> Mapping[str, dict[str, float | int | None]]:
    """Return ``shift.r2`` and ``shift.rank`` by shift as text; None where they have no value.

    Raises
    ------
    UndefinedMeasureError
        If the table is too short for any shift.
    """
    found: dict[int, tuple[float, int]] = {}

    def r2(k: int) -> float:
        found[k] = linear_r2(rows, k)
        return found[k][0]

    scores = _by_shift(rows, r2)
    ranks: dict[str, float | int | None] = {
        k: found[int(k)][1] if int(k) in found else None for k in scores
    }
    return {"shift.r2": scores, "shift.rank": ranks}


def _by_shift(rows: Rows, measure: Callable[[int], float]) -> dict[str, float | int | None]:
    found: dict[str, float | int | None] = {}
    for k in shifts(rows.shape[0]):
        try:
            found[str(k)] = measure(k)
        except UndefinedMeasureError:
            found[str(k)] = None
    if not any(value is not None for value in found.values()):
        raise UndefinedMeasureError(
            f"too few different pairs to fit and to score a shift by {SHIFTS[0]}"
        )
    return found


def _pairs(rows: Rows, shift: int, residues: tuple[int, ...]) -> tuple[Pairs, Pairs]:
    """The pairs (p_i, p_{i+k}) whose i mod 4 is among ``residues``."""
    first = np.flatnonzero(np.isin(np.arange(rows.shape[0] - shift) % 4, residues))
    return rows[first], rows[first + shift]


def _r2(target: Pairs, predicted: Pairs) -> float:
    """R² about the mean of the scored targets."""
    centred = target - target.mean(axis=0)
    total = float(np.einsum("td,td->", centred, centred))
    scale = float(np.einsum("td,td->", target, target))
    if total <= 1e-26 * scale:
        raise UndefinedMeasureError("the held-out targets do not vary")
    error = target - predicted
    return 1.0 - float(np.einsum("td,td->", error, error)) / total


def nearest_rotation(first: Pairs, second: Pairs) -> np.ndarray:
    """Return the orthogonal Q, shape (dim, dim), that minimises ‖first Q - second‖.

    If it is not unique, the one nearest to the identity.
    """
    left, values, right = np.linalg.svd(first.T @ second)
    rank = _rank(values)
    # left[:, rank:] may be joined to right[rank:] by any orthogonal map without changing the fit.
    rotation = left[:, :rank] @ right[:rank]
    if rank < values.size:
        free_left, free_right = left[:, rank:], right[rank:].T
        u, _, vt = np.linalg.svd(free_left.T @ free_right)
        rotation += free_left @ (u @ vt) @ free_right.T
    return np.asarray(rotation)


def _truncated(first: Pairs, second: Pairs, new: NewPairs) -> tuple[np.ndarray, np.ndarray]:
    """Factors A, B such that A[:, :r] B[:r] predicts ``new`` by the least-squares map of rank r."""
    left, values, right = np.linalg.svd(first, full_matrices=False)
    rank = _rank(values)
    return (new @ right[:rank].T) / values[:rank], left[:, :rank].T @ second


def _rank(values: np.ndarray) -> int:
    return int((values > _RANK_TOLERANCE * values[0]).sum())


def _best_rank(first: Pairs, second: Pairs, new: NewPairs, target: NewPairs) -> int:
    left, right = _truncated(first, second, new)
    rank = left.shape[1]
    candidates = sorted({rank, *(2**i for i in range(1, rank.bit_length()) if 2**i <= rank)})
    predicted = np.zeros_like(target)
    used, best, best_score = 0, candidates[0], -np.inf
    for candidate in candidates:
        predicted = predicted + left[:, used:candidate] @ right[used:candidate]
        used = candidate
        score = _r2(target, predicted)
        if score > best_score + _SAME:
            best, best_score = candidate, score
    return int(best)
