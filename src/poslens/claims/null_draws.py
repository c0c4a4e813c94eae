"""Measures under the null models, drawn fast enough to be drawn every time.

Each draw is what the geometry functions would give on ``nulls.X(rows, rng)``; the tests hold them
together. What is skipped is only work whose result is known: a permuted table's dot products are
the table's own, and a surrogate's spectrum does not need the table, since an inverse FFT is a
rotation. Draws are in float32 where only a rank among draws is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import scipy.fft

from poslens import nulls
from poslens.axes import Pairs, Projected, Rows
from poslens.errors import UndefinedMeasureError
from poslens.geometry import cosine, difference, norms, shift
from poslens.geometry.components import components_for, number_for
from poslens.geometry.validate import centered, unit_rows
from poslens.parallel import in_threads

Drawn: TypeAlias = np.ndarray | np.floating[Any]
Draw = Callable[[np.random.Generator], Mapping[str, Drawn]]
Advance = Callable[[int], None]

LEADING = 24  # components whose null spectrum is kept for the scree picture

# Dot products of all pairs of rows are kept up to this many rows (134 MB); beyond, only those of
# the pairs that a draw makes neighbours are computed, and only at stride 1.
_GRAM_ROWS = 4096

_DIRECTIONS = 14  # on which relations between dimensions are tested

# Subspace iteration stops when the variance it holds grows by less than this share.
_SETTLED = 1e-4
_MOST_ITERATIONS = 40

# Fitting a rotation costs three d×d singular value decompositions a draw, and the random walk is
# only reported beside this measure; its scatter is small. This many operations are spent on it.
_ROTATION_BUDGET = 4e9
_FEWEST_ROTATIONS = 2


@dataclass(frozen=True)
class NullDraws:
    """Draws of some measures under one null model.

    Attributes
    ----------
    null
        Its name in `poslens.nulls.NULLS`.
    values
        By measure name, shape (draw, …).
    """

    null: str
    values: Mapping[str, np.ndarray]


def permutation(rows: Rows, draws: int, seed: int, advance: Advance) -> NullDraws:
    """Draw the cosine profile, the parallelism of differences and the roughness.

    ``cosine.profile`` covers the lags 0 … ⌊L/2⌋; ``difference.parallel_at`` every stride of the
    table, NaN at strides that were not drawn. Absent where a zero or repeated row leaves them
    undefined.
    """
    length = rows.shape[0]
    C = centered(rows)
    squares = np.einsum("td,td->t", C, C)
    products = _pair_products(C)
    strides = difference.strides(length)
    drawn = strides if length <= _GRAM_ROWS else strides[:1]
    try:
        unit = unit_rows(rows).astype(np.float32)
    except UndefinedMeasureError:
        unit = None

    def draw(rng: np.random.Generator) -> Mapping[str, Drawn]:
        order = rng.permutation(length)
        found: dict[str, Drawn] = {}
        if unit is not None:
            profile = cosine.lag_means(unit[order], length // 2 + 1).astype(np.float64)
            found["cosine.profile"] = profile
            found["cosine.adjacent"] = profile[1]
            found["cosine.monotonicity"] = _or_nan(cosine.lag_rank_correlation, profile[1:])
            found["cosine.falling"] = _or_nan(cosine.lag_fall, profile[1:])
        parallel = np.full(len(strides), np.nan)
        for index, stride in enumerate(drawn):
            parallel[index], longs = _parallel(order, stride, squares, products)
            if index == 0:
                found["difference.long_parallel"] = np.float64(longs)
        found["difference.parallel_at"] = parallel
        found["difference.parallel"] = parallel[0]
        step = _squared_distance(order[:-1], order[1:], squares, products)
        found["trajectory.roughness"] = step.mean() / (2 * squares.mean())
        return found

    return NullDraws("permutation", _gather(draw, draws, seed, 2, advance))


def random_walk(rows: Rows, draws: int, seed: int, advance: Advance) -> NullDraws:
    """Draw ``trajectory.linear_r2`` and ``pca.pc1_index_correlation`` of random walks."""
    single = _single(centered(rows))  # what is drawn is noise; its rounding does not matter
    index = (np.arange(rows.shape[0]) - (rows.shape[0] - 1) / 2).astype(np.float32)
    index /= np.linalg.norm(index)

    def draw(rng: np.random.Generator) -> Mapping[str, Drawn]:
        walk = nulls.random_walk(single, rng)
        walk -= walk.mean(axis=0)
        slope = index @ walk
        scores = walk @ _first_direction(walk, slope)
        return {
            "trajectory.linear_r2": slope @ slope / np.einsum("td,td->", walk, walk),
            "pca.pc1_index_correlation": abs(index @ scores) / np.linalg.norm(scores),
        }

    return NullDraws("random_walk", _gather(draw, draws, seed, 3, advance))


def _single(values: np.ndarray) -> np.ndarray:
    """Values in float32, scaled so that their squares neither vanish nor overflow there.

    What is drawn of them does not depend on their scale.
    """
    return np.asarray(values / np.abs(values).max(), np.float32)


def random_walk_rotations(rows: Rows, draws: int, seed: int, advance: Advance) -> NullDraws:
    """Draw ``shift.rotation_r2`` of random walks, shape (draw, shift); fewer for large d."""
    shifts = shift.shifts(rows.shape[0])
    dim = rows.shape[1]
    affordable = max(_FEWEST_ROTATIONS, int(_ROTATION_BUDGET / (max(1, len(shifts)) * dim**3)))

    def draw(rng: np.random.Generator) -> Mapping[str, Drawn]:
        walk = nulls.random_walk(rows, rng)
        scores = np.array([_or_nan(shift.rotation_r2, walk, k, _polar_factor) for k in shifts])
        return {"shift.rotation_r2": scores}

    count = min(draws, affordable) if shifts else 0
    return NullDraws("random_walk", _gather(draw, count, seed, 4, advance))


def surrogate(rows: Rows, draws: int, seed: int, advance: Advance) -> NullDraws:
    """Draw ``pca.explained`` (leading components), ``pca.n80``, ``pca.participation_ratio``."""
    length, dim = rows.shape
    amplitude = _single(np.abs(scipy.fft.rfft(centered(rows), axis=0, workers=-1))[1:])
    # Each frequency is two orthogonal unit waves along positions, the highest of an even length
    # one; a table's singular values are those of its coefficients on them (Parseval).
    amplitude *= np.sqrt(2 / length, dtype=np.float32)
    if length % 2 == 0:
        amplitude[-1] /= np.sqrt(np.float32(2))

    def draw(rng: np.random.Generator) -> Mapping[str, Drawn]:
        phases = nulls.surrogate_phases((length, dim), rng, np.float32)[1:]
        waves = np.concatenate([amplitude * phases.real, amplitude * phases.imag])
        gram = waves @ waves.T if waves.shape[0] < dim else waves.T @ waves
        explained = _spectrum(gram, min(length, dim))
        return {
            "pca.explained": explained[:LEADING],
            "pca.n80": np.float64(number_for(explained, 0.80)),
            "pca.participation_ratio": _participation(gram),
        }

    return NullDraws("surrogate", _gather(draw, draws, seed, 5, advance))


def wave_signs(rows: Rows, draws: int, seed: int, advance: Advance) -> NullDraws:
    """Draw ``pca.components80`` and ``pca.participation_ratio`` of tables with random wave signs.

    Of the table on a few random directions, as `on_few_directions` gives it: the draws are held
    against its values there.
    """
    C = centered(on_few_directions(rows, seed))
    waves = scipy.fft.dct(C / np.abs(C).max(), axis=0, norm="ortho")[1:]

    def draw(rng: np.random.Generator) -> Mapping[str, Drawn]:
        signed = waves * nulls.wave_sign_draw(waves.shape, rng)
        gram = signed @ signed.T if waves.shape[0] < waves.shape[1] else signed.T @ signed
        explained = np.linalg.eigvalsh(gram)[::-1] / np.trace(gram)
        return {
            "pca.components80": np.float64(components_for(explained, 0.80)),
            "pca.participation_ratio": _participation(gram),
        }

    return NullDraws("wave_signs", _gather(draw, draws, seed, 7, advance))


def on_few_directions(rows: Rows, seed: int) -> Projected:
    """Return the table on 14 random orthonormal directions; itself where it has no more.

    Enough to see what dimensions have to do with one another. Hundreds would also see how far
    cosines are from the principal waves of the process that the table might be, of which the null
    says nothing. Rotating a table first keeps independent normal dimensions independent.
    """
    if rows.shape[1] <= _DIRECTIONS:
        return rows
    rng = np.random.default_rng([seed, 8])
    return np.asarray(rows @ np.linalg.qr(rng.standard_normal((rows.shape[1], _DIRECTIONS)))[0])


def gaussian(rows: Rows, draws: int, seed: int, advance: Advance) -> NullDraws:
    """Draw row norms, ``norm.row``, shape (draw, position), and ``norm.cv``."""
    mean = rows.mean(axis=0)
    scale = np.sqrt(np.mean((rows - mean) ** 2))
    dim, offset = rows.shape[1], float(np.linalg.norm(mean))

    def draw(rng: np.random.Generator) -> Mapping[str, Drawn]:
        # ‖m + σz‖²: one normal along m, and a χ² with d - 1 degrees of freedom across it.
        along = offset + scale * rng.standard_normal(rows.shape[0])
        across = scale**2 * 2 * rng.standard_gamma((dim - 1) / 2, rows.shape[0])
        row = np.sqrt(along**2 + across)
        return {"norm.row": row, "norm.cv": np.float64(norms.cv(row))}

    return NullDraws("gaussian", _gather(draw, draws, seed, 6, advance))


def _gather(
    draw: Draw, draws: int, seed: int, stream: int, advance: Advance
) -> dict[str, np.ndarray]:
    """Run the draws side by side; each has its own generator, so their order cannot matter."""
    children = np.random.SeedSequence([seed, stream]).spawn(draws)
    found: list[Mapping[str, Drawn]] = []
    for result in in_threads([partial(_draw_one, draw, child) for child in children]):
        found.append(result)
        advance(1)
    names = found[0] if found else ()
    return {name: np.stack([result[name] for result in found]) for name in names}


def _draw_one(draw: Draw, child: np.random.SeedSequence) -> Mapping[str, Drawn]:
    return draw(np.random.default_rng(child))


def _or_nan(measure: Callable[..., float], *arguments: object) -> np.float64:
    """A draw on which the measure is undefined is no draw: NaN, and not counted later."""
    try:
        return np.float64(measure(*arguments))
    except UndefinedMeasureError:
        return np.float64(np.nan)


def _polar_factor(first: Pairs, second: Pairs) -> np.ndarray:
    """The Procrustes solution by eigenvalues of MᵀM, a third of the cost of M's singular values.

    R² is good to 1e-4 for a walk, whose cross-products have a condition of about L²; where pairs do
    not span the space, the exact solution.
    """
    M = first.T @ second
    if first.shape[0] < first.shape[1] or not M.any():
        return shift.nearest_rotation(first, second)
    values, vectors = np.linalg.eigh(M.T @ M)
    inverse = 1 / np.sqrt(np.maximum(values, np.finfo(float).eps * values[-1]))
    return np.asarray(M @ (vectors * inverse) @ vectors.T)


def _pair_products(C: Rows) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    if C.shape[0] <= _GRAM_ROWS:
        gram = C @ C.T
        return lambda a, b: np.asarray(gram[a, b])
    return lambda a, b: np.asarray(np.einsum("td,td->t", C[a], C[b]))


def _squared_distance(
    a: np.ndarray,
    b: np.ndarray,
    squares: np.ndarray,
    products: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    return np.asarray(np.maximum(squares[a] + squares[b] - 2 * products(a, b), 0.0))


def _parallel(
    order: np.ndarray,
    stride: int,
    squares: np.ndarray,
    products: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[float, float]:
    """The mean cosine of successive differences of rows in this order, and that of `Denoised`.

    Of the second nothing is taken off: rows in random order are all noise.
    """
    a, b, c = order[: -2 * stride], order[stride:-stride], order[2 * stride :]
    ab, bc, ac = products(a, b), products(b, c), products(a, c)
    first = squares[a] + squares[b] - 2 * ab
    second = squares[b] + squares[c] - 2 * bc
    lengths = np.sqrt(np.maximum(first * second, 0.0))
    along = bc - ac - squares[b] + ab
    long = float(along.sum() / lengths.sum()) if lengths.any() else float("nan")
    return (float((along / lengths).mean()) if lengths.all() else float("nan")), long


def _first_direction(walk: Rows, start: np.ndarray) -> np.ndarray:
    """The first principal direction by power iteration from the direction of the index.

    A walk's second eigenvalue is a quarter of its first, so a dozen steps leave float32 rounding.
    """
    # A walk that by chance has no trend at all starts from its longest row instead.
    if not start.any():
        start = walk[np.einsum("td,td->t", walk, walk).argmax()]
    direction = start / np.linalg.norm(start)
    for _ in range(50):
        moved = (walk @ direction) @ walk
        moved /= np.linalg.norm(moved)
        if float(moved @ direction) > 1 - 1e-6:
            return np.asarray(moved)
        direction = moved
    return np.asarray(direction)


def _spectrum(gram: np.ndarray, count: int) -> np.ndarray:
    """Leading eigenvalues ÷ the trace, descending: enough for 80 %, and at least `LEADING`."""
    total = float(np.trace(gram, dtype=np.float64))
    for sought in (LEADING, 2 * LEADING):
        if gram.shape[0] > 6 * sought:
            leading = _leading_eigenvalues(gram, sought) / total
            if leading.sum() > 0.8:
                return leading
    explained = np.linalg.eigvalsh(gram)[::-1].astype(np.float64)[:count] / total
    return np.pad(explained, (0, max(0, count - explained.size)))


def _leading_eigenvalues(gram: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` largest eigenvalues, descending, by subspace iteration (Saad 2011, §5.2).

    A few products with a thin matrix, where a full decomposition would cost five times as much.
    A third more directions than are used are carried along, which speeds convergence; the start
    is fixed, so that a draw depends on its own generator alone.
    """
    size = gram.shape[0]
    basis = np.random.default_rng(0).standard_normal((size, count * 4 // 3)).astype(gram.dtype)
    captured = 0.0
    moved = gram @ basis
    for _ in range(_MOST_ITERATIONS):
        basis = np.linalg.qr(gram @ moved)[0]
        moved = gram @ basis
        before, captured = captured, float(np.einsum("ij,ij->", basis, moved))
        if captured - before < _SETTLED * captured:
            break
    return np.linalg.eigvalsh(basis.T @ moved)[::-1][:count].astype(np.float64)


def _participation(gram: np.ndarray) -> np.float64:
    """(Σλ)² ÷ Σλ² from the Gram matrix itself: trace² ÷ squared Frobenius norm."""
    return np.float64(np.trace(gram, dtype=np.float64) ** 2 / np.einsum("ij,ij->", gram, gram))
