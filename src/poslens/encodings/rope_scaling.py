"""How RoPE's frequencies are changed for contexts longer than those of pretraining.

One class for each ``rope_type`` of transformers 5.23 (``ROPE_INIT_FUNCTIONS``), here and in
`poslens.encodings.rope_per_plane`, its fields under the names there, but ``original`` for
``original_max_position_embeddings`` and ``part`` for ``partial_rotary_factor``. Each gives
frequencies θ_i in radians per position from the base and the number r of rotated dimensions;
unscaled, θ_i = base^(-2i/r), i = 0 … r/2-1 (Su et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from poslens.axes import PerPlane
from poslens.encodings.validate import require_count, require_number
from poslens.errors import SettingError

LARGEST = 1e9  # of a factor, and 1 ÷ the smallest: far beyond use, and no product overflows


@runtime_checkable
class Scaling(Protocol):
    """A rule for RoPE's frequencies.

    Attributes
    ----------
    rope_type
        Its word in transformers' ``rope_parameters``.
    """

    rope_type: ClassVar[str]

    @property
    def amplitude(self) -> float:
        """What cosines and sines are multiplied by; logits are by its square."""

    def frequencies(self, base: float, rotary_dim: int, length: int | None = None, /) -> PerPlane:
        """Return θ, shape (plane,), where the longest sequence has ``length`` positions.

        Two rules depend on it. None stands for no more than in pretraining.
        """


def require_ratio(
    name: str, value: float, least: float = 1 / LARGEST, *, above: bool = False
) -> None:
    """Require a factor within reason, from ``least``, or above it, to `LARGEST`.

    Raises
    ------
    SettingError
        If it is not.
    """
    require_number(name, value, least, above=above, most=LARGEST)


def unscaled(base: float, rotary_dim: int) -> PerPlane:
    """Return base^(-2i/r), shape (plane,)."""
    return np.asarray(base ** (-np.arange(0, rotary_dim, 2) / rotary_dim))


@dataclass(frozen=True)
class Unscaled:
    """The frequencies of the paper: Su et al. 2021, section 3.2.2."""

    rope_type: ClassVar[str] = "default"
    amplitude: ClassVar[float] = 1.0  # rotations keep lengths

    def frequencies(self, base: float, rotary_dim: int, _: int | None = None, /) -> PerPlane:
        """Return θ, shape (plane,)."""
        return unscaled(base, rotary_dim)


@dataclass(frozen=True)
class Linear:
    """Position interpolation: all frequencies ÷ ``factor`` (Chen et al. 2023, section 2.3).

    Raises
    ------
    SettingError
        If ``factor`` is out of its range.
    """

    rope_type: ClassVar[str] = "linear"
    amplitude: ClassVar[float] = 1.0  # rotations keep lengths

    factor: float

    def __post_init__(self) -> None:
        require_ratio("factor", self.factor)

    def frequencies(self, base: float, rotary_dim: int, _: int | None = None, /) -> PerPlane:
        """Return θ, shape (plane,)."""
        return np.asarray(unscaled(base, rotary_dim) / self.factor)


@dataclass(frozen=True)
class Dynamic:
    """Dynamic NTK: the base grows with the sequence (Peng et al. 2023, section 3.3).

    Up to ``original`` positions nothing changes; for L > original the base is multiplied by
    (factor·L/original - factor + 1)^(r/(r-2)).

    Raises
    ------
    SettingError
        If a setting is out of its range.
    """

    rope_type: ClassVar[str] = "dynamic"
    amplitude: ClassVar[float] = 1.0  # rotations keep lengths

    factor: float
    original: int

    def __post_init__(self) -> None:
        require_ratio("factor", self.factor)
        require_count("original", self.original)

    def frequencies(self, base: float, rotary_dim: int, length: int | None = None, /) -> PerPlane:
        """Return θ, shape (plane,), for a sequence of ``length`` positions.

        Raises
        ------
        SettingError
            If only one plane rotates: its frequency is 1 at any base.
        """
        if rotary_dim <= 2:
            raise SettingError(
                "dynamic scaling cannot change one plane",
                expected="at least 4 rotated dimensions",
                got=f"{rotary_dim}",
            )
        longest = max(self.original, length or 0)
        stretch = self.factor * longest / self.original - (self.factor - 1)
        return unscaled(base * stretch ** (rotary_dim / (rotary_dim - 2)), rotary_dim)


@dataclass(frozen=True)
class Proportional:
    """Only the fastest planes of a whole head turn, at the frequencies they have there (Gemma 4).

    It has no paper; the rule is that of transformers. Unlike partial rotation, which leaves the
    last dimensions out and spreads all frequencies over the rest, this pairs the coordinates of
    the whole head, and planes from ``part`` of them on stand still.

    Attributes
    ----------
    part
        transformers' ``partial_rotary_factor``, from 0 to 1.
    factor
        All frequencies are divided by it.

    Raises
    ------
    SettingError
        If a setting is out of its range.
    """

    rope_type: ClassVar[str] = "proportional"
    amplitude: ClassVar[float] = 1.0  # rotations keep lengths

    part: float = 1.0
    factor: float = 1.0

    def __post_init__(self) -> None:
        require_number("part", self.part, most=1.0)
        require_ratio("factor", self.factor)

    def frequencies(self, base: float, rotary_dim: int, _: int | None = None, /) -> PerPlane:
        """Return θ, shape (plane,), 0 where a plane stands still."""
        turning = int(self.part * rotary_dim // 2)
        theta = unscaled(base, rotary_dim) / self.factor
        theta[turning:] = 0
        return theta
