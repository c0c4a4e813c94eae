"""Where a checkpoint keeps what acts beside the projections: norms, and changes of width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from poslens.checkpoints.blocks.block import HeadNorm, Linear, Norm
from poslens.checkpoints.blocks.reader import Reader, Spellings
from poslens.checkpoints.config import Config
from poslens.checkpoints.families.sizes import Heads

# γ and β as TensorFlow checkpoints that became PyTorch ones call them.
_SCALES, _SHIFTS = (".weight", ".gamma"), (".bias", ".beta")


@dataclass(frozen=True)
class Epsilon:
    """ε of a norm: the default of the family's configuration class, and the config's keys for it.

    Attributes
    ----------
    default
        ε where the config is silent.
    keys
        The config's keys; none where the model fixes it.
    """

    default: float
    keys: Spellings = ()

    def read(self, config: Config) -> float:
        """Return ε.

        Raises
        ------
        SourceError
            If it is no finite number of at least 0, or left out where no default holds.
        """
        key = config.first(*self.keys)
        if key is None and self.keys and not config.silence_is_default:
            raise config.contradiction(
                f"cannot use {self.keys[0]}", "the ε of the model's norms", "nothing"
            )
        return self.default if key is None else config.number(key, self.default)


@dataclass(frozen=True)
class NormEntry:
    """A norm.

    Attributes
    ----------
    spellings
        What it is called, before ``.weight`` and ``.bias``.
    epsilon
        Its ε.
    centre
        As in `Norm`.
    weight, bias
        Whether it has γ and β.
    stored_less_one
        Whether what is stored is γ - 1.
    """

    spellings: Spellings
    epsilon: Epsilon
    centre: bool = True
    weight: bool = True
    bias: bool = True
    stored_less_one: bool = False

    def names(self) -> Spellings:
        """Return the names of γ and β."""
        return self._named(_SCALES) + self._named(_SHIFTS)

    def read(self, reader: Reader, width: int, dim: int) -> Norm:  # noqa: ARG002 - as LinearEntry
        """Read the norm of rows of ``width``.

        Raises
        ------
        SourceError
            If γ or β is not there, or is not as the config says.
        """
        scale = np.ones(width)
        if self.weight:
            scale = reader.array(self._named(_SCALES), (width,)).astype(np.float64)
        shift = reader.array_or_zeros(self._named(_SHIFTS), (width,), exists=self.bias)
        return Norm(
            scale + self.stored_less_one,
            shift.astype(np.float64),
            self.epsilon.read(reader.config),
            self.centre,
        )

    def _named(self, suffixes: Spellings) -> Spellings:
        return tuple(name + suffix for name in self.spellings for suffix in suffixes)


@dataclass(frozen=True)
class LinearEntry:
    """A projection to the model's hidden size.

    Attributes
    ----------
    name
        What it is called, before ``.weight`` and ``.bias``.
    bias
        Whether it has a bias.
    """

    name: str
    bias: bool = True

    def names(self) -> Spellings:
        """Return the names of its matrix and bias."""
        return (f"{self.name}.weight", f"{self.name}.bias")

    def read(self, reader: Reader, width: int, dim: int) -> Linear:
        """Read the projection from ``width`` to ``dim``.

        Raises
        ------
        SourceError
            If a tensor is not there, or is not as the config says.
        """
        weight, bias = self.names()
        return Linear(
            np.array(reader.array(weight, (dim, width)).T, dtype=np.float64, order="C"),
            reader.array_or_zeros(bias, (dim,), exists=self.bias).astype(np.float64),
        )


# A norm or a projection that acts on rows before the block's own projections do.
StepEntry: TypeAlias = NormEntry | LinearEntry

PerHead: TypeAlias = Float[np.ndarray, "head d_head"]
HeadTensors: TypeAlias = Callable[[str, str, int], Spellings]
HeadReading: TypeAlias = Callable[[Reader, Spellings, int, int], PerHead]


@dataclass(frozen=True)
class Stored:
    """How γ, or β, of a norm of heads is stored.

    Attributes
    ----------
    names
        From the norm's name, the suffix and the heads, the names of its tensors.
    read
        From these names, the heads and the dimensions of a head, what they hold.
    """

    names: HeadTensors
    read: HeadReading


def _one(name: str, suffix: str, _: int) -> Spellings:
    return (name + suffix,)


def _one_a_head(name: str, suffix: str, heads: int) -> Spellings:
    return tuple(f"{name}.norms.{head}{suffix}" for head in range(heads))


def _shared(reader: Reader, names: Spellings, heads: int, d_head: int) -> PerHead:
    return np.tile(reader.array(names[0], (d_head,)).astype(np.float64), (heads, 1))


def _each(reader: Reader, names: Spellings, heads: int, d_head: int) -> PerHead:
    return reader.array(names[0], (heads, d_head)).astype(np.float64)


def _flat(reader: Reader, names: Spellings, heads: int, d_head: int) -> PerHead:
    return reader.array(names[0], (heads * d_head,)).astype(np.float64).reshape(heads, d_head)


def _stacked(reader: Reader, names: Spellings, heads: int, d_head: int) -> PerHead:  # noqa: ARG001
    return np.stack([reader.array(name, (d_head,)).astype(np.float64) for name in names])


SHARED = Stored(_one, _shared)  # one vector for all heads
EACH = Stored(_one, _each)  # one matrix, (head, d_head)
FLAT = Stored(_one, _flat)  # one vector, head after head
STACKED = Stored(_one_a_head, _stacked)  # one tensor a head


@dataclass(frozen=True)
class HeadNormEntry:
    """The norms of queries and keys.

    Attributes
    ----------
    query, key
        What they are called, before ``.weight`` and ``.bias``.
    epsilon
        Their ε.
    stored
        How they are stored; None where they have no weights.
    centre, joint
        As in `HeadNorm`.
    bias
        Whether they have β.
    stored_less_one
        Whether what is stored is γ - 1.
    """

    query: str
    key: str
    epsilon: Epsilon
    stored: Stored | None = SHARED
    centre: bool = False
    joint: bool = False
    bias: bool = False
    stored_less_one: bool = False

    def names(self, heads: Heads) -> Spellings:
        """Return the names of γ and β."""
        if self.stored is None:
            return ()
        return tuple(
            name
            for norm, count in ((self.query, heads.query), (self.key, heads.key))
            for suffix in (".weight", ".bias")
            for name in self.stored.names(norm, suffix, count)
        )

    def read(self, reader: Reader, heads: Heads) -> tuple[HeadNorm, HeadNorm]:
        """Read the norm of queries and that of keys.

        Raises
        ------
        SourceError
            If a tensor is not there, or is not as the config says.
        """
        return (
            self._read(reader, self.query, heads.query, heads.head_dim),
            self._read(reader, self.key, heads.key, heads.head_dim),
        )

    def _read(self, reader: Reader, norm: str, heads: int, d_head: int) -> HeadNorm:
        scale, shift = np.ones((heads, d_head)), np.zeros((heads, d_head))
        if self.stored is not None:
            weights = self.stored.names(norm, ".weight", heads)
            scale = self.stored.read(reader, weights, heads, d_head) + self.stored_less_one
            biases = self.stored.names(norm, ".bias", heads)
            if self.bias:
                shift = self.stored.read(reader, biases, heads, d_head)
            else:
                reader.require_absent(biases)
        epsilon = self.epsilon.read(reader.config)
        return HeadNorm(scale, shift, epsilon, self.centre, self.joint)
