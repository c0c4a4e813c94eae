"""The article's statements that one model does not decide: tested on runs side by side.

Each claim holds over all seeds or is not called supported, and its interval is over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from poslens.claims.claim import Claim
from poslens.claims.decide import decide
from poslens.claims.evidence import Evidence
from poslens.claims.over_seeds import of_variance_ratio, worst
from poslens.claims.rules import RULES, Rule
from poslens.claims.runs import decided_on_runs, inapplicable, rule_of_runs
from poslens.encodings.validate import INIT_STD
from poslens.geometry.table import TableMeasures
from poslens.lab.experiment import Arm
from poslens.lab.results import LabResults, Run
from poslens.lab.tasks import Task

RELATIVE = ("rope", "alibi", "t5", "shaw")
FACTOR = 4  # of the trained length, at which extrapolation is judged


def lab_claims(results: LabResults) -> tuple[Claim, ...]:
    """Return the claims that an experiment decides, in the article's order.

    ``learned.trained_rows``
        The rule of one table, on each run's final one, over the rows that training could reach.
        The value is the largest share of any seed, the interval holds those of all seeds.
    ``relative.extrapolates``
        exp of (loss at 4× - loss at 1×) of a relative scheme minus the same of the learned table,
        within a seed. The value is the worst of all schemes and seeds; the interval is Student's,
        paired, over the seeds of the scheme that is worst on average. On a text alone: a task may
        ask for other distances at other lengths, and a loss near 0 has no perplexity to compare.
    ``training.stabler``
        Variance over seeds of the held-out loss with a table that began smooth ÷ with one that
        began as noise; the interval is that of pairs, see `poslens.claims.over_seeds`.

    With one seed (two for ``training.stabler``) there is no interval, and the verdict is
    inconclusive.
    """
    trained_rows = next(rule for rule in RULES if rule.id == "learned.trained_rows")
    return (
        _trained_rows(trained_rows, results),
        _extrapolates(rule_of_runs("relative.extrapolates"), results),
        _stabler(rule_of_runs("training.stabler"), results),
    )


def _trained_rows(rule: Rule, results: LabResults) -> Claim:
    runs = _runs_of(results, lambda arm: arm.scheme == "learned" and arm.init == "random")
    found = [
        decide(rule, _final_table(run, results.experiment.model.context), rule.bar)
        for run in runs.values()
    ]
    if not found:
        return inapplicable(rule, "no run with a learned table that began as noise is done")
    value = max(claim.value or 0.0 for claim in found)
    ends = [end for claim in found for end in claim.interval or (claim.value or 0.0,)]
    return _decided(
        rule,
        value,
        (max(min(ends), 0.0), min(max(ends), 1.0)),
        f"the largest share of {_counted(len(runs))}, over rows within the trained length; "
        + _untouched(runs, results.experiment.model.context),
    )


def _final_table(run: Run, context: int) -> Evidence:
    rows = list(run.tables().values())[-1][:context]
    measures = TableMeasures()
    return Evidence(rows, rows, measures, scheme="learned", init_std=INIT_STD, seed=run.seed)


def _untouched(runs: dict[int, Run], context: int) -> str:
    """How many of the rows beyond the context are what they were before training."""
    same = total = 0
    for run in runs.values():
        tables = list(run.tables().values())
        before, after = tables[0][context:], tables[-1][context:]
        same += int((before == after).all(axis=1).sum())
        total += len(after)
    if not total:
        return "no table has rows beyond it"
    return f"of {total} rows beyond it, {same} are still their initial values"


def _extrapolates(rule: Rule, results: LabResults) -> Claim:
    if isinstance(results.experiment.data, Task):
        return inapplicable(
            rule,
            f"is a claim about perplexity on text, and this experiment is on the task "
            f"{results.experiment.data.task}: its accuracy by length is what tells",
        )
    context = results.experiment.model.context
    learned = {
        seed: growth
        for seed, run in _runs_of(
            results, lambda arm: arm.scheme == "learned" and arm.init == "random"
        ).items()
        if (growth := _growth(run, context)) is not None
    }
    by_scheme: dict[str, np.ndarray] = {}
    for arm in results.experiment.schemes:
        if arm.scheme not in RELATIVE:
            continue
        grown = {seed: _growth(run, context) for seed, run in results.of(arm.label).items()}
        pairs = [
            growth - learned[seed]
            for seed, growth in grown.items()
            if growth is not None and seed in learned
        ]
        if pairs:
            by_scheme[arm.label] = np.array(pairs)
    if not by_scheme:
        return inapplicable(
            rule,
            f"needs runs of a relative scheme and a learned table with rows for {FACTOR}× the "
            "trained length, of one seed",
        )
    last, largest, interval = worst(by_scheme)
    each = ", ".join(
        f"{label} {_ratio(float(excess.mean())):.3g}" for label, excess in by_scheme.items()
    )
    return _decided(
        rule,
        _ratio(largest),
        None if interval is None else (_ratio(interval[0]), _ratio(interval[1])),
        f"perplexity at {FACTOR}× ÷ at 1×, over the learned table's, mean over seeds: {each}; "
        f"the interval is of {last}, over {_counted(len(by_scheme[last]))}",
    )


def _growth(run: Run, context: int) -> float | None:
    """log of perplexity at 4× ÷ at 1×; None where the run was not evaluated so far."""
    curves = run.lengths
    if FACTOR * context not in curves:
        return None
    return curves[FACTOR * context].loss - curves[context].loss


def _stabler(rule: Rule, results: LabResults) -> Claim:
    noise = _runs_of(results, lambda arm: arm.scheme == "learned" and arm.init == "random")
    smooth = _runs_of(results, lambda arm: arm.init == "smooth")
    seeds = [seed for seed in noise if seed in smooth]
    if len(seeds) < 2:
        return inapplicable(
            rule, "needs a learned table that began as noise and one that began smooth, two seeds"
        )
    first = np.array([smooth[seed].loss for seed in seeds])
    second = np.array([noise[seed].loss for seed in seeds])
    below = float(np.var(second, ddof=1))
    if below == 0:
        return inapplicable(rule, "the loss of the table that began as noise has no variance")
    told = ", ".join(
        f"{name} {losses.mean():.4g} ± {losses.std(ddof=1):.2g}"
        for name, losses in (("smooth", first), ("noise", second))
    )
    return _decided(
        rule,
        float(np.var(first, ddof=1)) / below,
        of_variance_ratio(first, second),
        f"held-out loss, mean ± standard deviation over {_counted(len(seeds))}: {told}",
    )


def _decided(rule: Rule, value: float, interval: tuple[float, float] | None, note: str) -> Claim:
    few = "; too few seeds for an interval" if interval is None else ""
    claim = decided_on_runs(rule, value, interval, note + few)
    return replace(
        claim,
        value=value if math.isfinite(value) else None,
        interval=interval if interval is None or all(map(math.isfinite, interval)) else None,
    )


def _runs_of(results: LabResults, wanted: Callable[[Arm], bool]) -> dict[int, Run]:
    """The runs, by seed, of the first scheme that is wanted and has any."""
    for arm in results.experiment.schemes:
        if wanted(arm) and (runs := results.of(arm.label)):
            return runs
    return {}


def _ratio(logarithm: float) -> float:
    return math.exp(min(logarithm, 700.0))


def _counted(seeds: int) -> str:
    return f"{seeds} seed" + "s" * (seeds != 1)
