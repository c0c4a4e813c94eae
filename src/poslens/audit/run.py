"""Running the audit over processes; what it found, as a record."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

from poslens._version import __version__
from poslens.audit.cells import Cell, Outcome, decided, outcomes
from poslens.audit.coverage import (
    MODEL_NULLS,
    OWN_NULLS,
    Coverage,
    Uniformity,
    coverage,
    uniformity,
)
from poslens.audit.evidence import DRAWS
from poslens.audit.plan import Plan
from poslens.files import written_whole

Progress: TypeAlias = Callable[[str, int, int], None]

SCHEMA = 1
_AT_A_TIME = 10  # tables of a cell that one task decides


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes
    ----------
    outcomes
        Of every cell and claim whose truth is known.
    coverage, uniformity
        Of intervals and p-values.
    seed, seconds
        Of the run.
    """

    outcomes: tuple[Outcome, ...]
    coverage: tuple[Coverage, ...]
    uniformity: tuple[Uniformity, ...]
    seed: int
    seconds: float

    def record(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "schema": SCHEMA,
            "poslens": __version__,
            "settings": {"seed": self.seed, "draws": DRAWS},
            "seconds": round(self.seconds, 1),
            "cells": [
                {
                    "process": each.cell.process,
                    "length": each.cell.length,
                    "dim": each.cell.dim,
                    "noise": each.cell.noise,
                    "claim": each.claim,
                    "truth": each.truth.value,
                    "supported": each.supported,
                    "contradicted": each.contradicted,
                    "tables": each.tables,
                    "rate": each.rate,
                    "interval": list(each.interval),
                }
                for each in self.outcomes
            ],
            "coverage": [
                {**vars(each), "rate": each.rate, "interval": list(each.interval)}
                for each in self.coverage
            ],
            "p_values": [vars(each) for each in self.uniformity],
        }

    def write_json(self, path: str | Path) -> None:
        """Write the record.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(self.record(), indent=1) + "\n", encoding="utf-8")


def run_audit(
    plan: Plan,
    seed: int = 0,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Run the audit; the same plan, seed and versions give the same counts on any machine.

    Parameters
    ----------
    plan
        What to look at.
    seed
        Of every table, null draw and resample.
    workers
        Processes; as many as cores where not given. One runs in this process.
    progress
        Called with (words, tasks done, tasks in all).
    """
    began = time.perf_counter()
    tasks = list(_tasks(plan, seed))
    report = progress or (lambda _what, _done, _total: None)
    workers = _cores() if workers is None else workers
    if workers == 1:
        results = []
        for done, (call, *arguments) in enumerate(tasks):
            report("tables, models and runs", done, len(tasks))
            results.append(call(*arguments))
    else:
        # Started anew: a fork would inherit threads' locks.
        spawning = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=spawning) as pool:
            results = _spread(pool, tasks, report)
    return _gathered(tasks, results, seed, time.perf_counter() - began)


def _tasks(plan: Plan, seed: int) -> Iterable[tuple[Any, ...]]:
    """Calls with their arguments, those that take long first."""
    cells = sorted(plan.cells(), key=lambda cell: -cell.length * cell.dim)
    for cell in cells:
        for first in range(0, cell.tables, _AT_A_TIME):
            yield decided, cell, first, min(first + _AT_A_TIME, cell.tables), seed
    for rho, length, dim, tables in plan.decays:
        yield coverage, rho, length, dim, tables, seed
    for claim, process in OWN_NULLS:
        yield uniformity, claim, process, *plan.own_nulls, seed
    for claim, process in MODEL_NULLS:
        yield uniformity, claim, process, *plan.model_nulls, seed


def _spread(pool: Executor, tasks: Sequence[tuple[Any, ...]], report: Progress) -> list[Any]:
    futures: list[Future[Any]] = [pool.submit(call, *arguments) for call, *arguments in tasks]
    try:
        for done, _ in enumerate(as_completed(futures)):
            report("tables, models and runs", done, len(tasks))
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()


def _gathered(
    tasks: Sequence[tuple[Any, ...]], results: Sequence[Any], seed: int, seconds: float
) -> Audit:
    found: list[Outcome] = []
    verdicts = [
        (task[1], result) for task, result in zip(tasks, results, strict=True) if task[0] is decided
    ]
    for cell, parts in groupby(verdicts, key=lambda pair: pair[0]):
        found.extend(_counted(cell, [result for _, result in parts]))
    held = [r for task, r in zip(tasks, results, strict=True) if task[0] is coverage]
    uniform = [r for task, r in zip(tasks, results, strict=True) if task[0] is uniformity]
    return Audit(
        tuple(found), tuple(each for some in held for each in some), tuple(uniform), seed, seconds
    )


def _counted(cell: Cell, parts: Sequence[Sequence[Mapping[str, Any]]]) -> list[Outcome]:
    return outcomes(cell, [verdicts for part in parts for verdicts in part])


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
