"""What the audit draws tables from, and what is known of them before any is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, TypeAlias

import numpy as np

from poslens.audit.evidence import TableAudit
from poslens.axes import Rows

Draw: TypeAlias = Callable[[int, int, np.random.Generator], Rows]

CLAIMS = (  # those that a table alone decides, in the article's order
    "sinusoid.many_frequencies",
    "sinusoid.linear_shift",
    "learned.trained_rows",
    "norm.stable",
    "norm.no_tail_explosion",
    "cosine.neighbours_alike",
    "cosine.decays",
    "cosine.exponential",
    "difference.parallel",
    "trajectory.linear",
    "pca.pc1_is_position",
    "pca.few_components",
    "pca.low_dimensional",
    "trajectory.small_noise",
    "trajectory.smooth",
)
OF_MODELS = (  # those that take a model's first attention block, or its tokens
    "order.blind_without_position",
    "sinusoid.no_parameters",
    "norm.below_tokens",
    "attention.four_terms",
    "attention.position_contributes",
    "attention.learns_distance",
    "relative.distance_only",
)
OF_RUNS = (  # those that runs decide, over seeds or over the contexts of a text
    "relative.extrapolates",
    "training.stabler",
    "memory.compressible",
)


class Truth(StrEnum):
    """What a process's construction says of a claim."""

    TRUE = "true"
    FALSE = "false"
    OPEN = "open"  # the construction does not settle it


@dataclass(frozen=True)
class Process:
    """A way to draw tables of which it is known what is true.

    Attributes
    ----------
    name, about
        What it is called, and its formula in words.
    draw
        From L, d and a generator to a table without noise, shape (position, dim).
    true, false
        The claims that hold, and those that do not, of every table of any size.
    open
        Why the other claims are not settled, by claim.
    noisy
        What changes when noise is added.
    noises
        Shares of the variance that are noise, at which the process is audited.
    audited
        The claims that are known or open.
    """

    audited: ClassVar[tuple[str, ...]] = CLAIMS

    name: str
    about: str
    draw: Draw
    true: frozenset[str]
    false: frozenset[str]
    open: Mapping[str, str]
    noisy: Mapping[str, Truth] = field(default_factory=dict)
    noises: tuple[float, ...] = (0.0,)

    def truth(self, claim: str, noise: float = 0.0) -> Truth:
        """Return what is known of ``claim`` where ``noise`` of the variance is noise."""
        if noise and claim in self.noisy:
            return self.noisy[claim]
        if claim in self.true:
            return Truth.TRUE
        return Truth.FALSE if claim in self.false else Truth.OPEN

    def table(self, length: int, dim: int, noise: float, rng: np.random.Generator) -> Rows:
        """Return a table, shape (position, dim), of whose variance ``noise`` is white noise."""
        rows = self.draw(length, dim, rng)
        if not noise:
            return rows
        variance = np.mean((rows - rows.mean(axis=0)) ** 2)
        scale = np.sqrt(variance * noise / (1 - noise))
        return np.asarray(rows + scale * rng.standard_normal(rows.shape))

    def audit(
        self, length: int, dim: int, noise: float, rng: np.random.Generator, seed: int
    ) -> TableAudit:
        """Return what decides claims on a table; ``seed`` is of null draws and the bootstrap."""
        return TableAudit(self.table(length, dim, noise, rng), seed)


def claims(names: str) -> frozenset[str]:
    """Return the claims whose last words are given, such as ``"linear smooth"``.

    Raises
    ------
    KeyError
        If a word ends no claim.
    """
    by_word = {claim.partition(".")[2]: claim for claim in (*CLAIMS, *OF_MODELS, *OF_RUNS)}
    return frozenset(by_word[name] for name in names.split())


def directions(dim: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return orthonormal rows in random directions, shape (count, dim)."""
    return np.asarray(np.linalg.qr(rng.standard_normal((dim, count)))[0].T)


def standard(scores: np.ndarray) -> np.ndarray:
    """Return ``scores``, shape (position, …), with mean 0 and variance 1 along positions."""
    centred = scores - scores.mean(axis=0)
    return np.asarray(centred / np.sqrt(np.mean(centred**2, axis=0)))
