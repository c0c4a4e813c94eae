"""A training step of the lab beside transformers' GPT-2, in one run, as ratios.

    python benchmarks/lab.py [--quick] [--json FILE]

The work: forward, cross entropy, backward, clipping at norm 1 and AdamW in float32, of the same
layers, heads, width, context and batch. The peer is `GPT2LMHeadModel` with sdpa attention, no
dropout and the same fused AdamW, with GPT-2's default activation; with the exact GELU, the lab's,
it is shown beside it without a bar. The lab's own steps are those of `Training`, the drawing of the
batch included; the peer's batch is given.

Time: all sides in turn in one process after two warm-up steps each, and of one side the median.
Memory: each side alone in a fresh process, what its peak resident set grows by in three steps
after imports. Exit status 1 if a bar is missed. `--quick` stops after the small size.
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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from poslens.lab import SCHEMES, Decoder, Recipe, Shape, Split, Training, python_help, scheme

SMALL = Shape(layers=4, heads=4, width=128, context=512)
LARGER = Shape(layers=6, heads=6, width=384, context=512)
BATCH, REPEATS = 8, {SMALL: 15, LARGER: 5}
GPT2_BAR, SCHEME_BAR, MEMORY_BAR = 1.2, 0.8, 1.3
PEERS = {"GPT-2": "gelu_new", "GPT-2, exact GELU": "gelu"}

Step = Callable[[], object]


def lab_step(name: str, shape: Shape) -> Step:
    """Return a function that does one of the lab's steps."""
    split = Split(python_help(), block=8 * shape.context + 1)
    model = Decoder(shape, scheme(name, shape))
    run = Training(model, split, Recipe(steps=10_000, batch=BATCH)).run()
    return lambda: next(run)


def gpt2_step(activation: str, shape: Shape) -> Step:
    """Return a function that does one step with transformers."""
    config = transformers.GPT2Config(
        vocab_size=shape.vocabulary, n_positions=shape.context, n_embd=shape.width,
        n_layer=shape.layers, n_head=shape.heads, activation_function=activation,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, use_cache=False,
        bos_token_id=None, eos_token_id=None, attn_implementation="sdpa",
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    assert model.config._attn_implementation == "sdpa"
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), fused=True)
    split = Split(python_help(), block=8 * shape.context + 1)
    batch = split.batch(BATCH, shape.context, 0, 0)
    inputs, targets = (torch.from_numpy(ids) for ids in batch)

    def step() -> None:
        logits = model(inputs).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        loss.item()

    return step


def made(side: str, shape: Shape) -> Step:
    """Return one side's step by the side's name."""
    return gpt2_step(PEERS[side], shape) if side in PEERS else lab_step(side, shape)


def times(shape: Shape) -> dict[str, float]:
    """Return the median seconds of a step of every side, taken in turn."""
    steps = {side: made(side, shape) for side in (*PEERS, *SCHEMES)}
    seconds: dict[str, list[float]] = {side: [] for side in steps}
    for _ in range(REPEATS[shape] + 2):
        for side, step in steps.items():
            begun = time.perf_counter()
            step()
            seconds[side].append(time.perf_counter() - begun)
    return {side: statistics.median(values[2:]) for side, values in seconds.items()}


def peak_growth(side: str, shape: Shape) -> float:
    """Return by how much three steps raise this process's peak resident set, in MB."""
    before = _peak()
    step = made(side, shape)
    for _ in range(3):
        step()
    return _peak() - before


def _peak() -> float:
    scale = 1e6 if platform.system() == "Darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def child(side: str) -> float:
    """Return `peak_growth` of the small size in a fresh process."""
    command = [sys.executable, __file__, "--child", side]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


Row = tuple[str, float, str, float, float | None, bool]  # the last: whether the bar is a ceiling


def measured(shape: Shape) -> list[Row]:
    """Return a row for each ratio of one size."""
    found = times(shape)
    tokens = BATCH * shape.context
    size = f"{shape.layers} × {shape.width}"
    rows: list[Row] = []
    for peer, bar in zip(PEERS, (GPT2_BAR, None), strict=True):
        ratio = found[peer] / found["learned"]
        rows.append((f"{size}, learned, over {peer}", tokens / found["learned"], "tokens/s",
                     ratio, bar, False))  # fmt: skip
    for name in SCHEMES:
        if name != "learned":
            rows.append((f"{size}, {name}, over learned", tokens / found[name], "tokens/s",
                         found["learned"] / found[name], SCHEME_BAR, False))  # fmt: skip
    return rows


def memory() -> list[Row]:
    """Return a row for each scheme's peak memory at the small size."""
    peaks = {side: child(side) for side in (*PEERS, *SCHEMES)}
    return [
        (f"memory, {name}, over {other}", peaks[name], "MB", peaks[name] / peaks[other], bar, True)
        for name, other, bar in (
            ("learned", "GPT-2", MEMORY_BAR),
            *((name, "learned", MEMORY_BAR) for name in SCHEMES if name != "learned"),
        )
    ]


def report(rows: list[Row]) -> bool:
    """Print one line a figure; return whether every bar is met."""
    met = True
    for what, ours, unit, ratio, bar, ceiling in rows:
        good = bar is None or (ratio <= bar if ceiling else ratio >= bar)
        met &= good
        shown = "" if bar is None else f"{'≤' if ceiling else '≥'} {bar}"
        print(f"{what:44} {ours:>9,.0f} {unit:8} {ratio:>6.2f} {shown:>6}"
              + ("" if good else "  MISSED"))  # fmt: skip
    return met


def main() -> None:
    """Measure everything, print the table, and leave with its verdict."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="stop after the small size")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(peak_growth(arguments.child, SMALL))
        return

    print(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}, transformers {transformers.__version__}")  # fmt: skip
    rows = memory()  # first: a child's peak resident set starts from its parent's
    rows += measured(SMALL)
    if not arguments.quick:
        rows += measured(LARGER)
    met = report(rows)
    if arguments.json:
        keys = ("what", "poslens", "unit", "ratio", "bar", "ceiling")
        figures: list[dict[str, Any]] = [dict(zip(keys, row, strict=True)) for row in rows]
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.exit(not met)


if __name__ == "__main__":
    main()
