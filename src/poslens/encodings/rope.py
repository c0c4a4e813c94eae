"""RoPE: queries and keys rotated in planes, so that their products depend on s - t."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from poslens.axes import Angles, LedRows, PerPlane, Planes, Positions
from poslens.encodings.protocol import Acts
from poslens.encodings.rope_scaling import Scaling, Unscaled
from poslens.encodings.validate import finite_positions, require_count, require_number
from poslens.errors import SettingError, quoted

Pairing: TypeAlias = Literal["half", "interleaved"]

BASE = 10_000.0  # the paper's; wavelengths run from 2π to nearly BASE · 2π


@dataclass(frozen=True)
class Rope:
    """The first r dimensions of each head rotated, plane i by the angle t·θ_i at position t.

    Attributes
    ----------
    head_dim
        d_k.
    base
        At least 1; θ_i = base^(-2i/r), unless ``scaling`` says otherwise.
    rotary_dim
        r, even; None for the whole head.
    pairing
        ``"half"``: coordinate i turns with i + r/2 (GPT-NeoX, Llama). ``"interleaved"``: 2i with
        2i + 1 (the paper, GPT-J).
    scaling
        How the frequencies are changed for longer contexts.

    Raises
    ------
    SettingError
        If a setting is out of its range, or ``scaling`` does not fit the others.
    """

    name: ClassVar[str] = "rope"
    acts: ClassVar[Acts] = "rotates"
    paper: ClassVar[str] = "Su et al. 2021, section 3.2"

    head_dim: int
    base: float = BASE
    rotary_dim: int | None = None
    pairing: Pairing = "half"
    scaling: Scaling = field(default_factory=Unscaled)

    def __post_init__(self) -> None:
        require_count("head_dim", self.head_dim, 2)
        require_number("base", self.base, 1.0)
        if not 2 <= self.rotated <= self.head_dim or self.rotated % 2:
            raise SettingError(
                "cannot rotate these heads in planes",
                expected="an even number of rotated dimensions, from 2 to the head dimension "
                f"{self.head_dim}",
                got=f"{self.rotated}",
                remedy="give a rotary_dim" if self.rotary_dim is None else "",
            )
        if self.pairing not in ("half", "interleaved"):
            raise SettingError(
                "cannot pair coordinates so",
                expected="half or interleaved",
                got=quoted(self.pairing),
            )
        self.frequencies()  # what is wrong between scaling, base and r is said now

    @property
    def rotated(self) -> int:
        """r, the rotated dimensions of each head."""
        return self.head_dim if self.rotary_dim is None else self.rotary_dim

    @property
    def parameters(self) -> int:
        """None: the angles are fixed."""
        return 0

    def frequencies(self, length: int | None = None) -> PerPlane:
        """Return θ in radians per position, shape (plane,).

        ``length`` is that of the longest sequence, in positions, on which dynamic scaling and
        LongRoPE depend; None for no more than in pretraining.

        Raises
        ------
        SettingError
            If ``length`` is below 1.
        """
        if length is not None:
            require_count("length", length)
        return self.scaling.frequencies(self.base, self.rotated, length)

    def rotation(self, positions: Positions, length: int | None = None) -> tuple[Angles, Angles]:
        """Return cosines and sines of t·θ_i, times the scaling's amplitude.

        Parameters
        ----------
        positions
            Any finite ones, shape (position,).
        length
            See `frequencies`.

        Returns
        -------
        tuple of Angles
            Each of shape (position, plane).
        """
        angles = finite_positions(positions)[:, None] * self.frequencies(length)
        return np.cos(angles) * self.scaling.amplitude, np.sin(angles) * self.scaling.amplitude

    def rotate(self, x: LedRows, positions: Positions, length: int | None = None) -> LedRows:
        """Return queries or keys rotated; the dimensions from r on stay as they are.

        Parameters
        ----------
        x
            Shape (…, position, head_dim).
        positions, length
            See `rotation`.

        Raises
        ------
        SettingError
            If ``x`` has another head dimension.
        """
        first, second = self._pair(x)
        cos, sin = self.rotation(positions, length)
        rotated = np.array(x, dtype=np.float64)
        to_first, to_second = self._pair(rotated)  # views
        to_first[...] = first * cos - second * sin
        to_second[...] = first * sin + second * cos
        return rotated

    def planes(self, x: LedRows) -> Planes:
        """Return x_1 + i·x_2 of each plane's pair of coordinates, shape (…, position, plane).

        A rotation multiplies it by e^(i·t·θ), so that the plane's part of q·k at offset s - t is
        the real part of its conj(q)·k·e^(i·(s-t)·θ).

        Raises
        ------
        SettingError
            If ``x`` has another head dimension.
        """
        first, second = self._pair(x)
        return np.asarray(first + 1j * second)

    def _pair(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return views of the two coordinates of each plane."""
        if x.shape[-1] != self.head_dim:
            raise SettingError(
                "cannot rotate heads of another dimension",
                expected=f"shape (…, position, {self.head_dim})",
                got=f"shape {x.shape}",
            )
        if self.pairing == "interleaved":
            return x[..., 0 : self.rotated : 2], x[..., 1 : self.rotated : 2]
        half = self.rotated // 2
        return x[..., :half], x[..., half : self.rotated]
