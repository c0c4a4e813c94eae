"""Every measure of a table against 50 digits, to a relative 1e-9 and closer.

A cosine, a correlation, a share of variance or an R² is a number of the order of 1 that rounding
moves by some 1e-16, so that 1e-14 is allowed beside the 1e-9 where it is near 0. Where the table
itself makes a measure worse than that, the test says by how much.
"""

from __future__ import annotations

import functools
from typing import Any

import exact_geometry as exact
import numpy as np
import pytest
from exact_fits import PARAMETERS, Fits, aicc_of
from exact_numbers import (
    Table,
    Vector,
    centred,
    columns,
    exactly,
    mean,
    mp,
    product,
    rounded,
    singular,
    squares,
)
from exact_tables import CASES, table, tokens
from numpy.testing import assert_allclose

from poslens.geometry import TableMeasures, measures_of_table, probes, shift
from poslens.geometry.tokens import TokenGeometry

RTOL, ATOL = 1e-9, 1e-14
EPSILON = float(np.finfo(float).eps)

Case = tuple[str, int, int]


def each(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=lambda c: f"{c[0]}-{c[1]}x{c[2]}")


def same_directions(case: Case) -> bool:
    """Say whether rows are those of the walk but for their lengths: their cosines are known."""
    return case[0] in ("tiny", "huge", "outlier", "uneven")


@functools.cache
def rows_of(case: Case) -> Table:
    return exactly(table(*case))


@functools.cache
def found(case: Case) -> TableMeasures:
    return measures_of_table(table(*case), TokenGeometry(tokens(case[2])))


@functools.cache
def profile_of(case: Case) -> Vector:
    return exact.cosine_profile(rows_of(case))


@functools.cache
def components_of(case: Case) -> exact.Components:
    return exact.Components(rows_of(case))


def agree(got: Any, wanted: Any, rtol: float = RTOL, atol: float = ATOL) -> None:
    assert_allclose(
        rounded(got), rounded(wanted), rtol=rtol, atol=atol, strict=isinstance(got, np.ndarray)
    )


@each(CASES)
def test_norms(case: Case) -> None:
    values, rows = found(case).values, rows_of(case)
    for name, wanted in exact.norms(rows).items():
        # The smallest of norms that are nearly equal is told from the largest to 1e-16.
        agree(values[name], wanted, atol=EPSILON if name == "norm.cv" else 0)
    agree(values["norm.token_ratio"], exact.token_ratio(rows, exactly(tokens(case[2]))), atol=0)
    assert values["norm.outlier_rows"] == exact.outlier_rows(rows)


@each(CASES)
def test_cosines(case: Case) -> None:
    values, rows, profile = found(case).values, rows_of(case), profile_of(case)
    agree(np.array(values["cosine.profile"]), profile)
    agree(values["cosine.adjacent"], profile[1])
    assert values["cosine.half_lag"] == exact.half_lag(profile)
    centred_profile = exact.cosine_profile(centred(rows))
    agree(np.array(values["cosine.centered_profile"]), centred_profile)
    agree(values["cosine.centered_adjacent"], centred_profile[1])
    agree(values["cosine.offset_share"], exact.offset_share(rows), atol=0)


@each([case for case in CASES if not same_directions(case)])
def test_rank_of_the_cosine(case: Case) -> None:
    measured, profile = found(case), profile_of(case)
    seen = profile[1 : len(profile) // 2 + 1]
    if max(seen) - min(seen) < 1e-9:  # cosines that differ by 1e-12 are equal
        assert "the same at every lag" in measured.undefined["cosine.monotonicity"]
    else:
        agree(measured.values["cosine.monotonicity"], exact.monotonicity(profile), atol=0)


@each([case for case in CASES if not same_directions(case)])
def test_curves(case: Case) -> None:
    measured, fits = found(case), Fits(profile_of(case))
    n = len(fits.lags)
    fall = float(1 - min(fits.wanted))
    flat = squares([[y - mean(fits.wanted)] for y in fits.wanted]) < n * mp.mpf("1e-24")
    if flat:
        for name in ("cosine.decay_rate", "cosine.exp_r2", "cosine.best_family"):
            assert "no decay to fit" in measured.undefined[name]
    else:
        rate = fits.decay[0]
        if mp.isfinite(rate):
            # A rate is what the cosine falls by; that is known to rounding of a cosine of 1.
            agree(measured.values["cosine.decay_rate"], rate, rtol=RTOL + 4 * EPSILON / fall)
        else:
            assert measured.values["cosine.decay_rate"] is None
        agree(measured.values["cosine.exp_r2"], fits.r2)
    wanted = fits.rss()
    assert [fit.family for fit in measured.fits] == list(wanted)
    aicc = {}
    for fit in measured.fits:
        rss = wanted[fit.family]
        # Rounding moves each residual by 1e-15, and errors below 1e-24 are not looked into.
        moved = 1e-15 * float(mp.sqrt(n * rss))
        agree(fit.rss, rss, atol=2 * moved + 1e-24)
        aicc[fit.family] = aicc_of(rss, n, PARAMETERS[fit.family])
        if rss > 1e-15:
            agree(fit.aicc, aicc[fit.family], rtol=RTOL)
    if not flat:
        best = measured.values["cosine.best_family"]
        assert aicc[best] <= min(aicc.values()) + mp.mpf("1e-9")


@each(CASES)
def test_differences(case: Case) -> None:
    values, rows = found(case).values, rows_of(case)
    agree(values["difference.parallel"], exact.parallel(rows))
    assert list(values["difference.parallel_at"]) == list(map(str, exact.strides(len(rows))))
    for stride, value in values["difference.parallel_at"].items():
        agree(value, exact.parallel(rows, int(stride)))


@each(CASES)
def test_trajectory(case: Case) -> None:
    values, rows = found(case).values, rows_of(case)
    for name, wanted in exact.trajectory(rows).items():
        # What bends a line is the rounding of its points where nothing else does.
        agree(values[name], wanted, atol=0 if name.endswith("noise_share") else ATOL)
    by_turns = exact.helix(rows)
    agree(values["trajectory.helix_r2"], max(by_turns.values()))
    # Of several that fit as well to 1e-15, any one is the best.
    agree(by_turns[values["trajectory.turns"]], max(by_turns.values()), rtol=0, atol=ATOL)


@each(CASES)
def test_components(case: Case) -> None:
    values, parts = found(case).values, components_of(case)
    agree(np.array(values["pca.explained"]), parts.explained)
    for name, wanted in parts.values().items():
        agree(values[name], wanted, atol=0)
    shares = found(case).components.explained
    correlations = parts.index_correlations(mp.mpf("1e-12"))
    measured = np.abs(np.corrcoef(np.arange(case[1]), found(case).components.scores.T)[0, 1:])
    for got, wanted, share in zip(measured, correlations, shares, strict=False):
        # The direction of a component turns by rounding as a share of its variance.
        agree(got, wanted, atol=ATOL + 4 * EPSILON / share)
    best = values["pca.best_index_component"] - 1
    agree(values["pca.pc1_index_correlation"], correlations[0])
    agree(values["pca.best_index_correlation"], max(correlations), atol=4 * EPSILON / shares[best])
    agree(correlations[best], max(correlations), atol=4 * EPSILON / shares[best])


@each([case for case in CASES if case[0] in ("rough", "walk", "offset", "steep")])
def test_subspaces(case: Case) -> None:
    of_tokens = tokens(case[2])
    overlap = exact.subspace_overlap(components_of(case), exactly(of_tokens))
    agree(found(case).values["tokens.subspace_overlap"], overlap)


def condition(matrix: Table) -> float:
    """Return the largest singular value by the smallest that is not zero by the contract."""
    s = singular(matrix)[1]
    return float(s[0] / min(value for value in s if value > exact.RANK * s[0]))


def offset_ratio(rows: Table) -> float:
    """Return the size of rows by that of what varies among them."""
    return float(mp.sqrt(squares(rows) / squares(centred(rows))))


def lags(case: Case) -> list[int]:
    return [k for k in (1, 8, 64) if case[1] > 4 * k]


@each(CASES)
def test_shift_as_a_rotation(case: Case) -> None:
    rows, measured = rows_of(case), found(case).values["shift.rotation_r2"]
    assert list(measured) == [str(k) for k in lags(case)]
    for k in lags(case):
        first, second = exact.shift_pairs(rows, k, (0, 1, 2))
        targets = exact.shift_pairs(rows, k, (3,))[1]
        # The map is known to the one; what it predicts, as a share of what varies, to the other.
        worse = condition(product(columns(first), second)) + offset_ratio(targets)
        agree(measured[str(k)], exact.rotation_r2(rows, k), atol=ATOL + 10 * EPSILON * worse)


@each(CASES)
def test_shift_as_a_linear_map(case: Case) -> None:
    rows, values = rows_of(case), found(case).values
    for k in lags(case):
        rank, scores = values["shift.rank"][str(k)], exact.shift_selection(rows, k)
        moved = EPSILON * condition(exact.shift_pairs(rows, k, (0, 1))[0])
        best = max(scores.values())
        agree(scores[rank], best, rtol=0, atol=1e-12 + 100 * moved * (1 + abs(float(best))))
        wanted = exact.shift_r2(rows, k, rank)
        agree(values["shift.r2"][str(k)], wanted, atol=ATOL + 100 * moved)


@each([("rough", 13, 4), ("walk", 13, 4), ("tiny", 13, 4), ("rough", 11, 13)])
def test_position_probe(case: Case) -> None:
    folds = np.array_split(np.random.default_rng(case[1]).permutation(case[1]), 5)
    agree(probes.position_mae(table(*case), folds), exact.position_mae(rows_of(case), folds))


@each([("rough", 13, 4), ("walk", 13, 4), ("walk", 9, 5)])  # of more pairs than features, and fewer
def test_order_probe(case: Case) -> None:
    length = case[1]
    rng = np.random.default_rng(length)
    first = rng.integers(length, size=length)
    second = (first + rng.integers(1, length, size=length)) % length
    folds = np.array_split(rng.permutation(length), 5)
    logits = exact.order_logits(rows_of(case), first, second, folds)
    wrong = sum((x > 0) != (b > a) for x, a, b in zip(logits, first, second, strict=True))
    assert probes.order_error(table(*case), first, second, folds) == wrong / length


def test_pairs_too_few_to_score_have_no_shift() -> None:
    # Of seven rows one pair is held out, and does not vary.
    measured = measures_of_table(np.random.default_rng(0).normal(size=(7, 11)))
    assert shift.shifts(7) == [1]
    assert {"shift.r2", "shift.rank", "shift.rotation_r2"} <= set(measured.undefined)
