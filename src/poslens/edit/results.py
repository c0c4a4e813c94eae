"""What `poslens compress` and `poslens extend` find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from poslens.axes import Rows
from poslens.checkpoints import PositionTable
from poslens.claims.claim import Claim
from poslens.edit.scores import Drift, Scores

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A table in fewer numbers, and what it costs.

    Attributes
    ----------
    method, rank
        How it is made, and how many components or functions of position are kept.
    numbers
        How many numbers it is stored in.
    error
        ‖P - P̂‖ / ‖P‖, Frobenius.
    scores
        Of the model with this table; None where no text was read, or the model has no head.
    drift
        Of its last hidden states; None where no text was read, or the model has a head.
    """

    method: str
    rank: int
    numbers: int
    error: float
    scores: Scores | None = None
    drift: Drift | None = None


@dataclass(frozen=True, eq=False)
class Compression:
    """A table in fewer numbers, beside others that were tried.

    Attributes
    ----------
    table
        The original.
    rows
        The chosen table, shape (position, dim), float64.
    chosen
        What was chosen; one of ``tried``.
    tried
        Every method and rank that was looked at, by method, rank ascending.
    original
        Of the model as it is; None where no text was read, or it has no head.
    claim
        ``memory.compressible``.
    read
        In one line, the text that was read; or why no loss is known.
    settings
        What was asked.
    factors
        The numbers that the chosen table is stored in, by name.
    """

    table: PositionTable
    rows: Rows
    chosen: Candidate
    tried: tuple[Candidate, ...]
    original: Scores | None
    claim: Claim
    read: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    factors: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Tried:
    """A way to read beyond the trained length.

    Attributes
    ----------
    method
        Its name.
    about
        What it does, in one line.
    baseline
        Whether it is what people do without an edit: to cut, or to slide a window.
    scores
        None where no text was read, or the model has no head.
    """

    method: str
    about: str
    baseline: bool = False
    scores: Scores | None = None


@dataclass(frozen=True)
class Recommendation:
    """The edit with the lowest loss beyond the trained length, over contexts of a text.

    Attributes
    ----------
    method
        Its name.
    loss
        Mean over contexts, in nats per token, of positions beyond the trained length.
    interval
        95 %, bootstrap over contexts; None for fewer than five contexts.
    excess
        By every other method and baseline: mean of its loss less this one's within a context,
        and the 95 % interval of that; None for fewer than five contexts.
    tied
        The methods whose interval of excess holds 0; all, where there is no interval.
    """

    method: str
    loss: float
    interval: Interval | None
    excess: Mapping[str, tuple[float, Interval | None]]
    tied: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Extension:
    """A longer context, by each method that was tried.

    Attributes
    ----------
    uri, scheme
        The source, and what it does with positions, in one word.
    trained, to
        Positions that the model was made for, and the number that was asked for.
    tried
        Every method, then the baselines.
    chosen
        The method that was asked for, or else recommended; None where nothing was measured and
        none asked for, or where there is nothing to write.
    recommendation
        None where nothing was measured.
    read
        In one line, the text that was read; or why no loss is known.
    settings
        What was asked.
    rows
        The chosen longer table, shape (position, dim), float64; None for a scheme without one.
    changes
        What is to be written into the config of a model that rotates, by key.
    origin
        The opened source, which a written checkpoint takes its other tensors from.
    part
        Which stack, where a model has several.
    """

    uri: str
    scheme: str
    trained: int
    to: int
    tried: tuple[Tried, ...]
    chosen: str | None
    recommendation: Recommendation | None
    read: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    rows: Rows | None = None
    changes: Mapping[str, object] = field(default_factory=dict)
    origin: object = None
    part: str | None = None
