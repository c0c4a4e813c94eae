"""PosLens beside one `numpy.linalg.svd` of the same table, in one run, as ratios.

    python benchmarks/compression.py [--quick] [--json FILE]

Every method of `poslens compress`: from the rows to the table of a chosen rank and the error at
every rank (of splines, which are fitted anew at each, at the chosen one), beside
`numpy.linalg.svd(rows, full_matrices=False)`. Compute time: all alternate in one process on one
float64 table and one core, after a warm-up each; processor time is compared. Memory:
each alone in a fresh process; what its resident set grows by after imports and the table.

The singular values' tails must agree with NumPy's, and the full rank must return the table, to a
relative 1e-6. Exit status 1 if they do not, or if a method takes longer than 1.5 times NumPy.
`--quick` takes a table of 1,024 × 768, whose times have no bar.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from _common import Row, child, compared, main, peak_growth
from geometry import LARGE, SMALL, table

RANK = 128
REPEATS = 1
BAR = 1.5
TOLERANCE = 1e-6
PEER = "numpy.linalg.svd"

Work = Callable[[np.ndarray], Any]


def peer_side(rows: np.ndarray) -> Any:
    """Return NumPy's decomposition."""
    return np.linalg.svd(rows, full_matrices=False)


def sides() -> dict[str, Work]:
    """Return NumPy's work and that of each method, by name."""
    from poslens.edit.compression import METHODS, compressor

    def work(method: str) -> Work:
        def compress(rows: np.ndarray) -> Any:
            found = compressor(method, rows)
            ranks = [RANK] if method == "spline" else range(1, found.most + 1)
            return found.table(RANK), [found.error(rank) for rank in ranks]

        return compress

    return {PEER: peer_side, **{method: work(method) for method in METHODS}}


def time_all(path: str) -> dict[str, float]:
    """Return the median processor seconds of each side, alternating."""
    table_rows = np.load(path)
    seconds: dict[str, list[float]] = {name: [] for name in sides()}
    for repeat in range(REPEATS + 1):
        for name, work in sides().items():
            start = time.process_time()
            work(table_rows)
            if repeat:
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def disagreements(path: str) -> dict[str, float]:
    """Return how far tails are from NumPy's, and each method's full rank from the table."""
    from poslens.edit.compression import METHODS, compressor

    rows = np.load(path)
    squares = np.linalg.svd(rows, compute_uv=False) ** 2
    tails = np.sqrt(np.cumsum(squares[::-1])[::-1] / squares.sum())[1:]
    found = compressor("svd", rows)
    errors = np.array([found.error(rank) for rank in range(1, found.most)])
    apart = {"tail of the spectrum": float((np.abs(errors - tails) / tails).max())}
    for method in METHODS:
        full = compressor(method, rows)
        missed = np.linalg.norm(full.table(full.most) - rows)
        apart[f"{method} at full rank"] = float(missed / np.linalg.norm(rows))
    return apart


def peak_of(side: str, path: str) -> float:
    """Return how far one side raises this process's peak resident set, in MB."""
    work, table_rows = sides()[side], np.load(path)
    return peak_growth(lambda: work(table_rows))


def rows(quick: bool) -> list[Row]:
    """Return every figure, beside its bar."""
    length, dim = SMALL if quick else LARGE
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "table.npy"))
        np.save(path, table(length, dim))
        seconds, apart = (child(__file__, task, path, one_core=True) for task in ("time", "apart"))
        memory = {name: child(__file__, "memory", name, path, one_core=True) for name in seconds}
    theirs, found = seconds[PEER], []
    bar = None if quick else BAR
    for name in seconds:
        if name != PEER:
            label = f"{length:,}×{dim:,}, {name}"
            found.append(compared(f"{label}: time", seconds[name], theirs, "s", bar))
            peaks = memory[name], memory[PEER]
            found.append(compared(f"{label}: memory", *peaks, "MB", None, digits=0))
    return found + [Row(what, "", "", value, TOLERANCE) for what, value in apart.items()]


TASKS = {"time": time_all, "apart": disagreements, "memory": peak_of}

if __name__ == "__main__":
    main(__doc__ or "", rows, TASKS, peer=PEER, quick="take the smaller table")
