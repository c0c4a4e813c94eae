"""Operations of the hot measures: formulas beside counts that walk through the work."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

import _operations as count
from _operations import WIDTH


def complex_fft(size: int) -> int:
    """Radix 2: two halves, and a product and two sums for each pair of results."""
    if size == 1:
        return 0
    butterflies = sum(6 + 4 for _ in range(size // 2))
    return 2 * complex_fft(size // 2) + butterflies


def product(rows: int, inner: int, columns: int) -> int:
    return 2 * rows * inner * columns


@pytest.mark.parametrize("size", [2, 8, 64, 1024])
def test_a_real_fft_is_half_of_a_complex_one(size: int) -> None:
    assert count.real_fft(size) == complex_fft(size) / 2


def test_a_padded_transform_holds_every_lag_without_wrapping_around() -> None:
    for length, lags in ((7, 7), (131, 66), (1000, 501)):
        size = count.padded(length, lags)
        ones = np.ones(length)
        power = np.abs(np.fft.rfft(ones, size)) ** 2
        sums = np.fft.irfft(power, size)[:lags]
        np.testing.assert_allclose(sums, length - np.arange(lags), atol=1e-9)


def test_the_profile_takes_one_transform_a_dimension_and_one_back() -> None:
    size = count.padded(131, 131)
    each = [2.5 * size * math.log2(size) for _ in (*range(24), "back")]
    assert count.cosine_profile(131, 24).transforms == pytest.approx(sum(each), rel=1e-15)


@pytest.mark.parametrize(("length", "dim"), [(131, 24), (24, 131), (36, 36)])
def test_components_take_a_triangle_its_reduction_and_ten_vectors(length: int, dim: int) -> None:
    small, large = min(length, dim), max(length, dim)
    operations = sum(2 * large for i in range(small) for j in range(small) if j <= i)
    reduction = 4 / 3 * small**3
    for _ in range(10):
        operations += 2 * small**2  # one vector through the reflectors
        operations += product(length, dim, 1)  # its scores
        operations += product(dim, length, 1) if length < dim else 0  # from rows to columns
    assert count.components(length, dim).products == pytest.approx(operations + reduction)


def test_pairs_are_counted_by_their_residues() -> None:
    for length in (1, 4, 39, 40, 41):
        assert count.pairs(length, (0, 1, 2)) == sum(i % 4 != 3 for i in range(length))
        assert count.pairs(length, (3,)) == sum(i % 4 == 3 for i in range(length))


def test_shift_maps_take_the_products_of_every_shift() -> None:
    length, dim = 41, 5
    operations = 0.0
    for k in (1, 8):
        index = np.arange(length - k) % 4
        two, three = (index < 2).sum(), (index < 3).sum()
        choose, held_out = (index == 2).sum(), (index == 3).sum()
        operations += product(dim, three, dim) + 21 * dim**3 + product(dim, dim, dim)
        operations += product(held_out, dim, dim)
        for rows, new in ((two, choose), (three, held_out)):
            operations += 6 * rows * dim**2 + 20 * dim**3
            operations += product(new, dim, dim) + product(dim, rows, dim)
        operations += product(choose, dim, dim)  # of all candidate ranks together
    assert count.shift_maps(length, dim).products == operations


def test_permutation_draws_take_a_gram_matrix_once_and_transforms_each_time() -> None:
    length, dim, draws = 40, 6, 3
    size = count.padded(length, 21)
    gram = sum(2 * dim for i in range(length) for j in range(length) if j <= i)
    work = count.permutation_draws(length, dim, draws)
    assert work.products == gram
    transforms = [2.5 * size * math.log2(size) for _ in range(draws) for _ in range(dim + 1)]
    assert work.transforms == pytest.approx(sum(transforms))
    beyond = count.permutation_draws(5000, dim, draws)
    assert beyond.products == 0


def test_walks_draw_every_step() -> None:
    steps = [1 for _ in range(3) for _ in pairwise(range(40)) for _ in range(6)]
    assert count.walk_draws(40, 6, 3).normals == sum(steps)


@pytest.mark.parametrize("length", [50, 64, 300, 1024, 2500])
def test_causal_kernels_take_three_products_a_block_and_pairs_of_blocks(length: int) -> None:
    operations = 0
    for start in range(0, length, 64):
        rows = min(64, length - start)
        operations += product(rows, WIDTH, rows)  # the block's logits
        operations += product(WIDTH, rows, WIDTH)  # its keys
        operations += product(WIDTH, rows, WIDTH)  # its queries
    whole = length // 64
    for start in range(0, whole, 16):
        blocks = min(16, whole - start)
        operations += product(blocks, WIDTH * WIDTH, blocks)
    if length % 64:
        operations += product(1, WIDTH * WIDTH, 1)
    assert count.causal_kernel(length, 2 * WIDTH).products == 2 * operations


@pytest.mark.parametrize("length", [50, 64, 300, 1111])
def test_causal_terms_take_five_kinds_of_products(length: int) -> None:
    operations, parts = 0, 3
    blocks = [min(64, length - start) for start in range(0, length, 64)]
    for rows in blocks:
        operations += product(rows, WIDTH, rows)
        for _ in range(parts):
            operations += product(rows, rows, WIDTH)
            operations += product(WIDTH, rows + 1, WIDTH)
            operations += product(rows, WIDTH, WIDTH)
    # Running sums over groups of eight whole blocks; a shorter one is a group by itself.
    whole = sum(rows == blocks[0] for rows in blocks) if length >= 64 else 0
    groups = [min(8, whole - start) for start in range(0, whole, 8)]
    groups += [1] * (len(blocks) - whole)
    for size in groups:
        operations += parts * product(size + 1, size + 1, WIDTH**2)
    assert count.causal_terms(length, WIDTH).products == operations


def test_compression_is_dominated_by_its_decompositions() -> None:
    length, dim, rank = 40, 6, 4
    triangle = sum(4 * (length - j) * (dim - j) for j in range(dim))  # a reflector a column
    vectors = 21 * dim**3
    projected = product(length, dim, rank) + product(length, rank, dim)
    exact = triangle + vectors + projected
    assert count.compression(length, dim, rank).products == pytest.approx(exact, rel=0.1)
