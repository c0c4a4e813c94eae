"""`analyze` with layers, of models whose attention cannot be followed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hidden_models import BASIC, GROUPED, VOCABULARY, drawn, tiny
from typer.testing import CliRunner

import poslens
from poslens.cli import app
from poslens.errors import SourceError

TOKENS = drawn(3, 9)
MAMBA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "state_size": 4,
}
SINKS = GROUPED | {"num_local_experts": 2, "num_experts_per_tok": 1, "intermediate_size": 12}


@pytest.fixture
def mamba(tmp_path: Path) -> Path:
    tiny("mamba", **MAMBA).save_pretrained(tmp_path)
    return tmp_path


def test_a_model_without_attention_is_no_transformer(mamba: Path) -> None:
    said = r"no attention to follow .*expected a transformer, got model_type 'mamba'.*leave --lay"
    with pytest.raises(SourceError, match=said):
        poslens.analyze(mamba, nulls=0, tokens=TOKENS, layers=True)
    result = CliRunner().invoke(app, ["analyze", str(mamba), "--layers"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "got model_type 'mamba', a model without attention; leave --layers out" in result.stderr


def test_without_layers_nothing_speaks_of_a_table_that_is_not_there(mamba: Path) -> None:
    study = poslens.analyze(mamba, nulls=0)
    note = study.claim("attention.four_terms").note
    assert note.endswith("got a model without attention; kernel.* and attention.* need this block")


@pytest.mark.parametrize(
    ("family", "values"),
    [("longformer", BASIC | {"attention_window": [8] * 3}), ("gpt_oss", SINKS)],
)
def test_attention_that_cannot_be_seen_leaves_hidden_states(
    family: str, values: dict[str, object]
) -> None:
    """Longformer computes logits in bands, GPT-OSS gives softmax a column more."""
    study = poslens.analyze(tiny(family, **values), nulls=0, tokens=TOKENS, layers=True)
    shares = [study.measures[f"hidden.share.{part}"] for part in ("pos", "ctx", "resid")]
    np.testing.assert_allclose(np.sum(shares, axis=0), np.ones(4), rtol=0, atol=1e-12)
    assert study.measures["attention.share.bias"] is None
    for reason in (
        study.undefined["attention.share.bias"],
        study.claim("attention.four_terms").note,
        str(study.data["attention.note"].values),
    ):
        assert reason.endswith(
            "expected 3 arrays (head, 9, 9) given to softmax, got 0; attention.* of this model is "
            "not to be had, hidden.* do not need it"
        )
