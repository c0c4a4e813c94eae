"""PosLens beside one `numpy.linalg.svd` of the same table, in one run, as ratios.

    python benchmarks/compression.py [--quick] [--json FILE]

Every method of `poslens compress`: from the rows to the table of a chosen rank and the error at
every rank (of splines, which are fitted anew at each, at the chosen one), beside
`numpy.linalg.svd(rows, full_matrices=False)`. Compute time: all alternate in one process on one
float64 table and one core, after a warm-up each; medians of processor time are compared. Memory:
each alone in a fresh process; what its resident set grows by after imports and the table.

The singular values' tails must agree with NumPy's, and the full rank must return the table, to a
relative 1e-6. Exit status 1 if they do not, or if a method takes longer than 1.5 times NumPy.
`--quick` takes a table of 1,024 × 768, whose times have no bar.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from geometry import LARGE, SMALL, table

RANK = 128
REPEATS = 3
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


def time_all(rows: np.ndarray) -> dict[str, float]:
    """Return the median processor seconds of each side, alternating."""
    seconds: dict[str, list[float]] = {name: [] for name in sides()}
    for repeat in range(REPEATS + 1):
        for name, work in sides().items():
            start = time.process_time()
            work(rows)
            if repeat:
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def disagreements(rows: np.ndarray) -> dict[str, float]:
    """Return how far tails are from NumPy's, and each method's full rank from the table."""
    from poslens.edit.compression import METHODS, compressor

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


def peak_growth(side: str, path: str) -> float:
    """Return how far one side raises this process's peak resident set, in MB."""
    work = sides()[side]
    rows = np.load(path)
    before = _peak()
    work(rows)
    return _peak() - before


def _peak() -> float:
    scale = 1e6 if platform.system() == "Darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def child(*arguments: str) -> Any:
    """Run one measurement of this file on one core of a fresh process; return what it printed."""

    def pin() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    done = subprocess.run(
        [sys.executable, __file__, "--child", *arguments],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=pin,
    )
    return json.loads(done.stdout)


def main() -> None:
    """Measure everything, print the table, and leave with its verdict."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="take the smaller table")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, path = arguments.child
        alone = {"time": time_all, "apart": disagreements}
        found = alone[what](np.load(path)) if what in alone else peak_growth(what, path)
        print(json.dumps(found))
        return

    length, dim = SMALL if arguments.quick else LARGE
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "table.npy"))
        np.save(path, table(length, dim))
        seconds, apart = child("time", path), child("apart", path)
        memory = {name: child(name, path) for name in seconds}

    print(f"{platform.machine()}, one of {os.cpu_count()} cores, Python "
          f"{platform.python_version()}, NumPy {np.__version__}")  # fmt: skip
    print(f"{length:,} × {dim:,}, to rank {RANK} {'time':>8} {'ratio':>8} {'bar':>6} {'memory':>9}")
    met = True
    for name, value in seconds.items():
        ratio = value / seconds[PEER]
        bar = None if arguments.quick or name == PEER else BAR
        good = bar is None or ratio <= bar
        met &= good
        print(
            f"{name:28} {value:6.3f} s {ratio:8.3f} {bar or '':>6} {memory[name]:6.0f} MB"
            f"{'' if good else '  MISSED'}"
        )
    for what, value in apart.items():
        good = value <= TOLERANCE
        met &= good
        print(f"{what:28} {value:8.1e} {'':8} {TOLERANCE:>6.0e}{'' if good else '  MISSED'}")
    if arguments.json:
        figures = {"seconds": seconds, "memory": memory, "disagreement": apart}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.exit(not met)


if __name__ == "__main__":
    main()
