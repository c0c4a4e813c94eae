"""All null draws of one analysis, with their progress."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np

from poslens.attention import permuted_shares
from poslens.axes import Rows
from poslens.claims import null_draws
from poslens.claims.null_draws import NullDraws
from poslens.errors import UndefinedMeasureError
from poslens.kernels import Factors, Kernels

Progress: TypeAlias = Callable[[str, int, int], None]
Advance: TypeAlias = Callable[[int], None]
Draw: TypeAlias = Callable[[Rows, int, int, Advance], NullDraws]


def all_draws(
    rows: Rows, kernels: Kernels, draws: int, seed: int, report: Progress
) -> dict[str, NullDraws]:
    """Draw every null model that a claim or a figure compares with.

    Parameters
    ----------
    rows
        The table in the analysed view, shape (position, dim).
    kernels
        Of its model.
    draws
        Tables drawn for each null model; 0 for none.
    seed
        Of the draws.
    report
        Called with (words, draws done, draws in all).
    """
    if draws == 0:
        return {}
    jobs: dict[str, Draw] = {
        "random order": null_draws.permutation,
        "random walks": null_draws.random_walk,
        "rotations of random walks": null_draws.random_walk_rotations,
        "phase-randomised tables": null_draws.surrogate,
        "independent dimensions": null_draws.wave_signs,
        "Gaussian tables": null_draws.gaussian,
    }
    factors = kernels.factors
    if factors is not None and kernels.measures:
        causal = kernels.measures[0].causal
        jobs["kernels in random order"] = partial(kernel_draws, factors, causal)
    found: dict[str, NullDraws] = {}
    for what, draw in jobs.items():
        done = 0
        report(what, 0, draws)

        def advance(steps: int, what: str = what) -> None:
            nonlocal done
            done += steps
            report(what, done, draws)

        drawn = draw(rows, draws, seed, advance)
        earlier = found[drawn.null].values if drawn.null in found else {}
        found[drawn.null] = NullDraws(drawn.null, {**earlier, **drawn.values})
    return found


def kernel_draws(
    factors: Factors, causal: bool, _: Rows, draws: int, seed: int, advance: Advance
) -> NullDraws:
    """Draw ``kernel.relative_share`` of rows in random order, the median over heads."""
    try:
        shares = permuted_shares(
            factors.queries, factors.keys, causal=causal, draws=draws, seed=seed, advance=advance
        )
    except UndefinedMeasureError:  # constant along rows in every head
        shares = np.empty(0)
    return NullDraws("permutation", {"kernel.relative_share": shares})
