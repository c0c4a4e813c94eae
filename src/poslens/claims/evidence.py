"""What claims are decided on: a table's measures, null draws, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from poslens.axes import Rows
from poslens.claims.null_draws import NullDraws
from poslens.geometry.difference import Denoised, denoised
from poslens.geometry.table import TableMeasures

_TABLE_ALONE = "needs the model's attention; a position table alone does not decide it"


class NotApplicableError(Exception):
    """The model lacks what a claim speaks of; the text says what."""


@dataclass(frozen=True)
class KernelEvidence:
    """What is known of the positional kernels of a model's first block.

    Attributes
    ----------
    shares
        ``kernel.relative_share`` of each head; empty where it is not known.
    peaks
        ``kernel.peak_offset`` of each head.
    relative
        Whether the scheme is a function of distance by construction.
    trained
        Whether the kernels are of a model's own attention, and not of an encoding by itself.
    order
        How far attention is from commuting with a reordering, without positions and with them.
    reason
        Why ``shares`` are not known.
    order_reason
        Why ``order`` is not.
    left_out
        What else acts by position in the block and is in neither, in one line; '' for nothing.
    """

    shares: tuple[float | None, ...] = ()
    peaks: tuple[int | None, ...] = ()
    relative: bool = False
    trained: bool = True
    order: tuple[float, float] | None = None
    reason: str = _TABLE_ALONE
    order_reason: str = _TABLE_ALONE
    left_out: str = ""

    def known_shares(self) -> np.ndarray:
        """Return the shares of the heads whose kernel varies along its rows, at least one.

        Raises
        ------
        NotApplicableError
            If there is none.
        """
        if not self.shares:
            raise NotApplicableError(self.reason)
        known = np.array([share for share in self.shares if share is not None])
        if not known.size:
            raise NotApplicableError("the kernel of every head is constant along its rows")
        return known


@dataclass(frozen=True)
class LogitEvidence:
    """What is known of the logits of a model's first layer on some tokens.

    Attributes
    ----------
    shares
        ``attention.share.*`` by term, of each head; None for a head whose logits do not vary.
        Empty where they are not known.
    error
        ``attention.reconstruction_error``.
    tokens
        What the logits are of, for people: where the tokens come from.
    averaged
        C, the contexts whose mean is the position part; None where that is known exactly.
    reason
        Why nothing is known.
    """

    shares: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    error: float | None = None
    tokens: str = ""
    averaged: int | None = None
    reason: str = _TABLE_ALONE

    def of_position(self) -> np.ndarray:
        """Return the share of the terms that bear position, of each head that has one.

        Raises
        ------
        NotApplicableError
            If there is none.
        """
        known = self._known(("position_position", "content_position", "position_content"))
        return np.asarray(known.sum(axis=0))

    def by_chance(self) -> np.ndarray:
        """Return how much of `of_position` is content that the mean over contexts has not lost.

        A context takes part in the mean that its position part is. With the mean over the C - 1
        others instead, independent of its content, the content part is C ÷ (C - 1) times as large,
        the position part is less by as much, and norms, frozen at their sum, are as before. What
        position then loses is ((C ÷ (C - 1))² - 1) · ``content_content`` (the jackknife's
        leave-one-out, Quenouille 1956, here in closed form). Where there is nothing but content
        it is 1 - (1 - 1/C)², which is all that `of_position` has there.

        Returns
        -------
        By head as `of_position`; 0 where the position part is exact.

        Raises
        ------
        NotApplicableError
            If there is no head.
        """
        content = self._known(("content_content",))[0]
        if self.averaged is None:
            return np.zeros_like(content)
        return np.asarray(((self.averaged / (self.averaged - 1)) ** 2 - 1) * content)

    def of_constants(self) -> np.ndarray:
        """Return the share of the products with constant parts, of each head that has one.

        Raises
        ------
        NotApplicableError
            If there is none.
        """
        return np.asarray(self._known(("bias",))[0])

    def _known(self, terms: tuple[str, ...]) -> np.ndarray:
        if not self.shares:
            raise NotApplicableError(self.reason)
        shares = np.array([self.shares[term] for term in terms], dtype=float)  # NaN for None
        known = shares[:, np.isfinite(shares).all(axis=0)]
        if not known.size:
            raise NotApplicableError("the logits of every head are constant along their rows")
        return known


@dataclass(frozen=True)
class Evidence:
    """Everything that a claim about one model may look at.

    Attributes
    ----------
    rows
        The table in the analysed view, shape (position, dim); no rows where there is no table.
    raw
        The table as stored, shape (position, dim).
    measures
        Of ``rows``.
    no_table
        What the model does instead of adding a table; empty where there is one.
    kernel
        Of its positional kernels.
    logits
        Of its logits on a text.
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
    no_table: str = ""
    kernel: KernelEvidence = field(default_factory=KernelEvidence)
    logits: LogitEvidence = field(default_factory=LogitEvidence)
    nulls: Mapping[str, NullDraws] = field(default_factory=dict)
    scheme: str = "unknown"
    init_std: float | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    @cached_property
    def differences(self) -> Denoised:
        """Successive differences of ``rows`` without what noise does to them."""
        return denoised(self.rows)

    def value(self, name: str) -> float:
        """Return a scalar measure.

        Raises
        ------
        NotApplicableError
            If it is undefined on this table; the text says why.
        """
        if self.no_table:
            raise NotApplicableError(self.no_table)
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
