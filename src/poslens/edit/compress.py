"""`compress`: a position table in fewer numbers, and what that costs the model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from poslens.checkpoints import ModelSource, PositionTable
from poslens.draws import Progress
from poslens.edit.asked import Asked, asked
from poslens.edit.claim import claim_rank, compressible
from poslens.edit.compression import METHODS, Compressor, check_rank, compressor, smallest_rank
from poslens.edit.intervals import increase
from poslens.edit.ladder import rungs, smallest_that_holds
from poslens.edit.results import Candidate, Compression
from poslens.edit.scores import Drift, Scores
from poslens.errors import SettingError, quoted
from poslens.geometry.validate import check_rows
from poslens.reading import Reading

if TYPE_CHECKING:
    from poslens.edit.models import LanguageModel
    from poslens.text import Contexts

SIZE = 0.25  # of the table's numbers, where nothing else is asked for: that of the claim
_ORIGINAL = "original"
_SVD = "svd"


def compress(
    source: ModelSource,
    *,
    method: str = _SVD,
    rank: int | None = None,
    size: float | None = None,
    error: float | None = None,
    tolerance: float | None = None,
    text: str | os.PathLike[str] | None = None,
    contexts: int | None = None,
    length: int | None = None,
    tokens: np.ndarray | None = None,
    part: str | None = None,
    bars: Mapping[str, float] | None = None,
    seed: int = 0,
    allow_full_download: bool = False,
    progress: Progress | None = None,
) -> Compression:
    """Put a position table into fewer numbers, and measure what it costs.

    Parameters
    ----------
    source
        Whatever `poslens.load_table` takes.
    method
        ``"svd"``; ``"cosine"`` or ``"spline"``, smooth functions of position; or either of these
        and then the SVD, ``"cosine+svd"``, ``"spline+svd"``.
    rank
        How many components or functions are kept.
    size
        Or: as many as fit into this share of the table's numbers (0.25 if nothing is asked for).
    error
        Or: as few as keep ‖P - P̂‖ / ‖P‖ within this.
    tolerance
        Or: as few as keep the model's loss within this share of what it was: 0.01 is 1 %.
    text, contexts, length, tokens
        What the model reads, as for `poslens.analyze`; if none is given, and no ``tolerance``,
        no model is run. Running one needs the extra ``torch``.
    part
        Of a model with several tables, such as ``"encoder"``.
    bars
        A bar for ``memory.compressible`` in place of the default.
    seed
        Of the bootstrap, and of the positions that a masked model is asked for.
    allow_full_download
        Whether to fetch a remote file whole where it cannot be read in part.
    progress
        Called with (what is being done, steps done, steps in all).

    Raises
    ------
    SourceError, TableError
        If the source or the text cannot be read, or has no position table.
    SettingError
        If a setting cannot be used.
    """
    wish = _Wish(rank, size, error, tolerance)
    reading = Reading(text, contexts, length, tokens, layers=True)
    reading.check()
    runs = tolerance is not None or replace(reading, layers=False).asked
    report = progress or (lambda _what, _done, _total: None)
    source_asked = asked(source, part, allow_full_download, progress)
    table = _table(source_asked)
    rows = check_rows(table.rows)
    found = compressor(method, rows)
    wish.check(found)
    bench = _Bench(source_asked, table, rows, method, found, wish, seed, report)
    settings = {
        "method": method,
        **wish.record(),
        "part": part,
        "seed": seed,
        "bars": dict(bars or {}),
    }
    if not runs:
        return bench.without_model(settings, bars or {})
    read = source_asked.contexts(reading, table, seed, report)
    settings |= replace(reading, layers=False).record(read)
    return bench.with_model(read, settings, bars or {})


@dataclass(frozen=True)
class _Wish:
    """How small: by one of four numbers, or by the default."""

    rank: int | None
    size: float | None
    error: float | None
    tolerance: float | None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) > 1:
            raise SettingError(
                "cannot tell how small the table is to be",
                expected="one of rank, size, error and tolerance",
                got=" and ".join(given),
                remedy="leave all but one out",
            )
        if self.tolerance is not None and not 0 < self.tolerance < np.inf:
            raise SettingError(
                "the tolerance cannot be used",
                expected="a share of the loss over 0, such as 0.01",
                got=quoted(self.tolerance),
            )

    def check(self, found: Compressor) -> None:
        if self.tolerance is None:
            self.of(found)

    def of(self, found: Compressor) -> int:
        """Return the rank, where it does not depend on the loss."""
        if self.rank is not None:
            return check_rank(found, self.rank)
        if self.error is not None:
            return smallest_rank(found, error=self.error)
        return smallest_rank(found, size=SIZE if self.size is None else self.size)

    def record(self) -> dict[str, float]:
        given = {name: value for name, value in vars(self).items() if value is not None}
        return given or {"size": SIZE}


@dataclass(frozen=True, eq=False)
class _Bench:
    """One table, and everything that is tried on it."""

    asked: Asked
    table: PositionTable
    rows: np.ndarray
    method: str
    found: Compressor
    wish: _Wish
    seed: int
    report: Progress
    tried: dict[tuple[str, int], Candidate] = field(default_factory=dict)
    compressors: dict[str, Compressor] = field(default_factory=dict)

    def without_model(self, settings: dict[str, Any], bars: Mapping[str, float]) -> Compression:
        self._ladders()
        rank = self.wish.of(self.found)
        self._try(self.method, rank)
        reason = "needs the loss of a model that reads a text: give --text FILE"
        return self._result(rank, None, bars, settings, reason, reason)

    def with_model(
        self, read: Contexts, settings: dict[str, Any], bars: Mapping[str, float]
    ) -> Compression:
        from poslens.edit.models import language_model

        self._ladders()
        with language_model(self.asked.source, self.asked.part) as model:
            if model.kind == "headless":
                return self._headless(model, read, settings, bars)
            measure = partial(self._measure, model, read)
            quarter = claim_rank(*self.rows.shape)
            ladder = rungs(self.found.most, *self._known_ranks())
            wanted = {(self.method, rank) for rank in ladder}
            if quarter:
                wanted.add((_SVD, quarter))
            original = measure(wanted)
            rank = self._chosen(original, measure, ladder)
            others = [name for name in METHODS if name != self.method]
            numbers = self.found.numbers(rank)
            measure({pair for name in others for pair in self._as_large(name, numbers)})
        return self._result(rank, original, bars, settings, read.origin, "")

    def _headless(
        self,
        model: LanguageModel,
        read: Contexts,
        settings: dict[str, Any],
        bars: Mapping[str, float],
    ) -> Compression:
        from poslens.edit.scoring import drift

        reason = "the checkpoint holds no head that predicts tokens, so there is no loss"
        if self.wish.tolerance is not None:
            raise SettingError(
                "there is no loss to keep within a tolerance",
                expected="a model that predicts tokens",
                got=f"{quoted(self.asked.opened.uri)}, whose checkpoint holds no such head",
                remedy="choose by --rank, --size or --error",
            )
        rank = self.wish.of(self.found)
        ranks = rungs(self.found.most, rank)
        variants = {str(each): model.with_rows(self.found.table(each)) for each in ranks} | {
            _ORIGINAL: model.original()
        }
        moved: dict[str, Drift] = drift(
            model, variants, read.tokens, against=_ORIGINAL, progress=self.report
        )
        for each in ranks:
            self._try(self.method, each, drift=moved[str(each)])
        return self._result(rank, None, bars, settings, f"{read.origin}; {reason}", reason)

    def _known_ranks(self) -> tuple[int, ...]:
        return () if self.wish.tolerance is not None else (self.wish.of(self.found),)

    def _chosen(self, original: Scores, measure: Any, ladder: Iterable[int]) -> int:
        if self.wish.tolerance is None:
            return self.wish.of(self.found)

        def holds(rank: int) -> bool:
            if self.tried[self.method, rank].scores is None:
                measure({(self.method, rank)})
            scores = self.tried[self.method, rank].scores
            grown = np.inf if scores is None else increase(scores, original, self.seed)[0]
            return bool(grown <= (self.wish.tolerance or 0.0))

        rank = smallest_that_holds({each: holds(each) for each in ladder}, holds)
        return self.found.most if rank is None else rank

    def _measure(
        self, model: LanguageModel, read: Contexts, wanted: set[tuple[str, int]]
    ) -> Scores:
        """Score the model with some tables; return the scores with its own."""
        from poslens.edit.scoring import score

        names = {f"{name} {rank}": (name, rank) for name, rank in sorted(wanted)}
        variants = {_ORIGINAL: model.original()} | {
            shown: model.with_rows(self._compressor(name).table(rank))
            for shown, (name, rank) in names.items()
        }
        found = score(
            model, variants, read.tokens, against=_ORIGINAL, seed=self.seed, progress=self.report
        )
        for shown, (name, rank) in names.items():
            self._try(name, rank, scores=found[shown])
        return found[_ORIGINAL]

    def _ladders(self) -> None:
        """The error of every method at every rung, for which no model is needed."""
        for name in METHODS:
            if (each := self._compressor_or_none(name)) is not None:
                for rank in rungs(each.most):
                    self._try(name, rank)

    def _compressor(self, name: str) -> Compressor:
        if name == self.method:
            return self.found
        if name not in self.compressors:
            self.compressors[name] = compressor(name, self.rows)
        return self.compressors[name]

    def _compressor_or_none(self, name: str) -> Compressor | None:
        """A method that a table is too short for is left out, where nobody asked for it."""
        try:
            return self._compressor(name)
        except SettingError:
            return None

    def _as_large(self, name: str, numbers: int) -> list[tuple[str, int]]:
        """A method at the largest rank of no more numbers, if it has one."""
        found = self._compressor_or_none(name)
        if found is None:
            return []
        try:
            return [(name, smallest_rank(found, size=numbers / self.rows.size))]
        except SettingError:
            return []

    def _try(
        self,
        name: str,
        rank: int,
        scores: Scores | None = None,
        drift: Drift | None = None,
    ) -> None:
        if (name, rank) in self.tried and scores is None and drift is None:
            return
        found = self._compressor(name)
        self.tried[name, rank] = Candidate(
            name, rank, found.numbers(rank), found.error(rank), scores, drift
        )

    def _result(
        self,
        rank: int,
        original: Scores | None,
        bars: Mapping[str, float],
        settings: Mapping[str, Any],
        read: str,
        reason: str,
    ) -> Compression:
        quarter = claim_rank(*self.rows.shape)
        of_claim = self.tried.get((_SVD, quarter))
        return Compression(
            table=self.table,
            rows=self.found.table(rank),
            chosen=self.tried[self.method, rank],
            tried=tuple(self.tried[key] for key in sorted(self.tried)),
            original=original,
            claim=compressible(
                self.table,
                None if of_claim is None else of_claim.scores,
                original,
                rank=quarter,
                numbers=quarter * sum(self.rows.shape),
                bars=bars,
                seed=self.seed,
                reason=reason,
            ),
            read=read,
            settings=settings,
            factors=self.found.factors(rank),
        )


def _table(source: Asked) -> PositionTable:
    if source.adds_table:
        return source.table()
    line = "" if source.description is None else source.description.line()
    raise SettingError(
        f"there is no table to compress in {quoted(source.opened.uri)}",
        expected="a model that adds a position table",
        got=line,
        remedy="its positions take no memory that grows with length; `poslens extend` measures "
        "it beyond its trained length",
    )
