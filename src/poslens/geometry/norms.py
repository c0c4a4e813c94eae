"""Norms of the rows (`norm.*`)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from poslens.axes import PerPosition, Rows
from poslens.errors import UndefinedMeasureError

# 1.4826·MAD estimates a normal standard deviation (Rousseeuw & Croux 1993, §1); six of them is
# far outside any bulk.
MAD_TO_SIGMA = 1.4826
OUTLIER_SIGMAS = 6.0
TAIL_SHARE = 20  # the tail is the last ⌈L/20⌉ rows

# Norms that differ by less than this share of the median are equal: it is float64 rounding.
ROUNDING = 1e-12


def row_norms(rows: Rows) -> PerPosition:
    """Return ‖p_t‖, the Euclidean norm of each row, shape (position,)."""
    return np.asarray(np.sqrt(np.einsum("td,td->t", rows, rows)))


def cv(norms: PerPosition) -> float:
    """Return the population standard deviation of the norms ÷ their mean."""
    return float(norms.std() / norms.mean())


def first_ratio(norms: PerPosition) -> float:
    """Return ‖p_0‖ ÷ median ‖p_t‖.

    Raises
    ------
    UndefinedMeasureError
        If the median is zero: half the rows are.
    """
    return float(norms[0] / _median(norms))


def tail_ratio(norms: PerPosition) -> float:
    """Return the mean of the last ⌈L/20⌉ norms ÷ the median of all.

    Raises
    ------
    UndefinedMeasureError
        If the median is zero: half the rows are.
    """
    tail = math.ceil(norms.size / TAIL_SHARE)
    return float(norms[-tail:].mean() / _median(norms))


def outlier_rows(norms: PerPosition) -> list[int]:
    """Return the rows whose norm lies over six robust standard deviations from the median."""
    median = float(np.median(norms))
    deviation = np.abs(norms - median)
    bound = OUTLIER_SIGMAS * MAD_TO_SIGMA * float(np.median(deviation))
    return [int(t) for t in np.flatnonzero(deviation > max(bound, ROUNDING * median))]


def spread(rows: Rows) -> Mapping[str, float | list[int]]:
    """Return ``norm.mean``, ``norm.cv`` and ``norm.outlier_rows``."""
    norms = row_norms(rows)
    return {
        "norm.mean": float(norms.mean()),
        "norm.cv": cv(norms),
        "norm.outlier_rows": outlier_rows(norms),
    }


def ends(rows: Rows) -> Mapping[str, float]:
    """Return ``norm.first_ratio`` and ``norm.tail_ratio``.

    Raises
    ------
    UndefinedMeasureError
        If the median norm is zero.
    """
    norms = row_norms(rows)
    return {"norm.first_ratio": first_ratio(norms), "norm.tail_ratio": tail_ratio(norms)}


def _median(norms: PerPosition) -> float:
    median = float(np.median(norms))
    if median == 0:
        raise UndefinedMeasureError("the median norm is zero: at least half of the rows are zeros")
    return median
