"""The curve that positions trace: straight, helical, smooth or rough (`trajectory.*`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from poslens.axes import Rows
from poslens.errors import UndefinedMeasureError
from poslens.geometry.validate import centered, total_variation

MOST_TURNS = 16.0
TURN_STEP = 0.125


@dataclass(frozen=True)
class Helix:
    """The best line-and-circle fit, p_t ≈ a + t b + u cos(2πmt/L) + v sin(2πmt/L).

    Attributes
    ----------
    turns
        m, the turns over the whole table.
    r2
        The share of the variance that it explains.
    turns_grid, r2_grid
        Every m that was tried, and its R², shape (turns,).
    """

    turns: float
    r2: float
    turns_grid: np.ndarray
    r2_grid: np.ndarray


def straightness(rows: Rows) -> float:
    """Return ‖p_{L-1}-p_0‖ ÷ Σ_t ‖Δ_t‖: 1 for a straight line walked one way.

    Raises
    ------
    UndefinedMeasureError
        If all rows are identical: the path has no length.
    """
    length = float(np.sqrt(squared_steps(rows)).sum())
    if length == 0:
        raise UndefinedMeasureError("all rows are identical, so the path has no length")
    return float(np.linalg.norm(rows[-1] - rows[0]) / length)


def linear_r2(rows: Rows) -> float:
    """Return R² of the least-squares fit p_t ≈ a + t b.

    Raises
    ------
    UndefinedMeasureError
        If all rows are identical.
    """
    C = centered(rows)
    slope = _centered_index(C.shape[0]) @ C  # t̂ᵀC, with t̂ of unit length
    return float(slope @ slope / total_variation(C, rows))


def helix(rows: Rows) -> Helix:
    """Fit a helix with every number of turns on the grid 0.25, 0.375 … min(16, L/4).

    Raises
    ------
    UndefinedMeasureError
        If all rows are identical, or there are too few rows for the shortest helix.
    """
    C = centered(rows)
    total = total_variation(C, rows)
    grid = turns_grid(C.shape[0])
    time = _centered_index(C.shape[0])
    linear = time @ C
    # Sines and cosines of every m side by side, with the constant and the line projected out:
    # what a circle adds to the line is then one matrix product for the whole grid.
    waves = _waves(C.shape[0], grid)
    waves -= waves.mean(axis=0)
    waves -= np.outer(time, time @ waves)
    loads = (waves.T @ C).reshape(grid.size, 2, -1)  # turns, cos|sin, dim
    pairs = waves.reshape(-1, grid.size, 2)  # position, turns, cos|sin
    inner = np.einsum("tmi,tmj->mij", pairs, pairs)
    outer = np.einsum("mid,mjd->mij", loads, loads)
    gain = np.einsum("mij,mji->m", np.linalg.pinv(inner, rcond=1e-10, hermitian=True), outer)
    r2 = np.clip((linear @ linear + gain) / total, 0.0, 1.0)
    best = int(r2.argmax())
    return Helix(float(grid[best]), float(r2[best]), grid, r2)


def turns_grid(length: int) -> np.ndarray:
    """Return the numbers of turns that `helix` tries, in ascending order.

    Raises
    ------
    UndefinedMeasureError
        If L/4 < 0.25, so that the grid is empty.
    """
    most = min(MOST_TURNS, length / 4)
    return np.arange(0.25, most + TURN_STEP * 1e-6, TURN_STEP)


def fitted(rows: Rows, turns: float | None = None) -> Rows:
    """Return the least-squares line through the table, or helix with ``turns`` turns.

    Shape (position, dim): the fitted rows.
    """
    length = rows.shape[0]
    columns = [np.ones(length), _centered_index(length)]
    if turns is not None:
        columns.extend(_waves(length, np.array([turns])).T)
    basis = np.stack(columns, axis=1)
    coefficients, *_ = np.linalg.lstsq(basis, rows, rcond=1e-10)
    return np.asarray(basis @ coefficients)


def squared_steps(rows: Rows) -> np.ndarray:
    """Return ‖Δ_t‖² for each t, shape (L - 1,)."""
    delta = np.diff(rows, axis=0)
    return np.asarray(np.einsum("td,td->t", delta, delta))


def squared_bends(rows: Rows) -> np.ndarray:
    """Return ‖p_{t+2} - 2p_{t+1} + p_t‖² for each t, shape (L - 2,)."""
    bend = np.diff(rows, n=2, axis=0)
    return np.asarray(np.einsum("td,td->t", bend, bend))


def squared_deviations(rows: Rows) -> np.ndarray:
    """Return ‖C_t‖² for each t, shape (L,); their mean is TV/L.

    Raises
    ------
    UndefinedMeasureError
        If all rows are identical.
    """
    C = centered(rows)
    total_variation(C, rows)
    return np.asarray(np.einsum("td,td->t", C, C))


def roughness(rows: Rows) -> float:
    """Return mean ‖Δ_t‖² ÷ (2·TV/L), the von Neumann ratio (von Neumann 1941), over 2.

    1 for rows in random order, towards 0 for a smooth curve.

    Raises
    ------
    UndefinedMeasureError
        If all rows are identical.
    """
    return float(squared_steps(rows).mean() / (2 * squared_deviations(rows).mean()))


def noise_share(rows: Rows) -> float:
    """Return (mean ‖p_{t+2}-2p_{t+1}+p_t‖² ÷ 6) ÷ (TV/L).

    For white noise the squared second difference is six times the variance (1 + 4 + 1), and a
    smooth curve contributes almost nothing to it.

    Raises
    ------
    UndefinedMeasureError
        If all rows are identical.
    """
    return float(squared_bends(rows).mean() / 6 / squared_deviations(rows).mean())


def measures(rows: Rows) -> Mapping[str, float]:
    """Return every ``trajectory.*`` measure.

    Raises
    ------
    UndefinedMeasureError
        If all rows are identical.
    """
    best = helix(rows)
    return {
        "trajectory.straightness": straightness(rows),
        "trajectory.linear_r2": linear_r2(rows),
        "trajectory.helix_r2": best.r2,
        "trajectory.turns": best.turns,
        "trajectory.roughness": roughness(rows),
        "trajectory.noise_share": noise_share(rows),
    }


def _centered_index(length: int) -> np.ndarray:
    """The index t with its mean removed, scaled to unit length."""
    index = np.arange(length) - (length - 1) / 2
    return np.asarray(index / np.sqrt(index @ index))


def _waves(length: int, turns: np.ndarray) -> np.ndarray:
    """cos and sin of 2πmt/L, shape (position, 2·turns), the pair of one m side by side."""
    angle = 2 * np.pi * np.outer(np.arange(length), turns) / length
    return np.stack([np.cos(angle), np.sin(angle)], axis=2).reshape(length, -1)
