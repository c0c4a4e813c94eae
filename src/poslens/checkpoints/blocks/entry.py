"""`BlockEntry`: what one part of one architecture says about its attention blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from poslens.checkpoints.blocks.block import Biases
from poslens.checkpoints.blocks.projections import Layout
from poslens.checkpoints.blocks.reader import Spellings
from poslens.checkpoints.blocks.steps import HeadNormEntry, LinearEntry, StepEntry
from poslens.checkpoints.config import Config
from poslens.checkpoints.families.sizes import Sizes

ALL: Biases = frozenset({"query", "key", "value", "output"})
NONE: Biases = frozenset()
INPUTS: Biases = frozenset({"query", "key", "value"})
OUTPUT: Biases = frozenset({"output"})

Steps = tuple[StepEntry, ...]


def always(*steps: StepEntry) -> Callable[[Config, int], Steps]:
    """Return the rule of a family whose steps are the same whatever its config says."""
    return lambda _, __: steps


def have(biases: Biases) -> Callable[[Config, int], Biases]:
    """Return the rule of a family whose biases are the same whatever its config says."""
    return lambda _, __: biases


def have_if(
    key: str, default: bool, biases: Biases = ALL, besides: Biases = NONE
) -> Callable[[Config, int], Biases]:
    """Return the rule of a family whose biases a switch of the config turns on.

    Parameters
    ----------
    key, default
        The switch, and what holds where the config is silent.
    biases
        What it turns on.
    besides
        What there is in any case.
    """
    return lambda config, _: besides | biases if config.switch(key, default) else besides


def inverse_root(_: Config, d_head: int, __: int) -> float:
    """Return 1 ÷ √d_head (Vaswani et al. 2017, section 3.2.1)."""
    return 1 / math.sqrt(d_head)


def unscaled(_: Config, __: int, ___: int) -> float:
    """Return 1, as T5 and GPT-Neo leave their logits."""
    return 1.0


def root_of_width(key: str | None = None, default: bool = True) -> Callable[[Config, int], float]:
    """Return the rule of a family whose token vectors are multiplied by √d.

    Parameters
    ----------
    key, default
        The config's switch for it, and what holds where the config is silent; None where the
        family always does.
    """

    def factor(config: Config, dim: int) -> float:
        return math.sqrt(dim) if key is None or config.switch(key, default) else 1.0

    return factor


def is_decoder(config: Config) -> bool:
    """Whether the config says that a model of BERT's kin masks the future."""
    return config.switch("is_decoder", False)


def bidirectional(_: Config) -> bool:
    """Return False: whatever the config says, every query sees every key."""
    return False


def plain(width: int, heads: int, layers: int) -> Sizes:
    """Return sizes of a model whose heads share the width evenly, none of them grouped."""
    return Sizes(width, heads, layers, key_heads_keys=(), head_dim_keys=())


def positive(config: Config, key: str, default: float) -> float:
    """Return a number above 0.

    Raises
    ------
    SourceError
        If the value is none.
    """
    value = config.number(key, default)
    if value == 0:
        raise config.contradiction(f"cannot use {key}", "a number above 0", "0")
    return value


@dataclass(frozen=True)
class BlockEntry:
    """The attention blocks of one stack of layers.

    Attributes
    ----------
    sizes
        Where the config says heads and widths.
    layouts
        The names of the projections, today's and older ones; those that are there count.
    prefixes
        What stands before all names: nothing in a bare model, the base model's name in a model
        with a task head.
    name
        The value of ``--part``; None in an architecture with one stack.
    embedding
        From the config and the dimensions, what acts on the embedding before the first layer.
    before
        From the config and the layer, what acts in each layer before its projections.
    biases
        Which biases there are.
    scale
        From the config, d_head and the layer, what logits are multiplied by.
    causal
        Whether a query sees only itself and the keys before it.
    embedding_width
        Dimensions of the embedding, where they can differ from those of the hidden states.
    token_factor
        From the config and the dimensions, what token vectors are multiplied by.
    token_projection
        From the config and the dimensions, what token vectors alone are projected by, and from
        which width.
    tokens
        The token table, under the names that it has had; none where the model reads no tokens.
    types
        From the config, the tables of which row 0 is added to every token that is not said to be
        of another type.
    head_norms
        From the config and the layer, the norms of queries and keys.
    soft_cap, clip
        As in `AttentionBlock`.
    place
        From the config and the layer, the number that stands in the names of its tensors.
    refused
        From the config, why the block cannot be read; '' where it can.
    sections
        The keys of the config's section that holds the values; the first one present counts.
    """

    sizes: Sizes
    layouts: tuple[Layout, ...]
    prefixes: tuple[str, ...]
    name: str | None = None
    embedding: Callable[[Config, int], Steps] = lambda _, __: ()
    before: Callable[[Config, int], Steps] = lambda _, __: ()
    biases: Callable[[Config, int], Biases] = lambda _, __: ALL
    scale: Callable[[Config, int, int], float] = inverse_root
    causal: Callable[[Config], bool] = lambda _: True
    embedding_width: Callable[[Config, int], int] = lambda _, dim: dim
    token_factor: Callable[[Config, int], float] = lambda _, __: 1.0
    token_projection: Callable[[Config, int], tuple[int, LinearEntry] | None] = lambda _, __: None
    tokens: Spellings = ()
    types: Callable[[Config], Spellings] = lambda _: ()
    head_norms: Callable[[Config, int], HeadNormEntry | None] = lambda _, __: None
    soft_cap: Callable[[Config], float | None] = lambda _: None
    clip: Callable[[Config], float | None] = lambda _: None
    place: Callable[[Config, int], int] = lambda _, layer: layer
    refused: Callable[[Config], str] = lambda _: ""
    sections: tuple[str, ...] = ()

    def section(self, config: Config) -> Config:
        """Return the section of the config that holds this part's values.

        Raises
        ------
        SourceError
            If it is no object.
        """
        return config.section(*self.sections) if self.sections else config
