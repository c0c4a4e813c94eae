"""What a block adds to the stream at real positions, from the record and the model's own scheme.

Rotations, slopes and buckets are taken from the model; the rest is the record, in float64. Inputs
are long enough that distances pass the edges of buckets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from block_files import block_of, saved
from block_models import (
    SPLIT_HEADS,
    Case,
    build,
    by_projections,
    close,
    module,
    observe,
)
from block_numpy import gathered, vectors_of

LENGTH = 43
IDS = 5 + torch.arange(LENGTH)[None] * 7 % 32
MASK = torch.ones_like(IDS)
BASIC = {
    "vocab_size": 37,
    "hidden_size": 72,
    "intermediate_size": 10,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "max_position_embeddings": 71,
    "bos_token_id": 3,
    "eos_token_id": 4,
    "pad_token_id": 0,
}
GROUPED = BASIC | {"num_key_value_heads": 2}
FALCON = {
    "attention": "h.{layer}.self_attention",
    "output": "h.{layer}.self_attention.dense",
    "first": "h.{layer}.input_layernorm",
    "watched": SPLIT_HEADS,
}
LLAMA = {
    "attention": "layers.{layer}.self_attn",
    "output": "layers.{layer}.self_attn.o_proj",
    "first": "layers.{layer}.input_layernorm",
}
ROTATING = [
    Case("llama", GROUPED, **LLAMA),
    Case("llama", GROUPED, layer=1, **LLAMA),
    Case("qwen3", GROUPED | {"head_dim": 14}, **LLAMA),
    Case("gemma2", GROUPED | {"head_dim": 14, "attn_logit_softcapping": 0.7}, **LLAMA),
    Case(
        "gpt_neox",
        BASIC | {"rotary_pct": 0.5},
        "layers.{layer}.attention",
        "layers.{layer}.attention.dense",
        "layers.{layer}.input_layernorm",
    ),
    Case("falcon", BASIC, **FALCON),
    Case(
        "falcon",
        BASIC | {"new_decoder_architecture": True, "num_kv_heads": 3},
        **FALCON | {"first": "h.{layer}.ln_attn"},
    ),
]


def turned(vectors: np.ndarray, cosines: np.ndarray, sines: np.ndarray) -> np.ndarray:
    """The first coordinates of a head rotated, the first half of them with the second."""
    turning, rest = np.split(vectors, [cosines.shape[-1]], axis=-1)
    first, second = np.split(turning, 2, axis=-1)
    quarter = np.concatenate([-second, first], axis=-1)
    return np.concatenate([turning * cosines + quarter * sines, rest], axis=-1)


@pytest.mark.parametrize("case", ROTATING, ids=str)
def test_models_that_rotate(case: Case, tmp_path: Path) -> None:
    model = build(case, head=False)
    turns: list[tuple[torch.Tensor, torch.Tensor]] = []
    module(model, "rotary_emb").register_forward_hook(lambda _, __, out: turns.append(out))
    seen = observe(model, case, input_ids=IDS, attention_mask=MASK)
    cosines, sines = (one[0].double().numpy() for one in turns[0])
    assert np.abs(sines).max() > 0.9

    block = block_of(saved(model, tmp_path, silent=True), layer=case.layer)
    queries, keys, values = vectors_of(block, seen.rows)
    queries, keys = turned(queries, cosines, sines), turned(keys, cosines, sines)
    close(gathered(block, queries, keys, values), seen.output)


def test_falcon_with_slopes(tmp_path: Path) -> None:
    case = Case("falcon", BASIC, more={"alibi": True, "bias": True}, **FALCON)
    # Not through the eager path: in transformers 5.23 it adds the bias twice.
    model = build(case, head=False, implementation="sdpa")
    plain, biases = torch.nn.functional.scaled_dot_product_attention, []

    def see(*inputs: torch.Tensor, attn_mask: torch.Tensor, **more: Any) -> torch.Tensor:
        biases.append(attn_mask[0].double().numpy())
        return plain(*inputs, attn_mask=attn_mask, **more)

    with mock.patch("torch.nn.functional.scaled_dot_product_attention", see):
        seen = observe(model, case, input_ids=IDS, attention_mask=MASK)
    block = block_of(saved(model, tmp_path, silent=True))
    close(gathered(block, *vectors_of(block, seen.rows), biases[0]), seen.output)


@pytest.mark.parametrize("family", ["t5", "umt5"])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("layer", [0, 1])
def test_t5_with_buckets(family: str, part: str, layer: int, tmp_path: Path) -> None:
    values = {key: BASIC[key] for key in ("vocab_size", "pad_token_id", "eos_token_id")}
    case = Case(
        family,
        values
        | {
            "d_model": 18,
            "d_kv": 5,
            "d_ff": 10,
            "num_heads": 6,
            "num_layers": 2,
            "decoder_start_token_id": 0,
            "relative_attention_num_buckets": 14,
            "relative_attention_max_distance": 40,
        },
        f"{part}.block.{{layer}}.layer.0.SelfAttention",
        f"{part}.block.{{layer}}.layer.0.SelfAttention.o",
        f"{part}.block.{{layer}}.layer.0.layer_norm",
        inputs="pair",
        part=part,
        layer=layer,
    )
    model = build(case, head=False)
    seen = observe(model, case, input_ids=IDS, decoder_input_ids=IDS.flip(1))
    # The layers of T5 share the numbers of the first one; those of UMT5 have their own.
    having = case.attention.format(layer=layer if family == "umt5" else 0)
    bias = module(model, having).compute_bias(LENGTH, LENGTH)[0].detach().double().numpy()
    block = block_of(saved(model, tmp_path, silent=True), part, layer)
    close(gathered(block, *vectors_of(block, seen.rows), bias), seen.output)
    assert block.causal is (part == "decoder")


def test_mpnet_with_buckets(tmp_path: Path) -> None:
    case = Case(
        "mpnet",
        BASIC,
        "encoder.layer.{layer}.attention.attn",
        "encoder.layer.{layer}.attention.attn.o",
        "embeddings.LayerNorm",
        watched=by_projections("q", "k", "v"),
    )
    model = build(case, head=False)
    seen = observe(model, case, input_ids=IDS, attention_mask=MASK)
    bias = model.encoder.compute_position_bias(torch.zeros(1, LENGTH, 1))[0]
    block = block_of(saved(model, tmp_path, silent=True))
    close(
        gathered(block, *vectors_of(block, seen.rows), bias.detach().double().numpy()), seen.output
    )


def test_what_is_not_causal_sees_the_end(tmp_path: Path) -> None:
    """Gemma follows ``use_bidirectional_attention`` where torch computes the attention."""
    for both in (False, True):
        case = Case("gemma", GROUPED, more={"use_bidirectional_attention": both}, **LLAMA)
        model = build(case, head=False, implementation="sdpa")
        other = IDS.clone()
        other[0, -1] = 6
        with torch.no_grad():
            first, second = (model(ids).last_hidden_state[0, 0] for ids in (IDS, other))
        block = block_of(saved(model, tmp_path / str(both), silent=False))
        assert block.causal is torch.equal(first, second) is not both


def test_a_block_does_not_know_the_order_of_what_it_reads(tmp_path: Path) -> None:
    """Without positions, a permuted input gives the same vectors, permuted."""
    case = Case(
        "bert",
        BASIC,
        "encoder.layer.{layer}.attention.self",
        "encoder.layer.{layer}.attention.output.dense",
        "embeddings.LayerNorm",
    )
    block = block_of(saved(build(case, head=False), tmp_path, silent=True))
    rng = np.random.default_rng(0)
    rows, order = rng.normal(size=(LENGTH, 72)), rng.permutation(LENGTH)
    plain = gathered(block, *vectors_of(block, rows))
    permuted = gathered(block, *vectors_of(block, rows[order]))
    np.testing.assert_allclose(permuted, plain[order], rtol=1e-10, atol=1e-12)
