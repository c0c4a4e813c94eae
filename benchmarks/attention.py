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

Exit status 1 if results disagree or a bar is missed. `--quick` stops at 1,024 positions
of two layers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial, reduce
from operator import add
from pathlib import Path

import numpy as np
import torch

from _common import Row, child, compared, in_turn, main, peak_growth
from poslens.attention import TERMS, LogitParts, Split, term_sums

LAYERS, HEADS, WIDTH = 12, 12, 64
SHORT, LONG = 1024, 4096
RUNS = (SHORT, LAYERS, 3), (LONG, 1, 2)  # positions, layers, repeats
QUICK_RUNS = ((SHORT, 2, 1),)
FEW, MANY = 1, 8  # contexts
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


def time_all(length: int, layers: int, causal: bool, repeats: int) -> dict[str, float]:
    """Time all sides in this process, alternating."""
    parts = model(length, layers, causal)
    found = {name: side(parts) for name, side in SIDES.items()}  # the warm-up
    median = in_turn({name: partial(side, parts) for name, side in SIDES.items()}, repeats)
    # NumPy's maximum, unlike Python's, lets a NaN through: it must not pass for agreement.
    apart = [np.abs(found["poslens"] - found[peer]).max() for peer in ("torch", "buffer")]
    return {**median, "disagreement": float(np.max(apart))}


def write_input(causal: bool, path: str) -> None:
    """Write the parts of one layer to a file."""
    parts = model(LONG, 1, causal)[0]
    np.save(path, np.array([*parts.queries.parts, *parts.keys.parts]))


def peak_of(side: str, causal: bool, path: str) -> float:
    """Return how far one run raises this process's peak resident set, in MB.

    The input is read from a file, so that nothing larger than it has been in memory before.
    """
    parts = np.load(path)
    layer = LogitParts(Split(*parts[:3]), Split(*parts[3:]), causal=causal)
    return peak_growth(lambda: SIDES[side]([layer]))


def peak_of_contexts(contexts: int) -> float:
    """Return the same of sums over the first of several texts."""
    texts = [layer(SHORT, True, [at], same=False) for at in range(MANY)]
    return peak_growth(lambda: reduce(add, (term_sums(parts) for parts in texts[:contexts])))


def of_kind(causal: bool, quick: bool) -> list[Row]:
    """Return every figure for one kind of rows, beside its bar."""
    kind = "causal" if causal else "bidirectional"
    found: list[Row] = []

    def beside_all(what: str, unit: str, sides: dict[str, float], bar: float) -> None:
        ours, digits = sides["poslens"], 3 if unit == "s" else 0
        for peer, label in PEERS.items():
            its_bar = bar if peer == "torch" else None
            what_here = f"{kind}, {what}{label}"
            found.append(compared(what_here, ours, sides[peer], unit, its_bar, digits))

    for length, layers, repeats in QUICK_RUNS if quick else RUNS:
        took = child(__file__, "time", length, layers, causal, repeats)
        beside_all(f"{length:,}, {layers} layers, time", "s", took, TIME_BARS[length])
        label = f"{kind}, {length:,}, disagreement"
        found.append(Row(label, "", "", took["disagreement"], TOLERANCE))
    if quick:
        return found
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "layer.npy"))
        child(__file__, "input", causal, path)
        peaks = {side: child(__file__, "memory", side, causal, path) for side in SIDES}
    beside_all(f"{LONG:,}, memory", "MB", peaks, MEMORY_BAR)
    return found


def contexts() -> Row:
    """Return the figure for several texts, beside its bar."""
    few, many = (child(__file__, "contexts", count) for count in (FEW, MANY))
    label = f"causal, {SHORT:,}, memory of {MANY} contexts over {FEW}"
    return Row(label, f"{many:.0f} MB", "", many / few, CONTEXT_BAR)


def rows(quick: bool) -> list[Row]:
    """Return every figure, beside its bar."""
    return [*(row for causal in (True, False) for row in of_kind(causal, quick)), contexts()]


TASKS = {"time": time_all, "input": write_input, "memory": peak_of, "contexts": peak_of_contexts}

if __name__ == "__main__":
    main(
        __doc__ or "",
        rows,
        TASKS,
        peer="PyTorch",
        quick="stop at 1,024 positions",
        libraries=("numpy", "torch"),
    )
