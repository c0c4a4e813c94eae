"""T5's bias: one learned number for each head and bucket of distances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from poslens.axes import BucketValues, HeadOffsets, KeyPositions, Offsets, PairBias, QueryPositions
from poslens.encodings.pairs import over_pairs
from poslens.encodings.protocol import Acts
from poslens.encodings.validate import (
    INIT_STD,
    frozen,
    noise,
    require_count,
    whole_positions,
)
from poslens.errors import SettingError

BUCKETS = 32
MAX_DISTANCE = 128


def t5_buckets(
    offsets: Offsets,
    buckets: int = BUCKETS,
    max_distance: int = MAX_DISTANCE,
    causal: bool = False,
) -> Int[np.ndarray, "offset"]:
    """Return the bucket of each offset s - t.

    A side has n buckets: half of them, or all where the model is causal and keys after the query
    share the bucket of distance 0. Distances below e = ⌊n/2⌋ have a bucket each; a larger distance
    r has e + ⌊(n-e)·ln(r/e)/ln(max_distance/e)⌋, at most n-1.

    Parameters
    ----------
    offsets
        Whole numbers, shape (offset,).
    buckets
        In all: at least 2 where causal, else at least 4.
    max_distance
        From which on all distances share the last bucket, above e.
    causal
        Whether all buckets are for keys before the query.

    Raises
    ------
    SettingError
        If an offset is no whole number, or the buckets cannot be.
    """
    exact = _require_buckets(buckets, max_distance, causal)
    values = whole_positions(offsets, "offset")
    side = buckets if causal else buckets // 2
    distance = np.maximum(-values, 0) if causal else np.abs(values)
    # In float32, as T5 was trained: in float64 a distance such as 16 of 128, exactly at a bucket's
    # edge, can round to the other side. The logarithm alone is taken in float64 and then rounded,
    # since its last bit in float32 depends on the machine.
    ratio = np.maximum(distance, exact).astype(np.float32) / np.float32(exact)
    steps = np.log(ratio.astype(np.float64)).astype(np.float32)
    steps = steps / np.float32(math.log(max_distance / exact)) * np.float32(side - exact)
    far = np.minimum(exact + steps.astype(np.int64), side - 1)
    after = 0 if causal else np.where(values > 0, side, 0)
    return np.asarray(np.where(distance < exact, distance, far) + after)


def _require_buckets(buckets: int, max_distance: int, causal: bool) -> int:
    """Return e, the distances that have a bucket each."""
    require_count("buckets", buckets, 2 if causal else 4)
    exact = (buckets if causal else buckets // 2) // 2
    if max_distance <= exact:
        raise SettingError(
            f"{buckets} buckets cannot end at distance {max_distance}",
            expected=f"a max_distance above {exact}, to which each distance has its own bucket",
            got=f"{max_distance}",
        )
    require_count("max_distance", max_distance)
    return exact


@dataclass(frozen=True, eq=False, repr=False)
class T5:
    """b_h[bucket(s-t)] added to the logits of head h; they are not divided by √d_k in T5.

    MPNet has the same, always with `MAX_DISTANCE`.

    Attributes
    ----------
    values
        b, shape (bucket, head); kept as a read-only copy in float64.
    max_distance, causal
        See `t5_buckets`.

    Raises
    ------
    SettingError
        If a value is not finite, or the buckets cannot be.
    """

    name: ClassVar[str] = "t5"
    acts: ClassVar[Acts] = "biases"
    paper: ClassVar[str] = "Raffel et al. 2020, section 2.1"

    values: BucketValues
    max_distance: int = MAX_DISTANCE
    causal: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", frozen(self.values, "values"))
        _require_buckets(self.buckets, self.max_distance, self.causal)

    def __repr__(self) -> str:
        return (
            f"T5(buckets={self.buckets}, heads={self.heads}, max_distance={self.max_distance}, "
            f"causal={self.causal})"
        )

    @classmethod
    def drawn(
        cls,
        heads: int,
        buckets: int = BUCKETS,
        max_distance: int = MAX_DISTANCE,
        causal: bool = False,
        std: float = INIT_STD,
        seed: int = 0,
    ) -> T5:
        """Return the bias before training: numbers from N(0, ``std``²), from a seed.

        Raises
        ------
        SettingError
            If a setting is out of its range.
        """
        require_count("heads", heads)
        require_count("buckets", buckets)
        return cls(noise(std, seed, buckets, heads), max_distance, causal)

    @property
    def buckets(self) -> int:
        """Buckets in all."""
        return len(self.values)

    @property
    def heads(self) -> int:
        """Heads, each with its own numbers."""
        return int(self.values.shape[1])

    @property
    def parameters(self) -> int:
        """Buckets times heads."""
        return int(self.values.size)

    def profile(self, offsets: Offsets) -> HeadOffsets:
        """Return the bias at whole offsets s - t, shape (head, offset).

        Raises
        ------
        SettingError
            If an offset is no whole number.
        """
        bucket = t5_buckets(offsets, self.buckets, self.max_distance, self.causal)
        return np.asarray(self.values.T[:, bucket])

    def bias(self, query_positions: QueryPositions, key_positions: KeyPositions) -> PairBias:
        """Return the bias of every pair, shape (head, query_pos, key_pos).

        Raises
        ------
        SettingError
            If a position is no whole number.
        """
        queries, keys = whole_positions(query_positions), whole_positions(key_positions)
        return over_pairs(self.profile, queries, keys)
