"""What a model does with positions: one record for each way in which a scheme acts.

A record holds the numbers that fix the scheme, under the names of its paper or of transformers,
and says itself in one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from poslens.errors import quoted

# What ROPE_INIT_FUNCTIONS of transformers 5.23 knows; any other word is a file's own.
KNOWN_SCALINGS = ("linear", "dynamic", "yarn", "longrope", "llama3", "proportional")

Pairing: TypeAlias = Literal["half", "interleaved"]
Kind: TypeAlias = Literal["learned", "sinusoidal"]


# What an encoding does, in its own word and for people.
ACTS = {
    "adds": "adds a table to the embeddings",
    "rotates": "rotates queries and keys",
    "biases": "biases the logits",
    "nothing": "knows no positions",
}


@dataclass(frozen=True)
class AddedTable:
    """A vector for each position, added to the token (or patch) embedding.

    Attributes
    ----------
    kind
        ``"learned"``, or ``"sinusoidal"`` where the model never trains it.
    length, dim
        Positions and dimensions; None where only the tensor's shape would say it and it is absent.
    offset
        Stored rows before position 0.
    tensor
        The tensor's name; None where the checkpoint stores none and the formula is used, or where
        the container lacks it.
    part
        Of a model with several tables: ``"encoder"``, ``"decoder"`` and so on.
    token_factor
        What token vectors are multiplied by before the table is added to them.
    """

    kind: Kind
    length: int | None
    dim: int | None
    offset: int = 0
    tensor: str | None = None
    part: str | None = None
    token_factor: float = 1.0

    @property
    def word(self) -> str:
        """The scheme, in one word."""
        return self.kind

    def line(self) -> str:
        """Return the record as one phrase."""
        times = f"{self.token_factor:.6g} times " if self.token_factor != 1 else ""
        where = f" in the {self.part}" if self.part else ""
        return f"{self.kind} table {self._size()}, added to {times}the embedding{where}"

    def _size(self) -> str:
        if self.length is None or self.dim is None:
            return "that is not in this container"
        rows = f", its first {self.offset} rows not positions" if self.offset else ""
        stored = "" if self.tensor else ", computed and not stored"
        return f"of {self.length} positions × {self.dim} dimensions{rows}{stored}"


@dataclass(frozen=True)
class Rotary:
    """RoPE (Su et al. 2021): queries and keys rotated in planes, by angles t·base^(-2i/r).

    Attributes
    ----------
    base
        θ, from which the frequencies follow.
    head_dim, rotary_dim
        Dimensions of a head, and how many of them (r, the first ones unless a family says
        otherwise) are rotated.
    query_heads, key_heads
        Heads of queries and of keys.
    layers, layer_count
        The layers that rotate, ascending from 0, and how many there are.
    pairing
        ``"half"``: coordinate i turns with i + r/2 (GPT-NeoX, Llama). ``"interleaved"``: 2i with
        2i + 1 (the paper, GPT-J).
    scaling
        The config's own words for how frequencies are changed for longer contexts, ``rope_type``
        among them; empty for none.
    note
        What else must be said, such as that only a decoupled part of each head is rotated.
    shown
        Where the scaling is said, for messages: the quoted name of the config, and the section;
        '' where no file says it.
    """

    base: float
    head_dim: int
    rotary_dim: int
    query_heads: int
    key_heads: int
    layers: tuple[int, ...]
    layer_count: int
    pairing: Pairing = "half"
    scaling: Mapping[str, object] = field(default_factory=dict)
    note: str = ""
    shown: str = field(default="", repr=False, compare=False)

    @property
    def word(self) -> str:
        """The scheme, in one word."""
        return "rope"

    def line(self) -> str:
        """Return the record as one phrase."""
        size = f"head dimension {self.head_dim}"
        if self.rotary_dim != self.head_dim:
            size += f" of which {self.rotary_dim} rotate"
        interleaved = ", interleaved pairs" if self.pairing == "interleaved" else ""
        note = f" ({self.note})" if self.note else ""
        return (
            f"RoPE, base {self.base:.10g}{self._scaled()}, {size}{interleaved}, "
            f"{self.query_heads} query and {self.key_heads} key heads, "
            f"in {layers_line(self.layers, self.layer_count)}{note}"
        )

    def _scaled(self) -> str:
        if not self.scaling:
            return ""
        word = str(self.scaling["rope_type"])
        if word in KNOWN_SCALINGS:
            return f", {word} scaling"
        return f", scaled in a way unknown here, rope_type {quoted(word)}"


@dataclass(frozen=True)
class Alibi:
    """ALiBi (Press et al. 2022): -m_h·distance added to the logits of head h.

    Attributes
    ----------
    heads
        Heads of queries, each with its slope.
    layer_count
        Layers, all of which add it.
    symmetric
        Whether keys after the query are penalised as those before it (encoders), or are masked.
    max_bias
        MPT's ``alibi_bias_max``: slopes are 2^(-max_bias·i/n), i = 1…n. The paper's is 8. Where the
        number of heads is no power of two, n is the next one, and the slopes of even i come
        first, then those of odd i, as many as there are heads.
    scaled
        Whether the bias is divided by √d_k along with the logit (Falcon), or added after that.
    """

    heads: int
    layer_count: int
    symmetric: bool = False
    max_bias: float = 8.0
    scaled: bool = False

    @property
    def word(self) -> str:
        """The scheme, in one word."""
        return "alibi"

    def line(self) -> str:
        """Return the record as one phrase."""
        both = "both directions" if self.symmetric else "causal"
        largest = f", largest exponent {self.max_bias:.10g}" if self.max_bias != 8 else ""
        scaled = ", divided by √d_k with them" if self.scaled else ""
        return (
            f"ALiBi, {self.heads} slopes ({both}){largest}, added to the logits of all "
            f"{self.layer_count} layers{scaled}"
        )


@dataclass(frozen=True)
class BucketedBias:
    """T5's bias (Raffel et al. 2020): one learned number per head and bucket of distances.

    Attributes
    ----------
    buckets, max_distance
        Buckets in all, and the distance from which on all fall into the last.
    heads
        Heads, each with its own numbers.
    bidirectional
        Whether half of the buckets are for keys after the query.
    tensors
        The tensors that hold it, shape (bucket, head): one that all layers share, or one a layer;
        none where the container lacks them.
    part
        ``"encoder"`` or ``"decoder"``; None where there is one stack.
    gated
        Whether each query scales its biases by a gate of its own content (WavLM).
    """

    buckets: int
    max_distance: int
    heads: int
    bidirectional: bool
    tensors: tuple[str, ...]
    part: str | None = None
    gated: bool = False

    @property
    def word(self) -> str:
        """The scheme, in one word."""
        return "t5"

    def line(self) -> str:
        """Return the record as one phrase."""
        both = "both directions" if self.bidirectional else "causal"
        shared = {0: "its numbers not in this container", 1: "shared by all layers"}.get(
            len(self.tensors), "one in each layer"
        )
        where = f" of the {self.part}" if self.part else ""
        gated = ", times a gate of each query" if self.gated else ""
        return (
            f"bucketed bias, {self.buckets} buckets up to distance {self.max_distance} ({both}), "
            f"{self.heads} heads, {shared}{gated}, added to the logits{where}"
        )


@dataclass(frozen=True)
class RelativeTable:
    """Learned vectors or numbers for clipped or bucketed distances, used inside attention.

    Attributes
    ----------
    kind
        ``"Shaw relative keys"``, ``"disentangled attention"`` (DeBERTa), or
        ``"window bias"`` (Swin, BEiT: one number per head and two-dimensional offset).
    distances
        Rows of each tensor: how many distances or offsets are told apart.
    tensors
        The tensors that hold them; none where the container lacks them.
    acts_on
        What they enter, for people: ``"queries against positions"`` and so on.
    meets_keys
        Of Shaw's: whether keys meet them as well as queries.
    """

    kind: Literal["Shaw relative keys", "disentangled attention", "window bias"]
    distances: int
    tensors: tuple[str, ...]
    acts_on: str
    meets_keys: bool = False

    @property
    def word(self) -> str:
        """The scheme, in one word."""
        return _RELATIVE_WORDS[self.kind]

    def line(self) -> str:
        """Return the record as one phrase."""
        count = {0: "tensors not in this container", 1: "one tensor"}.get(
            len(self.tensors), f"{len(self.tensors)} tensors"
        )
        return f"{self.kind}, {self.distances} distances in {count}, {self.acts_on}"


@dataclass(frozen=True)
class ContinuousBias:
    """Swin V2's bias (Liu et al. 2022, section 3.3): a small network of the offset, not a table.

    Attributes
    ----------
    window
        Side of the windows within which patches attend.
    tensors
        The first weights of the network of each layer; none where the container lacks them.
    """

    window: int
    tensors: tuple[str, ...]

    @property
    def word(self) -> str:
        """The scheme, in one word."""
        return "window"

    def line(self) -> str:
        """Return the record as one phrase."""
        count = (
            f"one in each of {len(self.tensors)} layers"
            if self.tensors
            else "its weights not in this container"
        )
        return (
            "continuous bias, not a table: a network from the log-spaced offset of two patches, "
            f"{count}, within windows of {self.window}×{self.window}, added to the logits"
        )


@dataclass(frozen=True)
class Convolution:
    """Positions from a convolution over the sequence (wav2vec 2.0): not a table.

    Attributes
    ----------
    width
        Frames that a kernel spans.
    groups
        Groups of channels that are convolved apart.
    depth
        Convolutions, one after the other.
    """

    width: int
    groups: int
    depth: int = 1

    @property
    def word(self) -> str:
        """The scheme, in one word."""
        return "convolution"

    def line(self) -> str:
        """Return the record as one phrase."""
        one_by_one = (
            f"{self.depth} kernels one after the other, each" if self.depth > 1 else "a kernel"
        )
        return (
            f"convolutional positions, not a table: {one_by_one} of {self.width} frames in "
            f"{self.groups} groups, added to the features"
        )


@dataclass(frozen=True)
class BareTable:
    """What looks like a position table where nothing says what it is.

    Attributes
    ----------
    shape
        Of the tensor.
    tensor
        Its name; None for an array without one.
    """

    shape: tuple[int, ...]
    tensor: str | None

    @property
    def word(self) -> str:
        """The scheme, in one word."""
        return "unknown"

    def line(self) -> str:
        """Return the record as one phrase."""
        what = f"tensor {quoted(self.tensor)}" if self.tensor else "an array"
        size = " × ".join(map(str, self.shape)) or "one number"
        return f"{what} of {size}, of which nothing says how positions use it"


@dataclass(frozen=True)
class Encoded:
    """A scheme that an encoding string names.

    Attributes
    ----------
    word
        The scheme, in one word.
    settings
        The scheme with its settings.
    acts
        What it does, for people.
    parameters
        Trained numbers that it owns.
    paper
        Where it was described.
    adds
        Whether it adds a table.
    """

    word: str
    settings: str
    acts: str
    parameters: int
    paper: str
    adds: bool

    def line(self) -> str:
        """Return the record as one phrase."""
        return f"{self.settings}, {self.acts}, {self.parameters} trained numbers ({self.paper})"


@dataclass(frozen=True)
class NoPosition:
    """Nothing adds, rotates or biases by position (NoPE)."""

    @property
    def word(self) -> str:
        """The scheme, in one word."""
        return "nope"

    def line(self) -> str:
        """Return the record as one phrase."""
        return "no position encoding"


_RELATIVE_WORDS = {
    "Shaw relative keys": "shaw",
    "disentangled attention": "deberta",
    "window bias": "window",
}

Acting: TypeAlias = (
    AddedTable
    | Rotary
    | Alibi
    | BucketedBias
    | RelativeTable
    | ContinuousBias
    | Convolution
    | NoPosition
    | BareTable
    | Encoded
)


def layers_line(layers: tuple[int, ...], layer_count: int) -> str:
    """Return which of a model's layers are meant: all, or how many of how many."""
    if len(layers) == layer_count:
        return f"all {layer_count} layers"
    return f"{len(layers)} of {layer_count} layers"
