"""How many operations the hot measures take: formulas, beside what the code does.

Additions and multiplications count one each. A real FFT of n points counts 5/2·n·log2 n whatever
its algorithm (the convention of FFTW's benchmarks), factorisations as in Golub & Van Loan (2013),
*Matrix Computations*. What is O(L·d) beside the rest is not counted. Tests walk the blocks and
count again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy.fft

from poslens.attention import energy, weighted_keys
from poslens.claims import null_draws
from poslens.geometry.components import INDEX_COMPONENTS
from poslens.geometry.difference import strides
from poslens.geometry.shift import shifts

WIDTH = 64  # of a head


@dataclass(frozen=True)
class Work:
    """What one run of a measure must do.

    Attributes
    ----------
    products
        Operations in products and factorisations of matrices.
    transforms
        Operations in real FFTs.
    moved
        Bytes that must be read or written in main memory at least.
    normals
        Normal deviates that are drawn.
    single
        Whether operations are in float32.
    """

    products: float = 0.0
    transforms: float = 0.0
    moved: float = 0.0
    normals: float = 0.0
    single: bool = False

    @property
    def operations(self) -> float:
        """Products and transforms together."""
        return self.products + self.transforms


def real_fft(size: int) -> float:
    """Return the operations of one real FFT."""
    return 2.5 * size * math.log2(size)


def padded(length: int, lags: int) -> int:
    """Return the size of the FFT in which a sequence's first lags do not wrap around."""
    return int(scipy.fft.next_fast_len(length + lags - 1, real=True))


def cosine_profile(length: int, dim: int) -> Work:
    """Return those of `cosine.profile`: one FFT per dimension, and one back."""
    fft = real_fft(padded(length, length))
    return Work(transforms=(dim + 1) * fft, moved=16.0 * length * dim)


def components(length: int, dim: int) -> Work:
    """Return those of the components: a Gram matrix's triangle, its tridiagonal form, scores.

    Of vectors, the ten that are always wanted are counted.
    """
    small, large = sorted((length, dim))
    gram = large * small * (small + 1)
    tridiagonal = 4 / 3 * small**3
    vectors = 2 * small**2 * INDEX_COMPONENTS
    back = 2 * length * dim * INDEX_COMPONENTS
    scores = 2 * length * dim * INDEX_COMPONENTS
    return Work(
        products=gram + tridiagonal + vectors + scores + (back if length < dim else 0),
        moved=24.0 * length * dim,
    )


def svd(rows: int, columns: int) -> float:
    """Return the operations of the thin decomposition, or of a square matrix's full one.

    Golub & Van Loan 2013, figure 8.6.1: 21 n³ where square, else 6 m n² + 20 n³.
    """
    n, m = sorted((rows, columns))
    return 21.0 * n**3 if n == m else 6.0 * m * n**2 + 20.0 * n**3


def pairs(count: int, residues: tuple[int, ...]) -> int:
    """Return how many of 0 … ``count`` - 1 have one of the residues modulo 4."""
    return sum(len(range(residue, count, 4)) for residue in residues)


def shift_maps(length: int, dim: int) -> Work:
    """Return those of both maps at every shift, rows of full rank."""
    products = 0.0
    for k in shifts(length):
        count = length - k
        fitted, held_out = pairs(count, (0, 1, 2)), pairs(count, (3,))
        rank = min(fitted, dim)
        products += 2 * fitted * dim**2 + svd(dim, dim) + 2 * dim**2 * rank
        if rank < dim:  # a second map, of what the fitted pairs do not span
            free = dim - rank
            products += 2 * free**2 * dim + svd(free, free) + 2 * free**3 + 2 * dim * free**2
            products += 2 * dim**2 * free
        products += 2 * held_out * dim**2
        for rows, new, predicts in (
            (pairs(count, (0, 1)), pairs(count, (2,)), True),
            (fitted, held_out, False),
        ):
            rank = min(rows, dim)
            products += svd(rows, dim) + 2 * new * dim * rank + 2 * rows * dim * rank
            products += 2 * new * rank * dim if predicts else 0
    return Work(products=products, moved=8.0 * length * dim)


def permutation_draws(length: int, dim: int, draws: int) -> Work:
    """Return those of draws in random order: float32 FFTs, and float64 products of pairs."""
    lags = length // 2 + 1
    transforms = draws * (dim + 1) * real_fft(padded(length, lags))
    rows = 4.0 * length * dim
    if length <= null_draws._GRAM_ROWS:
        once = float(dim * length * (length + 1))
        looked_up = (3 * len(strides(length)) + 1) * 8.0 * length
        return Work(once, transforms, draws * (2 * rows + looked_up), single=True)
    # Four products of neighbours, of two gathered float64 rows each, which are read once more.
    gathered = 4 * 2 * 3 * 2 * rows
    return Work(0.0, transforms, draws * (2 * rows + gathered), single=True)


def walk_draws(length: int, dim: int, draws: int) -> Work:
    """Return those of random walks: what is random."""
    return Work(
        normals=float(draws * (length - 1) * dim), moved=draws * 8.0 * length * dim, single=True
    )


def causal_kernel(length: int, dim: int) -> Work:
    """Return those of heads of width 64: three products a block of 64 rows, two FFTs a dimension.

    The triangle of logits within a block is made as a square, and so is that of pairs of blocks.
    """
    products = 0.0
    for _, blocks, size in energy.groups(length, energy._BLOCK, energy._GROUP):
        own = 2 * size**2 * WIDTH
        squares = 2 * 2 * size * WIDTH**2
        products += blocks * (own + squares) + 2 * blocks**2 * WIDTH**2
    transforms = (2 * WIDTH + 1) * real_fft(padded(length, length))
    heads = dim // WIDTH
    return Work(heads * products, heads * transforms, moved=16.0 * length * dim)


def causal_terms(length: int, dim: int, parts: int = 3) -> Work:
    """Return those of heads of width 64 in three parts: five kinds of products a group of rows."""
    products = 0.0
    for _, blocks, size in weighted_keys.groups(length, weighted_keys._BLOCK, weighted_keys._GROUP):
        own = 2 * size**2 * WIDTH
        weighted = parts * 2 * size**2 * WIDTH
        scatters = parts * 2 * (size + 1) * WIDTH**2
        earlier = parts * 2 * size * WIDTH**2
        running = parts * 2 * (blocks + 1) ** 2 * WIDTH**2
        products += blocks * (own + weighted + scatters + earlier) + running
    return Work(dim // WIDTH * products, moved=2 * parts * 8.0 * length * dim)


def compression(length: int, dim: int, rank: int) -> Work:
    """Return those of the best table of a rank: a triangle, its singular vectors, two products.

    The triangle of m rows takes 2 m n² - 2/3 n³ (Golub & Van Loan 2013, §5.2.2).
    """
    small, large = sorted((length, dim))
    triangle = 2.0 * large * small**2 - 2 / 3 * small**3
    products = 4.0 * length * dim * min(rank, small)
    return Work(triangle + svd(small, small) + products, moved=24.0 * length * dim)
