"""A learned table: a trained vector for each position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from poslens.axes import Positions, Rows
from poslens.encodings.protocol import Acts
from poslens.encodings.validate import (
    INIT_STD,
    frozen,
    noise,
    require_count,
    whole_positions,
)
from poslens.errors import SettingError


@dataclass(frozen=True, eq=False, repr=False)
class Learned:
    """A trained vector for each position 0 … L-1, and none elsewhere.

    Attributes
    ----------
    rows
        The vectors, shape (position, dim); kept as a read-only copy in float64.
    init_std
        σ that they were drawn with; None where that is not known.

    Raises
    ------
    SettingError
        If there are no rows, or one is not finite.
    """

    name: ClassVar[str] = "learned"
    acts: ClassVar[Acts] = "adds"
    paper: ClassVar[str] = "Gehring et al. 2017, section 3.1"

    rows: Rows
    init_std: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", frozen(self.rows, "rows"))

    def __repr__(self) -> str:
        return f"Learned(length={self.length}, dim={self.dim})"

    @classmethod
    def drawn(cls, length: int, dim: int, std: float = INIT_STD, seed: int = 0) -> Learned:
        """Return the table before training: entries from N(0, ``std``²), from a seed.

        Raises
        ------
        SettingError
            If a setting is out of its range.
        """
        require_count("length", length)
        require_count("dim", dim)
        return cls(noise(std, seed, length, dim), std)

    @property
    def length(self) -> int:
        """L, the positions that have a vector."""
        return len(self.rows)

    @property
    def dim(self) -> int:
        """Dimensions of a row."""
        return int(self.rows.shape[1])

    @property
    def parameters(self) -> int:
        """L·d."""
        return int(self.rows.size)

    def table(self, positions: Positions) -> Rows:
        """Return the rows of whole positions from 0 to L-1, shape (position, dim).

        Raises
        ------
        SettingError
            If a position has no row.
        """
        index = whole_positions(positions)
        outside = (index < 0) | (index >= self.length)
        if outside.any():
            raise SettingError(
                "the learned table has no such row",
                expected=f"positions from 0 to {self.length - 1}",
                got=f"{index[outside][0]}",
            )
        return np.asarray(self.rows[index])
