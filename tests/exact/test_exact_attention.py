"""Kernels, shares of logits and of hidden states against 50 digits from explicit matrices.

What is reported of a head is measured beside the size that its logits could reach if nothing
cancelled: rounding is a share of that (`KernelSums.scale`), for each mean along a diagonal too.
"""

from __future__ import annotations

from typing import Any

import exact_attention as exact
import numpy as np
import pytest
from exact_numbers import Table, exactly, mp, rounded
from exact_tables import table
from numpy.testing import assert_allclose

from poslens.attention import (
    KernelMeasures,
    LogitParts,
    Split,
    factored_kernel,
    factored_sums,
    measures_of_sums,
    offsets,
    relative_kernel,
    rope_bands,
    term_logits,
    term_sums,
    with_relative,
)
from poslens.attention.relative import relative_sums
from poslens.checkpoints.blocks import AttentionBlock, Norm
from poslens.hidden.split import HiddenSplit
from poslens.logits.parts import Acting, Stream, logit_parts

EPSILON = float(np.finfo(float).eps)

both_kinds = pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])

KINDS = ("rough", "walk", "curve", "tiny", "huge", "offset", "collinear", "steep", "outlier")


def head(kind: str, length: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return queries and keys of two kinds of rows; the keys in another order of dimensions."""
    order = np.random.default_rng(length).permutation(dim)
    return table("walk" if kind == "tiny" else kind, length, dim), table(kind, length, dim)[
        :, order
    ]


def size_of(queries: np.ndarray, keys: np.ndarray) -> float:
    largest = np.linalg.norm(keys, axis=1).max()
    return float(np.sqrt(np.mean(np.sum(queries**2, axis=1))) * largest)


def assert_measures(
    found: KernelMeasures, kernel: Table, size: float, share_atol: float = 1e-13
) -> None:
    """Compare one head's measures; ``size`` is what its kernel could reach."""
    wanted = exact.measures(kernel)
    room = 20 * EPSILON * size
    assert_allclose(found.profile[0], rounded(wanted.profile), rtol=1e-9, atol=room)
    assert_allclose(found.distance_part[0], rounded(wanted.distance_part), rtol=1e-9, atol=room)
    assert_allclose(found.relative_share[0], rounded(wanted.relative_share), 1e-9, share_atol)
    assert found.half_distance[0] == wanted.half_distance
    assert found.peak_offset[0] == wanted.peak_offset
    if wanted.symmetry is None:
        assert found.symmetry[0] is None
    else:
        even = float(np.ptp(rounded(wanted.profile)))
        assert_allclose(found.symmetry[0], rounded(wanted.symmetry), 1e-9, 10 * room / even)


@both_kinds
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("length", "dim"), [(9, 5), (7, 11)])
def test_factored_kernels(kind: str, length: int, dim: int, causal: bool) -> None:
    queries, keys = head(kind, length, dim)
    kernel = exact.products(exactly(queries), exactly(keys), causal=causal)
    found = factored_kernel(queries[None], keys[None], causal=causal)
    assert_measures(found, kernel, size_of(queries, keys))


def profile_of(kind: str, length: int, *, causal: bool) -> np.ndarray:
    k = offsets(length, causal=causal).astype(float)
    rng = np.random.default_rng(length)
    return {
        "slope": -0.25 * np.abs(k) + 0.01 * k,
        "rough": rng.normal(size=k.size),
        "offset": 1e6 + rng.normal(size=k.size),
        "tiny": 1e-30 * rng.normal(size=k.size),
        "huge": 1e30 * np.cumsum(rng.normal(size=k.size)),
    }[kind]


@both_kinds
@pytest.mark.parametrize("kind", ["slope", "rough", "offset", "tiny", "huge"])
def test_kernels_of_distance(kind: str, causal: bool) -> None:
    profile = profile_of(kind, 9, causal=causal)
    found = relative_kernel(profile[None], causal=causal)
    kernel = exact.by_distance(exactly(profile), causal=causal)
    assert_measures(found, kernel, float(np.abs(profile).max()))


@both_kinds
def test_kernels_of_both(causal: bool) -> None:
    queries, keys = head("walk", 9, 5)
    profile = profile_of("rough", 9, causal=causal)
    sums = with_relative(factored_sums(queries[None], keys[None], causal=causal), profile[None])
    kernel = exact.added(
        exact.products(exactly(queries), exactly(keys), causal=causal),
        exact.by_distance(exactly(profile), causal=causal),
    )
    assert_measures(measures_of_sums(sums), kernel, size_of(queries, keys) + 3)


def test_sums_of_distance_alone_have_share_1() -> None:
    # The fit has nothing left to explain, to the last digits of either number.
    sums = relative_sums(profile_of("rough", 13, causal=True)[None], causal=True)
    assert measures_of_sums(sums).relative_share[0] == pytest.approx(1, abs=4 * EPSILON)


@pytest.mark.parametrize("reach", [13, 4096])
def test_rotated_means(reach: int) -> None:
    # Angles grow with distance, and their rounding with them.
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, 6))
    frequencies = 10_000.0 ** (-np.arange(3) / 3)
    turned = [(values[0::2] + 1j * values[1::2])[None] for values in (query, key)]
    k = np.array([-reach, 1 - reach, -7, -1, 0, 1, 7, reach])
    found = rope_bands(*turned, frequencies).profile(k)[0]
    of = exactly(query), exactly(key), exactly(frequencies)
    wanted = [exact.rotated_mean(*of, int(offset)) for offset in k]
    size = float(np.linalg.norm(query) * np.linalg.norm(key))
    assert_allclose(found, rounded(wanted), rtol=0, atol=EPSILON * size * (4 + reach))


def parts(kind: str, length: int, dim: int) -> tuple[tuple[np.ndarray, ...], ...]:
    """Content, position and constant of queries and of keys; constants vary a little."""
    rng = np.random.default_rng([length, dim])
    found = []
    for order in (np.arange(dim), rng.permutation(dim)):
        constant = 3 * rng.normal(size=dim) * rng.uniform(0.5, 2, size=(length, 1))
        found.append((table("rough", length, dim)[:, order], table(kind, length, dim), constant))
    return found[0], found[1]


@both_kinds
@pytest.mark.parametrize("biased", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("kind", ["walk", "curve", "offset", "outlier"])
def test_shares_of_logits(kind: str, biased: bool, causal: bool) -> None:
    queries, keys = parts(kind, 9, 5)
    bias = profile_of("slope", 9, causal=causal) if biased else None
    of = LogitParts(
        Split(*(part[None] for part in queries)),
        Split(*(part[None] for part in keys)),
        causal=causal,
        bias=None if bias is None else bias[None],
    )
    wanted = exact.shares(
        exactly(queries), exactly(keys), None if bias is None else exactly(bias), causal=causal
    )
    found = term_sums(of).shares()[:, 0]
    # Shares are of 1, but terms may be far larger than the logits that they cancel to.
    largest = max(1.0, float(np.abs(rounded(wanted)).max()))
    assert_allclose(found, rounded(wanted), rtol=1e-9, atol=1e-13 * largest)
    assert_allclose(found.sum(), 1, rtol=0, atol=1e-13 * largest)


@both_kinds
def test_terms_pair_by_pair(causal: bool) -> None:
    queries, keys = parts("walk", 9, 5)
    of = LogitParts(
        Split(*(part[None] for part in queries)), Split(*(part[None] for part in keys)), causal
    )
    found = term_logits(of, 0)
    pairs = [(0, 0), (1, 1), (0, 1), (1, 0)]
    for term, (a, b) in zip(found, pairs, strict=False):
        kernel = exact.products(exactly(queries[a]), exactly(keys[b]), causal=causal)
        for row, wanted in zip(term, exact.row_centred(kernel), strict=True):
            assert_allclose(row[: len(wanted)], rounded(wanted), rtol=0, atol=1e-13)


@both_kinds
def test_shares_behind_a_frozen_norm(causal: bool) -> None:
    # From what enters a block: LayerNorm with its division frozen, projections, scale.
    rng = np.random.default_rng(5)
    length, width, dim = 9, 6, 4
    content, position = rng.normal(size=(length, width)), table("walk", length, width)
    constant = np.tile(0.3 * rng.normal(size=width), (length, 1))
    gamma, beta = rng.normal(1, 0.3, width), 0.1 * rng.normal(size=width)
    weights, biases = rng.normal(size=(2, width, dim)), rng.normal(size=(2, dim))
    block = AttentionBlock(
        family="none",
        part=None,
        layer=0,
        queries=weights[:1],
        keys=weights[1:],
        values=weights[1:],
        output=weights[:1].transpose(0, 2, 1),
        query_bias=biases[:1],
        key_bias=biases[1:],
        value_bias=biases[1:],
        output_bias=np.zeros(width),
        biased=frozenset(),
        scale=0.5,
        causal=causal,
        path=(Norm(scale=gamma, shift=beta, epsilon=1e-5, centre=True),),
        token_factor=1.0,
        token_projection=None,
        query_norm=None,
        key_norm=None,
        soft_cap=None,
        clip=None,
        window=None,
        bytes_read=0,
    )
    of = logit_parts(block, Stream(content, position, constant), Acting())
    found = term_sums(of).shares()[:, 0]

    normed = exact.layer_normed(
        (exactly(content), exactly(position), exactly(constant)),
        exactly(gamma),
        exactly(beta),
        mp.mpf(1e-5),
    )
    queries, keys = (
        exact.projected(normed, exactly(weight), exactly(bias), exactly(scale))
        for weight, bias, scale in zip(weights, biases, (0.5, 1.0), strict=True)
    )
    wanted = rounded(exact.shares(queries, keys, None, causal=causal))
    assert_allclose(found, wanted, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_shares_of_hidden_states(offset: float) -> None:
    rng = np.random.default_rng(2)
    states = rng.normal(size=(4, 7, 5)) + rng.normal(size=(4, 1, 5)) + table("walk", 7, 5)
    states = states + offset * rng.normal(size=5)
    split = HiddenSplit()
    for context in states:
        split.add(context)
    found: Any = split.shares()
    wanted = rounded(exact.hidden_shares(exactly(states)))
    # Means of an offset are rounded in proportion to it.
    atol = 1e-14 + 4 * EPSILON * offset
    assert_allclose([found.pos, found.ctx, found.resid], wanted, rtol=0, atol=atol)
