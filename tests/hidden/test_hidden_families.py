"""Sums of terms against the model's own attention logits, in float32, for many families."""

from __future__ import annotations

from typing import Any

import pytest
from hidden_models import GROUPED, drawn, tiny

from poslens.hidden import follow

GPT = {"n_head": 6, "n_layer": 3}
MPT = {"d_model": 48, "n_heads": 6, "n_layers": 3}
APART = GROUPED | {"head_dim": 14}
CASES: list[tuple[str, dict[str, Any], str | None]] = [
    ("t5", {}, None),
    ("t5", {}, "decoder"),
    ("bart", {}, "encoder"),
    ("bart", {}, "decoder"),
    ("bloom", GPT, None),
    ("falcon", {}, None),
    ("falcon", {"implementation": "sdpa"}, None),
    ("mpt", MPT, None),
    ("qwen3", APART, None),
    ("gemma2", APART | {"attn_logit_softcapping": 0.7}, None),
    ("olmo2", GROUPED, None),
    ("stablelm", GROUPED, None),
    (
        "mixtral",
        GROUPED | {"num_local_experts": 2, "num_experts_per_tok": 1, "intermediate_size": 12},
        None,
    ),
    ("gptj", GPT | {"n_embd": 48, "rotary_dim": 4}, None),
    ("ctrl", GPT | {"n_embd": 48, "dff": 10}, None),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "implementation": "sdpa"}, None),
    ("roberta", {}, None),
    ("electra", {"embedding_size": 20}, None),
    ("albert", {"embedding_size": 20}, None),
    ("distilbert", {"dim": 48, "n_heads": 6, "n_layers": 3, "hidden_dim": 10}, None),
    ("modernbert", {"local_attention": 128}, None),
    ("xlm", {"emb_dim": 48, "n_heads": 6, "n_layers": 3}, None),
    ("xglm", {"d_model": 48, "attention_heads": 6, "num_layers": 3, "ffn_dim": 10}, None),
]


@pytest.mark.parametrize(("family", "changed", "part"), CASES)
def test_terms_sum_to_the_models_own_logits(
    family: str, changed: dict[str, Any], part: str | None
) -> None:
    found = follow(tiny(family, **changed), drawn(2), part=part)
    assert found.reasons == {}
    assert found.part == (part or ("encoder" if family == "t5" else None))
    errors = [error for error in found.reconstruction if error is not None]
    assert len(errors) == len(found.terms) == len(found.positions) - 1
    assert max(errors) <= 1e-4
