"""The positional kernel without its matrix, beside the matrix in NumPy, in one run, as ratios.

    python benchmarks/kernel.py [--quick] [--json FILE]

The work: `kernel.relative_share`, `kernel.profile` and the distance part of the fit for the twelve
heads of GPT-2's first block, from their queries and keys (head, position, 64), causal and
bidirectional. The peer makes each head's matrix with one product, masks it, and takes its sums
vectorised, diagonals through a sheared view; one head at a time, which is faster and smaller than
all twelve at once. From its sums on both sides share the closed-form fit, so what is compared is
the way to the sums.

Compute time: both sides alternate in one process after a warm-up each, with a pause between them in
which idle BLAS threads go to sleep; medians are compared, and results must agree to 1e-6 of each
measure's largest value. Peak memory: each side alone in a fresh process; what its resident set
grows by after imports and input. Growth: PosLens at 16,384 positions over itself at 4,096, in
turn.

Exit status 1 if results disagree or a bar is missed. `--quick` stops at 1,024 positions.
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

from poslens.attention import KernelMeasures, factored_kernel
from poslens.attention.kernel import measures_of_sums
from poslens.attention.sums import KernelSums, sums_at_offsets

HEADS, WIDTH = 12, 64
SHORT, LONG, LONGEST = 1024, 4096, 16_384
PAUSE = 0.3  # seconds
TOLERANCE = 1e-6
TIME_BARS = {SHORT: 0.33, LONG: 0.1}
MEMORY_BAR, GROWTH_BAR = 0.1, 5.0

Results = dict[str, np.ndarray]
Side = Callable[[np.ndarray, np.ndarray, bool], Results]


def layer(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return queries and keys of a smooth noisy table, projected by random heads."""
    rng = np.random.default_rng(0)
    position = np.linspace(0, 1, length)[:, None]
    rows = 0.1 * rng.standard_normal((length, WIDTH))
    for turns in range(1, 7):
        wave = np.cos(2 * np.pi * turns * position + rng.uniform(0, 6))
        rows += wave * rng.standard_normal(WIDTH) / turns
    queries, keys = rows @ rng.standard_normal((2, HEADS, WIDTH, WIDTH)) / np.sqrt(WIDTH)
    return queries / np.sqrt(WIDTH), keys


def poslens_side(queries: np.ndarray, keys: np.ndarray, causal: bool) -> Results:
    """Return PosLens's results."""
    return results(factored_kernel(queries, keys, causal=causal))


def results(found: KernelMeasures) -> Results:
    """Return the numbers that are compared."""
    return {
        "kernel.relative_share": np.array(found.relative_share, dtype=float),
        "kernel.profile": found.profile,
        "distance part": found.distance_part,
    }


def matrix_side(queries: np.ndarray, keys: np.ndarray, causal: bool) -> Results:
    """Return the same from each head's matrix."""
    length = queries.shape[1]
    count = np.arange(1, length + 1) if causal else np.full(length, length)
    K = np.empty((length, length))
    energy, diagonals, row_means = [], [], []
    for q, k in zip(queries, keys, strict=True):
        np.matmul(q, k.T, out=K)
        both = None if causal else wrapped_diagonals(K)
        if causal:
            mask(K)
        means = K.sum(axis=1) / count
        energy.append(np.vdot(K, K) - count @ means**2)
        if both is not None:
            mask(K)
        below = wrapped_diagonals(K)
        upper = [] if both is None else (both - below)[1:length]
        sums = np.concatenate([below[2:], below[:1], upper])
        diagonals.append(sums - sums_at_offsets(means[None], causal=causal)[0])
        row_means.append(means)
    return results(
        measures_of_sums(
            KernelSums(
                causal=causal,
                energy=np.array(energy),
                diagonals=np.array(diagonals),
                row_means=np.array(row_means),
                scale=np.zeros(len(energy)),
            )
        )
    )


def wrapped_diagonals(matrix: np.ndarray) -> np.ndarray:
    """Return the sums of diagonals, those below the main one in the same sum as one above.

    Rows of L+1 entries, cut from the flat matrix, shift by one position each: column j holds the
    diagonal j, and where it wraps into the next row the diagonal j - L - 1.
    """
    length = matrix.shape[0]
    sums = matrix.ravel()[:-1].reshape(length - 1, length + 1).sum(axis=0)
    sums[0] += matrix[-1, -1]
    return sums


def mask(matrix: np.ndarray) -> None:
    """Set what a causal row may not attend to to 0."""
    for t, row in enumerate(matrix):
        row[t + 1 :] = 0


SIDES: dict[str, Side] = {"poslens": poslens_side, "matrix": matrix_side}


def disagreement(ours: Results, theirs: Results) -> float:
    """Return the largest difference relative to the largest value of each result."""
    found = [np.abs(ours[name] - theirs[name]).max() / np.abs(theirs[name]).max() for name in ours]
    # NumPy's maximum, unlike Python's, lets a NaN through: it must not pass for agreement.
    return float(np.max(found))


def timed(run: Callable[[], Results]) -> float:
    """Return the seconds of one run, after a pause."""
    time.sleep(PAUSE)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def time_both(length: int, causal: bool, repeats: int) -> dict[str, float]:
    """Time both sides in this process, alternating."""
    queries, keys = layer(length)
    found = {name: side(queries, keys, causal) for name, side in SIDES.items()}  # the warm-up
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    for _ in range(repeats):
        for name, side in SIDES.items():
            seconds[name].append(timed(lambda side=side: side(queries, keys, causal)))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {**median, "disagreement": disagreement(found["poslens"], found["matrix"])}


def time_growth(causal: bool, repeats: int) -> dict[str, float]:
    """Return PosLens's median seconds at `LONG` and `LONGEST` positions, in turn."""
    inputs = {length: layer(length) for length in (LONG, LONGEST)}
    seconds: dict[int, list[float]] = {length: [] for length in inputs}
    for _ in range(repeats + 1):
        for length, (queries, keys) in inputs.items():
            seconds[length].append(timed(lambda q=queries, k=keys: poslens_side(q, k, causal)))
    return {str(length): statistics.median(values[1:]) for length, values in seconds.items()}


def peak_growth(side: str, causal: bool, path: str) -> float:
    """Return how far one run raises this process's peak resident set, in MB.

    The input is read from a file, so that nothing larger than it has been in memory before.
    """
    queries, keys = np.load(path)
    before = _peak()
    SIDES[side](queries, keys, causal)
    return _peak() - before


def _peak() -> float:
    scale = 1e6 if platform.system() == "Darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


TASKS: dict[str, Callable[..., Any]] = {
    "time": lambda length, causal, repeats: time_both(int(length), causal == "True", int(repeats)),
    "growth": lambda causal, repeats: time_growth(causal == "True", int(repeats)),
    "input": lambda path: np.save(path, np.array(layer(LONG))),
    "memory": lambda side, causal, path: peak_growth(side, causal == "True", path),
}


def child(task: str, *arguments: object) -> Any:
    """Run one of `TASKS` in a fresh process, and return what it printed.

    This process stays small: a child's peak resident set starts from its parent's.
    """
    command = [sys.executable, __file__, "--child", task, *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def report(rows: list[tuple[str, str, str, float, float]]) -> bool:
    """Print one line a figure; return whether every bar is met."""
    print(f"{'':40} {'PosLens':>10} {'matrix':>10} {'figure':>8} {'bar':>8}")
    met = True
    for what, ours, theirs, figure, bar in rows:
        good = figure <= bar
        met &= good
        verdict = "" if good else "  MISSED"
        print(f"{what:40} {ours:>10} {theirs:>10} {figure:>8.3g} {bar:>8.3g}{verdict}")
    return met


def measured(causal: bool, quick: bool) -> list[tuple[str, str, str, float, float]]:
    """Return every figure for one kind of kernel, beside its bar."""
    kind = "causal" if causal else "bidirectional"
    rows = []
    for length in (SHORT,) if quick else (SHORT, LONG):
        both = child("time", length, causal, 11 if length == SHORT else 5)
        ours, theirs = both["poslens"], both["matrix"]
        label = f"{kind}, {length:,} positions,"
        rows += [
            (f"{label} time", f"{ours:.3f} s", f"{theirs:.3f} s", ours / theirs, TIME_BARS[length]),
            (f"{label} disagreement", "", "", both["disagreement"], TOLERANCE),
        ]
    if quick:
        return rows
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "layer.npy"))
        child("input", path)
        ours, theirs = (child("memory", side, causal, path) for side in SIDES)
    label = f"{kind}, {LONG:,} positions, memory"
    rows.append((label, f"{ours:.0f} MB", f"{theirs:.0f} MB", ours / theirs, MEMORY_BAR))
    grown = child("growth", causal, 7)
    short, long = grown[str(LONG)], grown[str(LONGEST)]
    label = f"{kind}, {LONG:,} to {LONGEST:,}, growth"
    rows.append((label, f"{long:.3f} s", "", long / short, GROWTH_BAR))
    return rows


def main() -> None:
    """Measure everything, print the table, and leave with its verdict."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="stop at 1,024 positions")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        task, *rest = arguments.child
        print(json.dumps(TASKS[task](*rest)))
        return

    rows = [row for causal in (True, False) for row in measured(causal, arguments.quick)]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"NumPy {np.__version__}")  # fmt: skip
    met = report(rows)
    if arguments.json:
        figures = [
            dict(zip(("what", "poslens", "matrix", "figure", "bar"), row, strict=True))
            for row in rows
        ]
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.exit(not met)


if __name__ == "__main__":
    main()
