"""The article's statements on geometry, tested on the position part of every layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from poslens.axes import Rows
from poslens.claims import decide_all, null_draws
from poslens.claims.evidence import Evidence
from poslens.claims.null_draws import NullDraws
from poslens.draws import Progress
from poslens.errors import PosLensError
from poslens.geometry import measures_of_table
from poslens.geometry.table import TableMeasures
from poslens.geometry.validate import check_rows
from poslens.study import LayerStudy, Settings

# The groups of statements that speak of any sequence of vectors; the others speak of how a table
# came about, of tokens, or of attention.
GEOMETRY = ("norm.", "cosine.", "difference.", "trajectory.", "pca.")
NOT_OF_STATES = frozenset({"norm.below_tokens"})

Draw = Callable[[Rows, int, int, Callable[[int], None]], NullDraws]
NULLS: tuple[Draw, ...] = (
    null_draws.permutation,
    null_draws.random_walk,
    null_draws.wave_signs,
)


def layer_studies(
    positions: Float[np.ndarray, "layer position dim"], settings: Settings, report: Progress
) -> tuple[LayerStudy, ...]:
    """Measure pos_t of every layer, and test what is claimed of such vectors.

    A layer whose position part has no geometry (zeros, or too few positions) is left out.

    Parameters
    ----------
    positions
        pos_t of each layer.
    settings
        Null draws, seed and bars, as for a table.
    report
        Called with (what is being done, layers done, layers in all).
    """
    found = []
    for layer, rows in enumerate(positions):
        report("layers", layer, len(positions))
        try:
            found.append(_study(layer, check_rows(rows), settings))
        except PosLensError:
            continue
    report("layers", len(positions), len(positions))
    return tuple(found)


def _study(layer: int, rows: Rows, settings: Settings) -> LayerStudy:
    measures = measures_of_table(rows, None, settings.seed)
    evidence = Evidence(
        rows=rows,
        raw=rows,
        measures=measures,
        nulls=_draws(rows, measures, settings),
        scheme="unknown",
        seed=settings.seed,
    )
    claims = tuple(
        claim
        for claim in decide_all(evidence, settings.bars)
        if claim.id.startswith(GEOMETRY) and claim.id not in NOT_OF_STATES
    )
    return LayerStudy(layer, _of_geometry(measures), claims)


def _draws(rows: Rows, measures: TableMeasures, settings: Settings) -> dict[str, NullDraws]:
    if settings.nulls == 0 or measures.components is None:
        return {}
    drawn = [draw(rows, settings.nulls, settings.seed, _quietly) for draw in NULLS]
    return {one.null: one for one in drawn}


def _quietly(_steps: int) -> None:
    """Draws of one layer are steps too small to report."""


def _of_geometry(measures: TableMeasures) -> dict[str, Any]:
    return {
        name: value for name, value in measures.values.items() if not name.startswith("tokens.")
    }
