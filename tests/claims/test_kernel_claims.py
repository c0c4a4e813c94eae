"""The three claims about kernels: on constructed evidence, and on models made to fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import poslens
from poslens.claims import decide_all
from poslens.claims.claim import Claim, Verdict
from poslens.claims.evidence import Evidence, KernelEvidence
from poslens.claims.null_draws import NullDraws
from poslens.encodings.sinusoids import Sinusoidal
from poslens.geometry.table import TableMeasures

BLIND, LEARNS, ONLY = (
    "order.blind_without_position",
    "attention.learns_distance",
    "relative.distance_only",
)
SUPPORTED, CONTRADICTED = Verdict.SUPPORTED, Verdict.CONTRADICTED
INCONCLUSIVE, INAPPLICABLE = Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE


def decided(name: str, draws: np.ndarray | None = None, **kernel: Any) -> Claim:
    """A claim on kernels with this evidence, of a model without a table."""
    shares = kernel.get("shares", ())
    evidence = Evidence(
        rows=np.empty((0, 0)),
        raw=np.empty((0, 0)),
        measures=TableMeasures(),
        no_table="nothing is added",
        kernel=KernelEvidence(**{"peaks": (None,) * len(shares)} | kernel),
        nulls={}
        if draws is None
        else {"permutation": NullDraws("permutation", {"kernel.relative_share": draws})},
    )
    (found,) = [claim for claim in decide_all(evidence) if claim.id == name]
    return found


@pytest.mark.parametrize(
    ("order", "verdict"),
    [
        ((1e-16, 0.5), SUPPORTED),
        ((1e-5, 1e-3), SUPPORTED),
        ((1e-16, 9.9e-4), CONTRADICTED),  # positions that tell no order
        ((1.1e-5, 0.5), CONTRADICTED),  # and order without positions
        (None, INAPPLICABLE),
    ],
)
def test_order(order: tuple[float, float] | None, verdict: Verdict) -> None:
    claim = decided(BLIND, order=order, order_reason="of this reason")
    assert claim.verdict is verdict
    assert claim.bar == ">= 0.001"
    if order is None:
        assert (claim.value, claim.note) == (None, "of this reason")
    else:
        assert claim.note.startswith("two orders of the same tokens differ by")
        assert claim.value == (order[1] if order[0] <= 1e-5 else 0)


LOW = np.linspace(0.01, 0.3, 199)


@pytest.mark.parametrize(
    ("shares", "draws", "verdict", "p_value"),
    [
        ((0.2, 0.5, 0.9), LOW, SUPPORTED, 1 / 200),
        ((0.2, None, 0.9), LOW, SUPPORTED, 1 / 200),  # the median of two
        ((0.2, 0.49, 0.9), LOW, CONTRADICTED, 1 / 200),
        ((0.6, 0.6, 0.6), LOW + 0.5, INCONCLUSIVE, None),  # random order shows the same
        ((0.6, 0.6, 0.6), LOW[:98], INCONCLUSIVE, 1 / 99),  # too few draws to know
        ((0.6, 0.6, 0.6), None, INCONCLUSIVE, None),
        ((0.6, 0.6, 0.6), np.full(99, np.nan), INCONCLUSIVE, None),
    ],
)
def test_learning_distance(
    shares: tuple[float | None, ...],
    draws: np.ndarray | None,
    verdict: Verdict,
    p_value: float | None,
) -> None:
    claim = decided(LEARNS, draws, shares=shares)
    assert claim.verdict is verdict
    assert claim.value == np.median([share for share in shares if share is not None])
    if p_value is not None:
        assert claim.p_value == pytest.approx(p_value, rel=1e-12)
        assert claim.null == "permutation"


def test_learning_distance_names_heads_that_look_back() -> None:
    claim = decided(LEARNS, LOW, shares=(0.9, 0.4, 0.8, None), peaks=(-1, -1, 0, None))
    assert claim.note.startswith(
        "2 of 4 heads are mostly a function of distance; previous-token heads: 0;"
    )


@pytest.mark.parametrize(
    ("kernel", "note"),
    [
        ({"relative": True, "shares": (1.0,)}, "speaks of what is learned"),
        ({"trained": False, "shares": (1.0,)}, "speaks of trained attention"),
        (
            {"left_out": "terms of content", "shares": (1.0,)},
            "speaks of all that attention does by position; the kernel is of the table alone, "
            "without terms of content",
        ),
        ({"shares": (None, None)}, "the kernel of every head is constant along its rows"),
        ({"reason": "of this reason"}, "of this reason"),
        ({}, "needs the model's attention; a position table alone does not decide it"),
    ],
)
def test_where_learning_distance_is_not_spoken_of(kernel: dict[str, Any], note: str) -> None:
    claim = decided(LEARNS, LOW, **kernel)
    assert (claim.verdict, claim.value) == (INAPPLICABLE, None)
    assert claim.note.startswith(note)


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ((1.0, 1.0), SUPPORTED),
        ((1.0, None, 1 - 1e-6), SUPPORTED),
        ((1.0, 1 - 1e-5), CONTRADICTED),
        ((None,), INAPPLICABLE),
        ((), INAPPLICABLE),
    ],
)
def test_distance_only(shares: tuple[float | None, ...], verdict: Verdict) -> None:
    claim = decided(ONLY, relative=True, shares=shares)
    assert claim.verdict is verdict
    if verdict is not INAPPLICABLE:
        assert claim.value == min(share for share in shares if share is not None)
    assert decided(ONLY, shares=shares).note.startswith("speaks of relative schemes")


LENGTH, DIM, HEADS = 65, 48, 6


def bert(folder: Path, table: np.ndarray, projection: np.ndarray) -> Path:
    """A BERT of one layer, queries and keys by the same projection, without LayerNorm's γ."""
    rng = np.random.default_rng(0)
    at = "encoder.layer.0.attention."
    tensors = {
        "embeddings.position_embeddings.weight": table,
        "embeddings.word_embeddings.weight": rng.standard_normal((37, DIM)),
        "embeddings.LayerNorm.weight": np.ones(DIM),
        "embeddings.LayerNorm.bias": np.zeros(DIM),
        f"{at}self.query.weight": projection,
        f"{at}self.key.weight": projection,
        f"{at}self.value.weight": rng.standard_normal((DIM, DIM)),
        f"{at}output.dense.weight": rng.standard_normal((DIM, DIM)),
    } | {f"{at}{name}.bias": np.zeros(DIM) for name in
         ("self.query", "self.key", "self.value", "output.dense")}  # fmt: skip
    config = {
        "model_type": "bert", "hidden_size": DIM, "num_attention_heads": HEADS,
        "num_hidden_layers": 1, "max_position_embeddings": LENGTH, "vocab_size": 37,
    }  # fmt: skip
    save_file({k: v.astype(np.float32) for k, v in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_bert_of_sinusoids_knows_distance(tmp_path: Path) -> None:
    study = poslens.analyze(
        str(bert(tmp_path, Sinusoidal(DIM).table(np.arange(LENGTH)), np.eye(DIM))), nulls=199
    )
    claim = study.claim(LEARNS)
    assert claim.verdict is SUPPORTED
    assert 0.7 < claim.value < 0.999  # LayerNorm takes each row's mean away, which is not relative
    assert claim.p_value == pytest.approx(1 / 200)
    assert study.claim(BLIND).verdict is SUPPORTED
    assert study.claim(ONLY).verdict is INAPPLICABLE


def test_a_random_bert_does_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    folder = bert(tmp_path, rng.standard_normal((LENGTH, DIM)), rng.standard_normal((DIM, DIM)))
    study = poslens.analyze(str(folder), nulls=19)
    claim = study.claim(LEARNS)
    assert claim.verdict is CONTRADICTED
    assert claim.value < 0.3
    assert claim.p_value > 0.01
    assert study.claim(BLIND).verdict is SUPPORTED


def test_a_bert_of_equal_rows_knows_nothing(tmp_path: Path) -> None:
    row = np.random.default_rng(2).standard_normal(DIM)
    study = poslens.analyze(str(bert(tmp_path, np.tile(row, (LENGTH, 1)), np.eye(DIM))), nulls=19)
    assert study.claim(BLIND).verdict is CONTRADICTED
    assert study.claim(BLIND).value <= 1e-12
    claim = study.claim(LEARNS)
    assert claim.verdict is INAPPLICABLE
    assert claim.note == "the kernel of every head is constant along its rows"


@pytest.mark.parametrize("name", ["alibi:heads=12", "rope:head_dim=10", "t5:heads=6"])
def test_relative_encodings_are_that(name: str) -> None:
    claim = poslens.analyze(name, nulls=0).claim(ONLY)
    assert claim.verdict is SUPPORTED
    assert claim.value == pytest.approx(1, abs=1e-9)


def test_bars_can_be_changed(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    folder = bert(tmp_path, rng.standard_normal((LENGTH, DIM)), np.eye(DIM))
    study = poslens.analyze(str(folder), nulls=0, bars={BLIND: 1e9, LEARNS: 0.999})
    assert study.claim(BLIND).verdict is CONTRADICTED
    assert study.claim(BLIND).bar == ">= 1e+09"
    assert study.claim(LEARNS).verdict is CONTRADICTED
