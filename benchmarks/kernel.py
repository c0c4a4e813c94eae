"""The positional kernel without its matrix, beside the matrix in NumPy, in one run, as ratios.

    python benchmarks/kernel.py [--quick] [--json FILE]

The work: `kernel.relative_share`, `kernel.profile` and the distance part of the fit for the twelve
heads of GPT-2's first block, from their queries and keys (head, position, 64), causal and
bidirectional. The peer makes the matrices of all heads with one product, masks them in place, and
takes their sums vectorised, diagonals through a strided view. From the sums on, both sides share
the closed-form fit: what is compared is the way to the sums. The same peer with one head at a time
in one buffer, which caches like better, is shown beside it without a bar.

Compute time: all sides in turn in one process after a warm-up each, with a pause between them in
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


def matrices_side(queries: np.ndarray, keys: np.ndarray, causal: bool) -> Results:
    """Return the same from the matrices of all heads at once."""
    K = queries @ keys.transpose(0, 2, 1)
    return results(measures_of_sums(sums_of_matrices(K, causal)))


def buffer_side(queries: np.ndarray, keys: np.ndarray, causal: bool) -> Results:
    """Return the same from one head's matrix after another, in one buffer."""
    K = np.empty((1, queries.shape[1], queries.shape[1]))
    found = []
    for q, k in zip(queries, keys, strict=True):
        np.matmul(q, k.T, out=K[0])
        found.append(sums_of_matrices(K, causal))
    parts = {
        name: np.concatenate([getattr(sums, name) for sums in found])
        for name in ("energy", "diagonals", "row_means", "scale")
    }
    return results(measures_of_sums(KernelSums(causal=causal, **parts)))


def sums_of_matrices(matrices: np.ndarray, causal: bool) -> KernelSums:
    """Return the sums of matrices, shape (head, position, position), which are used up."""
    heads, length, _ = matrices.shape
    count = np.arange(1, length + 1) if causal else np.full(length, length)
    both = None if causal else wrapped_diagonals(matrices)
    if causal:
        mask(matrices)
    means = matrices.sum(axis=2) / count
    energy = np.einsum("hts,hts->h", matrices, matrices) - means**2 @ count
    if both is not None:
        mask(matrices)
    below = wrapped_diagonals(matrices)
    above = [] if both is None else [(both - below)[:, 1:length]]
    diagonals = np.concatenate([below[:, 2:], below[:, :1], *above], axis=1)
    diagonals -= sums_at_offsets(means, causal=causal)
    return KernelSums(causal, energy, diagonals, means, scale=np.zeros(heads))


def wrapped_diagonals(matrices: np.ndarray) -> np.ndarray:
    """Return sums of diagonals, those below the main one in the same sum as one above.

    Rows of L+1 entries, cut from the flat matrix, shift by one position each: column j holds the
    diagonal j, and where it wraps into the next row the diagonal j - L - 1.
    """
    heads, length, _ = matrices.shape
    step, item = matrices.strides[0], matrices.itemsize
    shifted = np.lib.stride_tricks.as_strided(
        matrices, (heads, length - 1, length + 1), (step, (length + 1) * item, item)
    )
    sums = shifted.sum(axis=1)
    sums[:, 0] += matrices[:, -1, -1]
    return sums


def mask(matrices: np.ndarray) -> None:
    """Set what a causal row may not attend to to 0."""
    for t in range(matrices.shape[1]):
        matrices[:, t, t + 1 :] = 0


SIDES: dict[str, Side] = {
    "poslens": poslens_side,
    "matrices": matrices_side,
    "buffer": buffer_side,
}


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
    theirs = (found["matrices"], found["buffer"])
    return {**median, "disagreement": max(disagreement(found["poslens"], one) for one in theirs)}


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


Row = tuple[str, str, str, float, float | None]


def report(rows: list[Row]) -> bool:
    """Print one line a figure; return whether every bar is met."""
    print(f"{'':48} {'PosLens':>8} {'matrices':>8} {'figure':>8} {'bar':>6}")
    met = True
    for what, ours, theirs, figure, bar in rows:
        good = bar is None or figure <= bar
        met &= good
        shown = "" if bar is None else f"{bar:.3g}"
        verdict = "" if good else "  MISSED"
        print(f"{what:48} {ours:>8} {theirs:>8} {figure:>8.3g} {shown:>6}{verdict}")
    return met


def measured(causal: bool, quick: bool) -> list[Row]:
    """Return every figure for one kind of kernel, beside its bar."""
    kind = "causal" if causal else "bidirectional"
    rows: list[Row] = []

    def compare(what: str, unit: str, found: dict[str, float], bar: float) -> None:
        ours, digits = found["poslens"], 3 if unit == "s" else 0
        for label, peer, its_bar in (
            ("", "matrices", bar),
            (", one head at a time", "buffer", None),
        ):
            shown = (f"{value:.{digits}f} {unit}" for value in (ours, found[peer]))
            rows.append((f"{kind}, {what}{label}", *shown, ours / found[peer], its_bar))

    for length in (SHORT,) if quick else (SHORT, LONG):
        found = child("time", length, causal, 11 if length == SHORT else 5)
        compare(f"{length:,}, time", "s", found, TIME_BARS[length])
        rows.append((f"{kind}, {length:,}, disagreement", "", "", found["disagreement"], TOLERANCE))
    if quick:
        return rows
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "layer.npy"))
        child("input", path)
        peaks = {side: child("memory", side, causal, path) for side in SIDES}
    compare(f"{LONG:,}, memory", "MB", peaks, MEMORY_BAR)
    grown = child("growth", causal, 9)
    short, long = grown[str(LONG)], grown[str(LONGEST)]
    label = f"{kind}, growth from {LONG:,} to {LONGEST:,}"
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
            dict(zip(("what", "poslens", "matrices", "figure", "bar"), row, strict=True))
            for row in rows
        ]
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.exit(not met)


if __name__ == "__main__":
    main()
