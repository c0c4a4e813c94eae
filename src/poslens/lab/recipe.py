"""How a model is trained: the optimiser's settings, the same for every scheme."""

from __future__ import annotations

import math
from dataclasses import dataclass

from poslens.encodings.validate import require_count, require_number
from poslens.errors import SettingError, quoted

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Recipe:
    """AdamW with linear warm-up, a cosine to a fraction of the peak, and clipped gradients.

    Attributes
    ----------
    steps, batch
        Steps in all, and contexts of each.
    rate, warmup, final
        The peak of the learning rate, reached after ``warmup`` steps, and the share of it that is
        left at the end.
    decay
        Of weights, for matrices that multiply: not for norms, biases and what positions own. Rows
        of a table that are never trained so stay as they began.
    betas
        Of the running means of gradients and of their squares.
    clip
        The largest norm of a step's gradient.
    precision
        Of matrix products, one of `PRECISIONS`; weights and the optimiser's state are float32 in
        both.
    seed
        Of batches and dropout.

    Raises
    ------
    SettingError
        If a setting is out of its range.
    """

    steps: int = 2000
    batch: int = 8
    rate: float = 1e-3
    warmup: int = 100
    final: float = 0.1
    decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        require_count("steps", self.steps)
        require_count("batch", self.batch)
        require_count("warmup", self.warmup, 0)
        require_count("seed", self.seed, 0)
        require_number("rate", self.rate, above=True)
        require_number("final", self.final, most=1.0)
        require_number("decay", self.decay)
        for beta in self.betas:
            require_number("betas", beta, most=1 - 1e-9)
        require_number("clip", self.clip, above=True)
        if self.precision not in PRECISIONS:
            raise SettingError(
                "cannot compute in this precision",
                expected=" or ".join(PRECISIONS),
                got=quoted(self.precision),
            )

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.rate * (self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2)
