"""Shares of logit terms without logits, beside PyTorch with its matrices, in one run, as ratios.

    python benchmarks/attention.py [--quick] [--json FILE]

The work: the five shares of all heads of all layers of a model of GPT-2 small's shape (12 layers
of 12 heads of 64 dimensions), from the parts of its queries and keys, which are smooth noise in
float64. Constant parts are the same at every position in the first layer, and are not in the
others, as behind a norm. The peer makes the logits of a layer's heads with one product, cuts off
the upper triangle in place and centres rows, then makes the matrix of one term after another,
multiplies, and sums; it keeps its two buffers from layer to layer, and leaves the fifth term to be
the remainder. The same peer in float32, and one head at a time, which caches like better, are shown
beside it without a bar. PyTorch has its own threads, PosLens its own.

Compute time: all sides in turn in one process after a warm-up each, with a pause between them in
which idle threads go to sleep; medians are compared, and shares must agree to 1e-6 in float64.
At 4,096 positions one layer stands for all, on every side: the peer's matrices take 3 GB as it is.
Peak memory: each side alone in a fresh process, by what its resident set grows after imports and
input. Contexts: the same of PosLens's sums over eight texts over those of one.

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
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import torch

from poslens.attention import TERMS, LogitParts, Split, term_sums

LAYERS, HEADS, WIDTH = 12, 12, 64
SHORT, LONG = 1024, 4096
RUNS = (SHORT, LAYERS, 3), (LONG, 1, 3)  # positions, layers, repeats
FEW, MANY = 1, 8  # contexts
PAUSE = 0.3  # seconds
TOLERANCE = 1e-6
TIME_BARS = {SHORT: 0.33, LONG: 0.1}
MEMORY_BAR = 0.1
CONTEXT_BAR = 1.5  # what was kept of each text would give 8; the allocator moves it by a third

Model = list[LogitParts]
Shares = np.ndarray  # (layer, term, head)
Side = Callable[[Model], Shares]


def model(length: int, layers: int, causal: bool, seed: int = 0) -> Model:
    """Return the parts of some layers' logits on one text."""
    return [layer(length, causal, [seed, at], same=at == 0) for at in range(layers)]


def layer(length: int, causal: bool, seed: list[int], *, same: bool) -> LogitParts:
    """Return rough content, smooth positions and constants, the same at all positions or not."""
    rng = np.random.default_rng(seed)
    position = np.linspace(0, 1, length)[:, None]

    def split() -> Split:
        content = rng.standard_normal((HEADS, length, WIDTH))
        smooth = np.zeros_like(content)
        for turns in range(1, 7):
            wave = np.cos(2 * np.pi * turns * position + rng.uniform(0, 6))
            smooth += wave * rng.standard_normal((HEADS, 1, WIDTH)) / turns
        scale = np.ones((length, 1)) if same else rng.uniform(0.8, 1.2, (length, 1))
        return Split(content, smooth, scale * rng.standard_normal((HEADS, 1, WIDTH)))

    queries, keys = split(), split()
    queries = Split(*(part / np.sqrt(WIDTH) for part in queries.parts))
    return LogitParts(queries, keys, causal=causal)


def poslens_side(parts: Model) -> Shares:
    """Return PosLens's shares."""
    return np.array([term_sums(layer).shares() for layer in parts])


def torch_side(dtype: torch.dtype, heads_at_once: int, parts: Model) -> Shares:
    """Return PyTorch's, from the matrices of some heads at once."""
    length, causal = parts[0].queries.content.shape[1], parts[0].causal
    count = torch.arange(1, length + 1) if causal else torch.full((length,), length)
    logits, term = torch.empty((2, heads_at_once, length, length), dtype=dtype)
    found = torch.empty((len(parts), len(TERMS), HEADS), dtype=dtype)
    for layer, shares in zip(parts, found, strict=True):
        queries, keys = (
            [torch.from_numpy(part).to(dtype) for part in split.parts]
            for split in (layer.queries, layer.keys)
        )
        for start in range(0, HEADS, heads_at_once):
            here = slice(start, start + heads_at_once)
            Q, K = [part[here] for part in queries], [part[here] for part in keys]
            torch.matmul(Q[0] + Q[1] + Q[2], (K[0] + K[1] + K[2]).mT, out=logits)
            if causal:
                logits.tril_()
            logits -= logits.sum(2, keepdim=True) / count[:, None]
            if causal:
                logits.tril_()
            # Rows of the logits sum to 0, so that those of a term need not be centred too.
            for at, (a, b) in enumerate(((0, 0), (1, 1), (0, 1), (1, 0))):
                torch.matmul(Q[a], K[b].mT, out=term)
                shares[at, here] = sums_of_products(term, logits)
            shares[:4, here] /= sums_of_products(logits, logits)
    found[:, 4] = 1 - found[:, :4].sum(1)
    return found.double().numpy()


def sums_of_products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the inner product of each head's matrices: of the ways to write it, the fastest."""
    return torch.stack([x.ravel().dot(y.ravel()) for x, y in zip(a, b, strict=True)])


SIDES: dict[str, Side] = {
    "poslens": poslens_side,
    "torch": partial(torch_side, torch.float64, HEADS),
    "float32": partial(torch_side, torch.float32, HEADS),
    "buffer": partial(torch_side, torch.float64, 1),
}
PEERS = {"torch": "", "float32": ", PyTorch in float32", "buffer": ", one head at a time"}


def timed(run: Callable[[], Shares]) -> float:
    """Return the seconds of one run, after a pause."""
    time.sleep(PAUSE)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def time_all(length: int, layers: int, causal: bool, repeats: int) -> dict[str, float]:
    """Time all sides in this process, alternating."""
    parts = model(length, layers, causal)
    found = {name: side(parts) for name, side in SIDES.items()}  # the warm-up
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    for _ in range(repeats):
        for name, side in SIDES.items():
            seconds[name].append(timed(partial(side, parts)))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    # NumPy's maximum, unlike Python's, lets a NaN through: it must not pass for agreement.
    apart = [np.abs(found["poslens"] - found[peer]).max() for peer in ("torch", "buffer")]
    return {**median, "disagreement": float(np.max(apart))}


def write_input(causal: bool, path: str) -> None:
    """Write the parts of one layer to a file."""
    parts = model(LONG, 1, causal)[0]
    np.save(path, np.array([*parts.queries.parts, *parts.keys.parts]))


def peak_growth(side: str, causal: bool, path: str) -> float:
    """Return how far one run raises this process's peak resident set, in MB.

    The input is read from a file, so that nothing larger than it has been in memory before.
    """
    parts = np.load(path)
    layer = LogitParts(Split(*parts[:3]), Split(*parts[3:]), causal=causal)
    before = peak()
    SIDES[side]([layer])
    return peak() - before


def peak_of_contexts(contexts: int) -> float:
    """Return the same of sums over the first of several texts."""
    texts = [layer(SHORT, True, [at], same=False) for at in range(MANY)]
    before = peak()
    reduce(add, (term_sums(parts) for parts in texts[:contexts]))
    return peak() - before


def peak() -> float:
    """Return this process's peak resident set, in MB."""
    scale = 1e6 if platform.system() == "Darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


TASKS: dict[str, Callable[..., Any]] = {
    "time": lambda length, layers, causal, repeats: time_all(
        int(length), int(layers), causal == "True", int(repeats)
    ),
    "input": lambda causal, path: write_input(causal == "True", path),
    "memory": lambda side, causal, path: peak_growth(side, causal == "True", path),
    "contexts": lambda contexts: peak_of_contexts(int(contexts)),
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
    print(f"{'':52} {'PosLens':>8} {'PyTorch':>8} {'figure':>8} {'bar':>6}")
    met = True
    for what, ours, theirs, figure, bar in rows:
        good = bar is None or figure <= bar
        met &= good
        shown = "" if bar is None else f"{bar:.3g}"
        verdict = "" if good else "  MISSED"
        print(f"{what:52} {ours:>8} {theirs:>8} {figure:>8.3g} {shown:>6}{verdict}")
    return met


def measured(causal: bool, quick: bool) -> list[Row]:
    """Return every figure for one kind of rows, beside its bar."""
    kind = "causal" if causal else "bidirectional"
    rows: list[Row] = []

    def compare(what: str, unit: str, found: dict[str, float], bar: float) -> None:
        ours, digits = found["poslens"], 3 if unit == "s" else 0
        for peer, label in PEERS.items():
            shown = (f"{value:.{digits}f} {unit}" for value in (ours, found[peer]))
            its_bar = bar if peer == "torch" else None
            rows.append((f"{kind}, {what}{label}", *shown, ours / found[peer], its_bar))

    for length, layers, repeats in RUNS[:1] if quick else RUNS:
        found = child("time", length, layers, causal, repeats)
        compare(f"{length:,}, {layers} layers, time", "s", found, TIME_BARS[length])
        rows.append((f"{kind}, {length:,}, disagreement", "", "", found["disagreement"], TOLERANCE))
    if quick:
        return rows
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "layer.npy"))
        child("input", causal, path)
        peaks = {side: child("memory", side, causal, path) for side in SIDES}
    compare(f"{LONG:,}, memory", "MB", peaks, MEMORY_BAR)
    return rows


def contexts() -> Row:
    """Return the figure for several texts, beside its bar."""
    few, many = (child("contexts", count) for count in (FEW, MANY))
    label = f"causal, {SHORT:,}, memory of {MANY} contexts over {FEW}"
    return label, f"{many:.0f} MB", "", many / few, CONTEXT_BAR


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
    rows.append(contexts())
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"NumPy {np.__version__}, PyTorch {torch.__version__}")  # fmt: skip
    met = report(rows)
    if arguments.json:
        figures = [
            dict(zip(("what", "poslens", "torch", "figure", "bar"), row, strict=True))
            for row in rows
        ]
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.exit(not met)


if __name__ == "__main__":
    main()
