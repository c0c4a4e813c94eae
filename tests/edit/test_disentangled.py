"""DeBERTa with a table that is added: it grows, and its relative attention stays what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from edited_models import MASK, MASKED, POSITIONS, drawn, tiny
from written_models import loaded, opened

import poslens
from poslens.edit.models import language_model
from poslens.edit.places import place_of
from poslens.edit.results import Extension
from poslens.edit.scoring import score
from poslens.edit.written import write_extended

LONG = 2 * POSITIONS
SPAN = "max_relative_positions"
RELATIVE = {
    "relative_attention": True,
    "position_biased_input": True,
    "pos_att_type": ["c2p", "p2c"],
    "type_vocab_size": 0,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "first": ("deberta", {}),
    "second": ("deberta-v2", {}),
    "buckets": ("deberta-v2", {"position_buckets": 8}),
}
TOKENS = drawn(2, POSITIONS)


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    family, own = KINDS[request.param]
    tiny(family, MASKED, **RELATIVE, **own).save_pretrained(tmp_path / "source")
    return tmp_path / "source"


def logits(model: hf.PreTrainedModel, tokens: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.as_tensor(tokens)).logits.numpy()


def told(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())


def extended(source: Path, to: int, method: str, **settings: Any) -> Extension:
    return poslens.extend(str(source), to, method=method, mask=MASK, **settings)


def test_a_longer_table_leaves_the_relative_attention(source: Path, tmp_path: Path) -> None:
    before = hf.AutoModelForMaskedLM.from_pretrained(source).eval()
    write_extended(extended(source, LONG, "tile"), tmp_path / "out")
    after, _ = loaded(type(before), tmp_path / "out")
    assert told(tmp_path / "out")["max_position_embeddings"] == LONG
    assert told(tmp_path / "out")[SPAN] == POSITIONS
    assert np.array_equal(logits(after, TOKENS), logits(before, TOKENS))
    assert np.isfinite(logits(after, drawn(1, LONG))).all()


def test_what_is_measured_is_what_is_written(source: Path, tmp_path: Path) -> None:
    found = extended(source, LONG, "linear", tokens=drawn(2, LONG))
    write_extended(found, tmp_path / "out")
    scores = next(one.scores for one in found.tried if one.method == "linear")
    assert scores is not None
    with language_model(tmp_path / "out", mask=MASK) as language:
        written = score(language, {"own": language.original()}, drawn(2, LONG))["own"]
    np.testing.assert_allclose(written.losses, scores.losses, rtol=0, atol=1e-5)


def test_longer_twice_is_longer_once(source: Path, tmp_path: Path) -> None:
    write_extended(extended(source, POSITIONS + 5, "tile"), tmp_path / "some")
    write_extended(extended(tmp_path / "some", LONG, "repeat_last"), tmp_path / "more")
    assert told(tmp_path / "more")[SPAN] == POSITIONS
    one = hf.AutoModelForMaskedLM.from_pretrained(source).eval()
    other, _ = loaded(type(one), tmp_path / "more")
    assert np.array_equal(logits(other, TOKENS), logits(one, TOKENS))


def test_the_buckets_would_be_others_at_the_new_length(tmp_path: Path) -> None:
    """So that the tests above can fail."""
    family, own = KINDS["buckets"]
    before = tiny(family, MASKED, **RELATIVE, **own)
    after = tiny(family, MASKED, **RELATIVE, **own, **{SPAN: LONG})
    after.load_state_dict(before.state_dict())
    assert np.abs(logits(after, TOKENS) - logits(before, TOKENS)).max() > 0.1


@pytest.mark.parametrize("more", [{"relative_attention": False}, {SPAN: 50}])
def test_a_span_that_does_not_follow_the_table_is_left(
    more: dict[str, Any], tmp_path: Path
) -> None:
    tiny("deberta-v2", MASKED, **RELATIVE | more).save_pretrained(tmp_path)
    length = place_of(opened(tmp_path), None).length
    assert length is not None
    assert length.values(LONG) == {("max_position_embeddings",): LONG}
