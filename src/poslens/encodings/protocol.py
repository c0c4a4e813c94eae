"""What every position scheme says of itself, and what each way of acting must give.

A scheme is a frozen dataclass. It says how it acts and how many trained numbers it owns, and gives
its table, rotation or bias at any positions that it has, not only at 0 … L-1.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from poslens.axes import (
    Angles,
    HeadOffsets,
    KeyPositions,
    LedRows,
    Offsets,
    PairBias,
    Positions,
    QueryPositions,
    Rows,
)

Acts: TypeAlias = Literal["adds", "rotates", "biases", "nothing"]


@runtime_checkable
class Encoding(Protocol):
    """A position scheme.

    Attributes
    ----------
    name
        Its key in `poslens.encodings.ENCODINGS`, and the first word of its encoding string.
    acts
        ``"adds"`` a table to the embeddings, ``"rotates"`` queries and keys, ``"biases"`` the
        logits, or does ``"nothing"``.
    paper
        Where it was described.
    """

    name: ClassVar[str]
    acts: ClassVar[Acts]
    paper: ClassVar[str]

    @property
    def parameters(self) -> int:
        """Trained numbers that it owns."""


@runtime_checkable
class AddsTable(Encoding, Protocol):
    """A scheme that adds a vector to each embedding.

    Attributes
    ----------
    dim
        d, of the vectors.
    """

    @property
    def dim(self) -> int:
        """Dimensions of a row."""

    def table(self, positions: Positions) -> Rows:
        """Return the rows of any positions that the scheme has, shape (position, dim)."""


@runtime_checkable
class Rotates(Encoding, Protocol):
    """A scheme that rotates queries and keys, so that their products depend on s - t."""

    def rotation(self, positions: Positions, length: int | None = None) -> tuple[Angles, Angles]:
        """Return the cosines and sines of each plane's angle, each of shape (position, plane)."""

    def rotate(self, x: LedRows, positions: Positions, length: int | None = None) -> LedRows:
        """Return queries or keys rotated, shape (…, position, head_dim)."""


@runtime_checkable
class Biases(Encoding, Protocol):
    """A scheme that adds to the logits what depends on positions alone."""

    def bias(self, query_positions: QueryPositions, key_positions: KeyPositions) -> PairBias:
        """Return what is added at every pair, shape (head, query_pos, key_pos)."""

    def profile(self, offsets: Offsets) -> HeadOffsets:
        """Return what is added at offsets s - t, shape (head, offset)."""
