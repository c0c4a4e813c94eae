"""Kernels of RoPE: q̄ᵀ R(s-t) k̄, from the biases of queries and keys where a model has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from poslens.attention import Bands, offsets, rope_bands
from poslens.axes import HeadVector, PerPlane
from poslens.checkpoints.blocks import HeadBiases
from poslens.checkpoints.in_attention import rope_of
from poslens.checkpoints.schemes import Rotary
from poslens.encodings import Rope
from poslens.errors import SettingError
from poslens.kernels.biases import profile_kernels
from poslens.kernels.result import Kernels

NO_MEANS = "the model has no biases of queries and keys, and their means need text"


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
    layers: list[HeadBiases],
    length: int,
    context: int | None,
    reason: str,
) -> Kernels:
    """Return wavelengths of every rotation, and the kernels of the first from its layers' biases.

    Parameters
    ----------
    records
        The rotations of the model.
    layers
        The biases of the layers that the first one turns; none where they cannot be read, and
        ``reason`` says why.
    length
        L, the positions over which the kernel is measured.
    context
        The longest sequence that the config names.
    reason
        Why there are no layers.
    """
    named: list[tuple[str, PerPlane]] = []
    first: Rope | None = None  # the one that the layers are turned by
    for index, record in enumerate(records):
        try:
            rope = rope_of(record, context)
        except SettingError as error:
            reason = reason or str(error)
            continue
        first = rope if index == 0 else first
        named.append((f"base {record.base:.10g}", wavelengths_of(rope, context)))
    known = Kernels(relative=True, wavelengths=tuple(named), context=context)
    if not layers or first is None:
        return replace(known, reason=reason)
    if any(layer.normalised for layer in layers):
        return replace(known, reason="queries and keys are normalised; their means need text")
    if not all(layer.exist for layer in layers):
        return replace(known, reason=NO_MEANS)
    causal = layers[0].causal
    at = offsets(length, causal=causal)
    bands = [bands_of(first, one.queries, one.keys, one.scale) for one in layers]
    found = profile_kernels(
        {layer.layer: band.profile(at) for layer, band in zip(layers, bands, strict=True)},
        causal=causal,
        context=context,
        note="from the biases of queries and keys, in place of means over text",
    )
    return replace(found, wavelengths=known.wavelengths, bands=bands[0])
