"""`read_embedding`: what a model adds up before its first layer, beside a position table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from poslens.axes import PerDim, TokenRows
from poslens.checkpoints.blocks.block import Linear
from poslens.checkpoints.blocks.found import Found, find_block
from poslens.checkpoints.blocks.reader import Reader
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.tensors import Entry, RowNumbers
from poslens.errors import SourceError, quoted


@dataclass(frozen=True, eq=False)
class Embedding:
    """The sum that enters a model's first layer, without its position table.

    Attributes
    ----------
    constant
        What is added to every token: the rows of the token type, and task type, that holds where
        none is given; zeros in models without.
    factor
        What token vectors are multiplied by.
    projection
        What they are projected by before that; None in most families.
    """

    constant: PerDim
    factor: float
    projection: Linear | None
    _table: Entry
    _reader: Reader

    @property
    def vocabulary(self) -> int:
        """How many rows the token table has."""
        return self._table.shape[0]

    @property
    def numbers(self) -> int:
        """How many numbers the token table holds."""
        return int(np.prod(self._table.shape))

    @property
    def by_rows(self) -> bool:
        """Whether rows of the token table are read without the others."""
        return self._reader.tensors.reads_rows_alone(str(self._table.name))

    def tokens(self, ids: Int[np.ndarray, "token"]) -> TokenRows:
        """Return what tokens give to the sum, in float64, shape (token, dim).

        Parameters
        ----------
        ids
            Ascending, each once, below `vocabulary`; no other rows are read where the container
            lies at hand.

        Raises
        ------
        SourceError
            If the rows cannot be had, or hold NaN or infinite values.
        """
        rows = self._reader.rows(self._table, ids).astype(np.float64)
        projected = rows if self.projection is None else self.projection(rows)
        return np.asarray(projected * self.factor)


def read_embedding(checkpoint: Checkpoint, part: str | None = None) -> Embedding:
    """Read what one part of a model adds up before its first layer; of the token table no row yet.

    Parameters
    ----------
    checkpoint
        An opened source, with a config.
    part
        Which stack, where a model has several.

    Raises
    ------
    SourceError
        As `read_block`; and if the part reads no tokens.
    """
    found, _ = find_block(checkpoint, part, 0)
    entry, config = found.entry, found.config
    if not entry.tokens:
        raise SourceError(
            f"this part of {quoted(checkpoint.uri)} reads no tokens",
            expected="a part that reads text",
            got=f"the {entry.name}" if entry.name else f"model_type {quoted(found.family)}",
            remedy="choose another part, or a model of text",
        )
    reader = Reader(checkpoint.tensors, config, found.prefix, 0)
    dim = config.count(entry.sizes.width, *entry.sizes.width_keys)
    width = entry.embedding_width(config, dim)
    projected = entry.token_projection(config, dim)
    return Embedding(
        constant=_constant(reader, found, width),
        factor=entry.token_factor(config, dim),
        projection=None if projected is None else projected[1].read(reader, projected[0], dim),
        _table=reader.matrix(entry.tokens, width if projected is None else projected[0]),
        _reader=reader,
    )


def _constant(reader: Reader, found: Found, width: int) -> PerDim:
    first: RowNumbers = np.zeros(1, dtype=np.int64)
    total = np.zeros(width)
    for name in found.entry.types(found.config):
        total = total + reader.rows(reader.matrix((name,), width), first)[0]
    return total
