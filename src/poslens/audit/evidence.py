"""One table's claims, decided as `poslens.analyze` decides them, without what they do not need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from poslens.axes import Rows
from poslens.claims import null_draws
from poslens.claims.claim import Claim, Verdict
from poslens.claims.decide import decide
from poslens.claims.evidence import Evidence
from poslens.claims.null_draws import NullDraws
from poslens.claims.rules import RULES, Rule
from poslens.errors import UndefinedMeasureError
from poslens.geometry import cosine, cosine_fits, difference, norms, shift, trajectory
from poslens.geometry.components import measures, principal_components
from poslens.geometry.table import TableMeasures
from poslens.geometry.validate import check_rows

DRAWS = 99  # the fewest with which p can be 0.01
_FIRST_DRAWS = 9  # most tables that a null could have given are found out by these

_RULES: Mapping[str, Rule] = {rule.id: rule for rule in RULES}

_Group = tuple[tuple[str, ...], Callable[[Rows], Mapping[str, Any]]]
_GROUPS: tuple[_Group, ...] = (
    (("norm.cv", "norm.outlier_rows"), norms.spread),
    (("norm.tail_ratio",), norms.ends),
    (
        ("cosine.profile", "cosine.adjacent", "cosine.half_lag"),
        lambda rows: cosine.raw_measures(cosine.profile(rows)),
    ),
    (("cosine.offset_share",), lambda rows: {"cosine.offset_share": cosine.offset_share(rows)}),
    (("cosine.centered_adjacent",), cosine.centered_measures),
    (
        ("cosine.monotonicity",),
        lambda rows: {"cosine.monotonicity": cosine.monotonicity(cosine.profile(rows))},
    ),
    (
        ("cosine.decay_rate", "cosine.exp_r2"),
        lambda rows: cosine_fits.exponential_measures(cosine.profile(rows)),
    ),
    (("difference.parallel",), lambda rows: {"difference.parallel": difference.parallel(rows)}),
    (("difference.parallel_at",), difference.by_stride),
    (
        (
            "trajectory.linear_r2",
            "trajectory.helix_r2",
            "trajectory.turns",
            "trajectory.roughness",
            "trajectory.noise_share",
        ),
        trajectory.measures,
    ),
    (
        (
            "pca.explained",
            "pca.n80",
            "pca.n95",
            "pca.participation_ratio",
            "pca.pc1_index_correlation",
            "pca.best_index_correlation",
            "pca.best_index_component",
        ),
        lambda rows: measures(principal_components(rows)),
    ),
    (("shift.rotation_r2",), shift.rotation_measures),
)
_UNREAD = ("shift.r2", "cosine.best_family")  # in notes alone, and slow


class _WhenAsked(dict[str, Any]):
    """Measures of one table by name, each computed when it is first looked up."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(dict.fromkeys(_UNREAD))
        self.rows, self.undefined = rows, dict[str, str]()

    def __missing__(self, name: str) -> Any:
        names, compute = next(group for group in _GROUPS if name in group[0])
        try:
            found = compute(self.rows)
        except UndefinedMeasureError as error:
            found = dict.fromkeys(names)
            self.undefined.update(dict.fromkeys(names, str(error)))
        self.update({each: found[each] for each in names})
        return self[name]


class TableAudit:
    """Decides claims on one table.

    Parameters
    ----------
    rows
        The table, shape (position, dim). σ of `learned.trained_rows` is its own, which leaves
        norms that look fresh.
    seed
        Of the null draws and the bootstrap.
    """

    def __init__(self, rows: Rows, seed: int) -> None:
        rows = check_rows(rows)
        values = _WhenAsked(rows)
        self._evidence = Evidence(
            rows=rows,
            raw=rows,
            measures=TableMeasures(values=values, undefined=values.undefined),
            init_std=float(np.sqrt(np.mean(rows**2))),
            seed=seed,
        )
        self._drawn: dict[tuple[str, int], NullDraws] = {}
        self._intervals: dict[str, tuple[float, float]] = {}

    def verdicts(self, claims: Iterable[str]) -> dict[str, Verdict]:
        """Return the verdicts that `poslens.analyze` gives with 99 null draws.

        One that 99 draws could not turn into support is decided on fewer: p ≤ 0.01 needs that not
        one of them is as extreme as the table.
        """
        return {claim: self._decide(self._rule(claim)).verdict for claim in claims}

    def claim(self, name: str, draws: int = DRAWS) -> Claim:
        """Return a claim decided on so many draws of its null."""
        rule = self._rule(name)
        nulls = {rule.null.null: self._draws(rule.null.null, draws)} if rule.null else {}
        return decide(rule, replace(self._evidence, nulls=nulls), rule.bar)

    def _decide(self, rule: Rule) -> Claim:
        found = decide(rule, self._evidence, rule.bar)
        if found.verdict is not Verdict.INCONCLUSIVE or rule.null is None:
            return found
        found = self.claim(rule.id, _FIRST_DRAWS)
        if found.p_value is not None and found.p_value > 1 / (1 + _FIRST_DRAWS):
            return found
        return self.claim(rule.id)

    def _rule(self, name: str) -> Rule:
        """A claim's rule, whose interval is resampled once however often it is decided."""
        rule = _RULES[name]
        resample = rule.interval
        if resample is None:
            return rule

        def interval(evidence: Evidence) -> tuple[float, float]:
            if name not in self._intervals:
                self._intervals[name] = resample(evidence)
            return self._intervals[name]

        return replace(rule, interval=interval)

    def _draws(self, null: str, count: int) -> NullDraws:
        if (null, count) not in self._drawn:
            draw = getattr(null_draws, null)
            self._drawn[null, count] = draw(
                self._evidence.rows, count, self._evidence.seed, lambda _: None
            )
        return self._drawn[null, count]
