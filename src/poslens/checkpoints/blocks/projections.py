"""Where a checkpoint keeps the projections of one attention block, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from poslens.checkpoints.blocks.block import Bias, Biases
from poslens.checkpoints.blocks.layouts import (
    Fused,
    fused_outputs,
    key_outputs,
    query_outputs,
)
from poslens.checkpoints.blocks.reader import Reader
from poslens.checkpoints.families.sizes import Heads
from poslens.checkpoints.tensors import Values

_THREE: tuple[Bias, Bias, Bias] = ("query", "key", "value")


@dataclass(frozen=True)
class Apart:
    """Queries, keys and values in three tensors.

    Attributes
    ----------
    query, key, value
        Their names; None for what the family never has.
    """

    query: str | None
    key: str | None
    value: str | None

    def names(self) -> tuple[str, ...]:
        """Return the names of all that there may be."""
        return tuple(name for name in (self.query, self.key, self.value) if name is not None)

    def weights(
        self, reader: Reader, heads: Heads, width: int, *, transposed: bool
    ) -> Iterator[Values]:
        """Yield the three matrices, shape (output, dim), each read when it is asked for.

        Raises
        ------
        SourceError
            If one is not there, or is not as the config says.
        """
        for name, count in zip(self.names(), _counts(heads), strict=True):
            yield reader.array(name, (count, width), transposed=transposed)

    def biases(self, reader: Reader, heads: Heads, biased: Biases) -> Iterator[Values]:
        """Yield the three biases, shape (output,), zeros for those the model does not have.

        Raises
        ------
        SourceError
            If one is not there, is there though the config says it is not, or has another shape.
        """
        named = zip(_THREE, (self.query, self.key, self.value), _counts(heads), strict=True)
        for which, name, count in named:
            if name is None:
                yield np.zeros(count)
            else:
                yield reader.array_or_zeros(name, (count,), exists=which in biased)


@dataclass(frozen=True)
class Together:
    """Queries, keys and values in one tensor.

    Attributes
    ----------
    name
        Its name.
    parted
        How it is parted.
    """

    name: str
    parted: Fused

    def names(self) -> tuple[str, ...]:
        """Return its name."""
        return (self.name,)

    def weights(
        self, reader: Reader, heads: Heads, width: int, *, transposed: bool
    ) -> Iterator[Values]:
        """Yield the three matrices, shape (output, dim).

        Raises
        ------
        SourceError
            If the tensor is not there, or is not as the config says.
        """
        shape = (fused_outputs(heads), width)
        yield from self.parted(reader.array(self.name, shape, transposed=transposed), heads)

    def biases(self, reader: Reader, heads: Heads, biased: Biases) -> Iterator[Values]:
        """Yield the three biases, shape (output,), zeros where the model has none.

        Raises
        ------
        SourceError
            If the tensor is not there, is there though the config says it is not, or has another
            shape.
        """
        exists = "query" in biased
        shape = (fused_outputs(heads),)
        yield from self.parted(reader.array_or_zeros(self.name, shape, exists=exists), heads)


Source: TypeAlias = Apart | Together


@dataclass(frozen=True)
class Layout:
    """The names of one block's projections.

    Attributes
    ----------
    weights, biases
        Those to queries, keys and values.
    output, output_bias
        Those from what the heads have gathered.
    transposed
        Whether matrices are stored (dim, output), as GPT-2's Conv1D has them.
    """

    weights: Source
    biases: Source
    output: str
    output_bias: str
    transposed: bool = False

    def names(self) -> tuple[str, ...]:
        """Return the names of all tensors."""
        return (*self.weights.names(), *self.biases.names(), self.output, self.output_bias)


def linear(before: str, query: str, key: str, value: str, output: str) -> Layout:
    """Return the layout of four `torch.nn.Linear` whose names begin alike."""
    three = [before + name for name in (query, key, value)]
    return Layout(
        Apart(*(f"{name}.weight" for name in three)),
        Apart(*(f"{name}.bias" for name in three)),
        f"{before}{output}.weight",
        f"{before}{output}.bias",
    )


def fused(
    before: str, three: str, output: str, parted: Fused, *, transposed: bool = False
) -> Layout:
    """Return the layout of two maps whose names begin alike, the first of them fused."""
    return Layout(
        Together(f"{before}{three}.weight", parted),
        Together(f"{before}{three}.bias", parted),
        f"{before}{output}.weight",
        f"{before}{output}.bias",
        transposed,
    )


def _counts(heads: Heads) -> tuple[int, int, int]:
    return query_outputs(heads), key_outputs(heads), key_outputs(heads)
