"""Is every pair of dimensions a wave of its own frequency? (article §2.1)"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poslens.axes import Rows
from poslens.errors import UndefinedMeasureError


@dataclass(frozen=True)
class Frequencies:
    """The frequencies of a table's dimension pairs, under the pairing that fits best.

    Attributes
    ----------
    values
        Radians per position, descending as stored, shape (d/2,).
    impurity
        1 - R² of each pair as one rotating phasor, shape (d/2,): 0 for a pure wave.
    layout
        ``"interleaved"`` (2i, 2i+1), as in Vaswani et al. 2017, or ``"concatenated"`` (i, i+d/2).
    """

    values: np.ndarray
    impurity: np.ndarray
    layout: str

    @property
    def deviation(self) -> float:
        """How far the table is from d/2 pure, geometrically spaced frequencies; 0 if it is that.

        The larger of the worst pair's impurity and the largest relative deviation of a spacing
        ln ω_i - ln ω_{i+1} from the mean spacing.
        """
        worst = float(self.impurity.max())
        if (self.values <= 0).any():
            return max(worst, 1.0)
        spacing = -np.diff(np.log(self.values))
        if spacing.size == 0:
            return worst
        mean = float(spacing.mean())
        if mean <= 0:
            return max(worst, 1.0)
        return max(worst, float(np.abs(spacing / mean - 1).max()))


def pair_frequencies(rows: Rows) -> Frequencies:
    """Return each dimension pair's frequency: the slope of the unwrapped angle of (cos, sin).

    Raises
    ------
    UndefinedMeasureError
        If the number of dimensions is odd, so that they do not pair up.
    """
    dim = rows.shape[1]
    if dim % 2:
        raise UndefinedMeasureError(f"{dim} dimensions do not form pairs")
    found = [
        _under_layout(rows[:, 0::2], rows[:, 1::2], "interleaved"),
        _under_layout(rows[:, : dim // 2], rows[:, dim // 2 :], "concatenated"),
    ]
    return min(found, key=lambda frequencies: float(np.median(frequencies.impurity)))


def _under_layout(sines: np.ndarray, cosines: np.ndarray, layout: str) -> Frequencies:
    phasors = cosines + 1j * sines
    power = np.einsum("ti,ti->i", phasors, phasors.conj()).real
    time = np.arange(rows_count := phasors.shape[0], dtype=np.float64)
    angle = np.unwrap(np.angle(phasors), axis=0)
    centred = time - time.mean()
    slope = centred @ angle / (centred @ centred)
    # R² of amplitude·e^{i(ωt+φ)} with the best complex amplitude: the share of power in that wave.
    match = np.abs(np.einsum("ti,ti->i", phasors, np.exp(-1j * np.outer(time, slope)))) ** 2
    share = match / np.where(power > 0, rows_count * power, 1.0)
    return Frequencies(slope, np.clip(1.0 - share, 0.0, 1.0), layout)
