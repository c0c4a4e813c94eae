"""What claims are decided on: a table's measures, null draws, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from poslens.axes import Rows
from poslens.claims.null_draws import NullDraws
from poslens.geometry.table import TableMeasures


class NotApplicableError(Exception):
    """The model lacks what a claim speaks of; the text says what."""


@dataclass(frozen=True)
class Evidence:
    """Everything that a claim about one table may look at.

    Attributes
    ----------
    rows
        The table in the analysed view, shape (position, dim).
    raw
        The table as stored, shape (position, dim).
    measures
        Of ``rows``.
    nulls
        Draws by null model; absent where none were asked for.
    scheme
        ``"learned"``, ``"sinusoidal"`` or ``"unknown"``.
    init_std
        σ of the rows before training, or None.
    missing
        Why something is absent, by name (``"tokens"``, ``"init_std"``).
    seed
        Of the bootstrap.
    """

    rows: Rows
    raw: Rows
    measures: TableMeasures
    nulls: Mapping[str, NullDraws] = field(default_factory=dict)
    scheme: str = "unknown"
    init_std: float | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def value(self, name: str) -> float:
        """Return a scalar measure.

        Raises
        ------
        NotApplicableError
            If it is undefined on this table; the text says why.
        """
        found = self.measures.values[name]
        if found is None:
            raise NotApplicableError(self.measures.undefined[name])
        return float(found)

    def draws(self, null: str, name: str) -> np.ndarray:
        """Return the finite draws of a measure under a null model; empty where there are none."""
        draws = self.nulls.get(null)
        values = np.empty(0) if draws is None else draws.values.get(name, np.empty(0))
        if values.ndim == 2:  # one column a shift; the claim is about the worst of them
            values = values.min(axis=1)
        return values[np.isfinite(values)]
