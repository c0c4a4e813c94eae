"""RoPE's kernel as a sum of cosines, one per frequency plane (Su et al. 2021, §3.4.3).

A query at t and a key at s, rotated in a plane by θt and θs, meet as |z_q||z_k| cos(θ(s-t) + φ),
z_q and z_k their coordinates there as complex numbers and φ the angle from z_q to z_k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poslens.attention.validate import check_bands
from poslens.axes import HeadOffsets, HeadPlanes, HeadVector, Offsets, PerHead, PerPlane

_BLOCK = 4096  # offsets whose cosines are held at a time


@dataclass(frozen=True, eq=False)
class HeadMeans:
    """Mean queries and keys of one layer, before rotation and scale.

    Attributes
    ----------
    layer
        The layer, from 0.
    queries, keys
        Of each head, the mean query and that of the keys it meets, shape (head, d_head).
    scale
        What the model's logits are multiplied by.
    causal
        Whether a query sees only itself and the keys before it.
    origin
        What they are means over, for people.
    """

    layer: int
    queries: HeadVector
    keys: HeadVector
    scale: float
    causal: bool
    origin: str


@dataclass(frozen=True)
class Bands:
    """The kernel of one layer's heads, from mean queries and keys, plane by plane.

    Attributes
    ----------
    frequencies
        θ of each plane, radians per position, shape (plane,); 0 where a plane does not rotate.
    phasors
        |z_q||z_k| e^{iφ}, shape (head, plane).
    constant
        What the coordinates that do not rotate add to every logit, shape (head,).
    """

    frequencies: PerPlane
    phasors: HeadPlanes
    constant: PerHead

    @property
    def amplitude(self) -> np.ndarray:
        """The largest logit that each plane adds, shape (head, plane)."""
        return np.asarray(np.abs(self.phasors))

    @property
    def phase(self) -> np.ndarray:
        """φ in radians, shape (head, plane): the plane is largest where θ(s-t) = -φ."""
        return np.asarray(np.angle(self.phasors))

    @property
    def energy(self) -> np.ndarray:
        """The variance of each plane's cosine over whole turns, amplitude² ÷ 2, (head, plane).

        A plane whose wavelength is longer than the context shows less of it there, and one that
        does not rotate shows none: it is a constant, and counts 0.
        """
        return np.asarray(np.where(self.frequencies == 0, 0.0, np.abs(self.phasors) ** 2 / 2))

    @property
    def wavelengths(self) -> PerPlane:
        """2π ÷ θ in positions, shape (plane,); infinite where a plane does not rotate."""
        turning = self.frequencies != 0
        found = np.full(self.frequencies.shape, np.inf)
        found[turning] = 2 * np.pi / np.abs(self.frequencies[turning])
        return found

    def longest_turns(self, context: int) -> float:
        """Return how many turns the slowest plane makes over ``context`` positions.

        Below 1, its wavelength is longer than the context: positions never come round again in it.
        """
        return float(context / self.wavelengths.max())

    def profile(self, offsets: Offsets) -> HeadOffsets:
        """Return K(s-t) at any offsets, in O(planes) each, shape (head, offset)."""
        found = np.empty((self.phasors.shape[0], offsets.size))
        for start in range(0, offsets.size, _BLOCK):
            angle = self.frequencies[:, None] * offsets[start : start + _BLOCK]
            block = self.phasors.real @ np.cos(angle) - self.phasors.imag @ np.sin(angle)
            found[:, start : start + _BLOCK] = block
        return np.asarray(found + self.constant[:, None])


def rope_bands(
    queries: HeadPlanes, keys: HeadPlanes, frequencies: PerPlane, constant: PerHead | None = None
) -> Bands:
    """Return the bands of q̄ᵀ R(s-t) k̄.

    Parameters
    ----------
    queries, keys
        Mean query and key before rotation, each rotated pair of coordinates (x, y) as x + iy in the
        pairing of the model, shape (head, plane); keys repeated where heads share one, and 1/√d_k
        already in the queries.
    frequencies
        θ, in radians per position, shape (plane,): a position turns (x + iy) by e^{iθt}.
    constant
        q̄·k̄ over the coordinates that do not rotate, shape (head,); 0 if not given.

    Raises
    ------
    TableError
        See `poslens.attention.validate.check_bands`.
    """
    if constant is None:
        constant = np.zeros(queries.shape[:1])
    check_bands(queries, keys, frequencies, constant)
    return Bands(
        frequencies=frequencies,
        phasors=np.asarray(np.conj(queries) * keys, dtype=np.complex128),
        constant=np.asarray(constant, dtype=np.float64),
    )
