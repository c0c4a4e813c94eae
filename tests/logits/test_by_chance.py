"""What position has of the logits by chance, where it is a mean over contexts, decides no claim."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import brute_logits as brute
import numpy as np
import pytest
from anatomies import CASES, Case
from anatomies import LENGTH as OF_CASES
from float64_models import build, saved
from numpy.testing import assert_allclose
from split_models import split, table_in

import poslens
from annotations import unchecked
from poslens import Verdict
from poslens.attention import TERMS
from poslens.audit import first_blocks
from poslens.audit.first_blocks import HEADS, VOCABULARY, token_rows, weights
from poslens.checkpoints.config import Config
from poslens.checkpoints.describe import description_of
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.python_objects import PythonTensors
from poslens.claims import decide_all
from poslens.claims.evidence import Evidence, LogitEvidence
from poslens.geometry.table import TableMeasures
from poslens.labelled_logits import first_evidence
from poslens.logits import first_block_logits
from poslens.text import Contexts, drawn_contexts

CLAIM = "attention.position_contributes"
LENGTH, DIM = 19, 48
TOKENS = np.random.default_rng(5).integers(5, 61, (3, OF_CASES))
WITHOUT_TABLE = [case for case in CASES if case.family not in {"gpt2", "bert", "mpnet", "opt"}]

DrawModel: TypeAlias = Callable[[np.random.Generator], Checkpoint]


def llama(rng: np.random.Generator, biases: float = 0) -> Checkpoint:
    return first_blocks.with_rotation(LENGTH, DIM, rng, biases=biases)


def gpt_neox(rng: np.random.Generator) -> Checkpoint:
    block = "layers.0."
    tensors = {
        "embed_in.weight": token_rows(DIM, rng),
        f"{block}input_layernorm.weight": 1 + 0.1 * rng.standard_normal(DIM),
        f"{block}input_layernorm.bias": np.zeros(DIM),
        f"{block}attention.query_key_value.weight": np.concatenate(
            [weights(DIM, rng) for _ in range(3)]
        ),
        f"{block}attention.query_key_value.bias": np.zeros(3 * DIM),
        f"{block}attention.dense.weight": weights(DIM, rng),
        f"{block}attention.dense.bias": np.zeros(DIM),
    }
    values = {
        "model_type": "gpt_neox",
        "vocab_size": VOCABULARY,
        "hidden_size": DIM,
        "num_attention_heads": HEADS,
        "num_hidden_layers": 1,
        "max_position_embeddings": LENGTH,
        "rotary_pct": 0.5,
    }
    return Checkpoint(PythonTensors(tensors, "a gpt_neox"), Config(values, "the config"), "")


def t5(rng: np.random.Generator, buckets: float = 1e-9) -> Checkpoint:
    """An encoder whose biases by distance are multiplied by ``buckets``; all 0 would be refused."""
    found = first_blocks.with_buckets(LENGTH, DIM, rng)
    tensors = {name: found.tensors.read(name).values() for name in found.tensors.names()}
    name = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    tensors[name] = tensors[name] * buckets
    return Checkpoint(PythonTensors(tensors, "a t5"), found.config, "")


def evidence(draw: DrawModel, contexts: int, seed: int) -> LogitEvidence:
    checkpoint = draw(np.random.default_rng(seed))
    read = drawn_contexts(VOCABULARY, contexts, LENGTH, seed)
    found = first_block_logits(checkpoint, description_of(checkpoint), None, read.tokens)
    return first_evidence(found.sums, found.reconstruction_error, read, None)


def decided(logits: LogitEvidence) -> poslens.Claim:
    none = np.empty((0, 0))
    known = Evidence(none, none, TableMeasures(), no_table="nothing is added", logits=logits)
    (found,) = [claim for claim in decide_all(known) if claim.id == CLAIM]
    return found


@pytest.mark.parametrize("case", WITHOUT_TABLE, ids=str)
def test_it_is_what_leaving_each_context_out_of_its_mean_takes_off(
    case: Case, tmp_path: Path
) -> None:
    model = build(case.family, case.values, case.implementation)
    sums = split(saved(model, tmp_path), TOKENS, case.part).sums
    logits = first_evidence(sums, 0.0, Contexts(TOKENS, ""), None)
    others = brute.shares(case.anatomy(model), TOKENS, brute.stream_of_others)
    assert logits.by_chance().min() > 0.01
    assert_allclose(logits.of_position() - logits.by_chance(), others[1:4].sum(0), atol=1e-6)
    assert_allclose(sums.shares()[TERMS.index("bias")], others[4], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", [case for case in CASES if case not in WITHOUT_TABLE], ids=str)
def test_a_table_shows_nothing_by_chance(case: Case, tmp_path: Path) -> None:
    folder = saved(build(case.family, case.values), tmp_path)
    sums = split(folder, TOKENS).sums
    logits = first_evidence(sums, 0.0, Contexts(TOKENS, ""), table_in(folder))
    assert np.array_equal(logits.by_chance(), np.zeros(HEADS))
    claim = decided(logits)
    assert claim.value == np.median(sums.shares()[1:4].sum(axis=0))
    assert "by chance" not in claim.note


@pytest.mark.parametrize("contexts", [32, 64])
@pytest.mark.parametrize("draw", [llama, gpt_neox, t5])
def test_a_model_without_position_is_not_supported(draw: DrawModel, contexts: int) -> None:
    with unchecked():
        found = [evidence(draw, contexts, seed) for seed in range(20)]
    claims = [decided(one) for one in found]
    assert {claim.verdict for claim in claims} == {Verdict.CONTRADICTED}
    # The mean over 251 tokens is not 0, and of a rotation counts as position: 2 ÷ 251.
    assert abs(np.mean([claim.value for claim in claims])) < 0.01
    as_measured = np.mean([np.median(one.of_position()) for one in found])
    assert as_measured > 1.8 / contexts


@pytest.mark.parametrize(
    ("draw", "least"),
    [
        (partial(llama, biases=1), 0.4),
        (partial(t5, buckets=3), 0.3),
        (lambda rng: first_blocks.with_slopes(LENGTH, DIM, rng), 0.1),
    ],
    ids=["llama", "t5", "bloom"],
)
def test_where_position_contributes_few_contexts_tell_what_many_do(
    draw: DrawModel, least: float
) -> None:
    with unchecked():
        found = [evidence(draw, 32, seed) for seed in range(20)]
        many = evidence(draw, 200, 0)
    claims = [decided(one) for one in found]
    assert {claim.verdict for claim in claims} == {Verdict.SUPPORTED}
    assert min(claim.value for claim in claims) > least
    assert claims[0].value == pytest.approx(decided(many).value, abs=0.02)


def test_every_layer_and_the_first_alone_decide_alike(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.family == "llama")
    folder = saved(build(case.family, case.values), tmp_path)
    first, layered = (
        poslens.analyze(str(folder), nulls=0, tokens=TOKENS, layers=layers).claim(CLAIM)
        for layers in (False, True)
    )
    assert first.value == pytest.approx(layered.value, abs=1e-5)
    assert "that 3 contexts show by chance" in first.note
    assert first.note == layered.note
