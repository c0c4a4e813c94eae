"""A longer table by going on as it went: along its components, or by its shift operator.

The table itself stays. A row that would be longer than the longest of the table is shortened to
that length: whatever the fit, new rows are no larger than what the model was trained with.
"""

from __future__ import annotations

import numpy as np

from poslens.axes import NewRows, Rows, Scores
from poslens.geometry.components import leading_directions, number_for, principal_components
from poslens.geometry.shift import shift_operator
from poslens.geometry.trajectory import turns_grid

SHARE = 0.95  # of the variance, which the continued components hold
LEAST_TURNS = 0.5  # of a wave over the table: less of it cannot be told from a line
LEAST_WAVE = 8  # rows, for which four numbers are fitted
_ON_CIRCLE = 1e-9  # moduli above 1 by less are rounding
_TOLD_APART = 1e6  # condition number up to which modes can be changed; 1e8 for a double one


def components(rows: Rows, to: int) -> NewRows:
    """Return the table and then its leading principal components, continued.

    The components are those that hold 95 % of the variance, but at most 30. The scores on each
    are fitted by a line and one wave, a + b t + u cos(2πmt/L) + v sin(2πmt/L), m from 0.5 to 16
    turns in steps of 0.125, but up to L/4; a table of fewer than 8 rows by the line. The fit goes
    on, clipped to the range that the scores have in the table. All other components have their
    mean.

    Raises
    ------
    UndefinedMeasureError
        If all rows are identical.
    """
    parts = principal_components(rows)
    count = min(number_for(parts.explained, SHARE), parts.directions.shape[1])
    directions = leading_directions(parts, count)
    mean = rows.mean(axis=0)
    scores = (rows - mean) @ directions
    fit = np.clip(_continued(scores, to), scores.min(axis=0), scores.max(axis=0))
    new = mean + fit @ directions.T
    longest = np.linalg.norm(rows, axis=1).max()
    new *= longest / np.maximum(np.linalg.norm(new, axis=1), longest)[:, None]
    return np.concatenate([rows, new])


def _continued(scores: Scores, to: int) -> np.ndarray:
    """Return the best line and wave through each column at the positions after those given."""
    length = scores.shape[0]
    grid = turns_grid(length) if length >= LEAST_WAVE else np.array([])
    shapes = [None, *grid[grid >= LEAST_TURNS]]
    seen, ahead = np.arange(length), np.arange(length, to)
    bases = (np.linalg.qr(_line_and_wave(seen, length, turns))[0] for turns in shapes)
    best = np.argmax([np.square(basis.T @ scores).sum(axis=0) for basis in bases], axis=0)
    new = np.empty((ahead.size, scores.shape[1]))
    for index in np.unique(best):
        columns = best == index
        known = _line_and_wave(seen, length, shapes[index])
        fit = np.linalg.lstsq(known, scores[:, columns], rcond=None)[0]
        new[:, columns] = _line_and_wave(ahead, length, shapes[index]) @ fit
    return new


def _line_and_wave(positions: np.ndarray, length: int, turns: float | None) -> np.ndarray:
    columns = [np.ones(positions.size), positions / length]
    if turns is not None:
        angle = 2 * np.pi * turns * positions / length
        columns += [np.cos(angle), np.sin(angle)]
    return np.stack(columns, axis=1)


def shift(rows: Rows, to: int) -> NewRows:
    """Return the table and then M applied again and again from its last row, p_{t+1} = p_t M.

    M is the linear map of `poslens.geometry.shift.shift_operator`. Modes of it that would grow,
    those with an eigenvalue outside the unit circle, are pulled to the circle. Where the modes
    cannot be told apart (a straight line is such a table), only the lengths of rows are bounded.

    Raises
    ------
    UndefinedMeasureError
        If the rows are too few, or too much alike, to fit M and choose its rank.
    """
    left, right = shift_operator(rows, 1)
    step = _without_growth(right @ left)
    longest = np.linalg.norm(rows, axis=1).max()
    new = np.empty((to - rows.shape[0], rows.shape[1]))
    state = rows[-1] @ left
    for row in new:
        row[:] = state @ right
        # The next row starts from this one as it is kept.
        kept = min(1.0, longest / max(float(np.linalg.norm(row)), longest))
        row *= kept
        state = kept * state @ step
    return np.concatenate([rows, new])


def _without_growth(step: np.ndarray) -> np.ndarray:
    """Return a square matrix whose eigenvalues outside the unit circle lie on it, phases kept."""
    values, vectors = np.linalg.eig(step)
    moduli = np.abs(values)
    if moduli.max() <= 1 + _ON_CIRCLE or np.linalg.cond(vectors) > _TOLD_APART:
        return step
    pulled = values / np.maximum(moduli, 1.0)
    return np.asarray(np.linalg.solve(vectors.T, (vectors * pulled).T).T.real)
