"""Kernels of encoding strings, which know no projections: the scheme by itself.

Where a scheme's kernel needs a query and a key, every coordinate of both is 1, so that each
frequency counts alike (Su et al. 2021, §3.4.3, for RoPE); a table's own rows are query and key.
"""

from __future__ import annotations

import numpy as np

from poslens.attention import factored_kernel, kernel_picture, offsets
from poslens.axes import HeadOffsets, Rows
from poslens.encodings import T5, AddsTable, Alibi, Nope, Rope, Shaw
from poslens.encodings.spec import EncodingSpec
from poslens.kernels.biases import profile_kernels
from poslens.kernels.result import Factors, Kernels
from poslens.kernels.rotations import bands_of, wavelengths_of

DEFAULT_LENGTH = 512


def named_kernels(spec: EncodingSpec, rows: Rows | None = None) -> Kernels:
    """Return the kernels of an encoding by itself.

    Parameters
    ----------
    spec
        What the string names.
    rows
        Of its table, those that are analysed, shape (position, dim); None for all.

    Raises
    ------
    SettingError
        If a setting of the encoding does not fit its length.
    """
    encoding = spec.encoding
    length = spec.length or DEFAULT_LENGTH
    if isinstance(encoding, AddsTable):
        vectors = (encoding.table(np.arange(length)) if rows is None else rows)[None]
        factors = Factors(vectors / np.sqrt(vectors.shape[2]), vectors)
        return Kernels(
            layers=(0,),
            measures=(factored_kernel(factors.queries, factors.keys, causal=False),),
            picture=kernel_picture(factors.queries, factors.keys, causal=False),
            factors=factors,
            context=spec.length,
            note="of rows against rows, without projections",
        )
    if isinstance(encoding, Rope):
        return _rope(encoding, length, spec.length)
    causal, profile, note = _profile(encoding, length)
    if profile is None:
        return Kernels(relative=True, context=spec.length, reason=note)
    return profile_kernels({0: profile}, causal=causal, context=spec.length, note=note)


def _rope(rope: Rope, length: int, context: int | None) -> Kernels:
    ones = np.ones((1, rope.head_dim))
    bands = bands_of(rope, ones, ones, rope.head_dim**-0.5, length)
    profile = bands.profile(offsets(length, causal=True))
    found = profile_kernels(
        {0: profile}, causal=True, context=context, note="of a query and a key of ones"
    )
    waves = wavelengths_of(rope, length)
    return Kernels(
        layers=found.layers,
        measures=found.measures,
        picture=found.picture,
        relative=True,
        wavelengths=((f"base {rope.base:.10g}", waves),),
        bands=bands,
        context=context,
        note=found.note,
    )


def _profile(encoding: object, length: int) -> tuple[bool, HeadOffsets | None, str]:
    """Return whether the kernel is causal, its profile, and what was assumed or is lacking."""
    if isinstance(encoding, Alibi):
        causal = not encoding.symmetric
        return causal, encoding.profile(offsets(length, causal=causal)), ""
    if isinstance(encoding, T5):
        profile = encoding.profile(offsets(length, causal=encoding.causal))
        return encoding.causal, profile, "of numbers as they are before training"
    if isinstance(encoding, Shaw):
        ones = np.full((1, encoding.head_dim), encoding.head_dim**-0.5)
        return False, encoding.profile(ones, offsets(length, causal=False)), "of a query of ones"
    if isinstance(encoding, Nope):
        return True, np.zeros((1, length)), ""
    return False, None, "its terms depend on what the tokens are"
