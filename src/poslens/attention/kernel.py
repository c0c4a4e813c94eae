"""The positional kernel of a layer's heads, and every measure of it (`kernel.*`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from poslens.attention import shape
from poslens.attention.additive import distance_part, relative_share
from poslens.attention.factored import factored_sums
from poslens.attention.relative import relative_sums
from poslens.attention.sums import KernelSums, offsets
from poslens.axes import HeadOffsets, Keys, Offsets, PerOffset, Queries

T = TypeVar("T")


@dataclass(frozen=True)
class KernelMeasures:
    """The measures of a layer's kernels, one value per head.

    Attributes
    ----------
    causal
        Whether the kernel is taken over s ≤ t, or over all pairs.
    offsets
        k = s - t, ascending, shape (offset,): the last axis of the two below.
    profile
        ``kernel.profile``: the mean of K over the pairs at each offset, shape (head, offset). Far
        offsets have few pairs, and row constants are in it (`KernelSums.profile`).
    distance_part
        f of the fit c_t + f(s-t), mean 0 over pairs, shape (head, offset): the profile without what
        is constant along rows.
    relative_share
        ``kernel.relative_share``; None where the kernel is constant along rows.
    half_distance, peak_offset
        Of the profile, see `poslens.attention.shape`; None where the kernel is constant along
        rows, or the profile is constant.
    symmetry
        The same; None for causal kernels too.
    """

    causal: bool
    offsets: Offsets
    profile: HeadOffsets
    distance_part: HeadOffsets
    relative_share: tuple[float | None, ...]
    half_distance: tuple[int | None, ...]
    symmetry: tuple[float | None, ...]
    peak_offset: tuple[int | None, ...]

    @property
    def values(self) -> Mapping[str, Any]:
        """The measures by contract name, as lists over heads."""
        return {
            "kernel.relative_share": list(self.relative_share),
            "kernel.profile": self.profile.tolist(),
            "kernel.half_distance": list(self.half_distance),
            "kernel.symmetry": list(self.symmetry),
            "kernel.peak_offset": list(self.peak_offset),
        }


def factored_kernel(queries: Queries, keys: Keys, *, causal: bool) -> KernelMeasures:
    """Return the measures of K_h(t, s) = q_t·k_s.

    Parameters
    ----------
    queries, keys
        Positions' parts of the queries and keys, shapes (head, position, d_head) and
        (key_head, position, d_head), 1/√d_k already in the queries where the model has it.
    causal
        Whether row t may attend to s ≤ t only, or to all positions.

    Raises
    ------
    TableError
        See `poslens.attention.validate.check_heads`.
    """
    return measures_of_sums(factored_sums(queries, keys, causal=causal))


def relative_kernel(profiles: HeadOffsets, *, causal: bool) -> KernelMeasures:
    """Return the measures of K_h(t, s) = f_h(s - t).

    Parameters
    ----------
    profiles
        f_h at the offsets of `poslens.attention.offsets`, shape (head, offset).
    causal
        Whether row t may attend to s ≤ t only, or to all positions.

    Raises
    ------
    TableError
        See `poslens.attention.validate.check_profiles`.
    """
    return measures_of_sums(relative_sums(profiles, causal=causal))


def measures_of_sums(sums: KernelSums) -> KernelMeasures:
    """Return the measures of kernels from their sums."""
    causal, profile = sums.causal, sums.profile
    shown = sums.varies & (np.ptp(profile, axis=1) > sums.rounding)

    def of_each(measure: Callable[[PerOffset], T]) -> tuple[T | None, ...]:
        return tuple(
            measure(values) if good else None for values, good in zip(profile, shown, strict=True)
        )

    return KernelMeasures(
        causal=causal,
        offsets=offsets(sums.length, causal=causal),
        profile=profile,
        distance_part=distance_part(sums),
        relative_share=relative_share(sums),
        half_distance=of_each(lambda f: shape.half_distance(f, causal=causal)),
        symmetry=(None,) * shown.size if causal else of_each(shape.symmetry),
        peak_offset=of_each(lambda f: shape.peak_offset(f, causal=causal)),
    )
