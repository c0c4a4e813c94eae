"""Architectures that add a bias to the logits by distance: ALiBi, and T5's buckets.

Checked against transformers 5.23; the tests compare every entry with the model's own slopes,
buckets and weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from poslens.checkpoints.config import Config
from poslens.checkpoints.families.entry import Family, Spellings
from poslens.checkpoints.families.rotary import FALCON, FALCON_SIZES, uses_alibi
from poslens.checkpoints.families.sizes import Sizes
from poslens.checkpoints.schemes import Alibi, BucketedBias
from poslens.checkpoints.tensors import Tensors


@dataclass(frozen=True)
class AlibiEntry:
    """ALiBi as one family uses it.

    Attributes
    ----------
    sizes
        Where heads and layers are said.
    when
        Whether the model adds the bias at all.
    max_bias
        The exponent of the smallest slope.
    symmetric, scaled
        As in `Alibi`.
    """

    sizes: Sizes
    when: Callable[[Config], bool] = lambda _: True
    max_bias: Callable[[Config], float] = lambda _: 8.0
    symmetric: bool = False
    scaled: bool = False

    @property
    def label(self) -> str:
        """ALiBi."""
        return "ALiBi"

    @property
    def where(self) -> str:
        """The heads, from which the slopes follow."""
        return f"computed from `{self.sizes.heads_keys[0]}`; nothing is stored"

    def acting(self, config: Config, _: Tensors) -> Iterable[Alibi]:
        """Return the bias; nothing where the config turns it off.

        Raises
        ------
        SourceError
            If a value of the config has the wrong type.
        """
        if not self.when(config):
            return []
        heads = config.count(self.sizes.heads, *self.sizes.heads_keys)
        layers = self.sizes.layer_count(config)
        return [Alibi(heads, layers, self.symmetric, self.max_bias(config), self.scaled)]


@dataclass(frozen=True)
class Stack:
    """One stack of layers with a bucketed bias.

    Attributes
    ----------
    tensors
        A regular expression for the names of the tensors, shape (bucket, head).
    bidirectional
        As in `BucketedBias`.
    part
        As in `BucketedBias`.
    """

    tensors: str
    bidirectional: bool
    part: str | None = None


@dataclass(frozen=True)
class BucketedEntry:
    """T5's bias as one family uses it.

    Attributes
    ----------
    stacks
        The stacks that may be there: a checkpoint of the encoder alone has the config of both.
    heads, heads_keys
        Heads where the config is silent, and its keys for them.
    max_distance_keys
        The config's keys for the largest distance; empty where the model fixes it.
    buckets, max_distance
        Buckets and largest distance where the config is silent.
    buckets_keys
        The config's keys for the buckets.
    gated
        As in `BucketedBias`.
    where
        The names of the tensors, for the list of families.
    """

    stacks: tuple[Stack, ...]
    heads: int
    heads_keys: Spellings = ("num_heads", "num_attention_heads")
    max_distance_keys: Spellings = ("relative_attention_max_distance",)
    buckets: int = 32
    max_distance: int = 128
    buckets_keys: Spellings = ("relative_attention_num_buckets",)
    gated: bool = False
    where: str = "`block.N.layer.0.SelfAttention.relative_attention_bias.weight`"

    @property
    def label(self) -> str:
        """Bucketed bias, and whether it is gated."""
        return "gated bucketed bias" if self.gated else "bucketed bias"

    def acting(self, config: Config, tensors: Tensors) -> Iterable[BucketedBias]:
        """Return the bias of each stack that is in the container; of all where none is.

        Raises
        ------
        SourceError
            If a value of the config has the wrong type, or contradicts a tensor's shape.
        """
        every = [self._record(config, tensors, stack) for stack in self.stacks]
        held = [record for record in every if record.tensors]
        # What the config adds on condition (LongT5's global blocks) is known by its tensor alone.
        return held or [record for record in every if record.part in (None, "encoder", "decoder")]

    def _record(self, config: Config, tensors: Tensors, stack: Stack) -> BucketedBias:
        record = BucketedBias(
            buckets=config.count(self.buckets, *self.buckets_keys),
            max_distance=config.count(self.max_distance, *self.max_distance_keys),
            heads=config.count(self.heads, *self.heads_keys),
            bidirectional=stack.bidirectional,
            tensors=matching(tensors, stack.tensors),
            part=stack.part,
            gated=self.gated,
        )
        for name in record.tensors:
            shape = tensors.entry(name).shape
            if shape != (record.buckets, record.heads):
                raise config.contradiction(
                    f"tensor {tensors.entry(name)} does not fit the values",
                    f"shape {(record.buckets, record.heads)}, (bucket, head)",
                    f"shape {shape}",
                )
        return record


def matching(tensors: Tensors, pattern: str) -> tuple[str, ...]:
    """Return the tensors whose names end in what a regular expression says, by layer."""
    whole = re.compile(rf"(?:^|\.){pattern}$")
    return tuple(sorted(filter(whole.search, tensors.names()), key=_natural))


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    # Layer 10 comes after layer 9: the longer number is the larger one. Not int(), which refuses
    # thousands of digits.
    parts = re.split(r"0*([0-9]+)", name)
    return tuple((len(part) if odd % 2 else -1, part) for odd, part in enumerate(parts))


def _t5_stack(part: str, attention: str = "SelfAttention") -> Stack:
    hf = rf"{part}\.block\.[0-9]+\.layer\.0\.{attention}\.relative_attention_bias\.weight"
    gguf = rf"{part[:3]}\.blk\.[0-9]+\.attn_rel_b\.weight"
    return Stack(f"(?:{hf}|{gguf})", bidirectional=part == "encoder", part=part)


T5_STACKS = (_t5_stack("encoder"), _t5_stack("decoder"))
# The encoder of LongT5 attends within windows, and may see summaries of blocks through a second
# table, with the same buckets for distances between blocks.
LONGT5_STACKS = (
    _t5_stack("encoder", "(?:Local|TransientGlobal)SelfAttention"),
    Stack(
        r"encoder\.block\.[0-9]+\.layer\.0\.TransientGlobalSelfAttention"
        r"\.global_relative_attention_bias\.weight",
        bidirectional=True,
        part="encoder's global blocks",
    ),
    _t5_stack("decoder"),
)
T5 = BucketedEntry(T5_STACKS, heads=8)
MT5 = BucketedEntry(T5_STACKS, heads=6)
LONGT5 = BucketedEntry(
    LONGT5_STACKS,
    heads=8,
    where="`block.N.layer.0.LocalSelfAttention.relative_attention_bias.weight`, or the same in "
    "`TransientGlobalSelfAttention`",
)
SWITCH = BucketedEntry(T5_STACKS, heads=12)
MPNET = BucketedEntry(
    (Stack(r"encoder\.relative_attention_bias\.weight", bidirectional=True),),
    heads=12,
    heads_keys=("num_attention_heads",),
    max_distance_keys=(),
    where="`encoder.relative_attention_bias.weight`",
)


def _mpt_adds(config: Config) -> bool:
    # transformers' own port adds the bias, and with exponent 8, whatever these two say; they hold
    # in the code that the models were trained with.
    return config.section("attn_config").switch("alibi", True)


def _mpt_max_bias(config: Config) -> float:
    attention = config.section("attn_config")
    return attention.number("alibi_bias_max", 8.0) if attention.has("alibi_bias_max") else 8.0


def _symmetric_bert(config: Config) -> bool:
    return config.text("position_embedding_type", "absolute") == "alibi"


BLOOM = AlibiEntry(Sizes(64, 8, 2, heads_keys=("n_head", "num_attention_heads")))
MPT = AlibiEntry(
    Sizes(
        2048,
        16,
        24,
        heads_keys=("n_heads", "num_attention_heads"),
        layers_keys=("n_layers", "num_hidden_layers"),
    ),
    when=_mpt_adds,
    max_bias=_mpt_max_bias,
)
FALCON_ALIBI = AlibiEntry(FALCON_SIZES, when=uses_alibi, scaled=True)
# Jina's BERT, whose own code is never run, says so in its config alone.
JINA_BERT = AlibiEntry(Sizes(768, 12, 12), when=_symmetric_bert, symmetric=True)

# T5's config names the length that it was trained with; many of its kin's do not.
_T5_CONTEXT = ("n_positions",)

FAMILIES: dict[str, Family] = {
    "bloom": Family(mechanisms=(BLOOM,), context=("seq_length",)),
    "falcon": Family(mechanisms=(FALCON, FALCON_ALIBI)),
    "longt5": Family(mechanisms=(LONGT5,), context=_T5_CONTEXT),
    "mpt": Family(mechanisms=(MPT,), context=("max_seq_len",)),
    "mt5": Family(mechanisms=(MT5,), context=_T5_CONTEXT),
    "switch_transformers": Family(mechanisms=(SWITCH,), context=_T5_CONTEXT),
    "t5": Family(mechanisms=(T5,), context=_T5_CONTEXT),
    "umt5": Family(mechanisms=(MT5,), context=_T5_CONTEXT),
    # Recurrence knows the order of tokens without being told.
    "mamba": Family(context=()),
    "mamba2": Family(context=()),
    "rwkv": Family(context=("context_length",)),
}
