"""`attend` against the models' own attention without a mask, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kernel_models import BASIC, LENGTH, SPECIAL, T5, build, kernels, saved, studied
from numpy.testing import assert_allclose
from safetensors.numpy import load_file, save_file

from poslens.checkpoints.blocks import AttentionBlock, block_numbers, read_block
from poslens.checkpoints.blocks import read as reading
from poslens.checkpoints.names import parse_source
from poslens.checkpoints.opening import open_located
from poslens.errors import UndefinedMeasureError
from poslens.kernels.order import Positions, attend, order_deviations

GPT2 = SPECIAL | {"vocab_size": 37, "n_embd": 42, "n_layer": 1, "n_head": 6, "n_positions": LENGTH}
TOKENS = 31


def block_of(folder: Path, part: str | None = None) -> AttentionBlock:
    return read_block(open_located(parse_source(str(folder)), str(folder)), part)


def content(width: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((TOKENS, width))


def test_attention_is_that_of_bert(tmp_path: Path) -> None:
    model = build("bert", BASIC)
    block = block_of(saved(model, tmp_path))
    rows = content(42)
    model = model.double()
    with torch.no_grad():
        table = model.embeddings.position_embeddings.weight[:TOKENS].detach()
        seen = model.embeddings.LayerNorm(torch.tensor(rows) + table)[None]
        mixed = model.encoder.layer[0].attention.self(seen)[0]
        want = mixed[0] @ model.encoder.layer[0].attention.output.dense.weight.T
    found = attend(block, rows, Positions(table=table.numpy()))
    assert_allclose(found, want.numpy(), rtol=0, atol=1e-12 * np.abs(found).max())


def test_attention_is_that_of_gpt2_without_its_mask(tmp_path: Path) -> None:
    model = build("gpt2", GPT2)
    block = block_of(saved(model, tmp_path))
    rows = content(42)
    model = model.double()
    with torch.no_grad():
        table = model.wpe.weight[:TOKENS].detach()
        attention = model.h[0].attn
        three = attention.c_attn(model.h[0].ln_1(torch.tensor(rows) + table)).chunk(3, -1)
        parted = [one.reshape(TOKENS, 6, 7).transpose(0, 1) for one in three]
        mixed = torch.nn.functional.scaled_dot_product_attention(*parted)
        want = mixed.transpose(0, 1).reshape(TOKENS, 42) @ attention.c_proj.weight
    found = attend(block, rows, Positions(table=table.numpy()))
    assert_allclose(found, want.numpy(), rtol=0, atol=1e-12 * np.abs(found).max())


def test_attention_is_that_of_t5_with_its_buckets(tmp_path: Path) -> None:
    model = build("t5", T5)
    block = block_of(saved(model, tmp_path), "encoder")
    rows = content(18)
    layer = model.double().encoder.block[0].layer[0]
    bias = layer.SelfAttention.compute_bias(TOKENS, TOKENS).detach()
    with torch.no_grad():
        # The model normalises in float32.
        seen = rows / np.sqrt((rows**2).mean(1, keepdims=True) + layer.layer_norm.variance_epsilon)
        seen = torch.tensor(seen) * layer.layer_norm.weight
        want = layer.SelfAttention(seen[None], position_bias=bias)
    found = attend(block, rows, Positions(bias=bias[0].double().numpy()))
    assert_allclose(found, want[0][0].numpy(), rtol=0, atol=1e-12 * np.abs(found).max())


def test_an_order_of_one_kind_of_token_is_no_other(tmp_path: Path) -> None:
    """Where all tokens are alike a table still tells their places apart."""
    block = block_of(saved(build("bert", BASIC), tmp_path))
    rows = np.tile(content(42)[:1], (TOKENS, 1))
    table = np.random.default_rng(2).standard_normal((TOKENS, 42))
    without, with_positions = order_deviations(block, rows, Positions(table=table), 0)
    assert without <= 1e-12
    assert with_positions > 1e-3


@pytest.mark.parametrize(
    ("family", "values", "table"),
    [("bert", BASIC, "embeddings.position_embeddings.weight"), ("gpt2", GPT2, "wpe.weight")],
)
def test_a_table_of_one_row_tells_no_order(
    family: str, values: dict[str, object], table: str, tmp_path: Path
) -> None:
    model = build(family, values)
    assert studied(saved(model, tmp_path / "a")).claim("order.blind_without_position").verdict == (
        "supported"
    )
    with torch.no_grad():
        model.get_parameter(table)[:] = model.get_parameter(table)[0].clone()
    folder = saved(model, tmp_path / "b")
    without, with_positions = kernels(folder).order
    assert max(without, with_positions) <= 1e-12
    claim = studied(folder).claim("order.blind_without_position")
    assert claim.verdict == "contradicted"
    assert claim.value == with_positions
    assert studied(folder).measures["kernel.relative_share"] == [None] * 6


def test_attention_that_gives_nothing(tmp_path: Path) -> None:
    reason = "gives zeros for every token"
    folder = saved(build("bert", BASIC), tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.0.attention.output.dense.weight"][:] = 0
    save_file(tensors, folder / "model.safetensors")
    study = studied(folder)
    assert reason in study.claim("order.blind_without_position").note
    assert study.measures["kernel.relative_share"] is not None  # which does not need it
    block = block_of(folder)
    with pytest.raises(UndefinedMeasureError, match=reason):
        order_deviations(block, content(42), Positions(), 0)
    infinite = replace(block, output=np.full_like(block.output, np.inf))
    with pytest.raises(UndefinedMeasureError, match="not finite"), np.errstate(invalid="ignore"):
        order_deviations(infinite, content(42), Positions(), 0)


def test_the_seed_decides_tokens_and_order(tmp_path: Path) -> None:
    folder = saved(build("bert", BASIC), tmp_path)
    found = [studied(folder, seed=seed).claim("order.blind_without_position") for seed in (0, 0, 1)]
    assert found[0] == found[1]
    assert found[0].value != found[2].value


@pytest.mark.parametrize("keys", [6, 3])
def test_a_large_block_is_not_read_for_one_claim(
    keys: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = BASIC | {"hidden_size": 60, "num_key_value_heads": keys}
    folder = saved(build("llama", values), tmp_path)
    block = block_of(folder)
    held = sum(one.size for one in (block.queries, block.keys, block.values, block.output))
    assert block_numbers(open_located(parse_source(str(folder)), str(folder))) == held
    monkeypatch.setattr(reading, "MOST_READ", held)
    assert kernels(folder).order is not None
    monkeypatch.setattr(reading, "MOST_READ", held - 1)
    found = kernels(folder)
    assert found.order is None
    assert f"at most {held - 1:,} numbers, got {held:,}" in found.order_reason
    assert found.wavelengths
    claim = studied(folder).claim("order.blind_without_position")
    assert claim.verdict == "not applicable"
