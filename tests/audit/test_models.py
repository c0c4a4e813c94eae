"""Models have the truths that are claimed of them, and are read as `poslens.analyze` reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import poslens
from poslens.audit import MODELS, first_blocks
from poslens.audit.evidence import DRAWS
from poslens.audit.first_blocks import VOCABULARY, token_rows, with_table
from poslens.audit.model_draws import (
    alike,
    normal,
    of_distance,
    of_table,
    size_for,
    waves,
    without_position,
)
from poslens.audit.model_evidence import CONTEXTS, ModelAudit, read
from poslens.audit.models import ModelProcess
from poslens.audit.processes import OF_MODELS
from poslens.checkpoints.opening import Checkpoint
from poslens.text import drawn_contexts

LENGTH, DIM = 37, 36


def stored(length: int, dim: int, rng: np.random.Generator) -> Checkpoint:
    return with_table(waves(length, dim, rng, noise=0.05), token_rows(dim, rng), rng)


@pytest.mark.parametrize(
    "block",
    [
        stored,
        first_blocks.with_formula,
        first_blocks.with_slopes,
        first_blocks.with_buckets,
        first_blocks.with_rotation,
        partial(first_blocks.with_rotation, biases=0.0),
    ],
)
def test_verdicts_are_those_of_analyze(
    block: Callable[[int, int, np.random.Generator], Checkpoint], tmp_path: Path
) -> None:
    """Nothing that a claim looks at hangs on what the audit leaves out of an analysis."""
    checkpoint = block(LENGTH, DIM, np.random.default_rng(0))
    assert checkpoint.config is not None
    tensors = {name: checkpoint.tensors.read(name).values() for name in checkpoint.tensors.names()}
    save_file(
        {name: values.copy() for name, values in tensors.items()}, tmp_path / "model.safetensors"
    )
    (tmp_path / "config.json").write_text(json.dumps(dict(checkpoint.config.values)))
    tokens = drawn_contexts(VOCABULARY, CONTEXTS, LENGTH, 3).tokens
    study = poslens.analyze(str(tmp_path), nulls=DRAWS, seed=3, tokens=tokens)
    audit = ModelAudit(read(checkpoint, LENGTH, 3), 3)
    for claim in OF_MODELS:
        found, expected = audit.claim(claim), study.claim(claim)
        assert (found.value, found.verdict) == (expected.value, expected.verdict), claim
        assert found.p_value == expected.p_value
    assert audit.verdicts(OF_MODELS) == {claim: study.claim(claim).verdict for claim in OF_MODELS}


@pytest.mark.parametrize("process", MODELS.values(), ids=lambda process: process.name)
def test_every_claim_is_true_false_or_open_with_a_reason(process: ModelProcess) -> None:
    groups = (process.true, process.false, frozenset(process.open))
    assert sum(map(len, groups)) == len(OF_MODELS)
    assert frozenset.union(*groups) == frozenset(OF_MODELS)
    assert all(len(reason) > 10 for reason in process.open.values())


@pytest.mark.parametrize("share", [0.2, 0.025])
def test_normal_positions_have_their_share_of_the_logits(share: float) -> None:
    rng = np.random.default_rng(1)
    rows, tokens = normal(240, 96, rng, size=size_for(share)), token_rows(96, rng)
    found = read(with_table(rows, tokens, rng), 240, 0).logits.of_position()
    assert np.median(found) == pytest.approx(share, rel=0.08)


def test_matched_waves_meet_themselves_alone() -> None:
    found = of_table(LENGTH, DIM, np.random.default_rng(2), 0, table=waves, matched=True)
    assert found.kernel.shares == pytest.approx([1] * 6, abs=1e-12)
    mixed = of_table(LENGTH, DIM, np.random.default_rng(2), 0, table=waves)
    assert np.median(mixed.kernel.known_shares()) < 0.4


def test_rows_that_are_all_alike_tell_no_order() -> None:
    found = of_table(LENGTH, DIM, np.random.default_rng(3), 0, table=alike)
    assert found.kernel.order is not None
    assert max(found.kernel.order) < 1e-13
    assert set(found.kernel.shares) == {None}
    assert found.measures.values["norm.token_ratio"] == pytest.approx(0.5, rel=0.02)


def test_what_is_left_out_of_a_sum_is_missed() -> None:
    error = without_position(LENGTH, DIM, np.random.default_rng(4), 0).logits.error
    assert error is not None
    assert error > 0.1


def test_a_kernel_of_distance_has_no_other_part() -> None:
    pure = of_distance(LENGTH, DIM, np.random.default_rng(5), 0, of_pairs=0.0).kernel
    assert pure.shares == pytest.approx([1] * 6, abs=1e-12)
    mixed = of_distance(LENGTH, DIM, np.random.default_rng(5), 0, of_pairs=0.2).kernel
    # Of what is drawn for pairs, a line of L numbers is of distance by chance.
    assert np.mean(mixed.known_shares()) == pytest.approx(0.8, abs=0.06)
