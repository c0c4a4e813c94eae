"""Evaluation: losses by position, windows, lengths, and no matrix of all pairs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from lab_models import ENCODINGS, SHAPE, model, tokens
from torch.nn.functional import cross_entropy

from poslens.encodings import Alibi, Encoding, Learned, Nope, Rope
from poslens.errors import LabError, SettingError, UndefinedMeasureError
from poslens.lab import evaluate
from poslens.lab.batches import IGNORED, Batch
from poslens.lab.data import Split
from poslens.lab.evaluate import accuracy, extrapolation, losses, sliding_losses
from poslens.lab.tasks import Lookup


def batch(contexts: int, length: int) -> Batch:
    ids = tokens(contexts, length + 1).numpy()
    return Batch(ids[:, :-1], ids[:, 1:])


def test_losses_are_torchs(encoding: Encoding, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever number of contexts is read at once."""
    made, some = model(encoding), batch(7, 70)
    with torch.no_grad():
        logits = made(torch.from_numpy(some.inputs)).double()
    want = cross_entropy(
        logits.flatten(0, 1), torch.from_numpy(some.targets).flatten(), reduction="none"
    )
    for at_once in (1, 3 * 70, 10**6):
        monkeypatch.setattr(evaluate, "TOKENS", at_once)
        found = losses(made, some)
        np.testing.assert_allclose(found.values, want.view(7, 70), rtol=0, atol=2e-5)
    np.testing.assert_allclose(found.by_position, want.view(7, 70).mean(0), rtol=0, atol=1e-5)
    assert found.mean == pytest.approx(want.mean().item(), abs=1e-5)
    assert found.perplexity == pytest.approx(math.exp(want.mean().item()), rel=1e-5)
    assert not any(weight.requires_grad and weight.grad is not None for weight in made.parameters())


def test_targets_that_do_not_count() -> None:
    made, some = model(Rope(10)), batch(5, 30)
    targets = some.targets.copy()
    targets[:, 10:13] = IGNORED
    targets[2, 20] = IGNORED
    found, whole = losses(made, Batch(some.inputs, targets)), losses(made, some)
    assert found.mean == pytest.approx(whole.values[targets != IGNORED].mean())
    with pytest.raises(
        UndefinedMeasureError, match="counts at each position, got none at position 10"
    ):
        _ = found.by_position
    with pytest.raises(UndefinedMeasureError, match="no target that counts"):
        _ = losses(made, Batch(some.inputs, np.full_like(targets, IGNORED))).mean
    targets[:, 10:13] = some.targets[:, 10:13]
    by_position = losses(made, Batch(some.inputs, targets)).by_position
    assert by_position[20] == pytest.approx(whole.values[[0, 1, 3, 4], 20].mean())


def test_accuracy_is_counted_over_targets_that_count() -> None:
    made = model(Nope(), replace(SHAPE, vocabulary=9))
    some = Lookup(symbols=8, back=3).held_out(6, 20, seed=0)
    with torch.no_grad():
        said = made(torch.from_numpy(some.inputs)).argmax(-1).numpy()
    right = (said == some.targets)[:, 3:]
    assert 0 < right.mean() < 1
    assert accuracy(made, some) == pytest.approx(right.mean())
    assert accuracy(made, Batch(some.inputs, said)) == 1


@pytest.mark.parametrize(
    ("window", "stride"), [(71, 71), (71, 10), (40, 1), (40, 40), (25, 7), (1, 1)]
)
def test_a_window_is_a_context_of_its_own(window: int, stride: int) -> None:
    """Each token is predicted once, from the context that its window gives it."""
    made, some = model(Learned.drawn(71, 60, std=0.3)), batch(2, 97)
    found = sliding_losses(made, some, window, stride)
    for position in (0, 1, 24, 25, 39, 40, 41, 70, 71, 72, 80, 96):
        end = window
        while end <= position:
            end = min(end + stride, 97)
        seen = slice(end - window, end)
        part = losses(made, Batch(some.inputs[:, seen], some.targets[:, seen]))
        want = part.values[:, position - (end - window)]
        np.testing.assert_allclose(found.values[:, position], want, rtol=0, atol=1e-5)
        seen_before = position - (end - window)
        assert position < window or seen_before >= window - stride


def test_a_window_that_moves_by_itself_is_short_contexts() -> None:
    made, some = model(Rope(10)), batch(3, 60)
    short = losses(made, Batch(*(ids.reshape(9, 20) for ids in some)))
    slid = sliding_losses(made, some, 20, 20)
    np.testing.assert_allclose(slid.values.reshape(9, 20), short.values, rtol=0, atol=1e-5)
    whole = sliding_losses(made, some, 60, 5)
    np.testing.assert_array_equal(whole.values, losses(made, some).values)
    with pytest.raises(
        SettingError, match="window is too long: expected at most 60 positions, got 61"
    ):
        sliding_losses(made, some, 61, 1)
    with pytest.raises(
        SettingError, match="stride is too long: expected at most 20 positions, got 21"
    ):
        sliding_losses(made, some, 20, 21)


def test_longer_contexts_are_of_the_same_bytes(split: Split) -> None:
    found = extrapolation(model(Alibi(6)), split)
    assert list(found) == [71, 142, 284, 568]
    blocks = len(found[568].values)
    assert [one.values.shape for one in found.values()] == [
        (8 * blocks, 71), (4 * blocks, 142), (2 * blocks, 284), (blocks, 568)
    ]  # fmt: skip
    for one in found.values():
        # The first tokens of a block have the same context at every length.
        starts = one.values.reshape(blocks, 568)[:, :71]
        np.testing.assert_allclose(starts, found[568].values[:, :71], rtol=0, atol=1e-4)


def test_lengths_beyond_a_table_are_left_out(split: Split) -> None:
    assert list(extrapolation(model(Learned.drawn(71, 60)), split)) == [71]
    assert list(extrapolation(model(Learned.drawn(300, 60)), split)) == [71, 142, 284]
    with pytest.raises(LabError, match=r"at most 71 positions, got 142; .* sliding window"):
        losses(model(Learned.drawn(71, 60)), split.held_out(142))


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """The entries of the largest tensor that anything gives."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else [out]:
            if isinstance(one, torch.Tensor):
                self.entries = max(self.entries, one.numel())
        return out


@pytest.mark.parametrize("name", ENCODINGS)
def test_no_matrix_of_all_pairs_exists(name: str) -> None:
    """Of 2,048 positions and six heads: the largest array is a strip of 64 queries, or Shaw's
    100 distances of each.
    """
    made = model(ENCODINGS[name] if name != "learned" else Learned.drawn(2048, 60))
    with Largest() as largest:
        losses(made, batch(1, 2048))
    assert largest.entries <= 6 * 2048 * 100
