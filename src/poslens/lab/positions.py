"""Each scheme inside a torch model: `poslens.encodings` says what is added, torch adds it.

What depends on the length alone is made once for each pass and shared by all layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from poslens.encodings import (
    T5,
    Alibi,
    Concatenated,
    Encoding,
    Learned,
    Nope,
    Rope,
    Shaw,
    Sinusoidal,
    Whisper,
    t5_buckets,
)
from poslens.encodings.protocol import AddsTable
from poslens.errors import LabError
from poslens.lab.attention import as_strip, attention, strip_offsets
from poslens.lab.shape import Shape

Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
E = TypeVar("E", bound=Encoding)


class Position(nn.Module, Generic[E]):
    """What a scheme does in a decoder; this one does nothing.

    Its parameters are the scheme's, begin where the encoding says, and are in no other module.

    Attributes
    ----------
    encoding
        The scheme as it was before training.

    Raises
    ------
    LabError
        If the encoding has other dimensions or heads than the model.
    """

    def __init__(self, encoding: E, shape: Shape) -> None:
        super().__init__()
        self.encoding = encoding
        self._require(**self._sizes(shape))

    def _sizes(self, shape: Shape) -> dict[str, int]:  # noqa: ARG002
        """Return the attributes of the encoding that must be so for a model of this shape."""
        return {}

    def _require(self, **sizes: int) -> None:
        for name, size in sizes.items():
            if getattr(self.encoding, name) != size:
                raise LabError(
                    f"{self.encoding!r} does not fit the model",
                    expected=f"{name} {size}",
                    got=f"{getattr(self.encoding, name)}",
                )

    @property
    def longest(self) -> int | None:
        """The positions that it has; None where there is no end."""
        return None

    def rows(self, length: int, like: Tensor) -> Float[Tensor, "position dim"] | None:  # noqa: ARG002
        """Return what is added to the embeddings at positions 0 … ``length`` - 1."""
        return None

    def attending(self, length: int, like: Tensor) -> Attend:  # noqa: ARG002
        """Return attention, from queries, keys and values, with what the scheme does there."""
        return attention

    def trained(self) -> E:
        """Return the scheme with its parameters as they are now."""
        return self.encoding


class FixedRows(Position[AddsTable]):
    """Sinusoids, added to the embeddings and never trained."""

    def _sizes(self, shape: Shape) -> dict[str, int]:
        return {"dim": shape.width}

    def rows(self, length: int, like: Tensor) -> Float[Tensor, "position dim"] | None:
        """Return the scheme's table."""
        return _tensor(self.encoding.table(np.arange(length)), like)


class LearnedRows(Position[Learned]):
    """A trained table. It may be longer than the context: its last rows then stay as they began."""

    def __init__(self, encoding: Learned, shape: Shape) -> None:
        super().__init__(encoding, shape)
        self.table = _parameter(encoding.rows)

    def _sizes(self, shape: Shape) -> dict[str, int]:
        return {"dim": shape.width}

    @property
    def longest(self) -> int | None:
        """The rows of the table."""
        return len(self.table)

    def rows(self, length: int, like: Tensor) -> Float[Tensor, "position dim"] | None:  # noqa: ARG002
        """Return the table's first rows."""
        return self.table[:length]

    def trained(self) -> Learned:
        """Return the table as it is now."""
        return Learned(_array(self.table), self.encoding.init_std)


class Rotation(Position[Rope]):
    """Queries and keys rotated."""

    def _sizes(self, shape: Shape) -> dict[str, int]:
        return {"head_dim": shape.head_dim}

    def attending(self, length: int, like: Tensor) -> Attend:
        """Return attention between rotated queries and keys."""
        rope = self.encoding
        halves = rope.pairing == "half"
        angles = rope.rotation(np.arange(length), length)
        cos, sin = (_tensor(one, like) for one in angles)
        if halves:
            cos, sin = torch.cat([cos, cos], 1), torch.cat([-sin, sin], 1)
        else:
            cos, sin = cos.repeat_interleave(2, 1), torch.stack([-sin, sin], 2).flatten(1)

        def rotated(x: Tensor) -> Tensor:
            turning = x[..., : rope.rotated]
            if halves:
                partner = turning.roll(rope.rotated // 2, -1)
            else:
                partner = turning.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
            turned = torch.addcmul(turning * cos, partner, sin).to(x.dtype)
            if rope.rotated == rope.head_dim:
                return turned
            return torch.cat([turned, x[..., rope.rotated :]], -1)

        return lambda q, k, v: attention(rotated(q), rotated(k), v)


class Slopes(Position[Alibi]):
    """A fixed penalty of distance."""

    def _sizes(self, shape: Shape) -> dict[str, int]:
        return {"heads": shape.heads}

    def attending(self, length: int, like: Tensor) -> Attend:
        """Return attention with the penalty."""
        profile = self.encoding.profile(np.array(strip_offsets(length)))
        strip = as_strip(_tensor(profile, like))
        return lambda q, k, v: attention(q, k, v, strip=strip)


class Buckets(Position[T5]):
    """A trained number for each head and bucket of distances."""

    def __init__(self, encoding: T5, shape: Shape) -> None:
        super().__init__(encoding, shape)
        self.values = _parameter(encoding.values)

    def _sizes(self, shape: Shape) -> dict[str, int]:
        return {"heads": shape.heads}

    def attending(self, length: int, like: Tensor) -> Attend:
        """Return attention with the numbers of this moment."""
        t5 = self.encoding
        offsets = np.array(strip_offsets(length))
        buckets = torch.from_numpy(t5_buckets(offsets, t5.buckets, t5.max_distance, t5.causal))
        strip = as_strip(functional.embedding(buckets.to(like.device), self.values).T)
        return lambda q, k, v: attention(q, k, v, strip=strip)

    def trained(self) -> T5:
        """Return the numbers as they are now."""
        return T5(_array(self.values), self.encoding.max_distance, self.encoding.causal)


class RelativeKeys(Position[Shaw]):
    """A trained vector for each clipped distance, shared by all heads and layers."""

    def __init__(self, encoding: Shaw, shape: Shape) -> None:
        super().__init__(encoding, shape)
        self.keys = _parameter(encoding.rows)

    def _sizes(self, shape: Shape) -> dict[str, int]:
        return {"head_dim": shape.head_dim}

    def attending(self, length: int, like: Tensor) -> Attend:  # noqa: ARG002
        """Return attention in which each query also meets the vectors of distances."""
        before = self.encoding.before
        if before == 0:
            return attention  # every key has the same vector, and softmax ignores it
        # Relative to the vector of the largest distance, which only the nearest ones differ from.
        vectors = (self.keys[1 : before + 1] - self.keys[:1]) * self.encoding.head_dim**-0.5

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return attention(q, k, v, near=q @ vectors.T)

        return attend

    def trained(self) -> Shaw:
        """Return the vectors as they are now."""
        return Shaw(_array(self.keys), self.encoding.before)


POSITIONS: dict[type[Encoding], type[Position[Any]]] = {
    Learned: LearnedRows,
    Sinusoidal: FixedRows,
    Concatenated: FixedRows,
    Whisper: FixedRows,
    Rope: Rotation,
    Alibi: Slopes,
    T5: Buckets,
    Shaw: RelativeKeys,
    Nope: Position,
}


def position_for(encoding: Encoding, shape: Shape) -> Position[Any]:
    """Return the module that does in a model what an encoding says.

    Raises
    ------
    LabError
        If the lab has none for it, or it does not fit the model.
    """
    if type(encoding) not in POSITIONS:
        raise LabError(
            f"the lab cannot train a model with {encoding!r}",
            expected="one of " + ", ".join(scheme.name for scheme in POSITIONS),
            got=encoding.name,
        )
    return POSITIONS[type(encoding)](encoding, shape)


def _parameter(values: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float32))


def _tensor(values: np.ndarray, like: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype(np.float64)
