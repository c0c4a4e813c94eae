"""Heads and layers of an attention model, as its config names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from poslens.checkpoints.config import Config
from poslens.checkpoints.families.entry import Spellings

# A record lists its layers, so that their number, which comes from a file, must have a bound.
MOST_LAYERS = 100_000


@dataclass(frozen=True)
class Heads:
    """What one config says.

    Attributes
    ----------
    head_dim
        Dimensions of a query or key head.
    query, key
        Heads of queries and of keys.
    layers
        Layers.
    """

    head_dim: int
    query: int
    key: int
    layers: int


@dataclass(frozen=True)
class Sizes:
    """Where a family's config says how large its attention is.

    The numbers are the defaults of the family's configuration class in transformers, which hold
    where the config is silent.

    Attributes
    ----------
    width
        Dimensions of the embedding.
    heads, layers
        Heads of queries, and layers.
    key_heads
        Heads of keys; None for as many as queries have.
    head_dim
        Dimensions of a head where the config is silent; None for ``width / heads``, which a null
        in the config means in any case.
    head_dim_keys
        The config's keys for it; empty where the model takes ``width / heads`` whatever they say.
    grouped, joined
        From the config and the heads of queries, the heads of keys; and from the config, the
        dimensions of a head; where a family has its own rule for them.
    """

    width: int
    heads: int
    layers: int
    key_heads: int | None = None
    head_dim: int | None = None
    width_keys: Spellings = ("hidden_size", "n_embd")
    heads_keys: Spellings = ("num_attention_heads", "n_head")
    layers_keys: Spellings = ("num_hidden_layers", "n_layer")
    key_heads_keys: Spellings = ("num_key_value_heads",)
    head_dim_keys: Spellings = ("head_dim",)
    grouped: Callable[[Config, int], int] | None = None
    joined: Callable[[Config], int] | None = None

    def read(self, config: Config) -> Heads:
        """Return the sizes that a config says.

        Raises
        ------
        SourceError
            If a value has the wrong type, or two contradict each other.
        """
        query = config.count(self.heads, *self.heads_keys)
        key = self._key_heads(config, query)
        if query % key:
            raise config.contradiction(
                "query heads cannot share key heads evenly",
                "a number of key heads that divides that of query heads",
                f"{query} query and {key} key heads",
            )
        return Heads(self._head_dim(config, query), query, key, self.layer_count(config))

    def layer_count(self, config: Config) -> int:
        """Return the number of layers.

        Raises
        ------
        SourceError
            If it is no whole number from 1 to `MOST_LAYERS`.
        """
        count = config.count(self.layers, *self.layers_keys)
        if count > MOST_LAYERS:
            raise config.contradiction(
                "too many layers", f"at most {MOST_LAYERS} layers", f"{count} layers"
            )
        return count

    def _key_heads(self, config: Config, query: int) -> int:
        if self.grouped is not None:
            return self.grouped(config, query)
        nulled = any(key in config.values for key in self.key_heads_keys)
        default = query if nulled or self.key_heads is None else self.key_heads
        return config.count(default, *self.key_heads_keys)

    def _head_dim(self, config: Config, query: int) -> int:
        if self.joined is not None:
            return self.joined(config)
        given = config.first(*self.head_dim_keys)
        if given is not None:
            return config.count(1, given)
        nulled = any(key in config.values for key in self.head_dim_keys)
        if self.head_dim is not None and not nulled:
            return self.head_dim
        width = config.count(self.width, *self.width_keys)
        if width % query:
            raise config.contradiction(
                "heads cannot share the embedding evenly",
                "a number of heads that divides the hidden size, or a head_dim",
                f"hidden size {width} and {query} heads",
            )
        return width // query
