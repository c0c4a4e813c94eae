"""Every measure of a table against the brute force of `tests/brute.py`.

The contract asks for a relative 1e-6; the two derivations in fact agree to 1e-9, so that is what
is asked for here. The absolute floor is for values that are differences of near-equal numbers (a
mean cosine near 0, an R² near 0), where 1e-12 is a few thousand roundings of 1.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tables import KINDS, SIZES, table

import brute
from poslens.geometry import TableMeasures, measures_of_table, probes
from poslens.geometry.tokens import TokenGeometry
from poslens.geometry.views import effective

RTOL, ATOL = 1e-9, 1e-12

# (kind, length, dim, view). The effective view takes a dimension away (rows sum to zero before γ),
# so it is tried where that matters: on tables that are otherwise of full rank.
CASES = [(kind, *size, "raw") for kind in KINDS for size in SIZES] + [
    (kind, *size, "effective") for kind in ("gaussian", "ar1") for size in SIZES
]
each_table = pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}x{c[2]}-{c[3]}")

Case = tuple[str, int, int, str]


def gain(dim: int) -> np.ndarray:
    return np.random.default_rng(dim).normal(1.0, 0.3, size=dim)


def tokens(dim: int) -> np.ndarray:
    rng = np.random.default_rng([dim, 1])
    return rng.normal(size=(5 * dim // 2, dim)) * np.linspace(2, 1, dim) + 0.2


@functools.cache
def rows_of(case: Case) -> np.ndarray:
    """Return the table in float64, in its view, as the brute force sees it."""
    kind, length, dim, view = case
    rows = table(kind, length, dim).astype(np.float64)
    return brute.effective(rows, gain(dim)) if view == "effective" else rows


@functools.cache
def found(case: Case) -> TableMeasures:
    """Return what PosLens measures, from the table as it is stored."""
    kind, length, dim, view = case
    if view == "effective":
        rows = effective(table(kind, length, dim), (gain(dim),))
        return measures_of_table(rows, TokenGeometry(tokens(dim), (gain(dim),)))
    return measures_of_table(table(kind, length, dim), TokenGeometry(tokens(dim)))


@functools.cache
def profile_of(case: Case) -> np.ndarray:
    return brute.cosine_profile(rows_of(case))


def agree(got: Any, wanted: Any, rtol: float = RTOL, atol: float = ATOL) -> None:
    assert_allclose(got, wanted, rtol=rtol, atol=atol, strict=isinstance(wanted, np.ndarray))


@each_table
def test_effective_view_centres_over_dimensions_and_scales(case: Case) -> None:
    kind, length, dim, _ = case
    rows = table(kind, length, dim).astype(np.float64)
    largest = float(np.abs(rows).max())
    agree(effective(rows, (gain(dim),)), brute.effective(rows, gain(dim)), atol=1e-15 * largest)


@each_table
def test_norms(case: Case) -> None:
    values = found(case).values
    for name, wanted in brute.norm_measures(rows_of(case)).items():
        agree(values[name], wanted)
    assert values["norm.outlier_rows"] == brute.norm_outlier_rows(rows_of(case))


@each_table
def test_cosines_at_every_lag(case: Case) -> None:
    values, rows = found(case).values, rows_of(case)
    centered = brute.cosine_profile(brute.centred(rows))
    agree(np.array(values["cosine.profile"]), profile_of(case))
    agree(np.array(values["cosine.centered_profile"]), centered)
    agree(values["cosine.adjacent"], profile_of(case)[1])
    agree(values["cosine.centered_adjacent"], centered[1])
    agree(values["cosine.offset_share"], brute.cosine_offset_share(rows))
    assert values["cosine.half_lag"] == brute.cosine_half_lag(profile_of(case))
    agree(values["cosine.monotonicity"], brute.cosine_monotonicity(profile_of(case)))


@each_table
def test_exponential_decay(case: Case) -> None:
    values = found(case).values
    rate, r2 = brute.cosine_decay(profile_of(case))
    if np.isinf(rate):
        assert values["cosine.decay_rate"] is None
        assert "cosine.decay_rate" in found(case).undefined
    else:
        # Under a large offset the whole profile falls by 1e-4 only: the contract's own bound.
        agree(values["cosine.decay_rate"], rate, rtol=1e-6, atol=0)
    agree(values["cosine.exp_r2"], r2)


@each_table
def test_families_reach_the_least_squares_and_are_ranked_by_aicc(case: Case) -> None:
    count = len(brute.fit_lags(len(rows_of(case))))
    best_rss = brute.family_rss(profile_of(case))
    aicc = brute.family_aicc(best_rss, count)
    fits = {fit.family: fit for fit in found(case).fits}
    assert fits.keys() == best_rss.keys()
    for family, rss in best_rss.items():
        # Neither side may find a lower error than the other, beyond rounding of the profile.
        agree(fits[family].rss, rss, rtol=1e-6, atol=count * 1e-26)
        agree(fits[family].aicc, aicc[family], rtol=1e-6)
    # Two families can end in the same curve (both at an infinite rate): then either is the best.
    agree(aicc[found(case).values["cosine.best_family"]], min(aicc.values()), rtol=1e-6)


@each_table
def test_differences_at_every_stride(case: Case) -> None:
    values, rows = found(case).values, rows_of(case)
    agree(values["difference.parallel"], brute.parallel(rows))
    at = values["difference.parallel_at"]
    assert list(at) == [str(stride) for stride in brute.strides(len(rows))]
    for stride in brute.strides(len(rows)):
        agree(at[str(stride)], brute.parallel(rows, stride))


@each_table
def test_trajectory(case: Case) -> None:
    values, rows = found(case).values, rows_of(case)
    agree(values["trajectory.straightness"], brute.straightness(rows))
    agree(values["trajectory.linear_r2"], brute.linear_r2(rows))
    agree(values["trajectory.roughness"], brute.roughness(rows))
    agree(values["trajectory.noise_share"], brute.noise_share(rows))
    r2, turns = brute.helix(rows)
    agree(values["trajectory.helix_r2"], r2)
    assert values["trajectory.turns"] == turns


@each_table
def test_principal_components(case: Case) -> None:
    values, rows = found(case).values, rows_of(case)
    shares = brute.explained(rows)
    # Shares are of a whole of 1, and the Gram matrix rounds that whole.
    agree(np.array(values["pca.explained"]), shares, atol=1e-13)
    assert values["pca.n80"] == brute.components_for(shares, 0.80)
    assert values["pca.n95"] == brute.components_for(shares, 0.95)
    agree(values["pca.participation_ratio"], brute.participation_ratio(rows))
    agree(values["pca.stable_rank"], brute.stable_rank(rows))
    correlations = brute.index_correlations(rows)
    agree(values["pca.pc1_index_correlation"], correlations[0])
    agree(values["pca.best_index_correlation"], max(correlations))
    agree(correlations[values["pca.best_index_component"] - 1], max(correlations))


@each_table
def test_shift_as_a_rotation(case: Case) -> None:
    rows = rows_of(case)
    measured = found(case).values["shift.rotation_r2"]
    assert list(measured) == [str(k) for k in brute.shift_lags(len(rows))]
    for k in brute.shift_lags(len(rows)):
        # On sinusoidal rows singular values cross the rank tolerance of 1e-12 one by one: which
        # of them count is decided by rounding, and moves R² by up to the square root of that.
        agree(measured[str(k)], brute.shift_rotation_r2(rows, k), atol=1e-10)


@each_table
def test_shift_as_any_linear_map(case: Case) -> None:
    rows = rows_of(case)
    values = found(case).values
    assert list(values["shift.r2"]) == [str(k) for k in brute.shift_lags(len(rows))]
    for k in brute.shift_lags(len(rows)):
        rank, scores = values["shift.rank"][str(k)], brute.shift_selection(rows, k)
        # Where several ranks score the same (a perfect fit), any of them is the best.
        assert scores[rank] >= max(scores.values()) - 1e-11
        agree(values["shift.r2"][str(k)], brute.shift_r2_at(rows, k, rank))


@each_table
def test_probes(case: Case) -> None:
    rows = rows_of(case)
    length = len(rows)
    rng = np.random.default_rng([length, 7])
    folds = np.array_split(rng.permutation(length), 5)
    first = rng.integers(length, size=length)
    second = (first + rng.integers(1, length, size=length)) % length
    pair_folds = np.array_split(rng.permutation(length), 5)
    # Both are counts of whole errors, so they agree exactly or are wrong.
    agree(probes.position_mae(rows, folds), brute.position_mae(rows, folds), atol=0)
    agree(
        probes.order_error(rows, first, second, pair_folds),
        brute.order_error(rows, first, second, pair_folds),
        atol=0,
    )


@each_table
def test_tokens(case: Case) -> None:
    _, _, dim, view = case
    rows = rows_of(case)
    table_of_tokens = tokens(dim)
    if view == "effective":
        table_of_tokens = brute.effective(table_of_tokens, gain(dim))
    values = found(case).values
    overlap, chance = brute.subspace_overlap(rows, table_of_tokens)
    agree(values["norm.token_ratio"], brute.norm_token_ratio(rows, table_of_tokens))
    agree(values["tokens.subspace_overlap"], overlap)
    agree(values["tokens.subspace_overlap_chance"], chance)


@each_table
def test_nothing_is_left_out(case: Case) -> None:
    values, undefined = found(case).values, found(case).undefined
    assert {name for name, value in values.items() if value is None} == set(undefined)
    assert set(undefined) <= {"cosine.decay_rate"}
    assert set(values) == CONTRACT


# The contract's names, "Geometry of a table".
CONTRACT = {
    "norm.mean",
    "norm.cv",
    "norm.first_ratio",
    "norm.tail_ratio",
    "norm.outlier_rows",
    "norm.token_ratio",
    "cosine.profile",
    "cosine.adjacent",
    "cosine.offset_share",
    "cosine.centered_profile",
    "cosine.centered_adjacent",
    "cosine.half_lag",
    "cosine.monotonicity",
    "cosine.decay_rate",
    "cosine.exp_r2",
    "cosine.best_family",
    "difference.parallel",
    "difference.parallel_at",
    "trajectory.straightness",
    "trajectory.linear_r2",
    "trajectory.helix_r2",
    "trajectory.turns",
    "trajectory.roughness",
    "trajectory.noise_share",
    "pca.explained",
    "pca.n80",
    "pca.n95",
    "pca.participation_ratio",
    "pca.stable_rank",
    "pca.pc1_index_correlation",
    "pca.best_index_correlation",
    "pca.best_index_component",
    "shift.rotation_r2",
    "shift.r2",
    "shift.rank",
    "probe.position_mae",
    "probe.order_error",
    "tokens.subspace_overlap",
    "tokens.subspace_overlap_chance",
}


def test_probes_are_cross_validated_over_shuffled_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table("ar1", 64, 17)
    seen: dict[str, tuple[Any, ...]] = {}
    original_mae, original_order = probes.position_mae, probes.order_error

    def position_mae(*arguments: Any) -> float:
        seen["position"] = arguments
        return original_mae(*arguments)

    def order_error(*arguments: Any) -> float:
        seen["order"] = arguments
        return original_order(*arguments)

    monkeypatch.setattr(probes, "position_mae", position_mae)
    monkeypatch.setattr(probes, "order_error", order_error)
    values = probes.measures(rows, seed=3)

    _, folds = seen["position"]
    _, first, second, pair_folds = seen["order"]
    for held in (folds, pair_folds):
        assert [len(fold) for fold in held] == [13, 13, 13, 13, 12]
        assert sorted(np.concatenate(held)) == list(range(64))
        assert sorted(held[0]) != list(range(13)), "the rows are shuffled"
    assert first.shape == second.shape == (64,)
    assert not (first == second).any()
    assert 16 < np.sum(second > first) < 48
    # The same seed gives the same numbers, whatever is measured beside them.
    assert (
        measures_of_table(rows, seed=3).values["probe.position_mae"]
        == (values["probe.position_mae"])
    )


def test_position_probe_is_the_least_squares_of_scikit_learn() -> None:
    rows = table("line_noise", 257, 24)
    folds = np.array_split(np.random.default_rng(1).permutation(257), 5)
    wanted = brute.sklearn_position_mae(rows, folds)
    assert wanted > 1
    agree(probes.position_mae(rows, folds), wanted, atol=0)
