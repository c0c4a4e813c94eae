"""Results of runs have the truths that are claimed of them, and are decided as by those who run."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from poslens.audit import RUNS, Cell
from poslens.audit.cells import decided
from poslens.audit.exact import share_interval
from poslens.audit.runs import RunAudit, cost, growth, losses, normal, skewed, stability
from poslens.checkpoints import PositionTable, Source
from poslens.claims.claim import Verdict
from poslens.edit.claim import claim_rank, compressible
from poslens.edit.scores import Scores

DRAWN = 2000


def supported(name: str, count: int, tables: int = DRAWN) -> int:
    claim = RUNS[name].claim
    found = decided(Cell(name, count, 1, 0.0, tables, tables), 0, tables, 0)
    return [each[claim] for each in found].count(Verdict.SUPPORTED)


@pytest.mark.parametrize("errors", [normal, skewed])
def test_errors_have_mean_0_and_variance_1(errors: object) -> None:
    assert callable(errors)
    drawn = errors(np.random.default_rng(0), (400_000,))
    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.var() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("seeds", [5, 8])
def test_equal_variances_are_called_smaller_one_time_in_forty(seeds: int) -> None:
    """Pitman's and Morgan's interval is exact for normal pairs, correlated or not."""
    low, high = share_interval(supported("stability, the same", seeds), DRAWN, 0.999)
    assert low <= 0.025 <= high


def test_a_scheme_that_is_no_better_is_rarely_called_so() -> None:
    """At most as often as Student's interval of a mean of 0 lies below it."""
    low, _ = share_interval(supported("extrapolation, one no better", 5), DRAWN, 0.999)
    assert low <= 0.025


def test_the_worst_of_all_schemes_and_seeds_is_the_value() -> None:
    means = {"first": 0.0, "second": -5.0}
    value, interval = growth(4, np.random.default_rng(7), 0, means=means)
    drawn = 0.2 * np.random.default_rng(7).standard_normal(4)
    assert value == pytest.approx(np.exp(drawn.max()))
    assert interval is not None
    assert np.prod(interval) == pytest.approx(np.exp(2 * drawn.mean()))


def test_variances_have_their_quotient() -> None:
    value, interval = stability(40_000, np.random.default_rng(0), 0, ratio=0.25)
    assert value == pytest.approx(0.25, rel=0.03)
    assert interval is not None
    assert interval[0] < 0.25 < interval[1]


@pytest.mark.parametrize("errors", [normal, skewed])
def test_an_edit_costs_what_it_costs(errors: object) -> None:
    assert callable(errors)
    edited, before = losses(200_000, np.random.default_rng(0), 0.02, errors)
    assert edited.mean() / before.mean() - 1 == pytest.approx(0.02, abs=2e-4)


@pytest.mark.parametrize("increase", [-0.01, 0.008, 0.03])
def test_edits_are_decided_as_compress_decides_them(increase: float) -> None:
    drawn = partial(losses, 12, increase=increase, errors=skewed)
    after, before = (
        Scores(np.zeros((12, 1), dtype=np.int64), of[:, None])
        for of in drawn(rng=np.random.default_rng(1))
    )
    source = Source("array", None, None, None, "learned", 0, None, None, 0)
    table = PositionTable(np.random.default_rng(0).standard_normal((40, 30)), source)
    rank = claim_rank(40, 30)
    theirs = compressible(table, after, before, rank, rank * 70, {}, 5, "")
    found = cost(12, np.random.default_rng(1), 5, increase=increase, errors=skewed)
    ours = RunAudit("memory.compressible", found).claim("memory.compressible")
    assert (ours.verdict, ours.bar) == (theirs.verdict, theirs.bar)
    assert ours.value == pytest.approx(theirs.value, abs=1e-12)
    assert ours.interval == theirs.interval
