"""``memory.compressible``: whether a model does as well with a quarter of its table's numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from poslens.checkpoints import PositionTable
from poslens.claims.claim import Claim
from poslens.claims.over_contexts import FEWEST
from poslens.claims.runs import BARS, decided_on_runs, inapplicable, rule_of_runs
from poslens.edit.intervals import increase
from poslens.edit.scores import Scores
from poslens.errors import SettingError, UndefinedMeasureError, quoted

CLAIM = "memory.compressible"
BAR = BARS[CLAIM]
SHARE = 4  # the table's numbers ÷ those that the claim allows


def claim_rank(length: int, dim: int) -> int:
    """Return the largest k with k·(L + d) ≤ L·d/4: the rank that the claim is about; 0 for none."""
    return length * dim // (SHARE * (length + dim))


def compressible(
    table: PositionTable,
    scores: Scores | None,
    original: Scores | None,
    rank: int,
    numbers: int,
    bars: Mapping[str, float],
    seed: int,
    reason: str,
) -> Claim:
    """Decide the claim on the table of rank k = `claim_rank`, by truncated SVD.

    The value is the relative increase of the mean loss, its interval the bootstrap's over
    contexts; with too few contexts for one the verdict is inconclusive.

    Parameters
    ----------
    table
        The original.
    scores, original
        Of the model with the compressed table, and as it is; None where there is no loss.
    rank, numbers
        Of the compressed table.
    bars
        Bars that differ from the default of 0.01, by claim.
    seed
        Of the contexts that are drawn.
    reason
        Why there is no loss, for people.

    Raises
    ------
    SettingError
        If ``bars`` names another claim, or holds no number.
    """
    rule = rule_of_runs(CLAIM, check_bars(bars))
    if claim_rank(table.length, table.dim) < 1:
        size = f"{table.length} × {table.dim}"
        return inapplicable(rule, f"a table of {size} has no rank that takes a quarter of it")
    if scores is None or original is None:
        return inapplicable(rule, reason or "the model's loss is not known")
    try:
        value, interval = increase(scores, original, seed)
    except UndefinedMeasureError as error:
        return inapplicable(rule, str(error))
    share = numbers / (table.length * table.dim)
    note = f"rank {rank}, in {share:.1%} of the table's numbers: {original.mean:.4g} → "
    note += f"{scores.mean:.4g} nats per token, over {len(scores.losses)} contexts"
    if interval is None:
        note += f"; an interval needs {FEWEST}"
    return decided_on_runs(rule, value, interval, note)


def check_bars(bars: Mapping[str, float]) -> float:
    """Return the claim's bar, its default where ``bars`` holds none.

    Raises
    ------
    SettingError
        If ``bars`` names another claim, or holds no number.
    """
    for name, bar in bars.items():
        if name != CLAIM:
            raise SettingError(
                f"no bar of {quoted(name)} here",
                expected=f"that of {CLAIM}",
                remedy="poslens analyze decides the other claims",
            )
        if not math.isfinite(bar):
            raise SettingError(
                f"the bar of {CLAIM} is no number", expected="a finite number", got=str(bar)
            )
    return float(bars.get(CLAIM, BAR))
