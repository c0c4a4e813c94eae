"""What one entry of the table of families can say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from poslens.axes import Rows
from poslens.checkpoints.config import Config
from poslens.checkpoints.schemes import Acting, Kind
from poslens.checkpoints.tensors import Tensors

# The names under which one weight is found, as transformers has renamed some and GGUF has its own.
# No name at all: a normalisation without weights, whose γ is 1.
Spellings = tuple[str, ...]


def initializer_range(config: Config) -> float:
    """Return σ as PreTrainedModel._init_weights does, which takes 0 for unset."""
    return config.number("initializer_range", 0.02) or 0.02


@dataclass(frozen=True)
class Formula:
    """A table that the model computes and its checkpoint need not hold.

    Attributes
    ----------
    length, dim
        Positions and dimensions.
    table
        From these two, the table from position 0 on.
    """

    length: int
    dim: int
    table: Callable[[int, int], Rows]


@dataclass(frozen=True)
class Part:
    """One position table of one architecture.

    Names are without the prefix that the table and everything beside it share.

    Attributes
    ----------
    position
        The position table.
    prefixes
        What stands before the names: nothing in a bare model, the base model's name in a model
        with a task head.
    name
        The value of ``--part``; None in an architecture with one table.
    tokens
        The token table; empty where the model reads no tokens.
    norms
        γ of each LayerNorm from the embedding to the first attention block, in order of action.
    norms_centre
        Whether these subtract the mean over dimensions; RMSNorm does not.
    offset
        Rows before position 0.
    scheme
        ``"learned"``, or ``"sinusoidal"`` where the model never trains the table.
    init_std
        σ of the normal distribution that a learned table is drawn from.
    sections
        The keys of the config's section that holds the values; the first one present counts.
    requires
        Values the config must have for the model to add the table at all.
    assumed
        Whether these values hold where the config is silent.
    token_factor
        From the config and the dimensions, what token vectors are multiplied by before the table
        is added to them.
    formula
        How the table is computed where the checkpoint holds none of these names.
    """

    position: Spellings
    prefixes: tuple[str, ...]
    name: str | None = None
    tokens: Spellings = ()
    norms: Callable[[Config], tuple[Spellings, ...]] = lambda _: ()
    norms_centre: Callable[[Config], bool] = lambda _: True
    offset: Callable[[Config], int] = lambda _: 0
    scheme: Callable[[Config], Kind] = lambda _: "learned"
    init_std: Callable[[Config], float] = initializer_range
    sections: tuple[str, ...] = ()
    requires: Mapping[str, str | bool] = field(default_factory=dict)
    assumed: bool = True
    token_factor: Callable[[Config, int], float] = lambda *_: 1.0
    formula: Callable[[Config], Formula] | None = None


@runtime_checkable
class Mechanism(Protocol):
    """A way in which a family acts on positions other than by an added table."""

    @property
    def label(self) -> str:
        """What it is, in a few words, for the list of families."""

    @property
    def where(self) -> str:
        """Where it is found, for the list of families: tensor names, or keys of the config.

        Names are in backticks, with N for the number of a layer.
        """

    def acting(self, config: Config, tensors: Tensors) -> Iterable[Acting]:
        """Return what this mechanism does in one model; nothing where the config turns it off.

        Raises
        ------
        SourceError
            If a value of the config has the wrong type, or contradicts another.
        """


@dataclass(frozen=True)
class Family:
    """One architecture: the tables it adds, and what else acts on positions.

    Attributes
    ----------
    parts
        Its added tables.
    mechanisms
        What rotates, biases or convolves.
    context
        The config's keys for the longest sequence; the first one present counts.
    context_sections
        The keys of the config's section that holds it, for models of several parts.
    composed
        Of a model made of other models: the sections of the config that hold theirs, under whose
        names their tensors stand too.
    """

    parts: tuple[Part, ...] = ()
    mechanisms: tuple[Mechanism, ...] = ()
    context: Spellings = ("max_position_embeddings",)
    context_sections: tuple[str, ...] = ()
    composed: tuple[str, ...] = ()
