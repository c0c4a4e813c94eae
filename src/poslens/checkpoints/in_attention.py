"""From records of what a model does with positions to encodings: what acts inside attention."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from poslens.axes import HeadOffsets, Offsets
from poslens.checkpoints.rows import position_rows
from poslens.checkpoints.schemes import (
    Acting,
    BucketedBias,
    ContinuousBias,
    Convolution,
    RelativeTable,
    Rotary,
)
from poslens.checkpoints.schemes import Alibi as AlibiRecord
from poslens.checkpoints.tensors import Tensors
from poslens.encodings import T5, Alibi, Rope
from poslens.encodings.rope_config import scaling_from
from poslens.errors import SettingError


@dataclass(frozen=True, eq=False)
class InAttention:
    """What acts by position inside the attention of one layer; nothing by default.

    Attributes
    ----------
    rope
        By which queries and keys are rotated.
    bias
        What is added to the logits by distance.
    scaled
        Whether the bias is multiplied by the logits' scale as they are (Falcon).
    beyond
        What else acts, in one line, that is no rotation and no function of distance alone; ''
        for nothing.
    """

    rope: Rope | None = None
    bias: Alibi | T5 | None = None
    scaled: bool = False
    beyond: str = ""

    def profile(self, offsets: Offsets, scale: float) -> HeadOffsets | None:
        """Return what is added to the scaled logits, shape (head, offset); None for nothing.

        Parameters
        ----------
        offsets
            s - t.
        scale
            What the model multiplies its logits by.
        """
        if self.bias is None:
            return None
        profile = self.bias.profile(offsets)
        return np.asarray(profile * scale if self.scaled else profile)


def in_attention(
    tensors: Tensors,
    schemes: Iterable[Acting],
    part: str | None,
    layer: int,
    context: int | None,
) -> InAttention:
    """Return what acts inside the attention of one layer.

    Parameters
    ----------
    tensors
        The container, from which a bias is read.
    schemes
        What the model does with positions.
    part
        Which stack, where a model has several.
    layer
        The layer, from 0.
    context
        The longest sequence that the config names.

    Raises
    ------
    SettingError
        If a rotation's scaling is unknown here, or buckets cannot be used.
    TableError
        If a tensor cannot be used.
    """
    found = InAttention()
    for record in schemes:
        if isinstance(record, Rotary) and layer in record.layers:
            found = replace(found, rope=rope_of(record, context))
        elif isinstance(record, AlibiRecord):
            found = replace(found, bias=alibi_of(record), scaled=record.scaled)
        elif isinstance(record, BucketedBias) and record.part in (None, part):
            if record.gated or not record.tensors:
                found = replace(found, beyond=record.line())
            else:
                found = replace(found, bias=buckets_of(record, tensors, layer))
        elif isinstance(record, RelativeTable | ContinuousBias | Convolution):
            found = replace(found, beyond=record.line())
    return found


def part_meant(schemes: Iterable[Acting], part: str | None) -> str | None:
    """Return the stack that is meant: the first that has buckets, if none was chosen."""
    having = (one for one in schemes if isinstance(one, BucketedBias) and one.tensors)
    return part or next((one.part for one in having if not one.gated), None)


def rope_of(record: Rotary, context: int | None) -> Rope:
    """Return the rotation that a record names.

    Raises
    ------
    SettingError
        If its scaling is unknown here, or keeps its factors in a tensor. It names the config.
    """
    try:
        return Rope(
            head_dim=record.head_dim,
            base=record.base,
            rotary_dim=record.rotary_dim,
            pairing=record.pairing,
            scaling=scaling_from(record.scaling, context),
        )
    except SettingError as error:
        if not record.shown:
            raise
        raise SettingError(
            f"{error.problem} in {record.shown}",
            expected=error.expected,
            got=error.got,
            remedy=error.remedy,
        ) from error


def alibi_of(record: AlibiRecord) -> Alibi:
    """Return the slopes that a record names."""
    return Alibi(record.heads, symmetric=record.symmetric, max_bias=record.max_bias)


def buckets_of(record: BucketedBias, tensors: Tensors, layer: int) -> T5:
    """Return the buckets of one layer, which has its own or shares the first one's.

    Raises
    ------
    TableError
        If the tensor cannot be used.
    SettingError
        If its buckets cannot be.
    """
    name = record.tensors[layer if len(record.tensors) > 1 else 0]
    values = position_rows(tensors.read(name), 0, tensors.shown)
    return T5(values, record.max_distance, causal=not record.bidirectional)
