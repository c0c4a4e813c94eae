"""`analyze` with layers: a chosen head, and models whose attention cannot be followed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from hidden_models import BASIC, GROUPED, VOCABULARY, drawn, tiny
from typer.testing import CliRunner, Result

import poslens
from poslens import Verdict
from poslens.cli import app
from poslens.errors import SettingError, SourceError
from poslens.hidden import follow

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


XLNET = {"vocab_size": VOCABULARY, "d_model": 48, "n_layer": 3, "n_head": 6, "d_inner": 10}


def xlnet() -> hf.PreTrainedModel:
    torch.manual_seed(0)
    return hf.XLNetModel(hf.XLNetConfig(**XLNET)).eval()


@pytest.mark.parametrize(
    ("model", "kind", "layers"),
    [(xlnet, "xlnet", 4), (lambda: tiny("fnet"), "fnet", 4)],
)
def test_a_kind_that_is_not_known_is_followed_without_a_table(
    model: Callable[[], hf.PreTrainedModel], kind: str, layers: int, tmp_path: Path
) -> None:
    """XLNet encodes distances from relative sinusoids; FNet adds a table and has no attention."""
    model().save_pretrained(tmp_path / kind)
    study = poslens.analyze(tmp_path / kind, nulls=0, tokens=TOKENS, layers=True)
    want = follow(tmp_path / kind, TOKENS)
    assert study.measures["hidden.share.pos"] == list(want.shares[:, 0])
    assert len(study.measures["hidden.share.pos"]) == layers
    assert [one.layer for one in study.layers] == list(range(layers))
    assert f"attention of model_type '{kind}'" in study.undefined["attention.share.bias"]
    assert "no entry says where its projections are" in study.undefined["attention.share.bias"]
    said = f"nothing says what model_type '{kind}' does with positions"
    assert study.claim("norm.stable").note == said
    assert (study.length, study.source.scheme, study.source.family) == (None, "unknown", kind)
    assert {claim.verdict for claim in study.claims} == {Verdict.NOT_APPLICABLE}
    study.save(tmp_path / "study.nc")
    assert poslens.open_study(tmp_path / "study.nc") == study
    study.report(tmp_path / "page.html")
    assert "plot-layered-paths" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_its_tensors_are_still_measured_where_one_is_named(tmp_path: Path) -> None:
    tiny("fnet").save_pretrained(tmp_path)
    with pytest.raises(SourceError, match=r"unknown model_type 'fnet'.*::TENSOR"):
        poslens.analyze(tmp_path, nulls=0)
    named = f"{tmp_path}::embeddings.position_embeddings.weight"
    assert poslens.analyze(named, nulls=0).length == 71
    with pytest.raises(SettingError, match="no table of which to take --rows"):
        poslens.analyze(tmp_path, nulls=0, tokens=TOKENS, layers=True, rows=(0, 9))


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_the_head_that_is_shown_can_be_chosen(family: str, tmp_path: Path) -> None:
    model = tiny(family)
    for place, layers in (((0, 4), False), ((0, 4), True), ((2, 5), True)):
        study = poslens.analyze(model, nulls=0, tokens=TOKENS, layers=layers, head=place)
        want = follow(model, TOKENS, head=place).picture
        assert want is not None
        shown = study.data["attention.logits"].values
        np.testing.assert_allclose(shown, want, rtol=1e-6, atol=1e-6)  # kept in float32
        assert tuple(study.data["attention.logits_place"].values) == place
        assert list(study.data["attention.logits_token"].values) == [str(n) for n in TOKENS[0]]
        assert study.settings.head == place
        assert study.as_json()["settings"]["head"] == list(place)
        study.save(tmp_path / "study.nc")
        assert poslens.open_study(tmp_path / "study.nc") == study


@pytest.mark.parametrize(
    ("head", "layers", "said"),
    [
        ((0, 6), False, "no such head: expected a head from 0 to 5, got 6"),
        ((1, 6), True, "no such head: expected a head from 0 to 5 in layer 1, got layer 1, head 6"),
        ((3, 0), True, "no such head: expected a layer from 0 to 2"),
        ((1, 0), False, "not looked at: expected a head of layer 0, or --layers.*add --layers"),
        ((0, -1), True, "this head cannot be used"),
    ],
)
def test_a_head_that_is_not_there_is_refused(
    head: tuple[int, int], layers: bool, said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        poslens.analyze(tiny("bert"), nulls=0, tokens=TOKENS, layers=layers, head=head)


def test_a_head_of_a_layer_that_is_not_parted_is_refused() -> None:
    model = tiny("gemma2", **GROUPED | {"head_dim": 14}, sliding_window=8)
    said = "layer 2, head 1 cannot be shown: .*take contexts within it; choose another layer"
    with pytest.raises(SettingError, match=said):
        poslens.analyze(model, nulls=0, tokens=TOKENS, layers=True, head=(2, 1))


def test_the_command_line_chooses_a_head(minilm: Path) -> None:
    def run(*asked: str) -> Result:
        read = ("--nulls", "0", "--contexts", "2", "--length", "9")
        return CliRunner().invoke(app, ["analyze", str(minilm), *read, "--json", "-", *asked])

    done = run("--head", "0:7")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["settings"]["head"] == [0, 7]
    for asked, said in (("7", "LAYER:HEAD"), ("0:x", "LAYER:HEAD"), ("0:12", "from 0 to 11")):
        done = run("--head", asked)
        assert done.exit_code == 1
        assert said in done.stderr
