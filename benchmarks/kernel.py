"""The positional kernel without its matrix, beside the matrix in NumPy, in one run, as ratios.

    python benchmarks/kernel.py [--quick] [--json FILE]

The work: `kernel.relative_share`, `kernel.profile` and the distance part of the fit for the twelve
heads of GPT-2's first block, from their queries and keys (head, position, 64), causal and
bidirectional. The peer makes the matrices of all heads with one product, masks them in place, and
takes their sums vectorised, diagonals through a strided view. From the sums on, both sides share
the closed-form fit: what is compared is the way to the sums. The same peer with one head at a time
in one buffer, which caches like better, is shown beside it without a bar.

Compute time: all sides in turn in one process after a warm-up each, several runs in a row, with a
pause before the first in which idle BLAS threads go to sleep; medians of the others are compared,
and those of the first are shown beside them. Results must agree to 1e-6 of each measure's largest
value. Peak memory: each side alone in a fresh process; what its resident set
grows by after imports and input. Growth: PosLens at 16,384 positions over itself at 4,096, in
turn.

Exit status 1 if results disagree or a bar is missed. `--quick` stops at 1,024 positions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from _common import Row, bursts_in_turn, child, compared, in_turn, main, peak_growth
from poslens.attention import KernelMeasures, factored_kernel
from poslens.attention.kernel import measures_of_sums
from poslens.attention.sums import KernelSums, sums_at_offsets

HEADS, WIDTH = 12, 64
SHORT, LONG, LONGEST = 1024, 4096, 16_384
TOLERANCE = 1e-6
BURST = 6
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


def time_both(length: int, causal: bool, rounds: int) -> dict[str, dict[str, float] | float]:
    """Time all sides in this process, in turn."""
    queries, keys = layer(length)
    found = {name: side(queries, keys, causal) for name, side in SIDES.items()}  # the warm-up
    works = {name: partial(side, queries, keys, causal) for name, side in SIDES.items()}
    theirs = (found["matrices"], found["buffer"])
    apart = [disagreement(found["poslens"], one) for one in theirs]
    first, later = bursts_in_turn(works, rounds, BURST)
    return {"first": first, "later": later, "disagreement": max(apart)}


def time_growth(causal: bool, repeats: int) -> dict[str, float]:
    """Return PosLens's median seconds at `LONG` and `LONGEST` positions, in turn."""
    works = {
        str(length): partial(poslens_side, *layer(length), causal) for length in (LONG, LONGEST)
    }
    return in_turn(works, repeats, skip=1)


def write_input(path: str) -> None:
    """Write a layer's queries and keys to a file."""
    np.save(path, np.array(layer(LONG)))


def peak_of(side: str, causal: bool, path: str) -> float:
    """Return how far one run raises this process's peak resident set, in MB.

    The input is read from a file, so that nothing larger than it has been in memory before.
    """
    queries, keys = np.load(path)
    return peak_growth(partial(SIDES[side], queries, keys, causal))


def of_kind(causal: bool, quick: bool) -> list[Row]:
    """Return every figure for one kind of kernel, beside its bar."""
    kind = "causal" if causal else "bidirectional"
    found: list[Row] = []

    def beside_both(what: str, unit: str, sides: dict[str, float], bar: float | None) -> None:
        ours, digits = sides["poslens"], 3 if unit == "s" else 0
        for label, peer, its_bar in (
            ("", "matrices", bar),
            (", one head at a time", "buffer", None),
        ):
            what_here = f"{kind}, {what}{label}"
            found.append(compared(what_here, ours, sides[peer], unit, its_bar, digits))

    for length in (SHORT,) if quick else (SHORT, LONG):
        rounds = 5 if length == SHORT and not quick else 2
        took = child(__file__, "time", length, causal, rounds)
        beside_both(f"{length:,}, time", "s", took["later"], TIME_BARS[length])
        beside_both(f"{length:,}, time after a pause", "s", took["first"], None)
        label = f"{kind}, {length:,}, disagreement"
        found.append(Row(label, "", "", took["disagreement"], TOLERANCE))
    if quick:
        return found
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "layer.npy"))
        child(__file__, "input", path)
        peaks = {side: child(__file__, "memory", side, causal, path) for side in SIDES}
    beside_both(f"{LONG:,}, memory", "MB", peaks, MEMORY_BAR)
    grown = child(__file__, "growth", causal, 9)
    short, long = grown[str(LONG)], grown[str(LONGEST)]
    label = f"{kind}, growth from {LONG:,} to {LONGEST:,}"
    found.append(Row(label, f"{long:.3f} s", "", long / short, GROWTH_BAR))
    return found


def rows(quick: bool) -> list[Row]:
    """Return every figure, beside its bar."""
    return [row for causal in (True, False) for row in of_kind(causal, quick)]


TASKS = {"time": time_both, "growth": time_growth, "input": write_input, "memory": peak_of}

if __name__ == "__main__":
    main(__doc__ or "", rows, TASKS, peer="matrices", quick="stop at 1,024 positions")
