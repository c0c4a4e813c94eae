"""DeBERTa's disentangled attention: content against distances, and distances against content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from poslens.axes import (
    HeadDistances,
    KeyPositions,
    KeyRows,
    Offsets,
    PairBias,
    QueryPositions,
    QueryRows,
    Rows,
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

MAX_DISTANCE = 512


def log_buckets(
    distances: Int[np.ndarray, "*shape"], buckets: int, max_distance: int
) -> Int[np.ndarray, "*shape"]:
    """Return signed distances t - s in DeBERTa v2's buckets, also signed.

    Up to m = ⌊buckets/2⌋ a distance is its own bucket; a larger one r has
    m + ⌈(m-1)·ln(r/m)/ln((max_distance-1)/m)⌉ and its sign. Beyond ``max_distance`` buckets go on
    growing: `Deberta` clips them.

    Parameters
    ----------
    distances
        Whole numbers.
    buckets
        v2's ``position_buckets``, at least 4.
    max_distance
        v2's ``max_relative_positions``, at least ⌊buckets/2⌋ + 2.

    Raises
    ------
    SettingError
        If the buckets cannot be.
    """
    _require_buckets(buckets, max_distance)
    middle = buckets // 2
    # In float32 as the model has it; the logarithm as in `poslens.encodings.t5.t5_buckets`.
    ratio = np.maximum(np.abs(distances), middle).astype(np.float32) / np.float32(middle)
    last = np.float32(np.log(np.float64(np.float32((max_distance - 1) / middle))))
    steps = np.log(ratio.astype(np.float64)).astype(np.float32) / last * np.float32(middle - 1)
    far = (np.ceil(steps).astype(np.int64) + middle) * np.sign(distances)
    return np.where(np.abs(distances) <= middle, distances, far)


def _require_buckets(buckets: int, max_distance: int) -> None:
    require_count("buckets", buckets, 4)
    require_count("max_distance", max_distance)
    if max_distance - 1 <= buckets // 2:
        raise SettingError(
            f"{buckets} buckets cannot end at distance {max_distance}",
            expected=f"a max_distance of at least {buckets // 2 + 2}",
            got=f"{max_distance}",
        )


@dataclass(frozen=True, eq=False, repr=False)
class Deberta:
    """Products of content with the projected vectors of distances, added to the logits.

    Both terms take the vector of δ(t, s), the clipped distance t - s: this is how the authors'
    code and transformers read a pair, where the paper has δ(s, t) in the second term.

    Attributes
    ----------
    rows
        The table of distances, shape (distance, dim), 2k rows for the (bucketed) distances -k …
        k-1; kept as a read-only copy in float64.
    buckets
        k where distances are bucketed (v2 and v3); None for one row a distance (v1).
    max_distance
        The distance at which buckets end; k where there are none.

    Raises
    ------
    SettingError
        If the number of rows is not 2k, a row is not finite, or the buckets cannot be.
    """

    name: ClassVar[str] = "deberta"
    acts: ClassVar[Acts] = "biases"
    paper: ClassVar[str] = "He et al. 2021, section 3.1"

    rows: Rows
    buckets: int | None = None
    max_distance: int = MAX_DISTANCE

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", frozen(self.rows, "rows"))
        _require_span(self.buckets, self.max_distance)
        if len(self.rows) != 2 * self.span:
            raise SettingError(
                "the table of distances does not fit the buckets",
                expected=f"{2 * self.span} rows, one for each of -{self.span} … {self.span - 1}",
                got=f"{len(self.rows)}",
            )

    def __repr__(self) -> str:
        return f"Deberta(dim={self.dim}, buckets={self.buckets}, max_distance={self.max_distance})"

    @classmethod
    def drawn(
        cls,
        dim: int,
        buckets: int | None = None,
        max_distance: int = MAX_DISTANCE,
        std: float = INIT_STD,
        seed: int = 0,
    ) -> Deberta:
        """Return the table before training: entries from N(0, ``std``²), from a seed.

        Parameters
        ----------
        dim
            Of a row: the model's, before the projections to heads.
        buckets, max_distance
            See the class.

        Raises
        ------
        SettingError
            If a setting is out of its range.
        """
        require_count("dim", dim)
        _require_span(buckets, max_distance)
        span = max_distance if buckets is None else buckets
        return cls(noise(std, seed, 2 * span, dim), buckets, max_distance)

    @property
    def span(self) -> int:
        """k: half of the rows."""
        return self.max_distance if self.buckets is None else self.buckets

    @property
    def dim(self) -> int:
        """Dimensions of a row."""
        return int(self.rows.shape[1])

    @property
    def parameters(self) -> int:
        """2k·d: the table. The projections belong to the layers, which may share the content's."""
        return int(self.rows.size)

    def row(self, offsets: Offsets) -> Int[np.ndarray, "offset"]:
        """Return δ(t, s), the row of the table for each whole offset s - t.

        Raises
        ------
        SettingError
            If an offset is no whole number.
        """
        return self._row(whole_positions(offsets, "offset"))

    def projected(
        self,
        weight: Float[np.ndarray, "out dim"],
        shift: Float[np.ndarray, "out"] | None = None,
        *,
        heads: int,
    ) -> HeadDistances:
        """Return one layer's vector of each distance, split into heads.

        Parameters
        ----------
        weight, shift
            Of the projection, as torch stores it: rows @ weight.T + shift.
        heads
            Heads, which divide the rows of ``weight``.

        Returns
        -------
        HeadDistances
            Shape (head, distance, head_dim).

        Raises
        ------
        SettingError
            If the projection does not fit the table or the heads.
        """
        require_count("heads", heads)
        if weight.shape[1] != self.dim or weight.shape[0] % heads:
            raise SettingError(
                "the projection does not fit",
                expected=f"a weight of {self.dim} columns, its rows a multiple of {heads} heads",
                got=f"shape {weight.shape}",
            )
        vectors = self.rows @ weight.T
        if shift is not None:
            vectors = vectors + shift
        return np.asarray(vectors.reshape(len(vectors), heads, -1).transpose(1, 0, 2))

    def content_to_position(
        self,
        queries: QueryRows,
        distances: HeadDistances,
        query_positions: QueryPositions,
        key_positions: KeyPositions,
    ) -> PairBias:
        """Return q_t·k^r_δ(t,s) of every pair, shape (head, query_pos, key_pos).

        ``distances`` are `projected` by the layer's projection of positions to keys. The model
        divides by √(d_k·(1 + terms)), as it does the product of contents.

        Raises
        ------
        SettingError
            If a position is no whole number.
        """
        row = self._row(whole_offsets(query_positions, key_positions))
        return gathered(queries @ distances.transpose(0, 2, 1), row)

    def position_to_content(
        self,
        keys: KeyRows,
        distances: HeadDistances,
        query_positions: QueryPositions,
        key_positions: KeyPositions,
    ) -> PairBias:
        """Return k_s·q^r_δ(t,s) of every pair, shape (head, query_pos, key_pos).

        ``distances`` are `projected` by the layer's projection of positions to queries; divided
        as the other term.

        Raises
        ------
        SettingError
            If a position is no whole number.
        """
        row = self._row(whole_offsets(query_positions, key_positions))
        return gathered(keys @ distances.transpose(0, 2, 1), row.T).transpose(0, 2, 1)

    def _row(self, offsets: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        distances = -offsets
        if self.buckets is not None:
            distances = log_buckets(distances, self.buckets, self.max_distance)
        return np.asarray(np.clip(distances + self.span, 0, 2 * self.span - 1))


def _require_span(buckets: int | None, max_distance: int) -> None:
    if buckets is None:
        require_count("max_distance", max_distance)
    else:
        _require_buckets(buckets, max_distance)
