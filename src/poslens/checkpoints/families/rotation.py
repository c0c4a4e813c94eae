"""`RotaryEntry`: what a family's config says about its RoPE, in old spellings and in new ones.

transformers 4 wrote ``rope_theta`` and ``rope_scaling`` at the top of ``config.json``;
transformers 5 writes one object ``rope_parameters``, for some families one per layer type
(`RotaryEmbeddingConfigMixin` of ``modeling_rope_utils.py``, version 5.23). Both give one record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from poslens.checkpoints.config import Config
from poslens.checkpoints.families.entry import Spellings
from poslens.checkpoints.families.sizes import Heads, Sizes
from poslens.checkpoints.schemes import Pairing, Rotary
from poslens.checkpoints.tensors import Tensors

Layers = Callable[[Config, int], tuple[int, ...]]

# Scalings that are fitted to the context of pretraining, and the key that names it.
STRETCHED = ("llama3", "yarn", "longrope")
ORIGINAL = "original_max_position_embeddings"

# Why the pairing is not that of the family in transformers.
REORDERED = "the rows of queries and keys are reordered for it in this container"

# Said elsewhere in the record: not words about scaling.
_NOT_SCALING = ("rope_theta", "rope_type", "type", "partial_rotary_factor")


def every_layer(_: Config, count: int) -> tuple[int, ...]:
    """Return all layers."""
    return tuple(range(count))


def unless_nope(config: Config, count: int) -> tuple[int, ...]:
    """Return the layers that rotate in SmolLM3 and Llama 4: all but each fourth, or as listed.

    ``no_rope_layers`` is 1 for a layer that does rotate, whatever its name says.

    Raises
    ------
    SourceError
        If the list is none of whole numbers, or too short.
    """
    listed = config.items("no_rope_layers", int, fewest=count)
    if listed is not None:
        return tuple(layer for layer in range(count) if listed[layer])
    interval = config.count(4, "no_rope_layer_interval")
    return tuple(layer for layer in range(count) if (layer + 1) % interval)


def of_type(layer_type: str, key: str, default: int, *, global_last: bool) -> Layers:
    """Return a function that gives the layers whose attention is of one type.

    Parameters
    ----------
    layer_type
        ``"full_attention"`` or ``"sliding_attention"``.
    key, default
        The config's key for how many layers there are from one with full attention to the next,
        which holds where it has no ``layer_types``.
    global_last
        Whether full attention is that of the last layer of such a group, or of the first.
    """

    def layers(config: Config, count: int) -> tuple[int, ...]:
        types = config.items("layer_types", str, fewest=count)
        if types is None:
            every = config.count(default, key)
            full = [(layer + global_last) % every == 0 for layer in range(count)]
            types = ["full_attention" if one else "sliding_attention" for one in full]
        return tuple(layer for layer in range(count) if types[layer] == layer_type)

    return layers


@dataclass(frozen=True)
class RotaryEntry:
    """RoPE as one family uses it; a family with two bases has two entries.

    Attributes
    ----------
    sizes
        Where heads and layers are said.
    base, base_keys
        θ where the config is silent, and its keys outside ``rope_parameters``.
    partial, partial_keys
        The part of each head that rotates where the config is silent, and its keys outside
        ``rope_parameters``; None where the family always rotates whole heads.
    rotary_dim
        From the config and the head dimension, how many dimensions rotate, where the family says
        it as a number and not as a part.
    pairing
        Which coordinates turn together.
    layers
        The layers that rotate.
    layer_type
        The section of ``rope_parameters`` that counts, in families with one base for each type
        of attention.
    scales
        Whether ``rope_scaling`` at the top of the config is meant for this entry.
    defaults
        What ``rope_parameters`` is where the config has neither it nor ``rope_scaling``.
    renamed
        Old words for a ``rope_type``, with those of today.
    when
        Whether the model rotates at all.
    sections
        The keys of the config's section that holds the values; the first one present counts.
    note
        What else the record must say.
    """

    sizes: Sizes
    base: float = 10_000.0
    base_keys: Spellings = ("rope_theta",)
    partial: float | None = None
    partial_keys: Spellings = ("partial_rotary_factor",)
    rotary_dim: Callable[[Config, int], int] | None = None
    pairing: Callable[[Config], Pairing] = lambda _: "half"
    layers: Layers = every_layer
    layer_type: str | None = None
    scales: bool = True
    defaults: Mapping[str, object] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    when: Callable[[Config], bool] = lambda _: True
    sections: tuple[str, ...] = ()
    note: Callable[[Config], str] = lambda _: ""

    @property
    def label(self) -> str:
        """RoPE, and in which layers where not in all."""
        return f"RoPE ({self.layer_type})" if self.layer_type else "RoPE"

    @property
    def where(self) -> str:
        """The config's keys for base and part."""
        keys = (*self.base_keys[:1], *(self.partial_keys[:1] if self.partial is not None else ()))
        return ", ".join(f"`{key}`" for key in keys)

    def acting(self, config: Config, tensors: Tensors) -> Iterable[Rotary]:
        """Return the rotation; nothing where the config turns it off or no layer has it.

        Raises
        ------
        SourceError
            If a value of the config has the wrong type, or contradicts another.
        """
        found = self.read(config, tensors.pairing)
        return [] if found is None else [found]

    def read(self, config: Config, stored: Pairing | None = None) -> Rotary | None:
        """Return the rotation that a config says; None where it turns it off or no layer has it.

        Parameters
        ----------
        config
            The whole config.
        stored
            The pairing for which the container has the rows of queries and keys; None for the
            family's own.

        Raises
        ------
        SourceError
            If a value of the config has the wrong type, or contradicts another.
        """
        if self.sections:
            config = config.section(*self.sections)
        if not self.when(config):
            return None
        heads = self.sizes.read(config)
        layers = self.layers(config, heads.layers)
        return self._record(config, stored, heads, layers) if layers else None

    def _record(
        self, config: Config, stored: Pairing | None, heads: Heads, layers: tuple[int, ...]
    ) -> Rotary:
        parameters = self._parameters(config)
        pairing = self.pairing(config)
        note = self.note(config)
        if stored not in (None, pairing):
            pairing = stored
            note = "; ".join(part for part in (note, REORDERED) if part)
        return Rotary(
            base=self._base(config, parameters),
            head_dim=heads.head_dim,
            rotary_dim=self._rotary_dim(config, parameters, heads.head_dim),
            query_heads=heads.query,
            key_heads=heads.key,
            layers=layers,
            layer_count=heads.layers,
            pairing=pairing,
            scaling=self._scaling(config, parameters),
            note=note,
            shown=parameters.shown,
        )

    def _parameters(self, config: Config) -> Config:
        """Return the values of ``rope_parameters``, with those of an older ``rope_scaling``."""
        old = config.section("rope_scaling") if self.scales else Config({}, config.shown)
        new = config.section("rope_parameters")
        if self.layer_type is not None:
            # A section for each type is all that these families read of the new object.
            typed = new.section(self.layer_type)
            return Config({**typed.values, **old.values}, typed.shown)
        for key, value in new.values.items():
            if key.endswith("_attention") and isinstance(value, dict):
                raise config.contradiction(
                    "cannot use rope_parameters",
                    "one set of values for all layers of this architecture",
                    "one for each layer type",
                )
        if old.values:  # transformers 5 prefers it, and does not merge
            return old
        return new if new.values else Config(self.defaults, config.shown)

    def _base(self, config: Config, parameters: Config) -> float:
        base = _stated(parameters, config, "rope_theta", self.base_keys, self.base)
        if base == 0:
            raise config.contradiction("cannot rotate by base 0", "a base above 0", "0")
        return base

    def _rotary_dim(self, config: Config, parameters: Config, head_dim: int) -> int:
        dim = self._dims(config, parameters, head_dim)
        if not 2 <= dim <= head_dim or dim % 2:
            raise config.contradiction(
                "cannot rotate these heads in planes",
                f"an even number of rotated dimensions, from 2 to the head dimension {head_dim}",
                f"{dim}",
            )
        return dim

    def _dims(self, config: Config, parameters: Config, head_dim: int) -> int:
        if self.rotary_dim is not None:
            return self.rotary_dim(config, head_dim)
        if self.partial is None and config.silence_is_default:
            return head_dim
        whole = 1.0 if self.partial is None else self.partial
        part = _stated(parameters, config, "partial_rotary_factor", self.partial_keys, whole)
        if part > 1:
            raise config.contradiction(
                "cannot rotate more than a head", "a part from 0 to 1", f"{part:.10g}"
            )
        return int(head_dim * part)  # cut, not rounded, as transformers does

    def _scaling(self, config: Config, parameters: Config) -> dict[str, object]:
        key = parameters.first("rope_type", "type")
        word = parameters.text(key) if key else "default"
        word = self.renamed.get(word, word)
        if word == "default":
            return {}
        scaling: dict[str, object] = {"rope_type": word}
        scaling |= {k: v for k, v in parameters.values.items() if k not in _NOT_SCALING}
        if word in STRETCHED and config.silence_is_default:
            if config.has(ORIGINAL):
                scaling[ORIGINAL] = config.values[ORIGINAL]
            elif not parameters.has(ORIGINAL) and config.has("max_position_embeddings"):
                scaling[ORIGINAL] = config.values["max_position_embeddings"]
        return scaling


def _stated(
    parameters: Config, config: Config, key: str, older: Spellings, default: float
) -> float:
    """Return a number under its key of today, or else under one of its older ones."""
    if parameters.has(key):
        return parameters.number(key, default)
    known = config.first(*older)
    return default if known is None else config.number(known, default)
