"""Kernels of RoPE: q̄ᵀ R(s-t) k̄, from the biases of queries and keys where a model has them."""

from __future__ import annotations

import numpy as np

from poslens.attention import Bands, offsets, relative_kernel, relative_picture, rope_bands
from poslens.axes import HeadVector, PerPlane
from poslens.checkpoints.blocks import AttentionBlock
from poslens.checkpoints.schemes import Rotary
from poslens.encodings import Rope
from poslens.encodings.rope_config import scaling_from
from poslens.errors import SettingError
from poslens.kernels.result import Kernels

NO_MEANS = "the model has no biases of queries and keys, and their means need text"


def rope_of(record: Rotary, context: int | None) -> Rope:
    """Return the encoding that a description's record names.

    Raises
    ------
    SettingError
        If its scaling is unknown here, or keeps its factors in a tensor.
    """
    return Rope(
        head_dim=record.head_dim,
        base=record.base,
        rotary_dim=record.rotary_dim,
        pairing=record.pairing,
        scaling=scaling_from(record.scaling, context),
    )


def wavelengths_of(rope: Rope, length: int | None) -> PerPlane:
    """Return 2π ÷ θ of each plane in positions, infinite where a plane does not turn."""
    frequencies = rope.frequencies(length)
    found = np.full(frequencies.shape, np.inf)
    np.divide(2 * np.pi, np.abs(frequencies), out=found, where=frequencies != 0)
    return found


def bands_of(rope: Rope, queries: HeadVector, keys: HeadVector, scale: float) -> Bands:
    """Return the bands of mean queries and keys; ``scale`` is the model's, of its logits.

    Raises
    ------
    SettingError
        If the heads have another dimension than the rotation.
    """
    amplitude = rope.scaling.amplitude**2  # of queries and of keys
    rest = slice(rope.rotated, None)
    return rope_bands(
        rope.planes(queries) * (scale * amplitude),
        rope.planes(keys),
        rope.frequencies(),
        scale * np.einsum("hk,hk->h", queries[:, rest], keys[:, rest]),
    )


def rotation_kernels(
    records: list[Rotary],
    block: AttentionBlock | None,
    length: int,
    context: int | None,
    reason: str,
) -> Kernels:
    """Return wavelengths of every rotation, and the kernels of the first from the block's biases.

    Parameters
    ----------
    records
        The rotations of the model.
    block
        The first block that rotates; None where it cannot be read, and ``reason`` says why.
    length
        L, the positions over which the kernel is measured.
    context
        The longest sequence that the config names.
    reason
        Why there is no block.
    """
    named: list[tuple[str, PerPlane]] = []
    first: Rope | None = None  # the one that the block is turned by
    for index, record in enumerate(records):
        try:
            rope = rope_of(record, context)
        except SettingError as error:
            reason = reason or str(error)
            continue
        first = rope if index == 0 else first
        named.append((f"base {record.base:.10g}", wavelengths_of(rope, context)))
    known = Kernels(relative=True, wavelengths=tuple(named), context=context)
    if block is None or first is None:
        return _without(known, reason)
    if block.query_norm is not None or block.key_norm is not None:
        return _without(known, "queries and keys are normalised; their means need text")
    if not {"query", "key"} <= block.biased:
        return _without(known, NO_MEANS)
    keys = np.repeat(block.key_bias, block.shared_by, axis=0)
    bands = bands_of(first, block.query_bias, keys, block.scale)
    profiles = bands.profile(offsets(length, causal=block.causal))
    return Kernels(
        layers=(block.layer,),
        measures=(relative_kernel(profiles, causal=block.causal),),
        picture=relative_picture(profiles, causal=block.causal),
        relative=True,
        wavelengths=known.wavelengths,
        bands=bands,
        context=context,
        note="from the biases of queries and keys, in place of means over text",
    )


def _without(known: Kernels, reason: str) -> Kernels:
    return Kernels(
        relative=True, wavelengths=known.wavelengths, context=known.context, reason=reason
    )
