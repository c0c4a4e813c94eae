"""Verdicts: each claim can be supported and contradicted, and says why where it cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest

import poslens
from poslens.claims import default_bars
from poslens.claims.claim import Verdict
from poslens.claims.decide import verdict
from poslens.claims.rules import RULES
from poslens.claims.trained import untrained_rows
from poslens.errors import SettingError
from poslens.study import Study

CONTRACT = {  # claims.md, in its order of sections; a bar of None needs more than one model
    "order.blind_without_position": ("1", ">= 0.001"),
    "sinusoid.many_frequencies": ("2.1", "<= 0.01"),
    "sinusoid.linear_shift": ("2.1", ">= 0.999"),
    "sinusoid.no_parameters": ("2.1", "<= 0"),
    "learned.trained_rows": ("2.2", "<= 0.01"),
    "norm.stable": ("3.1", "<= 0.15"),
    "norm.no_tail_explosion": ("3.1", "<= 1.25"),
    "norm.below_tokens": ("3.1", "<= 1"),
    "cosine.neighbours_alike": ("3.2", ">= 0.7"),
    "cosine.decays": ("3.2", "<= -0.9"),
    "cosine.exponential": ("3.2", ">= 0.9"),
    "difference.parallel": ("4", ">= 0.5"),
    "trajectory.linear": ("4, 8.1", ">= 0.9"),
    "pca.pc1_is_position": ("5.2", ">= 0.9"),
    "pca.few_components": ("5.2", "<= 5"),
    "pca.low_dimensional": ("5.2, 9", "<= 2.4"),
    "attention.four_terms": ("6", "<= 0.0001"),
    "attention.position_contributes": ("6, 9", ">= 0.05"),
    "attention.learns_distance": ("8.2", ">= 0.5"),
    "relative.distance_only": ("7", ">= 0.999999"),
    "relative.extrapolates": ("7", None),
    "trajectory.small_noise": ("8.1", "<= 0.1"),
    "trajectory.smooth": ("8.2", "<= 0.25"),
    "training.stabler": ("8.2", None),
    "memory.compressible": ("9", None),
}


@pytest.fixture(scope="module")
def study(curve: np.ndarray) -> Study:
    return poslens.analyze(curve)


def line(noise: float = 0.01) -> np.ndarray:
    rng = np.random.default_rng(0)
    direction, base = rng.standard_normal((2, 24))
    time = np.linspace(0, 1, 200)[:, None]
    return 3 * base + time * direction + noise * rng.standard_normal((200, 24)) / np.sqrt(24)


def white(scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(1).standard_normal((201, 24))


def test_every_claim_of_the_contract_is_decided_in_order(study: Study) -> None:
    assert [(c.id, c.section) for c in study.claims] == [(k, s) for k, (s, _) in CONTRACT.items()]
    for claim in study.claims:
        bar = CONTRACT[claim.id][1]
        assert claim.bar == (bar or ""), claim.id
        needs_attention = claim.id.startswith(("order.", "attention.", "relative."))
        if bar is None or needs_attention:  # of which a bare array has none
            assert claim.verdict is Verdict.NOT_APPLICABLE
            assert "needs" in claim.note or "speaks of" in claim.note


def test_a_line_supports_what_is_said_of_lines() -> None:
    found = poslens.analyze(line())
    for name in ("trajectory.linear", "pca.pc1_is_position", "trajectory.smooth", "norm.stable"):
        assert found.claim(name).verdict is Verdict.SUPPORTED, name
    for name in ("trajectory.small_noise", "cosine.neighbours_alike", "pca.low_dimensional"):
        assert found.claim(name).verdict is Verdict.SUPPORTED, name


def test_white_noise_contradicts_what_is_said_of_curves() -> None:
    found = poslens.analyze(white())
    names = (
        "trajectory.linear trajectory.smooth trajectory.small_noise cosine.neighbours_alike "
        "cosine.decays difference.parallel pca.few_components "
        "pca.low_dimensional pca.pc1_is_position sinusoid.linear_shift sinusoid.many_frequencies"
    )
    for name in names.split():
        assert found.claim(name).verdict is Verdict.CONTRADICTED, name


def test_a_random_walk_is_told_from_structure() -> None:
    """A walk passes the bar of PC1; the note says that walks do, and linearity is not supported."""
    rng = np.random.default_rng(5)
    found = poslens.analyze(np.cumsum(rng.standard_normal((300, 200)), axis=0))
    assert found.measures["pca.pc1_index_correlation"] == pytest.approx(0.99, abs=0.01)
    assert "a random walk would show the same" in found.claim("pca.pc1_is_position").note
    assert found.claim("trajectory.linear").verdict is not Verdict.SUPPORTED
    assert found.claim("trajectory.linear").p_value > 0.01


def test_a_norm_that_scatters_and_a_tail_that_explodes() -> None:
    rows = white()
    rows[::2] *= 3
    rows[-11:] *= 5
    found = poslens.analyze(rows, nulls=0)
    assert found.claim("norm.stable").verdict is Verdict.CONTRADICTED
    assert found.claim("norm.no_tail_explosion").verdict is Verdict.CONTRADICTED
    assert poslens.analyze(white(), nulls=0).claim("norm.no_tail_explosion").verdict is (
        Verdict.SUPPORTED
    )


def test_an_exponential_decay() -> None:
    rho, rng = 0.97, np.random.default_rng(2)
    rows = rng.standard_normal((400, 600))
    for t in range(1, 400):
        rows[t] = rho * rows[t - 1] + math.sqrt(1 - rho**2) * rows[t]
    found = poslens.analyze(rows)
    assert found.claim("cosine.exponential").verdict is Verdict.SUPPORTED
    assert found.measures["cosine.decay_rate"] == pytest.approx(-math.log(rho), rel=0.1)


def test_the_note_tells_a_table_without_noise_from_one_of_noise_alone() -> None:
    exact = np.outer(np.arange(1.0, 129.0), np.ones(16))
    noise = np.random.default_rng(0).standard_normal((128, 16))
    notes = [
        poslens.analyze(rows, nulls=0).claim("difference.parallel").note for rows in (exact, noise)
    ]
    assert "cos 1 (parallel; at stride 1, less noise)" in notes[0]
    assert "(anti-parallel; noise at every stride)" in notes[1]


def test_a_little_noise_hides_no_parallel_steps() -> None:
    rows = line(noise=0.07)  # 6 % of the variance: of each step, nearly all
    found = poslens.analyze(rows)
    assert found.measures["difference.parallel"] < -0.3
    claim = found.claim("difference.parallel")
    assert claim.verdict is Verdict.SUPPORTED
    assert "less noise" in claim.note
    assert found.claim("trajectory.small_noise").verdict is Verdict.SUPPORTED


def test_what_any_smooth_dimensions_show_is_not_supported() -> None:
    walk = np.cumsum(np.random.default_rng(5).standard_normal((300, 200)), axis=0)
    found = poslens.analyze(walk)
    for name in ("pca.few_components", "pca.low_dimensional"):
        claim = found.claim(name)
        assert claim.verdict is Verdict.INCONCLUSIVE, name
        assert claim.null == "wave_signs"
        assert claim.p_value > 0.01
        assert "on 14 random directions" in claim.note or "would show the same" in claim.note


def test_unrelated_rows_do_not_decay() -> None:
    found = poslens.analyze(white())
    assert found.measures["cosine.exp_r2"] > 0.9
    assert found.claim("cosine.exponential").verdict is Verdict.INCONCLUSIVE


def test_the_sinusoidal_encoding() -> None:
    found = poslens.analyze("sinusoidal:length=512,dim=768", nulls=19)
    for claim in ("many_frequencies", "linear_shift", "no_parameters"):
        assert found.claim(f"sinusoid.{claim}").verdict is Verdict.SUPPORTED
    assert found.claim("sinusoid.no_parameters").value == 0
    assert found.claim("learned.trained_rows").verdict is Verdict.NOT_APPLICABLE
    assert found.measures["probe.position_mae"] == 0.0
    assert found.measures["probe.order_error"] == pytest.approx(0.05, abs=0.03)
    for shift in ("1", "8", "64"):
        assert found.measures["shift.rotation_r2"][shift] == pytest.approx(1, abs=1e-4)
        assert found.measures["shift.r2"][shift] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("layout", ["interleaved", "concatenated"])
def test_many_frequencies_in_either_layout(layout: str) -> None:
    frequencies = 10_000 ** -np.linspace(0, 1, 24)
    angle = np.arange(300)[:, None] * frequencies
    if layout == "interleaved":
        rows = np.stack([np.sin(angle), np.cos(angle)], axis=2).reshape(300, 48)
    else:
        rows = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    claim = poslens.analyze(rows, nulls=0).claim("sinusoid.many_frequencies")
    assert claim.verdict is Verdict.SUPPORTED
    assert claim.value < 1e-6
    assert layout in claim.note


def test_frequencies_that_repeat_or_are_unevenly_spaced_are_noticed() -> None:
    for frequencies in (np.full(8, 0.3), np.linspace(1, 0.1, 8)):
        angle = np.arange(300)[:, None] * frequencies
        rows = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
        claim = poslens.analyze(rows, nulls=0).claim("sinusoid.many_frequencies")
        assert claim.verdict is Verdict.CONTRADICTED


def test_fresh_rows_are_recognised_and_trained_rows_are_not() -> None:
    rng = np.random.default_rng(3)
    fresh = 0.02 * rng.standard_normal((4000, 64))
    # Both inside their 1–99 % range: 0.98² of rows, up to dependence between neighbours.
    assert untrained_rows(fresh, 0.02).mean() == pytest.approx(0.98**2, abs=0.02)
    assert untrained_rows(fresh * 2, 0.02).mean() == 0
    assert untrained_rows(np.repeat(fresh[::2], 2, axis=0), 0.02)[::2].mean() == 0
    half = fresh.copy()
    half[:2000] += 0.05
    assert untrained_rows(half, 0.02).mean() == pytest.approx(0.48, abs=0.02)


@pytest.mark.parametrize(
    ("relation", "interval", "p", "expected"),
    [
        ("<=", (0.1, 0.14), 0.005, Verdict.SUPPORTED),
        ("<=", (0.1, 0.16), 0.005, Verdict.INCONCLUSIVE),
        ("<=", (0.16, 0.2), 0.005, Verdict.CONTRADICTED),
        ("<=", (0.1, 0.14), 0.02, Verdict.INCONCLUSIVE),
        ("<=", (0.1, 0.14), None, Verdict.INCONCLUSIVE),
        ("<=", (0.16, 0.2), None, Verdict.CONTRADICTED),
        (">=", (0.16, 0.2), 0.01, Verdict.SUPPORTED),
        (">=", (0.14, 0.2), 0.01, Verdict.INCONCLUSIVE),
        (">=", (0.1, 0.14), 0.01, Verdict.CONTRADICTED),
        ("<=", (0.1, 0.15), 0.01, Verdict.SUPPORTED),
    ],
)
def test_the_rule_for_verdicts(
    relation: str, interval: tuple[float, float], p: float | None, expected: Verdict
) -> None:
    names = {"<=": "trajectory.smooth", ">=": "cosine.neighbours_alike"}
    rule = next(rule for rule in RULES if rule.id == names[relation])
    assert verdict(rule, 0.15, sum(interval) / 2, interval, p) is expected


def test_a_null_that_does_not_decide_leaves_the_bar_alone() -> None:
    rule = next(rule for rule in RULES if rule.id == "pca.pc1_is_position")
    assert verdict(rule, 0.9, 0.95, None, 0.7) is Verdict.SUPPORTED
    assert verdict(rule, 0.9, 0.85, None, 0.7) is Verdict.CONTRADICTED


def test_few_draws_cannot_support_and_none_leave_no_p(curve: np.ndarray) -> None:
    few = poslens.analyze(curve, nulls=20).claim("trajectory.smooth")
    none = poslens.analyze(curve, nulls=0).claim("trajectory.smooth")
    many = poslens.analyze(curve).claim("trajectory.smooth")
    assert many.verdict is Verdict.SUPPORTED
    assert few.verdict is Verdict.INCONCLUSIVE
    assert few.p_value == pytest.approx(1 / 21)
    assert none.verdict is Verdict.INCONCLUSIVE
    assert (none.p_value, none.null) == (None, None)


def test_p_values_count_draws_at_least_as_extreme(study: Study) -> None:
    assert study.claim("trajectory.smooth").p_value == pytest.approx(1 / 201)
    for claim in study.claims:
        if claim.p_value is not None:
            assert 1 / 201 <= claim.p_value <= 1


def test_bars_can_be_changed(curve: np.ndarray, study: Study) -> None:
    value = study.measures["norm.cv"]
    assert isinstance(value, float)
    strict = poslens.analyze(curve, nulls=0, bars={"norm.stable": value / 10})
    claim = strict.claim("norm.stable")
    assert claim.verdict is Verdict.CONTRADICTED
    assert claim.bar == f"<= {value / 10:.6g}"
    loose = poslens.analyze(curve, nulls=0, bars={"pca.low_dimensional": 1.0})
    assert loose.claim("pca.low_dimensional").bar == "<= 24"


def test_wrong_bars_are_refused_with_the_nearest_name(curve: np.ndarray) -> None:
    with pytest.raises(SettingError, match=r"no claim 'norm\.stabel' .*norm\.stable"):
        poslens.analyze(curve, bars={"norm.stabel": 0.2})
    with pytest.raises(SettingError, match=r"bar of norm\.stable .*got nan"):
        poslens.analyze(curve, bars={"norm.stable": math.nan})
    with pytest.raises(SettingError, match="memory"):
        poslens.analyze(curve, bars={"memory.compressible": 0.2})
    assert len(default_bars()) == sum(bar is not None for _, bar in CONTRACT.values())


def test_intervals_hold_the_value_and_exist_only_for_means(study: Study) -> None:
    with_interval = {claim.id for claim in study.claims if claim.interval is not None}
    assert with_interval == {
        "norm.stable",
        "cosine.neighbours_alike",
        "difference.parallel",
        "trajectory.small_noise",
        "trajectory.smooth",
    }
    for name in with_interval:
        claim = study.claim(name)
        assert claim.interval is not None
        assert claim.interval[0] <= claim.value <= claim.interval[1], name


def test_the_effective_view_changes_the_measures_not_the_question(minilm: object) -> None:
    raw = poslens.analyze(str(minilm), nulls=0)
    effective = poslens.analyze(str(minilm), nulls=0, view="effective")
    assert effective.measures["norm.cv"] != raw.measures["norm.cv"]
    assert effective.claim("learned.trained_rows") == raw.claim("learned.trained_rows")
