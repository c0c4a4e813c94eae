"""Claims from runs side by side: each can be supported, contradicted and left open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from lab_experiments import small
from safetensors.numpy import save_file

from poslens.claims import over_seeds as intervals
from poslens.claims.claim import Claim, Verdict
from poslens.lab.claims import lab_claims
from poslens.lab.folders import RunFolder
from poslens.lab.results import Curve, LabResults, Run

# Losses at 1× and 4× by label and seed.
Losses = dict[str, dict[int, tuple[float, float]]]


def results(folder: Path, losses: Losses, *changes: str) -> LabResults:
    """Results of runs that had these losses, with tables of noise before and after."""
    schemes = ", ".join(
        "{ scheme = 'learned', init = 'smooth' }" if label == "learned-smooth" else f"'{label}'"
        for label in losses
    )
    seeds = sorted({seed for of in losses.values() for seed in of})
    experiment = small(folder, f"schemes=[{schemes}]", f"seeds={seeds}", *changes)
    runs = []
    for label, by_seed in losses.items():
        for seed, (near, far) in by_seed.items():
            place = RunFolder.of(folder, label, seed)
            curves = {
                length: Curve(loss, np.full(length, loss))
                for length, loss in ((16, near), (64, far))
            }
            runs.append(Run(label, seed, near, curves, {}, (), {}, place))
    return LabResults(experiment, tuple(runs), {}, ())


def claims(found: LabResults) -> dict[str, Claim]:
    return {claim.id: claim for claim in lab_claims(found)}


def tables(found: LabResults, trained: Any) -> LabResults:
    """Write the snapshots of learned tables: noise, then what ``trained`` makes of each."""
    rng = np.random.default_rng(1)
    for run in found.runs:
        if run.label == "learned":
            began = rng.normal(0, 0.02, (128, 16)).astype(np.float32)
            ended = began.copy()
            ended[:16] = trained(began[:16], run.seed)
            run.folder.snapshots.mkdir(parents=True)
            for step, rows in ((0, began), (11, ended)):
                path = run.folder.snapshots / f"step-{step:08}.safetensors"
                save_file({"table": rows}, path)
    return found


def flat(losses: Losses) -> Losses:
    """The same with no growth from 1× to 4×."""
    return {k: {s: (near, near) for s, (near, _) in of.items()} for k, of in losses.items()}


LEARNED = {0: (2.0, 3.0), 1: (2.1, 3.2), 2: (2.2, 3.1), 3: (2.0, 3.3)}


def test_schemes_that_grow_less_in_every_seed_extrapolate(tmp_path: Path) -> None:
    less = {seed: (near, near + 0.1 + 0.01 * seed) for seed, (near, _) in LEARNED.items()}
    more = {seed: (near, near + 0.3 + 0.01 * seed) for seed, (near, _) in LEARNED.items()}
    found = tables(
        results(tmp_path, {"learned": LEARNED, "alibi": less, "rope": more}), lambda rows, _: rows
    )
    claim = claims(found)["relative.extrapolates"]
    excess = np.array([(far - near) for near, far in more.values()])
    excess -= np.array([far - near for near, far in LEARNED.values()])
    assert claim.verdict == Verdict.SUPPORTED
    assert claim.value == pytest.approx(np.exp(excess.max()), rel=1e-12)
    paired = scipy.stats.ttest_1samp(excess, 0).confidence_interval(0.95)
    assert claim.interval == pytest.approx(np.exp([paired.low, paired.high]), rel=1e-9)
    assert claim.bar == "<= 1"
    assert "the interval is of rope, over 4 seeds" in claim.note


@pytest.mark.parametrize(
    ("grown", "verdict"),
    [
        ({0: 1.5, 1: 1.6, 2: 1.5, 3: 1.7}, Verdict.CONTRADICTED),
        # One seed in which it grows more: not every seed.
        ({0: 0.2, 1: 0.2, 2: 0.2, 3: 1.4}, Verdict.INCONCLUSIVE),
        # Less in every seed, but not by more than seeds differ.
        ({0: 0.99, 1: 1.0, 2: 0.89, 3: -2.0}, Verdict.INCONCLUSIVE),
    ],
)
def test_other_growth_is_contradicted_or_open(
    grown: dict[int, float], verdict: Verdict, tmp_path: Path
) -> None:
    rope = {seed: (near, near + grown[seed]) for seed, (near, _) in LEARNED.items()}
    found = tables(results(tmp_path, {"learned": LEARNED, "rope": rope}), lambda rows, _: rows)
    assert claims(found)["relative.extrapolates"].verdict == verdict


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    one: Losses = {"learned": {5: (2.0, 3.0)}, "rope": {5: (2.0, 2.1)}}
    found = claims(tables(results(tmp_path, one), lambda rows, _: rows))
    claim = found["relative.extrapolates"]
    assert (claim.verdict, claim.interval) == (Verdict.INCONCLUSIVE, None)
    assert claim.value == pytest.approx(np.exp(-0.9), rel=1e-12)
    assert "too few seeds" in claim.note


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    found = claims(results(tmp_path, {"rope": {0: (2.0, 3.0), 1: (2.0, 3.0)}}))
    assert {claim.verdict for claim in found.values()} == {Verdict.NOT_APPLICABLE}
    assert "learned table" in found["relative.extrapolates"].note
    # Seeds that only one of the two has are no pairs.
    apart: Losses = {"learned": {0: (2.0, 3.0)}, "rope": {1: (2.0, 2.1)}}
    (tmp_path / "apart").mkdir()
    found = claims(tables(results(tmp_path / "apart", apart), lambda rows, _: rows))
    assert found["relative.extrapolates"].verdict == Verdict.NOT_APPLICABLE


def stability(folder: Path, smooth: list[float], noise: list[float]) -> Claim:
    losses: Losses = {
        "learned": {seed: (loss, loss) for seed, loss in enumerate(noise)},
        "learned-smooth": {seed: (loss, loss) for seed, loss in enumerate(smooth)},
    }
    return claims(tables(results(folder, losses), lambda rows, _: rows))["training.stabler"]


def test_stability_is_a_ratio_of_variances(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    noise = list(2 + 0.1 * rng.normal(size=9))
    smooth = list(2 + 0.01 * rng.normal(size=9))
    for name, first, second, verdict in (
        ("less", smooth, noise, Verdict.SUPPORTED),
        ("more", noise, smooth, Verdict.CONTRADICTED),
        ("few", smooth[:3], noise[:3], Verdict.INCONCLUSIVE),
        ("two", smooth[:2], noise[:2], Verdict.INCONCLUSIVE),
    ):
        (tmp_path / name).mkdir()
        claim = stability(tmp_path / name, first, second)
        assert claim.verdict == verdict, name
        ratio = np.var(first, ddof=1) / np.var(second, ddof=1)
        assert claim.value == pytest.approx(ratio, rel=1e-9)
        assert (claim.interval is None) == (name == "two")


def test_ends_of_the_variance_interval_are_where_the_correlation_is_just_significant() -> None:
    rng = np.random.default_rng(8)
    for count, shared in ((3, 0.5), (6, 0.0), (11, 2.0)):
        common = shared * rng.normal(size=count)
        first, second = common + rng.normal(size=count), 3 * (common + rng.normal(size=count))
        ends = intervals.of_variance_ratio(first, second)
        assert ends is not None
        for ratio in ends:
            scaled = np.sqrt(ratio) * second
            tested = scipy.stats.pearsonr(first - scaled, first + scaled)
            assert tested.pvalue == pytest.approx(0.05, rel=1e-6)
        # Scaling one of the two scales the interval; exchanging them inverts it.
        scaled_ends = intervals.of_variance_ratio(10 * first, second)
        assert scaled_ends == pytest.approx(100 * np.array(ends), rel=1e-9)
        turned = intervals.of_variance_ratio(second, first)
        assert turned == pytest.approx(1 / np.array(ends)[::-1], rel=1e-9)


def test_variance_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        common = rng.normal(size=5)
        first, second = common + rng.normal(size=5), common + rng.normal(size=5)
        low, high = intervals.of_variance_ratio(first, second) or (np.nan, np.nan)
        held += bool(low <= 1 <= high)
    assert abs(held - 1900) < 4 * np.sqrt(2000 * 0.05 * 0.95)


def test_intervals_of_a_mean_are_scipys() -> None:
    values = np.array([0.3, -0.2, 0.9, 0.4])
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert intervals.of_mean(values) == pytest.approx((theirs.low, theirs.high), rel=1e-12)
    assert intervals.of_mean(values[:1]) is None
    assert intervals.of_variance_ratio(values[:2], values[:2]) is None
    assert intervals.of_variance_ratio(values, np.ones(4)) is None


def test_trained_rows_are_those_that_training_reached(tmp_path: Path) -> None:
    losses: Losses = flat({"learned": LEARNED})
    for name, trained, verdict, value in (
        ("trained", lambda rows, _: rows + 1.0, Verdict.SUPPORTED, 0.0),
        ("fresh", lambda rows, _: rows, Verdict.CONTRADICTED, None),
        ("one seed", lambda rows, seed: rows + (seed != 2), Verdict.INCONCLUSIVE, None),
    ):
        (tmp_path / name).mkdir()
        found = claims(tables(results(tmp_path / name, losses), trained))["learned.trained_rows"]
        assert found.verdict == verdict, name
        assert found.value is not None
        assert found.value == value if value is not None else found.value > 0.9
        assert found.interval is not None
        assert 0 <= found.interval[0] <= found.interval[1] <= 1
        assert "of 448 rows beyond it, 448 are still their initial values" in found.note


def test_claims_are_the_articles_in_its_order(tmp_path: Path) -> None:
    found = lab_claims(results(tmp_path, {"rope": {0: (2.0, 2.0)}}))
    assert [claim.id for claim in found] == [
        "learned.trained_rows",
        "relative.extrapolates",
        "training.stabler",
    ]
    assert [claim.section for claim in found] == ["2.2", "7", "8.2"]


def test_lengths_that_were_not_evaluated_are_no_evidence(tmp_path: Path) -> None:
    found = results(tmp_path, {"learned": LEARNED, "rope": LEARNED})
    short = tuple(replace(run, lengths={16: run.lengths[16]}) for run in found.runs)
    found = tables(replace(found, runs=short), lambda rows, _: rows)
    claim = claims(found)["relative.extrapolates"]
    assert claim.verdict == Verdict.NOT_APPLICABLE
    assert "rows for 4×" in claim.note
