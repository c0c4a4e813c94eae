"""The first block's terms against the models' own logits, and against loops over all pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brute_logits as brute
import numpy as np
import pytest
from anatomies import BASIC, CASES, GPT2, GROUPED, LENGTH, SPECIAL, T5, Case
from float64_models import build, own_logits, row_centred, saved
from numpy.testing import assert_allclose
from split_models import split

HEADS = 6
# Ids that no model takes for padding.
TOKENS = np.random.default_rng(5).integers(5, 61, (3, LENGTH))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_of_every_architecture(case: Case, tmp_path: Path) -> None:
    model = build(case.family, case.values, case.implementation)
    folder = saved(model, tmp_path)
    anatomy = case.anatomy(model)
    own = row_centred(own_logits(case.stack(model), TOKENS[0]), causal=anatomy.causal)
    spread = np.nanstd(own)
    splits = [split(folder, TOKENS, case.part, head=head) for head in range(HEADS)]
    for head, found in enumerate(splits):
        assert found.head == head
        assert found.picture.shape == (5, LENGTH, LENGTH)
        assert_allclose(found.picture.sum(axis=0), own[head], rtol=0, atol=1e-9 * spread)
    found = splits[0]
    assert found.reconstruction_error <= 1e-11

    shares = found.sums.shares()
    assert_allclose(shares, brute.shares(anatomy, TOKENS), rtol=0, atol=1e-6)
    assert_allclose(shares.sum(axis=0), 1, rtol=0, atol=1e-9)
    for got, want in zip(
        (found.means.queries, found.means.keys), brute.means(anatomy, TOKENS), strict=True
    ):
        assert_allclose(got, want, rtol=0, atol=1e-10 * np.abs(want).max())
    assert found.means.scale == pytest.approx(anatomy.scale, rel=1e-14)
    assert found.means.causal is anatomy.causal
    assert found.means.origin == "mean queries and keys over 3 contexts of 43 tokens"


YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
BART = SPECIAL | {
    "vocab_size": 61,
    "d_model": 48,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "encoder_ffn_dim": 10,
    "decoder_ffn_dim": 10,
    "decoder_start_token_id": 3,
    "max_position_embeddings": 71,
}
# What the others do not have: pairs of neighbours, layers that do not rotate, vectors lengthened,
# norms of all heads together, one key for all, types without a table, narrow embeddings.
OTHERS: list[tuple[str, dict[str, Any], str | None]] = [
    ("cohere", GROUPED, None),
    ("smollm3", GROUPED | {"no_rope_layers": [0]}, None),
    ("qwen2", GROUPED | {"rope_parameters": YARN}, None),
    ("olmo2", BASIC | {"num_key_value_heads": 2}, None),
    ("gpt_bigcode", GPT2, None),
    ("ctrl", GPT2 | {"n_embd": 36, "dff": 10}, None),
    ("electra", BASIC | {"embedding_size": 17}, None),
    ("albert", BASIC | {"embedding_size": 17}, None),
    ("xlm-roberta-xl", BASIC, None),
    ("esm", BASIC | {"position_embedding_type": "rotary", "mask_token_id": 2}, None),
    ("roformer", BASIC | {"embedding_size": 48}, None),
    ("nomic_bert", BASIC, None),
    ("bart", BART, "encoder"),
    ("mbart", BART, "decoder"),
    ("umt5", T5, "decoder"),
]
WITHIN = {"roformer": 1e-6}  # its table of sines is stored in float32


@pytest.mark.parametrize(("family", "values", "part"), OTHERS, ids=[one[0] for one in OTHERS])
def test_of_what_else_there_is(
    family: str, values: dict[str, Any], part: str | None, tmp_path: Path
) -> None:
    model = build(family, values)
    folder = saved(model, tmp_path)
    found = [split(folder, TOKENS, part, head=head) for head in range(HEADS)]
    causal = found[0].means.causal
    stack = model if part is None else model.get_submodule(part)
    own = row_centred(own_logits(stack, TOKENS[0]), causal=causal)
    assert causal is bool(np.isnan(found[0].picture).any())
    for one, logits in zip(found, own, strict=True):
        error = np.nanmax(np.abs(one.picture.sum(axis=0) - logits))
        assert error <= WITHIN.get(family, 1e-9) * np.nanstd(own)
    assert_allclose(found[0].sums.shares().sum(axis=0), 1, rtol=0, atol=1e-9)
