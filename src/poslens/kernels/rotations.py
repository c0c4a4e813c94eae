"""Kernels of RoPE: q̄ᵀ R(s-t) k̄, from means over a text, or else from biases of queries and keys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from poslens.attention import Bands, HeadMeans, offsets, rope_bands
from poslens.axes import HeadVector, PerPlane
from poslens.checkpoints.blocks import HeadBiases
from poslens.checkpoints.in_attention import rope_of
from poslens.checkpoints.schemes import Rotary
from poslens.encodings import Rope
from poslens.errors import SettingError
from poslens.kernels.biases import profile_kernels
from poslens.kernels.result import Kernels

FROM_BIASES = "from the biases of queries and keys"
NO_MEANS = "the model has no biases of queries and keys, and their means need text"


def wavelengths_of(rope: Rope, length: int | None) -> PerPlane:
    """Return 2π ÷ θ of each plane in positions, infinite where a plane does not turn."""
    frequencies = rope.frequencies(length)
    found = np.full(frequencies.shape, np.inf)
    np.divide(2 * np.pi, np.abs(frequencies), out=found, where=frequencies != 0)
    return found


def bands_of(
    rope: Rope, queries: HeadVector, keys: HeadVector, scale: float, length: int | None = None
) -> Bands:
    """Return the bands of mean queries and keys.

    Parameters
    ----------
    rope
        The rotation.
    queries, keys
        Means of each head, shape (head, d_head).
    scale
        The model's, of its logits.
    length
        Of the sequence in which they turn, in positions; see `Rope.frequencies`.

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
        rope.frequencies(length),
        scale * np.einsum("hk,hk->h", queries[:, rest], keys[:, rest]),
    )


def rotation_kernels(
    records: list[Rotary],
    layers: list[HeadBiases],
    length: int,
    context: int | None,
    reason: str,
    means: HeadMeans | None = None,
) -> Kernels:
    """Return wavelengths of every rotation, and kernels from mean queries and keys or from biases.

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
        The longest sequence that the config names, in which planes turn as they are measured,
        whatever L is; None for a sequence of L positions.
    reason
        Why there are no layers.
    means
        Of one layer, over a text, in place of its biases.
    """
    named: list[tuple[str, PerPlane]] = []
    ropes: dict[int, Rope] = {}  # by layer
    unscaled = ""
    longest = length if context is None else max(length, context)
    for record in records:
        try:
            rope = rope_of(record, context)
        except SettingError as error:
            unscaled = unscaled or str(error)
            continue
        ropes |= dict.fromkeys(record.layers, rope)
        named.append((f"base {record.base:.10g}", wavelengths_of(rope, longest)))
    known = Kernels(relative=True, wavelengths=tuple(named), context=context)
    reason = reason or _unknown(layers)
    found: dict[int, HeadBiases | HeadMeans] = {}
    if not reason:
        found = {one.layer: one for one in layers if one.layer in ropes}
    if means is not None and means.layer in ropes:
        found = {means.layer: means, **{k: v for k, v in found.items() if k != means.layer}}
    if not found:
        return replace(known, reason=unscaled or reason)
    causal = next(iter(found.values())).causal
    at = offsets(length, causal=causal)
    bands = {
        layer: bands_of(ropes[layer], one.queries, one.keys, one.scale, longest)
        for layer, one in sorted(found.items())
    }
    kernels = profile_kernels(
        {layer: band.profile(at) for layer, band in bands.items()},
        causal=causal,
        context=context,
        note=_note(found, means) + _turned(list(ropes.values()), length, longest),
    )
    return replace(kernels, wavelengths=known.wavelengths, bands=next(iter(bands.values())))


def _unknown(layers: list[HeadBiases]) -> str:
    """Return why biases do not stand for means; '' where they do."""
    if any(layer.normalised for layer in layers):
        return "queries and keys are normalised; their means need text"
    return "" if all(layer.exist for layer in layers) else NO_MEANS


def _turned(ropes: list[Rope], length: int, longest: int) -> str:
    """Say of which sequence the frequencies are, where those of L positions are others."""
    changed = any(
        not np.array_equal(rope.frequencies(length), rope.frequencies(longest)) for rope in ropes
    )
    return f", turned as in a sequence of {longest:,} positions" if changed else ""


def _note(found: dict[int, HeadBiases | HeadMeans], means: HeadMeans | None) -> str:
    if means is None or found.get(means.layer) is not means:
        return f"{FROM_BIASES}, in place of means over text"
    if len(found) == 1:
        return f"from {means.origin}"
    return f"layer {means.layer} from {means.origin}; the others {FROM_BIASES}"
