"""Kernels that are added to the logits: ALiBi's slopes, T5's buckets, Shaw's relative keys."""

from __future__ import annotations

import numpy as np

from poslens.attention import offsets, relative_kernel, relative_picture
from poslens.axes import HeadOffsets
from poslens.checkpoints.blocks import HeadBiases
from poslens.checkpoints.in_attention import alibi_of, buckets_of
from poslens.checkpoints.rows import position_rows
from poslens.checkpoints.schemes import Alibi as AlibiRecord
from poslens.checkpoints.schemes import BucketedBias, RelativeTable
from poslens.checkpoints.tensors import Tensors
from poslens.encodings import Shaw
from poslens.kernels.result import Kernels


def profile_kernels(
    profiles: dict[int, HeadOffsets], *, causal: bool, context: int | None, note: str = ""
) -> Kernels:
    """Return the kernels of functions of distance, by layer."""
    layers = tuple(profiles)
    return Kernels(
        layers=layers,
        measures=tuple(relative_kernel(one, causal=causal) for one in profiles.values()),
        picture=relative_picture(profiles[layers[0]], causal=causal),
        relative=True,
        context=context,
        note=note,
    )


def alibi_profile(record: AlibiRecord, length: int, scale: float) -> HeadOffsets:
    """Return -m_h·|s-t|, times ``scale`` where the bias is scaled along with the logits."""
    profile = alibi_of(record).profile(offsets(length, causal=not record.symmetric))
    return np.asarray(profile * scale if record.scaled else profile)


def bucket_profiles(record: BucketedBias, tensors: Tensors, length: int) -> dict[int, HeadOffsets]:
    """Return b_h[bucket(s-t)] of each tensor, the first layer's first.

    Raises
    ------
    TableError
        If a tensor cannot be used.
    SettingError
        If its buckets cannot be.
    """
    at = offsets(length, causal=not record.bidirectional)
    layers = range(len(record.tensors))
    return {layer: buckets_of(record, tensors, layer).profile(at) for layer in layers}


def shaw_profile(
    record: RelativeTable, tensors: Tensors, biases: HeadBiases, length: int
) -> HeadOffsets:
    """Return q̄ᵀ a_{s-t} ÷ √d_k of one layer, with the query bias as mean query.

    Where keys meet the vectors too (BERT's ``relative_key_query``), k̄ᵀ a_{s-t} ÷ √d_k is added,
    with the key bias as mean key.

    Raises
    ------
    TableError
        If the tensor cannot be used.
    SettingError
        If its vectors do not fit the heads.
    """
    stored = position_rows(tensors.read(record.tensors[biases.layer]), 0, tensors.shown)
    # BERT's rows are by t - s, from -(L-1) to L-1.
    encoding = Shaw(stored[::-1], before=stored.shape[0] // 2)
    met = biases.queries + biases.keys if record.meets_keys else biases.queries
    return encoding.profile(met, offsets(length, causal=biases.causal))
