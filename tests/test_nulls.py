"""Each null keeps what it says it keeps, and destroys the rest."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st

from poslens import nulls
from poslens.claims import null_draws
from poslens.geometry import components, cosine, difference, norms, shift, trajectory


def ignore(_steps: int) -> None:
    pass


def table(length: int, dim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.standard_normal((length, dim)), axis=0) + 3.0


@given(st.integers(3, 40), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_permutation_keeps_every_row(length: int, dim: int, seed: int) -> None:
    rows = table(length, dim, seed % 1000)
    drawn = nulls.permutation(rows, np.random.default_rng(seed))
    assert np.array_equal(np.sort(drawn, axis=0), np.sort(rows, axis=0))
    assert {tuple(row) for row in drawn} == {tuple(row) for row in rows}


@given(st.integers(3, 40), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_random_walk_keeps_the_start_and_each_step_size(length: int, dim: int, seed: int) -> None:
    rows = table(length, dim, seed % 1000)
    drawn = nulls.random_walk(rows, np.random.default_rng(seed))
    assert np.array_equal(drawn[0], rows[0])
    assert trajectory.squared_steps(drawn) == pytest.approx(
        trajectory.squared_steps(rows), rel=1e-9
    )


def test_random_walk_directions_are_isotropic() -> None:
    rows = table(20_001, 5)
    steps = np.diff(nulls.random_walk(rows, np.random.default_rng(3)), axis=0)
    unit = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    # Mean 0 and covariance I/d, to five standard errors of 20,000 directions.
    assert np.abs(unit.mean(axis=0)).max() < 5 / np.sqrt(5 * 20_000)
    assert np.abs(unit.T @ unit / 20_000 - np.eye(5) / 5).max() < 5 * 0.3 / np.sqrt(20_000)


@pytest.mark.parametrize("length", [3, 4, 33, 64])
def test_surrogate_keeps_means_and_power_spectra(length: int) -> None:
    rows = table(length, 7)
    drawn = nulls.surrogate(rows, np.random.default_rng(1))
    power = np.abs(np.fft.rfft(rows, axis=0))
    assert np.abs(np.fft.rfft(drawn, axis=0)) == pytest.approx(power, rel=1e-9, abs=1e-9)
    assert drawn.mean(axis=0) == pytest.approx(rows.mean(axis=0), rel=1e-9)
    assert not np.allclose(drawn, rows)


def test_surrogate_destroys_a_helix() -> None:
    time = np.arange(256) / 256
    angles = 2 * np.pi * 3 * time[:, None] + np.linspace(0, 6, 40)
    helix = np.cos(angles)  # 40 dimensions, but a plane
    drawn = nulls.surrogate(helix, np.random.default_rng(0))
    explained = components.principal_components(drawn).explained
    assert components.principal_components(helix).explained[:2].sum() == pytest.approx(1.0)
    assert explained[:2].sum() == pytest.approx(1.0)  # one frequency still spans only a plane
    mixed = helix + np.cos(2 * angles) + np.cos(5 * angles)
    fewer = components.principal_components(mixed).explained
    more = components.principal_components(nulls.surrogate(mixed, np.random.default_rng(0)))
    assert components.participation_ratio(more.explained) == pytest.approx(
        components.participation_ratio(fewer), rel=0.2
    )


def test_gaussian_keeps_mean_and_total_variance() -> None:
    rows = table(4000, 6)
    drawn = nulls.gaussian(rows, np.random.default_rng(2))
    spread = np.sqrt(np.mean((rows - rows.mean(axis=0)) ** 2))
    assert drawn.mean(axis=0) == pytest.approx(rows.mean(axis=0), abs=5 * spread / np.sqrt(4000))
    assert drawn.std(axis=0) == pytest.approx(np.full(6, spread), rel=5 / np.sqrt(8000))


@pytest.mark.parametrize("name", sorted(nulls.NULLS))
def test_a_null_is_reproducible_and_leaves_its_input_alone(name: str) -> None:
    rows = table(31, 6)
    before = rows.copy()
    first = nulls.NULLS[name](rows, np.random.default_rng(5))
    again = nulls.NULLS[name](rows, np.random.default_rng(5))
    other = nulls.NULLS[name](rows, np.random.default_rng(6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(rows, before)
    assert first.shape == rows.shape


# The fast draws against the measures of tables drawn one by one with the same generators.


def generators(seed: int, stream: int, draws: int) -> list[np.random.Generator]:
    children = np.random.SeedSequence([seed, stream]).spawn(draws)
    return [np.random.default_rng(child) for child in children]


@pytest.mark.parametrize(("length", "dim"), [(33, 16), (64, 17), (41, 60)])
def test_permutation_draws_are_the_measures_of_permuted_tables(length: int, dim: int) -> None:
    rows = table(length, dim)
    drawn = null_draws.permutation(rows, 6, 4, ignore).values
    for index, rng in enumerate(generators(4, 2, 6)):
        permuted = nulls.permutation(rows, rng)
        profile = cosine.profile(permuted)
        half = length // 2 + 1
        assert drawn["cosine.profile"][index] == pytest.approx(profile[:half], abs=2e-5)
        assert drawn["cosine.adjacent"][index] == pytest.approx(profile[1], abs=2e-5)
        assert drawn["cosine.monotonicity"][index] == pytest.approx(
            cosine.monotonicity(profile), abs=0.02
        )
        assert drawn["trajectory.roughness"][index] == pytest.approx(
            trajectory.roughness(permuted), rel=1e-9
        )
        parallel = [difference.parallel(permuted, s) for s in difference.strides(length)]
        assert drawn["difference.parallel_at"][index] == pytest.approx(parallel, abs=1e-9)


def test_permutation_draws_of_a_long_table_need_no_gram_matrix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = table(65, 12)
    expected = null_draws.permutation(rows, 3, 0, ignore).values
    monkeypatch.setattr(null_draws, "_GRAM_ROWS", 10)
    found = null_draws.permutation(rows, 3, 0, ignore).values
    assert found["trajectory.roughness"] == pytest.approx(expected["trajectory.roughness"])
    assert found["difference.parallel"] == pytest.approx(expected["difference.parallel"])
    assert np.isnan(found["difference.parallel_at"][:, 1:]).all()


@pytest.mark.parametrize(("length", "dim"), [(33, 16), (64, 17), (40, 90)])
def test_random_walk_draws_are_the_measures_of_walks(length: int, dim: int) -> None:
    rows = table(length, dim)
    drawn = null_draws.random_walk(rows, 8, 4, ignore).values
    for index, rng in enumerate(generators(4, 3, 8)):
        walk = nulls.random_walk(rows.astype(np.float32), rng).astype(np.float64)
        parts = components.principal_components(walk)
        assert drawn["trajectory.linear_r2"][index] == pytest.approx(
            trajectory.linear_r2(walk), rel=1e-4
        )
        assert drawn["pca.pc1_index_correlation"][index] == pytest.approx(
            components.index_correlations(parts.scores)[0], rel=2e-3
        )


@pytest.mark.parametrize(("length", "dim"), [(40, 6), (41, 90), (300, 200), (320, 200)])
def test_rotation_draws_are_the_measures_of_walks(length: int, dim: int) -> None:
    rows = table(length, dim)
    drawn = null_draws.random_walk_rotations(rows, 3, 4, ignore).values["shift.rotation_r2"]
    for index, rng in enumerate(generators(4, 4, 3)):
        walk = nulls.random_walk(rows, rng)
        expected = [shift.rotation_r2(walk, k) for k in shift.shifts(length)]
        assert drawn[index] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("length", "dim"), [(33, 16), (64, 17), (40, 90), (402, 300), (3, 5)])
def test_surrogate_draws_are_the_measures_of_surrogates(length: int, dim: int) -> None:
    """The spectrum from Fourier coefficients is the spectrum of the table that they give."""
    rows = table(length, dim)
    drawn = null_draws.surrogate(rows, 5, 4, ignore).values
    for index, rng in enumerate(generators(4, 5, 5)):
        phases = nulls.surrogate_phases(rows.shape, rng, np.float32)
        # A uniform phase added to the table's own is a uniform phase: only sizes matter.
        spectrum = np.abs(np.fft.rfft(rows, axis=0)) * phases
        parts = components.principal_components(np.fft.irfft(spectrum, length, axis=0))
        kept = drawn["pca.explained"][index]
        assert kept == pytest.approx(parts.explained[: kept.size], abs=1e-5)
        assert drawn["pca.n80"][index] == components.number_for(parts.explained, 0.8)
        assert drawn["pca.participation_ratio"][index] == pytest.approx(
            components.participation_ratio(parts.explained), rel=1e-4
        )


@pytest.mark.parametrize(("length", "dim"), [(33, 6), (64, 14), (40, 1)])
def test_wave_signs_keep_means_and_cosine_spectra(length: int, dim: int) -> None:
    rows = table(length, dim)
    drawn = nulls.wave_signs(rows, np.random.default_rng(1))
    assert drawn.mean(axis=0) == pytest.approx(rows.mean(axis=0))
    before, after = (np.abs(scipy.fft.dct(each, axis=0)) for each in (rows, drawn))
    assert after == pytest.approx(before, abs=1e-9 * before.max())
    assert not np.allclose(drawn, rows)


@pytest.mark.parametrize(("length", "dim"), [(33, 6), (64, 14), (9, 14), (130, 40)])
def test_wave_sign_draws_are_the_measures_of_such_tables(length: int, dim: int) -> None:
    rows = table(length, dim)
    drawn = null_draws.wave_signs(rows, 5, 4, ignore).values
    few = null_draws.on_few_directions(rows, 4)
    assert few.shape == (length, min(dim, 14))
    for index, rng in enumerate(generators(4, 7, 5)):
        parts = components.principal_components(nulls.wave_signs(few, rng))
        assert drawn["pca.components80"][index] == pytest.approx(
            components.components_for(parts.explained, 0.8)
        )
        assert drawn["pca.participation_ratio"][index] == pytest.approx(
            components.participation_ratio(parts.explained)
        )


def test_walks_are_as_likely_as_their_wave_sign_draws() -> None:
    """Cosines are a walk's principal waves, so signs of independent dimensions are a coin's."""
    above = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        walk = np.cumsum(rng.standard_normal((60, 8)), axis=0)
        own = components.principal_components(walk).explained
        other = components.principal_components(nulls.wave_signs(walk, rng)).explained
        above += components.participation_ratio(own) > components.participation_ratio(other)
    assert abs(above - 150) < 4 * np.sqrt(300) / 2  # four standard errors of a fair coin


def test_gaussian_norms_have_the_distribution_of_gaussian_rows() -> None:
    rows = table(400, 9) / 20
    drawn = null_draws.gaussian(rows, 40, 0, ignore).values["norm.row"].ravel()
    direct = np.concatenate(
        [norms.row_norms(nulls.gaussian(rows, rng)) for rng in generators(1, 1, 40)]
    )
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    # 16,000 values each: quantiles agree to five standard errors of the median's.
    scatter = 5 * 1.25 * direct.std() * np.sqrt(2 / 16_000) * 2
    assert np.quantile(drawn, levels) == pytest.approx(np.quantile(direct, levels), abs=scatter)


def test_draws_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table(50, 8)
    many = null_draws.surrogate(rows, 12, 0, ignore).values
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    one = null_draws.surrogate(rows, 12, 0, ignore).values
    assert all(np.array_equal(many[name], one[name]) for name in many)


def test_progress_counts_every_draw() -> None:
    steps: list[int] = []
    null_draws.gaussian(table(20, 4), 9, 0, steps.append)
    assert sum(steps) == 9
