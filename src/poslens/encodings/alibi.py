"""ALiBi: a penalty that grows with distance, at a fixed slope for each head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from poslens.axes import HeadOffsets, KeyPositions, Offsets, PairBias, PerHead, QueryPositions
from poslens.encodings.pairs import causal_distance, over_pairs
from poslens.encodings.protocol import Acts
from poslens.encodings.validate import finite_positions, require_count, require_number

MAX_BIAS = 8.0  # the paper's: the last of n slopes is 2^-8


def alibi_slopes(heads: int, max_bias: float = MAX_BIAS) -> PerHead:
    """Return m_h, one slope for each head, by the rule of the paper's code.

    Where the number of heads n is a power of two, m_h = 2^(-max_bias·h/n), h = 1 … n. Elsewhere
    the slopes are those of the power of two below n, then every other one (the first, the third
    …) of the power of two above it. BLOOM's rule is this one at max_bias 8; MPT's, written the
    other way around, is the same at any max_bias.

    Parameters
    ----------
    heads
        n, at least 1.
    max_bias
        MPT's ``alibi_bias_max``, above 0.

    Returns
    -------
    PerHead
        Shape (head,), per position.

    Raises
    ------
    SettingError
        If there are no heads, or ``max_bias`` is not a finite number above 0.
    """
    require_count("heads", heads)
    require_number("max_bias", max_bias, above=True)
    below = 1 << (heads.bit_length() - 1)
    exponents = np.arange(1, below + 1) / below
    between = np.arange(1, 2 * below, 2)[: heads - below] / (2 * below)
    return np.asarray(2.0 ** (-max_bias * np.concatenate([exponents, between])))


@dataclass(frozen=True)
class Alibi:
    """-m_h·distance added to the logits of head h.

    Attributes
    ----------
    heads
        Heads of queries.
    symmetric
        Whether keys after the query are penalised as those before it (encoders). Otherwise their
        distance counts as 0, and the model masks them.
    max_bias
        See `alibi_slopes`.

    Raises
    ------
    SettingError
        If a setting is out of its range.
    """

    name: ClassVar[str] = "alibi"
    acts: ClassVar[Acts] = "biases"
    paper: ClassVar[str] = "Press et al. 2022, section 3"

    heads: int
    symmetric: bool = False
    max_bias: float = MAX_BIAS

    def __post_init__(self) -> None:
        require_count("heads", self.heads)
        require_number("max_bias", self.max_bias, above=True)

    @property
    def parameters(self) -> int:
        """None: the slopes are fixed."""
        return 0

    @property
    def slopes(self) -> PerHead:
        """m_h, shape (head,)."""
        return alibi_slopes(self.heads, self.max_bias)

    def profile(self, offsets: Offsets) -> HeadOffsets:
        """Return the bias at any finite offsets s - t, shape (head, offset)."""
        values = finite_positions(offsets, "offset")
        distance = np.abs(values) if self.symmetric else causal_distance(values)
        return np.asarray(-self.slopes[:, None] * distance)

    def bias(self, query_positions: QueryPositions, key_positions: KeyPositions) -> PairBias:
        """Return the bias of every pair, shape (head, query_pos, key_pos)."""
        return over_pairs(self.profile, query_positions, key_positions)
