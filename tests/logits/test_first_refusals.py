"""Texts that a model cannot read, and models whose logits are not split: errors that say why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from anatomies import BASIC, GPT2, GROUPED, SPECIAL
from float64_models import build, saved
from split_models import opened, split, table_in

from poslens.checkpoints.blocks import block_numbers
from poslens.checkpoints.blocks import read as reading
from poslens.checkpoints.describe import described
from poslens.errors import SettingError, SourceError, TableError, UndefinedMeasureError
from poslens.logits import first_block_logits

TOKENS = np.random.default_rng(5).integers(5, 61, (3, 11))


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    return saved(build("gpt2", GPT2), tmp_path)


@pytest.mark.parametrize(("bad", "count"), [(61, 1), (-1, 1), (10**12, 2)])
def test_ids_outside_the_vocabulary(bad: int, count: int, gpt2: Path) -> None:
    tokens = TOKENS.copy()
    tokens.ravel()[[7, 20][:count]] = bad
    wanted = f"ids from 0 to 60, got {count} others, the first of them {bad}; take the tokenizer"
    with pytest.raises(SettingError, match=wanted):
        split(gpt2, tokens)


def test_texts_longer_than_the_table(gpt2: Path) -> None:
    tokens = np.full((2, 72), 5)
    with pytest.raises(SettingError, match="at most 71 tokens in each, got 72; give --length 71"):
        split(gpt2, tokens)
    assert split(gpt2, tokens[:, :71]).picture.shape == (5, 64, 64)
    table = table_in(gpt2).slice_rows(0, 10)
    with pytest.raises(SettingError, match="at most 10 tokens in each, got 11"):
        split(gpt2, TOKENS, table=table)


def test_texts_that_are_too_short(gpt2: Path) -> None:
    with pytest.raises(SettingError, match="at least 3 tokens in each, got 2; give a larger"):
        split(gpt2, TOKENS[:, :2])
    assert split(gpt2, TOKENS[:, :3]).picture.shape == (5, 3, 3)


def test_too_few_texts(gpt2: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"too few contexts .* at least 1, got 0; give more"):
        split(gpt2, TOKENS[:0])
    llama = saved(build("llama", GROUPED), tmp_path / "llama")
    wanted = "at least 2, as the position part is a mean over them, got 1"
    with pytest.raises(SettingError, match=wanted):
        split(llama, TOKENS[:1])
    assert split(llama, TOKENS[:2]).reconstruction_error <= 1e-11


@pytest.mark.parametrize("head", [6, -1])
def test_no_such_head(head: int, gpt2: Path) -> None:
    with pytest.raises(SettingError, match=f"a head from 0 to 5, got {head}"):
        split(gpt2, TOKENS, head=head)


def test_a_table_that_is_not_the_models(gpt2: Path) -> None:
    checkpoint = opened(gpt2)
    description = described(checkpoint)
    assert description is not None
    with pytest.raises(SourceError, match="the position table that the model adds, got none"):
        first_block_logits(checkpoint, description, None, TOKENS)
    table = table_in(f"{gpt2}::wte.weight")
    with pytest.raises(SourceError, match="the model adds, got another tensor; leave '::'"):
        first_block_logits(checkpoint, description, table, TOKENS)
    table = table_in(gpt2)
    narrow = replace(table, rows=table.rows[:, :41].copy(), norm_scales=())
    with pytest.raises(TableError, match="rows of 42 dimensions, got 41"):
        first_block_logits(checkpoint, description, narrow, TOKENS)


def test_a_large_block_is_read_when_asked_for(gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = block_numbers(opened(gpt2))
    monkeypatch.setattr(reading, "MOST_READ", numbers - 1)
    with pytest.raises(SourceError, match=f"at most {numbers - 1:,} numbers, got {numbers:,}"):
        split(gpt2, TOKENS, asked=False)
    assert split(gpt2, TOKENS).reconstruction_error <= 1e-11
    monkeypatch.setattr(reading, "MOST_READ", numbers)
    assert split(gpt2, TOKENS, asked=False).reconstruction_error <= 1e-11


def test_queries_that_are_cut_off(tmp_path: Path) -> None:
    values = SPECIAL | {"vocab_size": 61, "d_model": 48, "n_layers": 1, "n_heads": 6}
    for clip in (1000.0, 0.5):
        folder = saved(build("mpt", values | {"attn_config": {"clip_qkv": clip}}), tmp_path)
        if clip == 1000.0:
            assert split(folder, TOKENS).reconstruction_error <= 1e-11
            continue
        with pytest.raises(UndefinedMeasureError, match="cut off on this text"):
            split(folder, TOKENS)


def test_disentangled_attention(tmp_path: Path) -> None:
    values = BASIC | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
    folder = saved(build("deberta-v2", values), tmp_path)
    with pytest.raises(UndefinedMeasureError, match="depends on what the tokens are"):
        split(folder, TOKENS)


def test_texts_longer_than_a_window(tmp_path: Path) -> None:
    folder = saved(build("mistral", GROUPED | {"sliding_window": 10}), tmp_path)
    with pytest.raises(SettingError, match="at most 10 tokens in each, got 11; give --length 10"):
        split(folder, TOKENS)
    assert split(folder, TOKENS[:, :10]).reconstruction_error <= 1e-11


def test_a_large_token_table_is_read_when_asked_for(
    tmp_path: Path, gpt2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build("llama", GROUPED)
    llama, rows = (saved(model, tmp_path / name) for name in ("llama", "rows"))
    (llama / "model.safetensors").unlink()  # of which rows would be read alone
    torch.save(model.state_dict(), llama / "pytorch_model.bin")
    monkeypatch.setattr("poslens.logits.first.MOST_READ", 61 * 4)
    with pytest.raises(SourceError, match=r"token table is not read .*--contexts"):
        split(llama, TOKENS, asked=False)
    assert split(llama, TOKENS, asked=True).reconstruction_error <= 1e-11
    assert split(rows, TOKENS, asked=False).reconstruction_error <= 1e-11
    assert split(gpt2, TOKENS, asked=False).reconstruction_error <= 1e-11  # beside a table
