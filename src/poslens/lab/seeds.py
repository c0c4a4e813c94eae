"""One seed, and independent streams of random numbers from it.

Each stream is a function of (seed, stream, step) alone: a run that goes on at step 1,000 draws what
one that never stopped would draw, and a scheme that owns more parameters shifts nothing.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.random import Generator, SeedSequence

from poslens.errors import SettingError


class Stream(IntEnum):
    """What random numbers are for; a run's files depend on these numbers."""

    WEIGHTS = 0
    POSITIONS = 1
    DATA = 2
    DROPOUT = 3
    HELD_OUT = 4


def sequence(seed: int, stream: Stream, step: int = 0) -> SeedSequence:
    """Return what seeds one stream at one step.

    Raises
    ------
    SettingError
        If the seed is negative.
    """
    if seed < 0:
        raise SettingError(
            "a setting is out of range",
            expected="a whole number of at least 0 for seed",
            got=f"{seed}",
        )
    return SeedSequence(seed, spawn_key=(int(stream), step))


def generator(seed: int, stream: Stream, step: int = 0) -> Generator:
    """Return NumPy's generator of one stream at one step."""
    return np.random.default_rng(sequence(seed, stream, step))


def whole_seed(seed: int, stream: Stream, step: int = 0) -> int:
    """Return the same as a number below 2^63, for generators other than NumPy's."""
    (word,) = sequence(seed, stream, step).generate_state(1, np.uint64)
    return int(word) >> 1
