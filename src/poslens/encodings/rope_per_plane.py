"""RoPE scalings that tell fast planes from slow ones: YaRN, LongRoPE, Llama 3.

See `poslens.encodings.rope_scaling`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from poslens.axes import PerPlane
from poslens.encodings.rope_scaling import require_ratio, unscaled
from poslens.encodings.validate import require_count, require_number
from poslens.errors import SettingError


@dataclass(frozen=True)
class Yarn:
    """YaRN (Peng et al. 2023, sections 3.2 and 3.4): slow planes interpolate, fast ones do not.

    A plane that turns more than ``beta_fast`` times over ``original`` positions keeps its
    frequency, one that turns fewer than ``beta_slow`` times has it ÷ factor, and those between
    have a mean with weights linear in their index.

    Attributes
    ----------
    factor
        Target context ÷ original context.
    original
        Positions of pretraining.
    attention_factor
        `amplitude`, where a checkpoint states it; None for the paper's 0.1·ln(factor) + 1.
    beta_fast, beta_slow
        Turns.
    mscale, mscale_all_dim
        DeepSeek's: with both, amplitude is the ratio of 0.1·mscale·ln(factor) + 1 for the two.
    truncate
        Whether the two bounds between planes are rounded outwards to whole planes.

    Raises
    ------
    SettingError
        If a setting is out of its range.
    """

    rope_type: ClassVar[str] = "yarn"

    factor: float
    original: int
    attention_factor: float | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True

    def __post_init__(self) -> None:
        require_ratio("factor", self.factor)
        require_count("original", self.original)
        require_ratio("beta_slow", self.beta_slow)
        require_ratio("beta_fast", self.beta_fast, self.beta_slow)
        for name in ("attention_factor", "mscale", "mscale_all_dim"):
            value = getattr(self, name)
            if value is not None:
                require_ratio(name, value, 0.0)

    @property
    def amplitude(self) -> float:
        """What cosines and sines are multiplied by (the paper's √(1/t))."""
        if self.attention_factor is not None:
            return self.attention_factor
        if self.mscale and self.mscale_all_dim:
            return self._scale(self.mscale) / self._scale(self.mscale_all_dim)
        return self._scale(1.0)

    def _scale(self, mscale: float) -> float:
        return 0.1 * mscale * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0

    def frequencies(self, base: float, rotary_dim: int, _: int | None = None, /) -> PerPlane:
        """Return θ, shape (plane,).

        Raises
        ------
        SettingError
            If ``base`` is not above 1, so that all planes turn alike.
        """
        require_number("base", base, 1.0, above=True)
        low = self._plane_of(self.beta_fast, base, rotary_dim)
        high = self._plane_of(self.beta_slow, base, rotary_dim)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, rotary_dim - 1)
        if low == high:
            high += 0.001  # transformers' own step over a division by zero
        interpolated = np.clip((np.arange(rotary_dim // 2) - low) / (high - low), 0, 1)
        theta = unscaled(base, rotary_dim)
        return np.asarray(theta / self.factor * interpolated + theta * (1 - interpolated))

    def _plane_of(self, turns: float, base: float, rotary_dim: int) -> float:
        """Return the index, with its fraction, of the plane that turns so often."""
        period = self.original / (turns * 2 * math.pi)
        return rotary_dim * math.log(period) / (2 * math.log(base))


@dataclass(frozen=True)
class LongRope:
    """LongRoPE (Ding et al. 2024, section 3): each frequency ÷ a searched factor of its own.

    Attributes
    ----------
    factor
        Target context ÷ original context; only `amplitude` depends on it.
    original
        Positions of pretraining, at least 2; longer sequences take ``long_factor``.
    short_factor, long_factor
        A number for each plane.
    attention_factor
        `amplitude`, where a checkpoint states it.

    Raises
    ------
    SettingError
        If a setting is out of its range.
    """

    rope_type: ClassVar[str] = "longrope"

    factor: float
    original: int
    short_factor: tuple[float, ...]
    long_factor: tuple[float, ...]
    attention_factor: float | None = None

    def __post_init__(self) -> None:
        require_ratio("factor", self.factor)
        require_count("original", self.original, 2)
        for name in ("short_factor", "long_factor"):
            for value in getattr(self, name):
                require_ratio(name, value)
        if self.attention_factor is not None:
            require_ratio("attention_factor", self.attention_factor, 0.0)

    @property
    def amplitude(self) -> float:
        """What cosines and sines are multiplied by: √(1 + ln(factor)/ln(original)) or as given."""
        if self.attention_factor is not None:
            return self.attention_factor
        if self.factor <= 1:
            return 1.0
        return math.sqrt(1 + math.log(self.factor) / math.log(self.original))

    def frequencies(self, base: float, rotary_dim: int, length: int | None = None, /) -> PerPlane:
        """Return θ, shape (plane,), for a sequence of ``length`` positions.

        Raises
        ------
        SettingError
            If a list has not one number for each plane.
        """
        for name in ("short_factor", "long_factor"):
            if len(getattr(self, name)) != rotary_dim // 2:
                raise SettingError(
                    f"{name} does not fit {rotary_dim} rotated dimensions",
                    expected=f"{rotary_dim // 2} numbers, one a plane",
                    got=f"{len(getattr(self, name))}",
                )
        longer = length is not None and length > self.original
        factors = np.array(self.long_factor if longer else self.short_factor)
        return np.asarray(unscaled(base, rotary_dim) / factors)


@dataclass(frozen=True)
class Llama3:
    """Llama 3.1's rule, of its model code: as YaRN's, with weights linear in turns.

    Waves shorter than original ÷ ``high_freq_factor`` keep their frequency, those longer than
    original ÷ ``low_freq_factor`` have it ÷ factor.

    Raises
    ------
    SettingError
        If a setting is out of its range, or ``high_freq_factor`` not above ``low_freq_factor``.
    """

    rope_type: ClassVar[str] = "llama3"
    amplitude: ClassVar[float] = 1.0  # rotations keep lengths

    factor: float
    original: int
    low_freq_factor: float
    high_freq_factor: float

    def __post_init__(self) -> None:
        require_ratio("factor", self.factor)
        require_count("original", self.original)
        require_ratio("low_freq_factor", self.low_freq_factor)
        require_ratio("high_freq_factor", self.high_freq_factor, self.low_freq_factor, above=True)

    def frequencies(self, base: float, rotary_dim: int, _: int | None = None, /) -> PerPlane:
        """Return θ, shape (plane,)."""
        theta = unscaled(base, rotary_dim)
        turns = self.original * theta / (2 * math.pi)
        kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        kept = np.clip(kept, 0, 1)
        return np.asarray(theta / self.factor * (1 - kept) + theta * kept)
