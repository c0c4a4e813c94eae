"""Shaw's relative keys: a learned vector for each clipped distance, added to the key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from poslens.axes import (
    DistanceRows,
    HeadOffsets,
    HeadVector,
    KeyPositions,
    KeyRows,
    Offsets,
    PairBias,
    QueryPositions,
    QueryRows,
)
from poslens.encodings.pairs import gathered, whole_offsets
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
class Shaw:
    """q_t·a_{s-t} ÷ √d_k added to the logits, a_{s-t} shared by all heads.

    Attributes
    ----------
    rows
        a, shape (distance, head_dim), for the offsets s - t from -before to the last one; kept as
        a read-only copy in float64. BERT's relative keys are stored by t - s: turn them around.
    before
        The distance from which on all keys before the query share row 0.

    Raises
    ------
    SettingError
        If a row is not finite, or there is no row for offset 0.
    """

    name: ClassVar[str] = "shaw"
    acts: ClassVar[Acts] = "biases"
    paper: ClassVar[str] = "Shaw et al. 2018, section 3.2, relative keys without values"

    rows: DistanceRows
    before: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", frozen(self.rows, "rows"))
        require_count("before", self.before, 0)
        if self.after < 0:
            raise SettingError(
                "there is no vector for offset 0",
                expected=f"at least {self.before + 1} rows",
                got=f"{len(self.rows)}",
            )

    def __repr__(self) -> str:
        return f"Shaw(head_dim={self.head_dim}, before={self.before}, after={self.after})"

    @classmethod
    def drawn(
        cls,
        head_dim: int,
        before: int,
        after: int | None = None,
        std: float = INIT_STD,
        seed: int = 0,
    ) -> Shaw:
        """Return the vectors before training: entries from N(0, ``std``²), from a seed.

        Parameters
        ----------
        head_dim
            d_k.
        before, after
            The distances at which offsets are clipped; as many after as before where None.

        Raises
        ------
        SettingError
            If a setting is out of its range.
        """
        after = before if after is None else after
        require_count("head_dim", head_dim)
        require_count("before", before, 0)
        require_count("after", after, 0)
        return cls(noise(std, seed, before + after + 1, head_dim), before)

    @property
    def after(self) -> int:
        """The distance from which on all keys after the query share the last row."""
        return len(self.rows) - 1 - self.before

    @property
    def head_dim(self) -> int:
        """d_k."""
        return int(self.rows.shape[1])

    @property
    def parameters(self) -> int:
        """Distances times d_k."""
        return int(self.rows.size)

    def vectors(self, offsets: Offsets) -> DistanceRows:
        """Return a_{s-t} at whole offsets, shape (offset, head_dim).

        Raises
        ------
        SettingError
            If an offset is no whole number.
        """
        return np.asarray(self.rows[self._row(whole_positions(offsets, "offset"))])

    def profile(self, queries: HeadVector, offsets: Offsets) -> HeadOffsets:
        """Return the bias of one query for each head, such as a mean one, shape (head, offset).

        Raises
        ------
        SettingError
            If an offset is no whole number.
        """
        self._require_head_dim(queries)
        return np.asarray(queries @ self.vectors(offsets).T / np.sqrt(self.head_dim))

    def bias(
        self,
        queries: QueryRows,
        query_positions: QueryPositions,
        key_positions: KeyPositions,
        keys: KeyRows | None = None,
    ) -> PairBias:
        """Return the bias of every pair, shape (head, query_pos, key_pos).

        Parameters
        ----------
        queries
            Shape (head, query_pos, head_dim).
        query_positions, key_positions
            Whole numbers.
        keys
            Shape (head, key_pos, head_dim), where k_s·a_{s-t} ÷ √d_k is added too: BERT's
            ``relative_key_query`` (Huang et al. 2020, method 4).

        Raises
        ------
        SettingError
            If a position is no whole number, or a head has other dimensions than the rows.
        """
        row = self._row(whole_offsets(query_positions, key_positions))
        self._require_head_dim(queries)
        bias = gathered(queries @ self.rows.T, row)
        if keys is not None:
            self._require_head_dim(keys)
            bias = bias + gathered(keys @ self.rows.T, row.T).transpose(0, 2, 1)
        return np.asarray(bias / np.sqrt(self.head_dim))

    def _row(self, offsets: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        return np.asarray(np.clip(offsets, -self.before, self.after) + self.before)

    def _require_head_dim(self, vectors: np.ndarray) -> None:
        if vectors.shape[-1] != self.head_dim:
            raise SettingError(
                "heads and relative keys do not fit",
                expected=f"vectors of {self.head_dim} dimensions",
                got=f"shape {vectors.shape}",
            )
