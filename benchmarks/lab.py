"""A training step of the lab beside transformers' GPT-2, in one run, as ratios.

    python benchmarks/lab.py [--quick] [--json FILE]

The work: forward, cross entropy, backward, clipping at norm 1 and AdamW in float32, of the same
layers, heads, width, context and batch. The peer is `GPT2LMHeadModel` with sdpa attention, no
dropout and the same fused AdamW, with GPT-2's default activation; with the exact GELU, the lab's,
it is shown beside it without a bar. The lab's own steps are those of `Training`, the drawing of the
batch included; the peer's batch is given.

Time: all sides in turn in one process after a warm-up of one or two steps each, and of one
side the median.
Memory: each side alone in a fresh process, what its peak resident set grows by in three steps
after imports. Exit status 1 if a bar is missed. `--quick` takes the time of
learned positions at the small size alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import transformers

from _common import Row, child, in_turn, main, peak_growth
from poslens.lab import SCHEMES, Decoder, Recipe, Shape, Split, Training, python_help, scheme

SMALL = Shape(layers=4, heads=4, width=128, context=512)
LARGER = Shape(layers=6, heads=6, width=384, context=512)
BATCH, REPEATS, WARM_UP = 8, {SMALL: 15, LARGER: 2}, {SMALL: 2, LARGER: 1}
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


def times(shape: Shape, names: tuple[str, ...], repeats: int) -> dict[str, float]:
    """Return the median seconds of a step of the peers and some schemes, taken in turn."""
    steps = {side: made(side, shape) for side in (*PEERS, *names)}
    return in_turn(steps, repeats, skip=WARM_UP[shape], pause=0)


def peak_of(side: str) -> float:
    """Return by how much three steps of the small size raise this process's peak, in MB."""

    def three_steps() -> Step:
        step = made(side, SMALL)
        for _ in range(3):
            step()
        return step

    return peak_growth(three_steps)


def of_size(shape: Shape, names: tuple[str, ...], repeats: int) -> list[Row]:
    """Return a row for each ratio of speeds at one size."""
    took = times(shape, names, repeats)
    tokens = BATCH * shape.context
    pairs = [("learned", peer, bar) for peer, bar in zip(PEERS, (GPT2_BAR, None), strict=True)]
    pairs += [(name, "learned", SCHEME_BAR) for name in names if name != "learned"]
    return [
        Row(
            f"{shape.layers} × {shape.width}, {name}, over {other}",
            *(f"{tokens / took[side]:,.0f} tokens/s" for side in (name, other)),
            took[other] / took[name],
            bar,
            at_least=True,
        )
        for name, other, bar in pairs
    ]


def memory(names: tuple[str, ...]) -> list[Row]:
    """Return a row for each scheme's peak memory at the small size."""
    peaks = {side: child(__file__, "memory", side) for side in dict.fromkeys(("GPT-2", *names))}
    pairs = [(name, "GPT-2" if name == "learned" else "learned") for name in names]
    return [
        Row(
            f"memory, {name}, over {other}",
            *(f"{peaks[side]:,.0f} MB" for side in (name, other)),
            peaks[name] / peaks[other],
            MEMORY_BAR,
        )
        for name, other in pairs
    ]


def rows(quick: bool) -> list[Row]:
    """Return every figure, beside its bar."""
    if quick:
        return of_size(SMALL, ("learned",), 1)
    names = ("learned", *(name for name in SCHEMES if name != "learned"))
    return memory(names) + [
        row for shape in (SMALL, LARGER) for row in of_size(shape, names, REPEATS[shape])
    ]


TASKS = {"memory": peak_of}

if __name__ == "__main__":
    main(
        __doc__ or "",
        rows,
        TASKS,
        peer="beside it",
        quick="the time of learned positions at the small size alone",
        libraries=("torch", "transformers"),
    )
