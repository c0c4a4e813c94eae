"""The article's statements, as rules: what is measured, against what bar, beside what null.

Adding a claim is adding a `Rule` here (and a test that it can be supported and contradicted).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from poslens.claims import intervals, null_draws, readings
from poslens.claims.evidence import Evidence, NotApplicableError
from poslens.claims.trained import untrained_rows
from poslens.errors import UndefinedMeasureError
from poslens.geometry import cosine
from poslens.geometry.components import (
    components_for,
    participation_ratio,
    principal_components,
)
from poslens.geometry.frequencies import pair_frequencies


@dataclass(frozen=True)
class NullTest:
    """A null model that a claim's value is compared with.

    Attributes
    ----------
    null
        Its name in `poslens.nulls.NULLS`.
    measure
        The drawn measure.
    decides
        Whether p ≤ 0.01 is needed for support; otherwise the comparison is only reported.
    value
        What of the table is compared with the draws; by default the value that is held against
        the bar.
    about
        What ``value`` is, in words; empty where it is the claim's own.
    """

    null: str
    measure: str
    decides: bool = True
    value: Callable[[Evidence], float] | None = None
    about: str = ""


@dataclass(frozen=True)
class Rule:
    """How one claim is tested.

    Attributes
    ----------
    id, section, statement
        Its name, the article's section, and the statement in words.
    measure
        From the evidence to the value that is held against the bar; raises `NotApplicableError`.
        None where a table does not decide it.
    relation, bar
        The value supports the statement where it is ``<=`` or ``>=`` the bar.
    needs
        What the statement needs beyond one table; such a rule has neither measure nor bar.
    of_table
        Whether the statement is about an added table.
    reading
        One line about the value, for people.
    interval
        The bootstrap interval, where the measure is a mean over positions.
    null
        The null model, where the statement names one.
    bar_unit
        What the bar is multiplied by on this table, and that product in words.
    """

    id: str
    section: str
    statement: str
    measure: Callable[[Evidence], float] | None = None
    relation: Literal["<=", ">="] = "<="
    bar: float | None = None
    reading: Callable[[Evidence, float], str] = readings.nothing
    interval: Callable[[Evidence], tuple[float, float]] | None = None
    null: NullTest | None = None
    bar_unit: Callable[[Evidence], float] | None = None
    needs: str = ""
    of_table: bool = True


def _of(name: str) -> Callable[[Evidence], float]:
    return lambda evidence: evidence.value(name)


def _frequency_deviation(evidence: Evidence) -> float:
    if evidence.scheme == "learned":
        raise NotApplicableError("speaks of the sinusoidal encoding; this table is learned")
    try:
        return pair_frequencies(evidence.raw).deviation
    except UndefinedMeasureError as error:
        raise NotApplicableError(str(error)) from error


def _worst_rotation(evidence: Evidence) -> float:
    scores = evidence.measures.values["shift.rotation_r2"]
    if scores is None:
        raise NotApplicableError(evidence.measures.undefined["shift.rotation_r2"])
    return float(min(score for score in scores.values() if score is not None))


def _parameters(evidence: Evidence) -> float:
    if evidence.scheme == "sinusoidal":
        return 0.0
    if evidence.scheme == "learned":
        raise NotApplicableError("speaks of the sinusoidal encoding; this table is learned")
    raise NotApplicableError("nothing says whether this table was learned")


def _untrained_share(evidence: Evidence) -> float:
    if evidence.scheme == "sinusoidal":
        raise NotApplicableError("speaks of learned tables; this one is a formula")
    if evidence.init_std is None:
        raise NotApplicableError(
            evidence.missing.get("init_std", "no config gives the σ that rows started from")
        )
    return float(untrained_rows(evidence.raw, evidence.init_std).mean())


def _token_ratio(evidence: Evidence) -> float:
    if evidence.measures.values["norm.token_ratio"] is None and "tokens" in evidence.missing:
        raise NotApplicableError(evidence.missing["tokens"])
    return evidence.value("norm.token_ratio")


def _smaller_side(evidence: Evidence) -> float:
    return float(min(evidence.rows.shape))


def _parallel(evidence: Evidence) -> float:
    evidence.value("difference.parallel")  # raises the reason
    return evidence.differences.cosine


def _fall(evidence: Evidence) -> float:
    evidence.value("cosine.monotonicity")  # raises the reason
    return cosine.falling(np.array(evidence.measures.values["cosine.profile"]))


def _few_directions(evidence: Evidence) -> np.ndarray:
    rows = null_draws.on_few_directions(evidence.rows, evidence.seed)
    return principal_components(rows).explained


def _components80(evidence: Evidence) -> float:
    return components_for(_few_directions(evidence), 0.80)


def _participation(evidence: Evidence) -> float:
    return participation_ratio(_few_directions(evidence))


def _order_deviation(evidence: Evidence) -> float:
    order = evidence.kernel.order
    if order is None:
        raise NotApplicableError(evidence.kernel.order_reason)
    without, with_positions = order
    # A block that tells the order with its positions taken away is not what the claim speaks of.
    return with_positions if without <= BLIND else 0.0


def _median_share(evidence: Evidence) -> float:
    if evidence.kernel.relative:
        raise NotApplicableError("speaks of what is learned; this scheme has distance built in")
    if not evidence.kernel.trained:
        raise NotApplicableError("speaks of trained attention; an encoding by itself has none")
    if evidence.kernel.left_out:
        raise NotApplicableError(
            "speaks of all that attention does by position; the kernel is of the table alone, "
            f"without {evidence.kernel.left_out}"
        )
    return float(np.median(evidence.kernel.known_shares()))


def _smallest_share(evidence: Evidence) -> float:
    if not evidence.kernel.relative:
        raise NotApplicableError("speaks of relative schemes; this is no such scheme")
    return float(evidence.kernel.known_shares().min())


def _reconstruction_error(evidence: Evidence) -> float:
    if evidence.logits.error is None:
        raise NotApplicableError(evidence.logits.reason)
    return evidence.logits.error


def _position_share(evidence: Evidence) -> float:
    logits = evidence.logits
    return float(np.median(logits.of_position() - logits.by_chance()))


BLIND = 1e-5  # relative deviation below which attention has not told two orders apart

_LAB = "needs models trained side by side; one table does not decide it"

_ON_FEW = "on 14 random directions"

RULES: tuple[Rule, ...] = (
    Rule(
        "order.blind_without_position",
        "1",
        "Self-attention without positions cannot tell ABC from CBA",
        _order_deviation,
        ">=",
        1e-3,
        readings.order,
        of_table=False,
    ),
    Rule(
        "sinusoid.many_frequencies",
        "2.1",
        "A spectrum of d/2 distinct frequencies, geometrically spaced",
        _frequency_deviation,
        "<=",
        0.01,
        readings.frequencies,
    ),
    Rule(
        "sinusoid.linear_shift",
        "2.1",
        "p at t+k is one fixed linear map of p at t",
        _worst_rotation,
        ">=",
        0.999,
        readings.shift,
        null=NullTest("random_walk", "shift.rotation_r2", decides=False),
    ),
    Rule(
        "sinusoid.no_parameters",
        "2.1",
        "The encoding needs no learned parameters",
        _parameters,
        "<=",
        0.0,
        readings.parameters,
    ),
    Rule(
        "learned.trained_rows",
        "2.2",
        "Every row of the table is fitted by gradient descent",
        _untrained_share,
        "<=",
        0.01,
        readings.untrained,
        interval=intervals.untrained_share,
    ),
    Rule(
        "norm.stable",
        "3.1",
        "The norm is about the same at every position",
        _of("norm.cv"),
        "<=",
        0.15,
        readings.norm_cv,
        interval=intervals.norm_cv,
    ),
    Rule(
        "norm.no_tail_explosion",
        "3.1",
        "The norm does not explode at the end",
        _of("norm.tail_ratio"),
        "<=",
        1.25,
        readings.tail,
    ),
    Rule(
        "norm.below_tokens",
        "3.1",
        "Position does not drown the token",
        _token_ratio,
        "<=",
        1.0,
        readings.token_ratio,
    ),
    Rule(
        "cosine.neighbours_alike",
        "3.2",
        "Neighbouring positions are similar",
        _of("cosine.adjacent"),
        ">=",
        0.7,
        readings.neighbours,
        interval=intervals.cosine_adjacent,
        null=NullTest("permutation", "cosine.adjacent"),
    ),
    Rule(
        "cosine.decays",
        "3.2",
        "Similarity falls with distance",
        _fall,
        "<=",
        -0.9,
        readings.decays,
        null=NullTest("permutation", "cosine.falling"),
    ),
    Rule(
        "cosine.exponential",
        "3.2",
        "Similarity falls as an exponential of distance",
        _of("cosine.exp_r2"),
        ">=",
        0.9,
        readings.exponential,
        # Rows with nothing to do with one another fit a decay of infinite rate: 1, then 0.
        null=NullTest(
            "permutation",
            "cosine.adjacent",
            value=_of("cosine.adjacent"),
            about="neighbours' cosine",
        ),
    ),
    Rule(
        "difference.parallel",
        "4",
        "Successive differences are nearly parallel",
        _parallel,
        ">=",
        0.5,
        readings.parallel,
        interval=intervals.difference_parallel,
        null=NullTest("permutation", "difference.long_parallel"),
    ),
    Rule(
        "trajectory.linear",
        "4, 8.1",
        "Positions lie along a straight line",
        _of("trajectory.linear_r2"),
        ">=",
        0.9,
        readings.linear,
        null=NullTest("random_walk", "trajectory.linear_r2"),
    ),
    Rule(
        "pca.pc1_is_position",
        "5.2",
        "The first component follows the position index",
        _of("pca.pc1_index_correlation"),
        ">=",
        0.9,
        readings.pc1,
        null=NullTest("random_walk", "pca.pc1_index_correlation", decides=False),
    ),
    Rule(
        "pca.few_components",
        "5.2",
        "A few components hold over 80 % of the variance",
        _of("pca.n80"),
        "<=",
        5.0,
        readings.few_components,
        null=NullTest("wave_signs", "pca.components80", value=_components80, about=_ON_FEW),
    ),
    Rule(
        "pca.low_dimensional",
        "5.2, 9",
        "The table is effectively low-dimensional",
        _of("pca.participation_ratio"),
        "<=",
        0.1,
        readings.low_dimensional,
        null=NullTest("wave_signs", "pca.participation_ratio", value=_participation, about=_ON_FEW),
        bar_unit=_smaller_side,
    ),
    Rule(
        "attention.four_terms",
        "6",
        "The logits are a sum of content and position terms",
        _reconstruction_error,
        "<=",
        1e-4,
        readings.four_terms,
        of_table=False,
    ),
    Rule(
        "attention.position_contributes",
        "6, 9",
        "Position feeds the attention scores directly",
        _position_share,
        ">=",
        0.05,
        readings.position_contributes,
        of_table=False,
    ),
    Rule(
        "attention.learns_distance",
        "8.2",
        "Attention learns relative distance",
        _median_share,
        ">=",
        0.5,
        readings.learns_distance,
        null=NullTest("permutation", "kernel.relative_share"),
        of_table=False,
    ),
    Rule(
        "relative.distance_only",
        "7",
        "Relative schemes encode distance, not position",
        _smallest_share,
        ">=",
        1 - 1e-6,
        readings.distance_only,
        of_table=False,
    ),
    Rule(
        "relative.extrapolates",
        "7",
        "Relative schemes extrapolate to longer sequences",
        needs=_LAB,
    ),
    Rule(
        "trajectory.small_noise",
        "8.1",
        "What departs from a smooth curve is small noise",
        _of("trajectory.noise_share"),
        "<=",
        0.1,
        readings.noise,
        interval=intervals.noise_share,
    ),
    Rule(
        "trajectory.smooth",
        "8.2",
        "Positions form a smooth curve, not random points",
        _of("trajectory.roughness"),
        "<=",
        0.25,
        readings.smooth,
        interval=intervals.roughness,
        null=NullTest("permutation", "trajectory.roughness"),
    ),
    Rule(
        "training.stabler",
        "8.2",
        "A smooth table trains more stably",
        needs=_LAB,
    ),
    Rule(
        "memory.compressible",
        "9",
        "The structure saves memory",
        needs="needs the model's loss with a compressed table: poslens compress SOURCE --text FILE",
    ),
)
