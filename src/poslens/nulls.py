"""Null tables: what a table looks like when one property is kept and the rest is chance.

Each null takes a table and a generator and returns a new table of the same shape. A measure is
remarkable only if tables like these do not show it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import scipy.fft

from poslens.axes import Rows

Null = Callable[[Rows, np.random.Generator], Rows]


def permutation(rows: Rows, rng: np.random.Generator) -> Rows:
    """Return the rows in random order: keeps every row, destroys what neighbours share."""
    return rows[rng.permutation(rows.shape[0])]


def random_walk(rows: Rows, rng: np.random.Generator) -> Rows:
    """Return a walk from p_0 with the table's step sizes: keeps ‖Δ_t‖, destroys directions.

    Directions are uniform on the sphere. Walks have few components and follow their index closely
    (Antognini & Sohl-Dickstein 2018, arXiv:1806.08805): structure, but not a trained one.
    """
    steps = np.diff(rows, axis=0)
    sizes = np.sqrt(np.einsum("td,td->t", steps, steps))
    # One dimension after another in memory: the running sums are then along cache lines.
    walk = np.empty(rows.shape[::-1], dtype=rows.dtype)
    walk[:, 0] = rows[0]
    directions = rng.standard_normal(steps.shape[::-1], dtype=rows.dtype.type)
    directions *= sizes / np.sqrt(np.einsum("dt,dt->t", directions, directions))
    np.cumsum(directions, axis=1, out=walk[:, 1:])
    walk[:, 1:] += rows[0][:, None]
    return walk.T


def surrogate(rows: Rows, rng: np.random.Generator) -> Rows:
    """Return a phase-randomised table (Theiler et al. 1992, Physica D 58, §2.3).

    Keeps the mean and the power spectrum of every dimension, so its smoothness along positions;
    destroys the phase relations between dimensions, so any curve that they trace together.
    """
    spectrum = scipy.fft.rfft(rows, axis=0, workers=-1)
    spectrum *= surrogate_phases(rows.shape, rng, rows.dtype.type)
    return np.asarray(scipy.fft.irfft(spectrum, rows.shape[0], axis=0, workers=-1))


def surrogate_phases(
    shape: tuple[int, int], rng: np.random.Generator, dtype: type = np.float64
) -> np.ndarray:
    """Return the random phase factors of `surrogate`, shape (⌊L/2⌋ + 1, dim), complex.

    Those at frequency 0 are 1, which keeps the means; at the highest frequency of an even length
    they are ±1, since only these leave a real table.
    """
    length, dim = shape
    angle = rng.random((length // 2 + 1, dim), dtype=dtype) * dtype(2 * np.pi)
    angle[0] = 0.0
    if length % 2 == 0:
        angle[-1] = np.where(angle[-1] < np.pi, 0.0, np.pi)
    phases = np.empty(angle.shape, dtype=np.result_type(dtype, np.complex64))
    np.cos(angle, out=phases.real)
    np.sin(angle, out=phases.imag)
    return phases


def wave_signs(rows: Rows, rng: np.random.Generator) -> Rows:
    """Return a table each of whose cosine waves has a random sign in each dimension.

    Keeps the mean and the cosine spectrum (DCT-II) of every dimension, so its smoothness; destroys
    which waves of two dimensions go together. Unlike `surrogate` it does not join the last position
    to the first: cosines are the principal waves of a random walk, and nearly those of every
    stationary process (Ahmed, Natarajan & Rao 1974), so that for independent dimensions of either
    kind the drawn tables are as likely as the table itself.
    """
    waves = scipy.fft.dct(rows, axis=0, norm="ortho", workers=-1)
    waves[1:] *= wave_sign_draw((rows.shape[0] - 1, rows.shape[1]), rng)
    return np.asarray(scipy.fft.idct(waves, axis=0, norm="ortho", workers=-1))


def wave_sign_draw(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the random signs of `wave_signs`, shape (L - 1, dim), ±1."""
    return np.asarray(2.0 * rng.integers(0, 2, shape, dtype=np.int8) - 1.0)


def gaussian(rows: Rows, rng: np.random.Generator) -> Rows:
    """Return independent normal rows: keeps the mean row and the total variance, nothing else."""
    mean = rows.mean(axis=0)
    scale = np.sqrt(np.mean((rows - mean) ** 2))
    return np.asarray(mean + scale * rng.standard_normal(rows.shape))


NULLS: Mapping[str, Null] = {
    "permutation": permutation,
    "random_walk": random_walk,
    "surrogate": surrogate,
    "wave_signs": wave_signs,
    "gaussian": gaussian,
}
