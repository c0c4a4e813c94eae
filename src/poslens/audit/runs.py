"""Results of runs of which it is known what is true: losses over seeds, or over contexts.

No model is trained. What is audited is how intervals over a few seeds or contexts decide; that the
losses are those of models is the matter of `poslens.lab` and `poslens.edit`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeAlias

import numpy as np

from poslens.audit.processes import Truth
from poslens.claims.claim import Claim, Verdict
from poslens.claims.over_contexts import of_increase
from poslens.claims.over_seeds import of_variance_ratio, worst
from poslens.claims.runs import decided_on_runs, rule_of_runs

Found: TypeAlias = tuple[float, tuple[float, float] | None]
DrawFound: TypeAlias = Callable[[int, np.random.Generator, int], Found]
Errors: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

SCATTER = 0.2  # of log perplexity ratios over seeds
CORRELATION = 0.7  # of the losses of two runs that share a seed
_LOSS, _SPREAD = 3.0, 0.3  # of contexts before an edit, in nats and in logarithms
_COST_SCATTER = 0.01  # of the relative cost of an edit, over contexts


class RunAudit:
    """Decides the claim that some runs are about.

    Parameters
    ----------
    claim
        Its name.
    found
        The value and its interval.
    """

    def __init__(self, claim: str, found: Found) -> None:
        self._claim, self._found = claim, found

    def verdicts(self, claims: Iterable[str]) -> dict[str, Verdict]:
        """Return the verdict."""
        return {claim: self.claim(claim).verdict for claim in claims}

    def claim(self, name: str) -> Claim:
        """Return the claim, decided."""
        return decided_on_runs(rule_of_runs(name), *self._found)


@dataclass(frozen=True)
class RunProcess:
    """A way to draw results of which it is known whether one claim is true.

    Attributes
    ----------
    name, about
        What it is called, and how it is made in words.
    claim, truth_of_it
        The claim, and whether it is true.
    draw
        From the number of seeds or contexts, a generator and the seed of resamples to the value
        and its interval.
    of
        What there is a number of: ``"seeds"`` or ``"contexts"``.
    noises
        As in `Process`.
    """

    noises: ClassVar[tuple[float, ...]] = (0.0,)

    name: str
    about: str
    claim: str
    truth_of_it: Truth
    draw: DrawFound
    of: str = "seeds"

    @property
    def audited(self) -> tuple[str, ...]:
        """The claim."""
        return (self.claim,)

    def truth(self, claim: str, noise: float = 0.0) -> Truth:  # noqa: ARG002
        """Return what is known of ``claim``."""
        return self.truth_of_it if claim == self.claim else Truth.OPEN

    def audit(
        self,
        length: int,
        dim: int,  # noqa: ARG002
        noise: float,  # noqa: ARG002
        rng: np.random.Generator,
        seed: int,
    ) -> RunAudit:
        """Return what decides the claim on ``length`` seeds or contexts."""
        return RunAudit(self.claim, self.draw(length, rng, seed))


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return errors of mean 0 and variance 1."""
    return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return exponential errors of mean 0 and variance 1, most of them below their mean."""
    return np.asarray(rng.standard_exponential(shape) - 1)


def growth(
    seeds: int,
    rng: np.random.Generator,
    seed: int,  # noqa: ARG001
    *,
    means: Mapping[str, float],
    errors: Errors = normal,
) -> Found:
    """Return how schemes' log perplexity grows with length beside the learned table's."""
    excess = {name: mean + SCATTER * errors(rng, (seeds,)) for name, mean in means.items()}
    _, value, interval = worst(excess)
    return math.exp(value), interval and (math.exp(interval[0]), math.exp(interval[1]))


def stability(
    seeds: int,
    rng: np.random.Generator,
    seed: int,  # noqa: ARG001
    *,
    ratio: float,
    errors: Errors = normal,
) -> Found:
    """Return the variance over seeds of one run ÷ another's, whose true quotient is ``ratio``."""
    own, shared = errors(rng, (2, seeds)), errors(rng, (seeds,))
    both = math.sqrt(1 - CORRELATION) * own + math.sqrt(CORRELATION) * shared
    first, second = math.sqrt(ratio) * both[0], both[1]
    quotient = float(np.var(first, ddof=1) / np.var(second, ddof=1))
    return quotient, of_variance_ratio(first, second)


def losses(
    contexts: int, rng: np.random.Generator, increase: float, errors: Errors
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean loss of each context after an edit and before it."""
    before = _LOSS * np.exp(_SPREAD * rng.standard_normal(contexts))
    return before * (1 + increase + _COST_SCATTER * errors(rng, (contexts,))), before


def cost(
    contexts: int,
    rng: np.random.Generator,
    seed: int,
    *,
    increase: float,
    errors: Errors = normal,
) -> Found:
    """Return by what share an edit raises the mean loss, truly ``increase``, and its interval."""
    edited, before = losses(contexts, rng, increase, errors)
    return float(edited.mean() / before.mean()) - 1, of_increase(edited, before, seed)


def _growth(name: str, truth: Truth, means: Mapping[str, float], errors: Errors) -> RunProcess:
    told = ", ".join(f"{mean:g}" for mean in means.values())
    return RunProcess(
        f"extrapolation, {name}",
        f"log perplexity at four times the trained length above the learned table's: means {told}, "
        f"{errors.__name__} with standard deviation {SCATTER:g} over seeds",
        "relative.extrapolates",
        truth,
        partial(growth, means=means, errors=errors),
    )


def _stability(name: str, truth: Truth, ratio: float, errors: Errors) -> RunProcess:
    return RunProcess(
        f"stability, {name}",
        f"losses of two runs a seed, whose variances over seeds have the quotient {ratio:g}; "
        f"{errors.__name__}, correlated by {CORRELATION:g}",
        "training.stabler",
        truth,
        partial(stability, ratio=ratio, errors=errors),
    )


def _cost(increase: float, truth: Truth, errors: Errors) -> RunProcess:
    return RunProcess(
        f"edit, {increase:.4g} of the loss, {errors.__name__}",
        f"losses of contexts, log-normal, which an edit raises by {increase:.4g} on average; "
        f"{errors.__name__} with standard deviation {_COST_SCATTER:g} over contexts",
        "memory.compressible",
        truth,
        partial(cost, increase=increase, errors=errors),
        of="contexts",
    )


OF_GROWTH: tuple[RunProcess, ...] = (
    _growth("both better", Truth.TRUE, {"first": -1.0, "second": -1.5}, normal),
    _growth("one no better", Truth.FALSE, {"first": 0.0, "second": -1.5}, normal),
    # Most seeds lie below a skewed mean: without its interval, chance alone would often do.
    _growth("one no better, skewed", Truth.FALSE, {"first": 0.0, "second": -1.5}, skewed),
)
OF_STABILITY: tuple[RunProcess, ...] = (
    _stability("a hundredth", Truth.TRUE, 0.01, normal),
    _stability("the same", Truth.FALSE, 1.0, normal),
    _stability("the same, skewed", Truth.FALSE, 1.0, skewed),
)
OF_COST: tuple[RunProcess, ...] = tuple(
    _cost(increase, truth, errors)
    for increase, truth in (
        (0.0, Truth.TRUE),
        (0.005, Truth.TRUE),
        (0.0105, Truth.FALSE),
        (0.02, Truth.FALSE),
    )
    for errors in (normal, skewed)
)
RUNS: tuple[RunProcess, ...] = (*OF_GROWTH, *OF_STABILITY, *OF_COST)
