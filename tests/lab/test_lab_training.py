"""Training: what the optimiser does, going on after a save, stopping, and snapshots."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lab_models import ENCODINGS, SHAPE

import poslens
from poslens.encodings import Encoding, Learned, Nope, Rope
from poslens.errors import LabError, OutputError, SettingError
from poslens.lab.batches import Batch, Batches
from poslens.lab.data import Split
from poslens.lab.model import Decoder
from poslens.lab.recipe import Recipe
from poslens.lab.snapshots import save_snapshot, snapshot_path, snapshot_steps
from poslens.lab.state import load_training, save_training
from poslens.lab.tasks import Copy, Lookup
from poslens.lab.train import Training, batch_loss, optimiser

SMALL = replace(SHAPE, layers=1, context=66, dropout=0.1)
RECIPE = Recipe(steps=6, batch=2, rate=1e-2, warmup=2, seed=4)


def training(encoding: Encoding, batches: Batches, recipe: Recipe = RECIPE) -> Training:
    return Training(Decoder(SMALL, encoding), batches, recipe)


def bits(model: Decoder) -> dict[str, bytes]:
    return {name: one.detach().numpy().tobytes() for name, one in model.named_parameters()}


def test_a_run_that_goes_on_gives_the_same_bits(
    encoding: Encoding, split: Split, tmp_path: Path
) -> None:
    whole = training(encoding, split)
    metrics = [replace(one, tokens_per_second=0.0) for one in whole.run()]
    assert [one.step for one in metrics] == list(range(6))

    first = training(encoding, split)
    found = list(first.run(until=2))
    save_training(first, tmp_path / "state")
    list(first.run(until=3))  # what a killed run did after it was saved does not matter
    second = Training(Decoder(SMALL, encoding, seed=9), split, RECIPE)
    load_training(second, tmp_path / "state")
    assert second.step == 2
    found += second.run(until=5)
    save_training(second, tmp_path / "state")
    third = training(encoding, split)
    load_training(third, tmp_path / "state")
    found += third.run()
    assert [replace(one, tokens_per_second=0.0) for one in found] == metrics
    assert bits(third.model) == bits(whole.model)
    assert bits(whole.model) != bits(Decoder(SMALL, encoding))
    assert list(third.run()) == []


def test_a_state_before_the_first_step(split: Split, tmp_path: Path) -> None:
    whole, before, after = (training(Rope(10), split) for _ in range(3))
    save_training(before, tmp_path / "state")
    load_training(after, tmp_path / "state")
    list(whole.run())
    list(after.run())
    assert bits(after.model) == bits(whole.model)


def test_batches_and_first_losses_are_the_same_for_every_scheme(split: Split) -> None:
    """The first loss differs, but what it is of does not: it is NoPE's once nothing is added."""
    losses = {}
    for name, encoding in ENCODINGS.items():
        run = training(encoding, split)
        with torch.no_grad():
            for weight in run.model.position.parameters():
                weight.zero_()
        losses[name] = next(run.run()).loss
    for name in ("learned", "t5", "t5, both ways", "shaw", "shaw, far"):
        assert losses[name] == pytest.approx(losses["nope"], abs=1e-6)
    assert len({round(losses[name], 5) for name in ("nope", "rope", "alibi", "sinusoidal")}) == 4


def test_rows_that_are_never_read_stay_as_they_began(split: Split) -> None:
    run = training(Learned.drawn(97, 60, seed=3), split)
    before = run.model.position.table.detach().clone()
    list(run.run())
    after = run.model.position.table.detach()
    assert torch.equal(after[66:], before[66:])
    assert (after[:66] != before[:66]).any(dim=1).all()


def test_only_matrices_that_multiply_decay(encoding: Encoding) -> None:
    made = Decoder(SMALL, encoding)
    decayed, others = (group["params"] for group in optimiser(made, RECIPE).param_groups)
    names = {weight: name for name, weight in made.named_parameters()}
    assert {names[one] for one in decayed} == {
        "tokens.weight",
        *(f"blocks.0.{name}.weight" for name in
          ("attention_in", "attention_out", "mlp_in", "mlp_out")),
    }  # fmt: skip
    assert len(decayed) + len(others) == len(names)
    assert {names[one] for one in others} >= {f"position.{n}" for n, _ in
                                              made.position.named_parameters()}  # fmt: skip


def test_a_step_is_adamws_by_hand(split: Split) -> None:
    """Decoupled decay, bias-corrected means, clipping and warm-up, written out in float64."""
    recipe = replace(RECIPE, clip=0.5, decay=0.3)
    shape = replace(SMALL, dropout=0.0)
    run, twin = (
        Training(Decoder(shape, ENCODINGS["t5"]).double(), split, recipe) for _ in range(2)
    )
    weights = {name: one.detach().clone() for name, one in twin.model.named_parameters()}
    means = {name: [torch.zeros_like(one), torch.zeros_like(one)] for name, one in weights.items()}
    for step, metrics in enumerate(run.run()):
        with torch.no_grad():
            for name, one in twin.model.named_parameters():
                one.copy_(weights[name])
        batch_loss(twin.model, split.batch(2, 66, recipe.seed, step), recipe).backward()
        grads = {name: one.grad for name, one in twin.model.named_parameters()}
        norm = math.sqrt(sum(one.square().sum().item() for one in grads.values()))
        assert metrics.gradient_norm == pytest.approx(norm, rel=1e-12)
        assert norm > recipe.clip
        rate = metrics.rate
        for name, weight in weights.items():
            grad = grads[name] * recipe.clip / (norm + 1e-6)  # as torch has it
            for mean, beta, value in zip(means[name], recipe.betas, (grad, grad**2), strict=True):
                mean.mul_(beta).add_((1 - beta) * value)
            first, second = (
                mean / (1 - beta ** (step + 1))
                for mean, beta in zip(means[name], recipe.betas, strict=True)
            )
            if weight.ndim == 2 and not name.startswith("position."):
                weight -= rate * recipe.decay * weight
            weight -= rate * first / (second.sqrt() + 1e-8)
        twin.model.zero_grad()
    for name, one in run.model.named_parameters():
        torch.testing.assert_close(one.detach(), weights[name], rtol=0, atol=1e-8)


def test_the_rate() -> None:
    recipe = Recipe(steps=1100, warmup=100, rate=2e-3, final=0.1)
    rates = [recipe.rate_at(step) for step in range(1101)]
    assert rates[0] == pytest.approx(2e-5)
    np.testing.assert_allclose(np.diff(rates[:100]), 2e-5, rtol=1e-9)
    assert rates[99] == rates[100] == max(rates) == 2e-3
    assert all(np.diff(rates[100:]) < 0)
    assert rates[600] == pytest.approx(1.1e-3)
    assert rates[1100] == pytest.approx(2e-4)
    assert Recipe(steps=5, warmup=0).rate_at(0) == 1e-3
    assert Recipe(steps=5, warmup=50).rate_at(4) == pytest.approx(1e-4)


def test_a_task_is_learned() -> None:
    """RoPE finds the symbol three positions back; without positions nothing can in so few steps."""
    shape = replace(SMALL, context=24, vocabulary=9, layers=2, dropout=0.0)
    recipe = Recipe(steps=120, batch=16, rate=5e-3, warmup=10)
    last = {}
    for encoding in (Rope(10), Nope()):
        run = Training(Decoder(shape, encoding), Lookup(symbols=8, back=3), recipe)
        last[encoding.name] = list(run.run())[-1].loss
    assert last["rope"] < 0.5 * math.log(8)
    assert last["nope"] > 0.8 * math.log(8)


class Poisoned:
    """Batches that are good until a step, whose targets are then not in the vocabulary."""

    vocabulary = 256

    def __repr__(self) -> str:
        return "Poisoned()"

    def batch(self, contexts: int, length: int, seed: int, step: int) -> Batch:
        batch = Copy().batch(contexts, length, seed, step)
        if step == 3:
            batch.targets[:] = -100  # nothing counts, and the mean of nothing is NaN
        return batch


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    run = training(Rope(10), Poisoned())
    list(run.run(until=3))
    before = bits(run.model)
    with pytest.raises(LabError, match=r"broke down at step 3: expected a finite loss and gradient,"
                       " got loss nan, .*lower rate"):  # fmt: skip
        list(run.run())
    assert bits(run.model) == before
    assert run.step == 3


def test_a_gradient_that_is_infinite_stops_the_run(split: Split) -> None:
    run = training(Rope(10), split)
    with torch.no_grad():
        run.model.norm.weight.mul_(3e38)
    with pytest.raises(LabError, match="broke down at step 0"):
        next(run.run())


def test_bfloat16_trains_float32_weights(split: Split) -> None:
    exact, lower = (
        training(ENCODINGS["t5"], split, replace(RECIPE, precision=precision))
        for precision in ("float32", "bfloat16")
    )
    pairs = list(zip(exact.run(), lower.run(), strict=True))
    assert all(one.loss != other.loss for one, other in pairs[1:])
    for one, other in pairs:
        assert one.loss == pytest.approx(other.loss, rel=0.01)
    assert {weight.dtype for weight in lower.model.parameters()} == {torch.float32}


def test_states_that_cannot_be_loaded(split: Split, tmp_path: Path) -> None:
    path = tmp_path / "state"
    run = training(ENCODINGS["learned"], split)
    list(run.run(until=1))
    save_training(run, path)
    whole = path.read_bytes()

    def refused(match: str, by: Training = run) -> None:
        before, step = bits(by.model), by.step
        with pytest.raises(LabError, match=match):
            load_training(by, path)
        assert (bits(by.model), by.step) == (before, step)

    refused("another run: expected recipe.seed '5', got '4'; go on with the settings",
            training(ENCODINGS["learned"], split, replace(RECIPE, seed=5)))  # fmt: skip
    refused(r"another run: expected encoding .*length=98.* got .*length=97",
            training(Learned.drawn(98, 60), split))  # fmt: skip
    refused("another run: expected batches 'Copy", training(ENCODINGS["learned"], Copy()))
    other = Training(Decoder(replace(SMALL, layers=2), ENCODINGS["learned"]), split, RECIPE)
    refused("another run: expected shape.layers '2', got '1'", other)
    for damaged in (b"", whole[:7], whole[:100], whole[:-1], b"x" + whole[1:], whole + b"x"):
        path.write_bytes(damaged)
        refused("no state of a training: expected a sound safetensors file, .*or begin anew")
    path.write_bytes(reheaded(whole, lambda head: head.pop("__metadata__")))
    refused("expected a file that `save_training` wrote, in format 1, got another one")
    path.write_bytes(
        reheaded(whole, lambda head: head.update(renamed=head.pop("weight.norm.bias")))
    )
    refused("expected the model's weights with two running means of each, got others")
    path.unlink()
    refused("no state of a training.*got .*No such file")
    with pytest.raises(OutputError, match="its folder does not exist"):
        save_training(run, tmp_path / "none" / "state")


def reheaded(content: bytes, change: object) -> bytes:
    """The same safetensors file with its header changed."""
    (length,) = struct.unpack("<Q", content[:8])
    head = json.loads(content[8 : 8 + length])
    assert callable(change)
    change(head)
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def test_recipes_that_cannot_be(split: Split) -> None:
    for name, value, match in (
        ("steps", 0, "at least 1 for steps"),
        ("rate", 0.0, "above 0 for rate"),
        ("rate", math.nan, "above 0 for rate, got nan"),
        ("betas", (0.9, 1.0), "for betas, got 1.0"),
        ("final", 1.5, "at most 1 for final"),
        ("precision", "float16", "expected float32 or bfloat16, got 'float16'"),
    ):
        with pytest.raises(SettingError, match=match):
            replace(RECIPE, **{name: value})
    with pytest.raises(SettingError, match="at most 6 steps, got 7"):
        list(training(Rope(10), split).run(until=7))
    small = Decoder(replace(SMALL, vocabulary=16), Rope(10))
    with pytest.raises(LabError, match=r"cannot read Copy.*vocabulary of at least 17, got 16"):
        Training(small, Copy(), RECIPE)


def test_snapshots_are_spaced_by_their_logarithms() -> None:
    assert snapshot_steps(1) == (0, 1)
    assert snapshot_steps(6, 24) == (0, 1, 2, 3, 4, 5, 6)
    steps = snapshot_steps(10_000, 10)
    assert steps == (0, 1, 3, 10, 32, 100, 316, 1000, 3162, 10_000)
    with pytest.raises(SettingError, match="at least 2 for count"):
        snapshot_steps(5, 1)


@pytest.mark.parametrize("name", ["learned", "t5", "shaw"])
def test_a_snapshot_is_what_the_scheme_owns(name: str, split: Split, tmp_path: Path) -> None:
    run = training(ENCODINGS[name], split)
    list(run.run(until=2))
    path = save_snapshot(run.model, tmp_path, 2)
    assert path == snapshot_path(tmp_path, 2) == tmp_path / "step-00000002.safetensors"
    ((tensor, weight),) = run.model.position.named_parameters()
    table = poslens.load_table(f"{path}::{tensor}")
    np.testing.assert_array_equal(table.rows, weight.detach().numpy())


def test_a_scheme_that_owns_nothing_has_no_snapshots(tmp_path: Path) -> None:
    assert save_snapshot(Decoder(SMALL, Rope(10)), tmp_path, 0) is None
    assert not list(tmp_path.iterdir())
