"""Cells of the audit: a process at one size and noise share, and how often claims are supported."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from poslens.audit.exact import share_interval
from poslens.audit.models import MODELS as MODEL_PROCESSES
from poslens.audit.models import ModelProcess
from poslens.audit.nothing import NOTHING
from poslens.audit.processes import Process, Truth
from poslens.audit.runs import RUNS as RUN_PROCESSES
from poslens.audit.runs import RunProcess
from poslens.audit.truths import TRUTHS
from poslens.claims.claim import Verdict

PROCESSES: Mapping[str, Process] = {process.name: process for process in (*TRUTHS, *NOTHING)}
MODELS: Mapping[str, ModelProcess] = {process.name: process for process in MODEL_PROCESSES}
RUNS: Mapping[str, RunProcess] = {process.name: process for process in RUN_PROCESSES}
EVERY: Mapping[str, Process | ModelProcess | RunProcess] = {**PROCESSES, **MODELS, **RUNS}

# Those whose null decides, or which fit rotations: decided on fewer tables.
SLOW = frozenset(
    {
        "sinusoid.linear_shift",
        "cosine.neighbours_alike",
        "cosine.decays",
        "cosine.exponential",
        "difference.parallel",
        "trajectory.linear",
        "pca.few_components",
        "pca.low_dimensional",
        "trajectory.smooth",
        "attention.learns_distance",
    }
)
MOST_ROTATED = 256  # dimensions up to which rotations are fitted: their cost grows as d³

MOST_WRONG = 0.05  # of tables on which a claim is false, those on which it may be supported
LEAST_RIGHT = 0.95  # of tables on which it is true, those on which it must be


@dataclass(frozen=True)
class Cell:
    """Tables, or models, of one process, of one size and noise share.

    Attributes
    ----------
    process
        Its name in `EVERY`.
    length, dim
        L and d.
    noise
        The share of the variance that is noise.
    tables, slow_tables
        On how many tables the fast and the slow claims are decided.
    """

    process: str
    length: int
    dim: int
    noise: float
    tables: int
    slow_tables: int

    def claims(self, table: int) -> tuple[str, ...]:
        """Return the claims that are decided on table number ``table``: none that is open."""
        process = EVERY[self.process]
        return tuple(
            claim
            for claim in process.audited
            if process.truth(claim, self.noise) is not Truth.OPEN
            and (table < self.slow_tables or claim not in SLOW)
            and (claim != "sinusoid.linear_shift" or self.dim <= MOST_ROTATED)
        )


@dataclass(frozen=True)
class Outcome:
    """How often one claim was supported in one cell.

    Attributes
    ----------
    cell, claim, truth
        Of what.
    supported, contradicted, tables
        Counts.
    """

    cell: Cell
    claim: str
    truth: Truth
    supported: int
    contradicted: int
    tables: int

    @property
    def rate(self) -> float:
        """Share of the tables on which it is supported."""
        return self.supported / self.tables

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval of that share."""
        return share_interval(self.supported, self.tables)

    @property
    def right(self) -> bool:
        """Whether the share is as it must be."""
        return self.rate >= LEAST_RIGHT if self.truth is Truth.TRUE else self.rate <= MOST_WRONG


def decided(cell: Cell, first: int, stop: int, seed: int) -> list[dict[str, Verdict]]:
    """Return the verdicts on tables ``first`` … ``stop`` - 1 of a cell.

    Each table has its own generator, so that how the work is split cannot matter.
    """
    process = EVERY[cell.process]
    found = []
    for table in range(first, stop):
        rng = generator(cell, table, seed)
        audit = process.audit(cell.length, cell.dim, cell.noise, rng, seed + table)
        found.append(audit.verdicts(cell.claims(table)))
    return found


def generator(cell: Cell, table: int, seed: int) -> np.random.Generator:
    """Return the generator of one table of a cell."""
    name = zlib.crc32(cell.process.encode())
    size = (cell.length, cell.dim, round(cell.noise * 10_000))
    return np.random.default_rng([seed, name, *size, table])


def outcomes(cell: Cell, verdicts: Sequence[Mapping[str, Verdict]]) -> list[Outcome]:
    """Count the verdicts on a cell's tables, claim by claim."""
    process = EVERY[cell.process]
    counted = []
    for claim in cell.claims(0):
        found = [each[claim] for each in verdicts if claim in each]
        supported, contradicted = (
            found.count(Verdict.SUPPORTED),
            found.count(Verdict.CONTRADICTED),
        )
        truth = process.truth(claim, cell.noise)
        counted.append(Outcome(cell, claim, truth, supported, contradicted, len(found)))
    return counted
