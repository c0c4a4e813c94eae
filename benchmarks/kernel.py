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
measure's largest value. Peak memory: each side alone in a fresh process; what its resident set grows
by after imports and input. Growth: PosLens at 16,384 positions over PosLens at 4,096, in turn.

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


def wrapped_diagonals(K: np.ndarray) -> np.ndarray:
    """Return the sums of K's diagonals, those below the main one in the same sum as one above.

    Rows of L+1 entries, cut from the flat matrix, shift by one position each: column j holds the
    diagonal j, and where it wraps into the next row the diagonal j - L - 1.
    """
    length = K.shape[0]
    sums = K.ravel()[:-1].reshape(length - 1, length + 1).sum(axis=0)
    sums[0] += K[-1, -1]
    return sums


def mask(K: np.ndarray) -> None:
    """Set what a causal row may not attend to to 0."""
    for t, row in enumerate(K):
        row[t + 1 :] = 0


SIDES: dict[str, Side] = {"poslens": poslens_side, "matrix": matrix_side}
