"""A learned table has the rows that it was given, and no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2Model

from poslens.encodings import Learned
from poslens.errors import SettingError


def test_the_table_of_gpt_2() -> None:
    torch.manual_seed(0)
    model = GPT2Model(GPT2Config(vocab_size=37, n_positions=71, n_embd=42, n_head=6, n_layer=1))
    weight = model.wpe.weight.detach().numpy()
    learned = Learned(weight)
    assert learned.parameters == model.wpe.weight.numel()
    at = np.array([70, 0, 3, 3])
    np.testing.assert_array_equal(learned.table(at), weight[at])
    np.testing.assert_array_equal(learned.table(at.astype(float)), weight[at])
    assert learned.table(at).dtype == np.float64
    # Before training both are noise of the same size, 2,982 numbers each.
    drawn = Learned.drawn(71, 42)
    assert drawn.rows.std() == pytest.approx(weight.std(), rel=0.06)
    assert drawn.rows.mean() == pytest.approx(0, abs=0.002)


def test_drawn_rows_follow_from_the_seed() -> None:
    first = Learned.drawn(9, 4, std=1.5, seed=1)
    np.testing.assert_array_equal(first.rows, Learned.drawn(9, 4, std=1.5, seed=1).rows)
    np.testing.assert_allclose(first.rows, 75 * Learned.drawn(9, 4, seed=1).rows, rtol=1e-14)
    assert not np.array_equal(first.rows, Learned.drawn(9, 4, std=1.5, seed=2).rows)
    assert not Learned.drawn(9, 4, std=0.0).rows.any()


def test_rows_are_copied_and_kept() -> None:
    rows = np.ones((3, 2))
    learned = Learned(rows)
    rows[:] = 5
    learned.table(np.arange(3))[:] = 7
    np.testing.assert_array_equal(learned.rows, np.ones((3, 2)))
    with pytest.raises(ValueError, match="read-only"):
        learned.rows[0, 0] = 2
    assert repr(learned) == "Learned(length=3, dim=2)"


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ([0, 9], "no such row: expected positions from 0 to 8, got 9"),
        ([-1], "from 0 to 8, got -1"),
        ([0.5], "expected whole positions: the scheme has none between them, got 0.5"),
        ([np.nan], "expected finite positions, got nan"),
    ],
)
def test_positions_without_a_row(at: list[float], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Learned.drawn(9, 4).table(np.array(at))


def test_what_cannot_be() -> None:
    with pytest.raises(SettingError, match="at least 1 for length, got 0"):
        Learned.drawn(0, 4)
    with pytest.raises(SettingError, match="at least 1 for dim, got -4"):
        Learned.drawn(9, -4)
    with pytest.raises(SettingError, match="at least 0 for std, got inf"):
        Learned.drawn(9, 4, std=float("inf"))
    with pytest.raises(SettingError, match="got 20000 × 20000"):
        Learned.drawn(20_000, 20_000)
    with pytest.raises(SettingError, match=r"got shape \(0, 4\)"):
        Learned(np.ones((0, 4)))
