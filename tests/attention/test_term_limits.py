"""Parts of logits that are refused, and what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from layers import layer

from poslens.attention import LogitParts, Split, term_logits, term_sums
from poslens.attention.validate import check_parts
from poslens.errors import SettingError, TableError

GOOD = np.random.default_rng(0).normal(size=(4, 9, 3))
ALL = GOOD, GOOD, GOOD


@pytest.mark.parametrize(
    ("queries", "keys", "message"),
    [
        (
            (GOOD[:, :2],) * 3,
            (GOOD[:, :2],) * 3,
            r"content parts of the queries .* at least 3 positions, got shape \(4, 2, 3\)",
        ),
        ((GOOD[:0],) * 3, ALL, r"expected \(head, position, d_head\) .* got shape \(0, 9, 3\)"),
        (ALL, (GOOD, GOOD[0], GOOD), r"the position parts of the keys .* got shape \(9, 3\); pass"),
        (
            (GOOD, GOOD, GOOD[:, :1]),
            ALL,
            r"the constant parts of the queries .* got shape \(4, 1, 3\)",
        ),
        (
            (GOOD, GOOD, GOOD[..., :1]),
            ALL,
            r"parts of the queries do not fit .* shapes \(4, 9, 3\), \(4, 9, 3\), \(4, 9, 1\); rep",
        ),
        (
            ALL,
            (GOOD, GOOD[:1], GOOD),
            r"parts of the keys do not fit .* \(4, 9, 3\), \(1, 9, 3\), \(4, 9, 3\)",
        ),
        (ALL, (GOOD[:, :8],) * 3, r"queries and keys do not fit .* \(4, 9, 3\) and \(4, 8, 3\)"),
        (ALL, (GOOD[..., :2],) * 3, r"shapes \(4, 9, 3\) and \(4, 9, 2\); take both from the same"),
        (ALL, (GOOD[:3],) * 3, r"multiple of the key heads, got 4 query and 3 key heads; check"),
        ((GOOD, GOOD.astype(int), GOOD), ALL, r"position parts of the queries are not real .*'int"),
        (ALL, (GOOD + 0j, GOOD, GOOD), r"content parts of the keys are not real .*'complex128'"),
        (ALL, (GOOD, GOOD, 1e70 * GOOD), r"the constant parts of the keys are out of range"),
    ],
)
def test_parts_that_are_refused(
    queries: tuple[np.ndarray, ...], keys: tuple[np.ndarray, ...], message: str
) -> None:
    with pytest.raises(TableError, match=message):
        check_parts(queries, keys, None, causal=True)


@pytest.mark.parametrize(
    ("shape", "causal", "message"),
    [
        ((4, 9), False, r"the bias does not fit the queries: expected shape \(4, 17\)"),
        (
            (4, 17),
            True,
            r"expected shape \(4, 9\), \(head, offset\), got shape \(4, 17\); evaluate",
        ),
        ((3, 9), True, r"got shape \(3, 9\)"),
        ((9,), True, r"got shape \(9,\)"),
    ],
)
def test_bias_that_is_refused(shape: tuple[int, ...], causal: bool, message: str) -> None:
    with pytest.raises(TableError, match=message):
        check_parts(ALL, ALL, np.ones(shape), causal=causal)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_parts_that_are_not_finite_are_named(bad: float) -> None:
    broken = GOOD.copy()
    broken[[1, 3], 4, 2] = bad
    parts = LogitParts(Split(GOOD, GOOD, GOOD), Split(GOOD, broken, GOOD), causal=True)
    message = r"the position parts of the keys hold .* NaN or Inf in heads 1, 3; repair"
    with pytest.raises(TableError, match=message):
        term_sums(parts)
    with pytest.raises(TableError, match=message):
        term_logits(parts, 0)
    with pytest.raises(TableError, match=r"the biases hold .* NaN or Inf in heads 0, 1, 2, 3"):
        term_sums(replace(parts, keys=parts.queries, bias=np.full((4, 9), bad)))


@pytest.mark.parametrize("head", [-1, 6, 100])
def test_a_head_that_is_not_there(head: int) -> None:
    parts = layer(6, 9, 3, causal=True)
    with pytest.raises(SettingError, match=rf"no such head .* 0 to 5, got {head}; count heads"):
        term_logits(parts, head)


def test_texts_of_different_models_do_not_add_up() -> None:
    few, many = (term_sums(layer(heads, 9, 3, causal=True)) for heads in (4, 6))
    with pytest.raises(TableError, match=r"expected 4 heads in both, got 6"):
        few + many
