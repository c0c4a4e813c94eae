"""Shares of terms against explicit matrices, and what must and must not change them."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import explicit_sums, explicit_terms, layer, row_centred
from matrices import allowed, matrix
from numpy.testing import assert_allclose, assert_array_equal

from poslens.attention import (
    TERMS,
    LogitParts,
    Split,
    factored_sums,
    offsets,
    term_logits,
    term_sums,
    with_relative,
)
from poslens.attention.weighted_keys import KeyParts, from_rows, over_all, over_earlier

CONTENT, POSITION, CONTENT_POSITION, POSITION_CONTENT, BIAS = range(5)

both_kinds = pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
with_and_without_bias = pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])


def assert_explicit(parts: LogitParts) -> None:
    covariances, variances = explicit_sums(parts)
    found = term_sums(parts)
    assert_allclose(found.variances, variances, rtol=1e-12)
    assert_allclose(found.covariances / variances, covariances / variances, rtol=0, atol=1e-12)
    assert_allclose(found.shares(), covariances / variances, rtol=0, atol=1e-12)


@both_kinds
@with_and_without_bias
@pytest.mark.parametrize(("heads", "key_heads"), [(6, 6), (12, 4), (6, 1)])
@pytest.mark.parametrize("length", [3, 4, 5, 17, 63, 64, 65])
def test_terms_are_their_matrices(
    length: int, heads: int, key_heads: int, bias: bool, causal: bool
) -> None:
    assert_explicit(layer(heads, length, 5, causal=causal, key_heads=key_heads, bias=bias))


# Either side of blocks of rows, of groups of blocks, and of one and several FFTs.
@both_kinds
@with_and_without_bias
@pytest.mark.parametrize(
    ("length", "dim"), [(127, 3), (128, 64), (129, 33), (511, 8), (512, 8), (513, 96), (1101, 48)]
)
def test_terms_across_blocks(length: int, dim: int, bias: bool, causal: bool) -> None:
    assert_explicit(layer(2, length, dim, causal=causal, key_heads=1, bias=bias))


@both_kinds
def test_covariances_are_those_of_numpy(causal: bool) -> None:
    length = 41
    parts = layer(6, length, 4, causal=causal, bias=True)
    shares = term_sums(parts).shares()
    for head in range(6):
        terms = explicit_terms(parts, head)
        rows = np.zeros((len(TERMS) + 1,) * 2)
        for t in range(1, length):
            keys = slice(0, t + 1 if causal else length)
            seen = terms[:, t, keys]
            rows += np.cov([*seen, seen.sum(axis=0)], bias=True) * seen.shape[1]
        if not causal:  # row 0 has keys to vary over too
            rows += np.cov([*terms[:, 0], terms[:, 0].sum(axis=0)], bias=True) * length
        assert_allclose(shares[:, head], rows[:-1, -1] / rows[-1, -1], rtol=0, atol=1e-12)


@both_kinds
@with_and_without_bias
@pytest.mark.parametrize("length", [3, 100, 777])
def test_shares_sum_to_1(length: int, bias: bool, causal: bool) -> None:
    # The variance once more from the sums of plain kernels, which know of no parts.
    parts = layer(6, length, 7, causal=causal, key_heads=2, bias=bias)
    found = term_sums(parts)
    whole = factored_sums(parts.queries.total, parts.keys.total, causal=causal)
    if parts.bias is not None:
        whole = with_relative(whole, parts.bias)
    assert_allclose(found.variances, whole.energy, rtol=1e-11)
    assert_allclose(found.covariances.sum(axis=0), whole.energy, rtol=1e-11)
    assert_allclose(found.shares().sum(axis=0), 1, rtol=0, atol=1e-9)


@both_kinds
def test_grouped_keys_are_repeated_keys(causal: bool) -> None:
    grouped = layer(12, 77, 4, causal=causal, key_heads=3, bias=True)
    keys = Split(*(np.repeat(part, 4, axis=0) for part in grouped.keys.parts))
    assert_array_equal(term_sums(replace(grouped, keys=keys)).shares(), term_sums(grouped).shares())


@both_kinds
@with_and_without_bias
def test_float32_is_widened_before_anything_is_computed(bias: bool, causal: bool) -> None:
    def converted(parts: LogitParts, dtype: type) -> LogitParts:
        queries, keys = (
            Split(*(part.astype(dtype) for part in split.parts))
            for split in (parts.queries, parts.keys)
        )
        bias = None if parts.bias is None else parts.bias.astype(dtype)
        return LogitParts(queries, keys, causal=parts.causal, bias=bias)

    narrow = converted(layer(6, 150, 6, causal=causal, key_heads=2, bias=bias), np.float32)
    wide = converted(narrow, np.float64)
    assert_array_equal(term_sums(narrow).covariances, term_sums(wide).covariances)
    assert_array_equal(term_logits(narrow, 5), term_logits(wide, 5))


@both_kinds
@with_and_without_bias
@pytest.mark.parametrize("length", [3, 65, 200])
def test_both_ways_to_weigh_keys_agree(length: int, bias: bool, causal: bool) -> None:
    parts = layer(1, length, 9, causal=causal, bias=bias)
    queries, keys = parts.queries.total[0], KeyParts([part[0] for part in parts.keys.parts])
    fast = (over_earlier if causal else over_all)(queries, keys)
    ours, slow = (
        np.concatenate([seen.copy() for _, seen in weighted], axis=1)
        for weighted in (fast, from_rows(queries, keys, causal=causal))
    )
    assert ours.shape == (3, length, 9)
    assert_allclose(ours, slow, rtol=0, atol=1e-12 * np.abs(slow).max())


@both_kinds
@pytest.mark.parametrize("length", [3, 50, 301])
def test_a_bias_is_what_positions_could_have_said(length: int, causal: bool) -> None:
    # cos ω(s - t) is a product of positions, and is a function of distance.
    parts = layer(6, length, 4, causal=causal)
    speed = np.linspace(0.01, 1, 6)[:, None]
    angle = np.arange(length) * speed
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=2)

    def beside(split: Split) -> Split:
        content, position, constant = (
            np.concatenate([part, more], axis=2)
            for part, more in zip(split.parts, (0 * circle, 3 * circle, 0 * circle), strict=True)
        )
        return Split(content, position, constant)

    as_product = term_sums(LogitParts(beside(parts.queries), beside(parts.keys), causal=causal))
    bias = 9 * np.cos(offsets(length, causal=causal) * speed)
    as_bias = term_sums(replace(parts, bias=bias))
    assert_allclose(as_bias.shares(), as_product.shares(), rtol=0, atol=1e-11)
    nothing = replace(parts, queries=Split(*(0 * part for part in parts.queries.parts)), bias=bias)
    assert_allclose(term_sums(nothing).shares()[POSITION], 1, rtol=0, atol=1e-12)


@st.composite
def layers(draw: st.DrawFn) -> LogitParts:
    """1 to 12 heads of 1 to 20 dimensions at 3 to 150 positions, both kinds, with bias or not."""
    key_heads = draw(st.integers(1, 3))
    return layer(
        heads=key_heads * draw(st.integers(1, 4)),
        length=draw(st.integers(3, 150)),
        dim=draw(st.integers(1, 20)),
        causal=draw(st.booleans()),
        key_heads=key_heads,
        bias=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


@given(layers())
@settings(max_examples=60)
def test_any_layer(parts: LogitParts) -> None:
    assert_explicit(parts)


@given(layers(), st.integers(0, 2), st.sampled_from([1e-3, 1.0, 1e4, 1e6]))
@settings(max_examples=80)
def test_a_constant_added_to_every_key_changes_no_share(
    parts: LogitParts, which: int, size: float
) -> None:
    constant = size * np.random.default_rng(0).normal(size=parts.keys.content.shape[2])
    keys = list(parts.keys.parts)
    keys[which] = keys[which] + constant
    after = term_sums(replace(parts, keys=Split(*keys)))
    assert_allclose(after.shares(), term_sums(parts).shares(), rtol=0, atol=1e-9)


@both_kinds
@with_and_without_bias
def test_a_constant_of_its_own_costs_no_digit(bias: bool, causal: bool) -> None:
    parts = layer(6, 200, 8, causal=causal, bias=bias)
    vector = np.random.default_rng(0).normal(size=(6, 1, 8))

    def with_constant(size: float) -> LogitParts:
        constant = np.broadcast_to(size * vector, parts.keys.content.shape)
        return replace(parts, keys=Split(parts.keys.content, parts.keys.position, constant))

    without, found = term_sums(with_constant(0)), term_sums(with_constant(1e6))
    assert_array_equal(found.covariances, without.covariances)
    assert_array_equal(found.variances, without.variances)
    assert_allclose(
        term_logits(with_constant(1e6), 4), term_logits(with_constant(0), 4), rtol=0, atol=1e-12
    )


@both_kinds
@pytest.mark.parametrize("size", [1.0, 1e6])
def test_a_constant_added_to_a_bias_changes_no_share(size: float, causal: bool) -> None:
    parts = layer(6, 200, 8, causal=causal, bias=True)
    after = term_sums(replace(parts, bias=parts.bias + size))
    assert_allclose(after.shares(), term_sums(parts).shares(), rtol=0, atol=1e-9)


@given(layers())
@settings(max_examples=30)
def test_no_position_no_position_terms(parts: LogitParts) -> None:
    queries, keys = (
        Split(split.content, np.zeros_like(split.content), split.constant)
        for split in (parts.queries, parts.keys)
    )
    nowhere = LogitParts(queries, keys, causal=parts.causal)
    shares = term_sums(nowhere).shares()
    of_position = [POSITION, CONTENT_POSITION, POSITION_CONTENT]
    assert not shares[of_position].any()
    assert_allclose(shares[CONTENT] + shares[BIAS], 1, rtol=0, atol=1e-9)
    assert not np.nan_to_num(term_logits(nowhere, 0))[of_position].any()


@given(layers())
@settings(max_examples=30)
def test_no_constant_no_bias_term(parts: LogitParts) -> None:
    queries, keys = (
        Split(split.content, split.position, np.zeros_like(split.content))
        for split in (parts.queries, parts.keys)
    )
    shares = term_sums(replace(parts, queries=queries, keys=keys)).shares()
    assert not shares[BIAS].any()
    assert_allclose(shares[:BIAS].sum(axis=0), 1, rtol=0, atol=1e-9)


@given(layers())
@settings(max_examples=30)
def test_content_and_position_may_swap_names(parts: LogitParts) -> None:
    parts = replace(parts, bias=None)
    queries, keys = (
        Split(split.position, split.content, split.constant)
        for split in (parts.queries, parts.keys)
    )
    swapped = term_sums(replace(parts, queries=queries, keys=keys)).shares()
    order = [POSITION, CONTENT, POSITION_CONTENT, CONTENT_POSITION, BIAS]
    assert_allclose(swapped, term_sums(parts).shares()[order], rtol=0, atol=1e-11)


@given(layers(), st.floats(0, 1))
@settings(max_examples=30)
def test_content_that_is_called_position_takes_its_share_along(
    parts: LogitParts, some: float
) -> None:
    # Of the keys' content: the logits stay, and what moves between terms is that part of them.
    content, position, constant = parts.keys.parts
    keys = Split((1 - some) * content, position + some * content, constant)
    before, after = term_sums(parts).shares(), term_sums(replace(parts, keys=keys)).shares()
    expected = before.copy()
    for source, target in ((CONTENT, CONTENT_POSITION), (POSITION_CONTENT, POSITION)):
        expected[source] -= some * before[source]
        expected[target] += some * before[source]
    assert_allclose(after, expected, rtol=0, atol=1e-10)


@given(layers(), st.sampled_from([1e-30, 1e-6, 3.0, 1e25]))
@settings(max_examples=30)
def test_scale_changes_no_share(parts: LogitParts, factor: float) -> None:
    queries = Split(*(factor * part for part in parts.queries.parts))
    keys = Split(*(part / 8 for part in parts.keys.parts))
    bias = None if parts.bias is None else factor / 8 * parts.bias
    after = term_sums(LogitParts(queries, keys, causal=parts.causal, bias=bias)).shares()
    assert_allclose(after, term_sums(parts).shares(), rtol=0, atol=1e-10)


@given(layers())
@settings(max_examples=30)
def test_only_the_products_matter(parts: LogitParts) -> None:
    dim = parts.keys.content.shape[2]
    frame = np.linalg.qr(np.random.default_rng(dim).normal(size=(dim, dim)))[0]
    queries, keys = (
        Split(*(part @ frame for part in split.parts)) for split in (parts.queries, parts.keys)
    )
    after = term_sums(replace(parts, queries=queries, keys=keys)).shares()
    assert_allclose(after, term_sums(parts).shares(), rtol=0, atol=1e-10)


@given(layers())
@settings(max_examples=30)
def test_reversal_changes_no_share_of_bidirectional_rows(parts: LogitParts) -> None:
    heads, length, _ = parts.queries.content.shape
    bias = np.random.default_rng(length).normal(size=(heads, 2 * length - 1))
    forward = replace(parts, causal=False, bias=bias)
    queries, keys = (
        Split(*(part[:, ::-1] for part in split.parts)) for split in (parts.queries, parts.keys)
    )
    backward = LogitParts(queries, keys, causal=False, bias=bias[:, ::-1])
    assert_allclose(term_sums(backward).shares(), term_sums(forward).shares(), rtol=0, atol=1e-10)


@both_kinds
def test_sums_add_up_over_texts(causal: bool) -> None:
    texts = [layer(6, length, 5, causal=causal, seed=length) for length in (40, 41, 90)]
    found = term_sums(texts[0]) + term_sums(texts[1]) + term_sums(texts[2])
    covariances, variances = (
        sum(values) for values in zip(*map(explicit_sums, texts), strict=True)
    )
    assert_allclose(found.shares(), covariances / variances, rtol=0, atol=1e-12)
    other_order = term_sums(texts[2]) + (term_sums(texts[0]) + term_sums(texts[1]))
    assert_allclose(other_order.shares(), found.shares(), rtol=0, atol=1e-14)


@both_kinds
@with_and_without_bias
@pytest.mark.parametrize("length", [3, 8, 130])
def test_term_logits_are_the_terms_row_by_row(length: int, bias: bool, causal: bool) -> None:
    parts = layer(6, length, 5, causal=causal, key_heads=2, bias=bias)
    pairs = allowed(length, causal=causal)
    for head in range(6):
        found = term_logits(parts, head)
        wanted = row_centred(explicit_terms(parts, head), causal=causal)
        assert np.isnan(found[:, ~pairs]).all()
        assert_allclose(found[:, pairs], wanted[:, pairs], rtol=0, atol=1e-11)
        logits = parts.queries.total[head] @ parts.keys.total[head // 3].T
        if parts.bias is not None:
            logits = logits + matrix(parts.bias[head], causal=causal)
        whole = row_centred(np.where(pairs, logits, 0), causal=causal)
        assert_allclose(found.sum(axis=0)[pairs], whole[pairs], rtol=0, atol=1e-11)


def alone(queries: np.ndarray, keys: np.ndarray, *, causal: bool) -> LogitParts:
    """Content alone."""
    none = np.zeros_like(queries), np.zeros_like(queries)
    return LogitParts(Split(queries, *none), Split(keys, *none), causal=causal)


@both_kinds
def test_no_share_where_logits_do_not_vary(causal: bool) -> None:
    parts = layer(6, 30, 4, causal=causal)
    queries, keys = ([part.copy() for part in split.parts] for split in (parts.queries, parts.keys))
    for part in queries:
        part[1] = 0
    for part in keys:
        part[2] = 0
        part[3] = part[3, 0]
    found = term_sums(LogitParts(Split(*queries), Split(*keys), causal=causal))
    assert_array_equal(
        np.isnan(found.shares()), np.isin(range(6), [1, 2, 3]) & np.ones((5, 1), bool)
    )
    assert not found.covariances[:, 1:4].any()
    assert not found.variances[1:4].any()
    bias = np.full((6, offsets(30, causal=causal).size), 7.0)
    flat = replace(alone(0 * queries[0], keys[0], causal=causal), bias=bias)
    assert np.isnan(term_sums(flat).shares()).all()


@both_kinds
def test_no_share_of_rounding(causal: bool) -> None:
    rng = np.random.default_rng(0)
    queries, key = rng.normal(size=(3, 200, 8)), rng.normal(size=8)
    keys = np.broadcast_to(key, queries.shape) * (1 + 1e-16 * rng.normal(size=(3, 200, 1)))
    assert np.ptp(keys, axis=1).any()
    found = term_sums(alone(queries, keys, causal=causal))
    assert np.isnan(found.shares()).all()
    # What varies in these keys is orthogonal to every query.
    frame = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    queries, keys = rng.normal(size=(2, 6, 300, 4))
    across = alone(queries @ frame[:4], keys @ frame[4:], causal=causal)
    assert np.isnan(term_sums(across).shares()).all()
    assert np.isnan((term_sums(across) + term_sums(across)).shares()).all()
    # Content and position that say the opposite of one another.
    content = rng.normal(size=(1, 300, 8))
    queries, none = rng.normal(size=(1, 300, 8)), np.zeros((1, 300, 8))
    opposed = LogitParts(Split(queries, none, none), Split(content, -content, none), causal=causal)
    assert np.isnan(term_sums(opposed).shares()).all()


@both_kinds
@pytest.mark.parametrize(("tilt", "atol"), [(2.0**-9, 1e-11), (2.0**-13, 1e-9), (2.0**-20, 1e-8)])
def test_nearly_orthogonal_queries_and_keys(tilt: float, atol: float, causal: bool) -> None:
    # Queries meet the keys in a small part alone: what a sum over keys would cancel to is known.
    rng = np.random.default_rng(2)
    small, queries, keys = rng.normal(size=(3, 3, 6, 300, 4))
    frame = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    tilted = np.concatenate([queries, tilt * small], axis=3) @ frame
    across = np.concatenate([0 * keys, keys], axis=3) @ frame
    found = term_sums(LogitParts(Split(*tilted), Split(*across), causal=causal))
    wanted = term_sums(LogitParts(Split(*small), Split(*keys), causal=causal))
    assert_allclose(found.variances, tilt**2 * wanted.variances, rtol=10 * atol)
    assert_allclose(found.shares(), wanted.shares(), rtol=0, atol=atol)


@both_kinds
def test_no_matrix_is_made(causal: bool) -> None:
    length = 4096
    parts = layer(1, length, 16, causal=causal)
    term_sums(layer(1, 5, 16, causal=causal))  # imports and thread pools
    tracemalloc.start()
    shares = term_sums(parts).shares()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(shares).all()
    assert peak < length * length * 8 / 20
