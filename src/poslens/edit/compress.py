"""`compress`: a position table in fewer numbers, and what that costs the model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from poslens.checkpoints import ModelSource, PositionTable
from poslens.checkpoints.opening import Checkpoint
from poslens.draws import Progress
from poslens.edit.amount import Amount
from poslens.edit.asked import Asked, asked, check_seed, record_of
from poslens.edit.bench import Bench
from poslens.edit.claim import check_bars, claim_rank, compressible
from poslens.edit.ladder import rungs, smallest_that_holds
from poslens.edit.results import Compression
from poslens.edit.scores import Scores
from poslens.edit.trials import Trials
from poslens.errors import SettingError, quoted
from poslens.geometry.validate import check_rows
from poslens.reading import Reading

BESIDE = 2**22  # numbers of a table that every method is tried on where no model reads
_SVD = "svd"  # by which the claim is decided
_NO_TEXT = "needs the loss of a model that reads a text: give --text FILE"
_NO_HEAD = "the checkpoint holds no head that predicts tokens, so there is no loss"


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
    mask: int | None = None,
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
        and then the SVD, ``"cosine+svd"``, ``"spline+svd"``. The others are shown beside it; not
        of a table of more than 2²² numbers where no text is read, as each takes a while.
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
    mask
        The id that stands for a token that a masked model is to predict, where no tokenizer is
        beside the weights to say it.
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

    Returns
    -------
    Compression
        The same source, settings and versions give the same numbers.

    Raises
    ------
    SourceError, TableError
        If the source or the text cannot be read, or has no position table.
    SettingError
        If a setting cannot be used, or there is no loss for a tolerance of it.

    Examples
    --------
    >>> import poslens
    >>> found = poslens.compress("sinusoidal:length=64,dim=32", method="cosine", rank=40)
    >>> found.rows.shape, found.chosen.numbers
    ((64, 32), 1280)
    """
    reading = Reading(text, contexts, length, tokens)
    reading.check()
    check_seed(seed)
    check_bars(bars or {})
    amount = Amount(rank, size, error, tolerance)
    given = asked(source, part, allow_full_download, progress)
    table = _table(given)
    runs = tolerance is not None or reading.asked
    beside = runs or table.rows.size <= BESIDE
    trials = Trials(check_rows(table.rows), method, beside=beside)
    chosen = amount.rank_of(trials.asked)
    settings: dict[str, Any] = {
        "method": method,
        **amount.record(),
        "part": part,
        "seed": seed,
        "bars": dict(bars or {}),
    }
    original, read, why = None, _NO_TEXT, _NO_TEXT
    if chosen is None or runs:
        report = progress or (lambda _what, _done, _total: None)
        found = given.contexts(reading, table, seed, report)
        with given.model(mask) as model:
            bench = Bench(model, found.tokens, trials, seed, report)
            chosen, original = _measured(bench, chosen, tolerance)
        settings |= record_of(reading, found)
        read, why = (found.origin, "") if original else (f"{found.origin}; {_NO_HEAD}", _NO_HEAD)
    trials.add([(method, chosen)])
    quarter = claim_rank(*table.rows.shape)
    return Compression(
        table=table,
        rows=trials.table((method, chosen)),
        chosen=trials[method, chosen],
        tried=trials.candidates,
        original=original,
        claim=compressible(
            table,
            trials[_SVD, quarter].scores if original and quarter else None,
            original,
            rank=quarter,
            numbers=quarter * sum(table.rows.shape),
            bars=bars or {},
            seed=seed,
            reason=why,
        ),
        read=read,
        settings=settings,
        factors=trials.asked.factors(chosen),
    )


def _measured(bench: Bench, rank: int | None, tolerance: float | None) -> tuple[int, Scores | None]:
    """Measure the ladder, the claim's rank, and every method in as many numbers as the chosen.

    Returns
    -------
    tuple
        The rank: the one that is given, or the smallest within the tolerance. And the scores of
        the original; None of a model without a head.
    """
    trials = bench.trials
    method, most = trials.method, trials.asked.most
    ladder = {(method, each) for each in rungs(most, *([] if rank is None else [rank]))}
    quarter = claim_rank(*trials.rows.shape)
    of_claim = {(_SVD, quarter)} if quarter and bench.model.kind != "headless" else set()
    if rank is not None:
        return rank, bench.measure(ladder | of_claim | trials.as_small(rank))
    if bench.model.kind == "headless":
        raise SettingError(
            "there is no loss to keep within a tolerance",
            expected="a model that predicts tokens",
            got="a checkpoint that holds no head",
            remedy="choose by --rank, --size or --error",
        )
    original = bench.measure(ladder | of_claim)
    bar = (1 + (tolerance or 0.0)) * original.mean if original else 0.0

    def holds(each: int) -> bool:
        return bool(bench.loss((method, each)) <= bar)

    rank = smallest_that_holds({each: holds(each) for _, each in ladder}, holds)
    # At the largest rank the table is the original; where rounding says otherwise, it is meant.
    rank = most if rank is None else rank
    bench.measure({(method, rank)} | trials.as_small(rank))
    return rank, original


def _table(source: Asked) -> PositionTable:
    if source.adds_table:
        return source.table()
    line = "" if source.description is None else source.description.line()
    raise SettingError(
        f"there is no table to compress in {quoted(source.opened.uri)}",
        expected="a model that adds a position table",
        got=line,
        remedy="what it does instead takes no memory that grows with length"
        + (
            "; `poslens extend` measures it beyond its trained length"
            if isinstance(source.opened, Checkpoint)
            else ""
        ),
    )
