"""The sinusoidal schemes: the paper's table, and the two other layouts that models use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from poslens.axes import PerPlane, Positions, Rows
from poslens.encodings.protocol import Acts
from poslens.encodings.sinusoidal import (
    BASE,
    concatenated_rows,
    sinusoidal_rows,
    tensor2tensor_rows,
)
from poslens.encodings.validate import finite_positions, require_count, require_number
from poslens.errors import SettingError


@dataclass(frozen=True)
class _Sinusoids:
    """What the three have in common."""

    dim: int
    base: float = BASE

    def __post_init__(self) -> None:
        require_count("dim", self.dim)
        require_number("base", self.base, 1.0)

    @property
    def parameters(self) -> int:
        """None: the formula is fixed."""
        return 0


@dataclass(frozen=True)
class Sinusoidal(_Sinusoids):
    """Sines and cosines interleaved, as in the paper.

    Attributes
    ----------
    dim
        d, at least 1; with an odd d the last sine has no cosine.
    base
        The longest wavelength over 2π, at least 1.

    Raises
    ------
    SettingError
        If a setting is out of its range.
    """

    name: ClassVar[str] = "sinusoidal"
    acts: ClassVar[Acts] = "adds"
    paper: ClassVar[str] = "Vaswani et al. 2017, section 3.5"

    def table(self, positions: Positions) -> Rows:
        """Return the rows of any positions, shape (position, dim)."""
        return sinusoidal_rows(finite_positions(positions), self.dim, self.base)


@dataclass(frozen=True)
class Concatenated(_Sinusoids):
    """The paper's columns, all sines first and all cosines second (Marian, Pegasus).

    Its settings are those of `Sinusoidal`.
    """

    name: ClassVar[str] = "concatenated"
    acts: ClassVar[Acts] = "adds"
    paper: ClassVar[str] = "Vaswani et al. 2017, section 3.5, columns reordered"

    def table(self, positions: Positions) -> Rows:
        """Return the rows of any positions, shape (position, dim)."""
        return concatenated_rows(finite_positions(positions), self.dim, self.base)


@dataclass(frozen=True)
class Whisper(_Sinusoids):
    """Sines first, cosines second, and the last wavelength exactly 2π·base (Whisper).

    The frequencies are base^(-i/(d/2-1)), i = 0 … d/2-1, where the paper has base^(-i/(d/2)).
    tensor2tensor and fairseq (M2M100, XGLM) have the same.

    Attributes
    ----------
    dim
        d, even and at least 4.
    base
        The longest wavelength over 2π, at least 1.

    Raises
    ------
    SettingError
        If a setting is out of its range.
    """

    name: ClassVar[str] = "whisper"
    acts: ClassVar[Acts] = "adds"
    paper: ClassVar[str] = "Radford et al. 2022, section 2.2; the `sinusoids` of its code"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim < 4 or self.dim % 2:
            raise SettingError(
                f"cannot pair {self.dim} dimensions",
                expected="an even dim of at least 4",
                got=f"{self.dim}",
            )

    @property
    def frequencies(self) -> PerPlane:
        """Radians per position of each pair of columns, shape (plane,)."""
        half = self.dim // 2
        return np.asarray(self.base ** (-np.arange(half) / (half - 1)))

    def table(self, positions: Positions) -> Rows:
        """Return the rows of any positions, shape (position, dim)."""
        return tensor2tensor_rows(finite_positions(positions), self.dim, self.base)
