"""Tables have the truths that are claimed of them: by formula, and by measures of large tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from poslens.audit.cells import PROCESSES
from poslens.audit.nothing import smooth_dimensions
from poslens.audit.processes import CLAIMS, Process, Truth
from poslens.audit.truths import OFFSET
from poslens.claims.rules import RULES
from poslens.geometry import components, cosine, cosine_fits, difference, norms, shift, trajectory
from poslens.geometry.frequencies import pair_frequencies

LENGTH, DIM = 512, 96


def of_signal(rows: np.ndarray) -> dict[str, float]:
    """What claims speak of, measured without intervals, nulls and noise."""
    parts = components.principal_components(rows)
    found = {
        "sinusoid.many_frequencies": pair_frequencies(rows).deviation,
        "norm.stable": norms.cv(norms.row_norms(rows)),
        "norm.no_tail_explosion": norms.tail_ratio(norms.row_norms(rows)),
        "cosine.neighbours_alike": cosine.profile(rows)[1],
        "difference.parallel": difference.parallel(rows),
        "trajectory.linear": trajectory.linear_r2(rows),
        "pca.pc1_is_position": components.index_correlations(parts.scores)[0],
        "pca.few_components": components.number_for(parts.explained, 0.8),
        "pca.low_dimensional": components.participation_ratio(parts.explained) / min(rows.shape),
        "trajectory.small_noise": trajectory.noise_share(rows),
        "trajectory.smooth": trajectory.roughness(rows),
    }
    if np.ptp(cosine.profile(rows)) > 1e-9:
        found["cosine.decays"] = cosine.falling(cosine.profile(rows))
        found["cosine.exponential"] = cosine_fits.decay(cosine.profile(rows))[1]
    return {name: float(value) for name, value in found.items()}


@pytest.fixture(scope="module", params=PROCESSES.values(), ids=lambda process: process.name)
def measured(request: pytest.FixtureRequest) -> tuple[Process, dict[str, float]]:
    process: Process = request.param
    return process, of_signal(process.draw(LENGTH, DIM, np.random.default_rng(1)))


def test_what_is_true_meets_the_bar(measured: tuple[Process, dict[str, float]]) -> None:
    process, values = measured
    looked_at = process.true & values.keys()
    assert looked_at
    for rule in RULES:
        if rule.id in looked_at:
            assert rule.bar is not None
            distance = rule.bar - values[rule.id]
            assert (distance if rule.relation == "<=" else -distance) > 0, rule.id


# Supported only beside a null that these tables are drawn from: the value may meet the bar.
OF_NULLS = {
    "pca.few_components",
    "pca.low_dimensional",
    "cosine.neighbours_alike",
    "cosine.exponential",
}


def test_what_is_false_misses_the_bar(measured: tuple[Process, dict[str, float]]) -> None:
    process, values = measured
    looked_at = process.false & values.keys()
    assert looked_at
    for rule in RULES:
        if rule.id in looked_at - OF_NULLS:
            assert rule.bar is not None
            distance = rule.bar - values[rule.id]
            assert (distance if rule.relation == "<=" else -distance) < 0, rule.id


@pytest.mark.parametrize("process", PROCESSES.values(), ids=lambda process: process.name)
def test_every_claim_is_true_false_or_open_with_a_reason(process: Process) -> None:
    groups = (process.true, process.false, frozenset(process.open))
    assert sum(map(len, groups)) == len(CLAIMS)
    assert frozenset.union(*groups) == frozenset(CLAIMS)
    assert all(len(reason) > 10 for reason in process.open.values())


def test_audited_claims_are_rules_that_a_table_decides() -> None:
    rules = {rule.id: rule for rule in RULES}
    assert all(rules[claim].of_table and rules[claim].measure for claim in CLAIMS)


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_noise_has_the_share_that_is_asked_for(share: float) -> None:
    rows = PROCESSES["line"].table(2000, 64, share, np.random.default_rng(0))
    residual = 1 - trajectory.linear_r2(rows)
    assert residual == pytest.approx(share, rel=0.05)
    assert trajectory.noise_share(rows) == pytest.approx(share, rel=0.05)


def test_a_line_stands_on_its_offset() -> None:
    rows = PROCESSES["line"].draw(301, 16, np.random.default_rng(0))
    assert np.linalg.norm(rows.mean(axis=0)) == pytest.approx(OFFSET)
    assert np.mean((rows - rows.mean(axis=0)) ** 2) * 16 == pytest.approx(1)
    assert np.linalg.norm(np.diff(rows, n=2, axis=0)) < 1e-12


@pytest.mark.parametrize(("name", "turns"), [("helix, 1 turn", 1.0), ("helix, 5 turns", 5.0)])
def test_a_helix_has_its_turns(name: str, turns: float) -> None:
    found = trajectory.helix(PROCESSES[name].draw(400, 24, np.random.default_rng(2)))
    assert (found.turns, found.r2) == (turns, pytest.approx(1))


@pytest.mark.parametrize(("name", "rho"), [("decay, ρ = 0.5", 0.5), ("decay, ρ = 0.9", 0.9)])
def test_a_decay_is_stationary_with_its_correlation(name: str, rho: float) -> None:
    rows = PROCESSES[name].draw(4000, 200, np.random.default_rng(0))
    assert np.mean(rows**2) == pytest.approx(1, rel=0.02)
    assert np.mean(rows[0] ** 2) == pytest.approx(1, abs=0.3)
    for lag in (1, 3):
        assert np.mean(rows[lag:] * rows[:-lag]) == pytest.approx(rho**lag, abs=0.02)


def test_a_curve_has_three_dimensions_in_known_shares() -> None:
    rows = PROCESSES["curve"].draw(300, 40, np.random.default_rng(3))
    explained = components.principal_components(rows).explained
    assert explained[:4] == pytest.approx([0.6, 0.25, 0.15, 0], abs=1e-10)


def test_smooth_dimensions_have_their_covariance() -> None:
    rows = smooth_dimensions(129, 30_000, np.random.default_rng(0), scales=4)
    for lag in (0, 16, 32):
        expected = math.exp(-((lag * 4 / 129) ** 2) / 2)
        assert np.mean(rows[60] * rows[60 + lag]) == pytest.approx(expected, abs=0.03)


def test_noise_ends_what_is_true_of_a_formula() -> None:
    sinusoidal = PROCESSES["sinusoidal"]
    assert sinusoidal.truth("sinusoid.linear_shift") is Truth.TRUE
    assert sinusoidal.truth("sinusoid.linear_shift", 0.01) is Truth.FALSE
    assert sinusoidal.truth("sinusoid.many_frequencies", 0.01) is Truth.OPEN
    rng = np.random.default_rng(0)
    assert shift.rotation_r2(sinusoidal.table(256, 32, 0.0, rng), 8) > 0.9999
    assert shift.rotation_r2(sinusoidal.table(256, 32, 0.01, rng), 8) < 0.99
