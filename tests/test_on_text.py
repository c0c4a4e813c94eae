"""What texts add to a study: logits in terms, and every layer; in Python and in the shell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import poslens
from poslens import Verdict
from poslens.attention import TERMS
from poslens.cli import app
from poslens.errors import PosLensError, SettingError, SourceError
from poslens.on_text import _left_out
from poslens.study import Study

SHARES = [f"attention.share.{term}" for term in TERMS]
READ = {"nulls": 0, "contexts": 4, "length": 41}


@pytest.fixture(scope="module")
def on_text(minilm: Path) -> Study:
    return poslens.analyze(str(minilm), **READ)


@pytest.fixture(scope="module")
def layered(minilm: Path) -> Study:
    return poslens.analyze(str(minilm), layers=True, **READ)


def shares(study: Study) -> np.ndarray:
    """Shape (term, layer, head)."""
    return np.array([study.measures[name] for name in SHARES], dtype=float)


def test_shares_of_the_first_layer_sum_to_one(on_text: Study) -> None:
    found = shares(on_text)
    assert found.shape == (5, 1, 12)
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=0, atol=1e-9)
    assert on_text.measures["attention.reconstruction_error"] < 1e-12
    assert not [name for name in on_text.measures if name.startswith("hidden.")]
    assert on_text.layers == ()


def test_every_layer_begins_with_the_same_first(on_text: Study, layered: Study) -> None:
    found = shares(layered)
    assert found.shape == (5, 6, 12)
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[:, 0], shares(on_text)[:, 0], rtol=0, atol=1e-9)
    assert 0 < layered.measures["attention.reconstruction_error"] < 1e-4  # float32


def test_hidden_states_are_split_in_every_layer(layered: Study) -> None:
    parts = np.array([layered.measures[f"hidden.share.{part}"] for part in ("pos", "ctx", "resid")])
    assert parts.shape == (3, 7)
    np.testing.assert_allclose(parts.sum(axis=0), 1, rtol=0, atol=1e-12)
    for name in ("stable_rank", "relative_norm", "incoherence"):
        assert len(layered.measures[f"hidden.{name}"]) == 7
    np.testing.assert_array_equal(layered.arrays["hidden"]["share"].T, parts)


def test_geometry_is_tested_in_every_layer(layered: Study) -> None:
    assert [one.layer for one in layered.layers] == list(range(7))
    for one in layered.layers:
        assert {claim.id.split(".")[0] for claim in one.claims} == {
            "norm", "cosine", "difference", "trajectory", "pca",
        }  # fmt: skip
        assert "norm.below_tokens" not in {claim.id for claim in one.claims}
        assert one.measures["trajectory.linear_r2"] is not None
    record = json.loads(layered.to_json())["layers"]
    assert [one["layer"] for one in record] == list(range(7))
    assert record[3]["profiles"]["cosine.profile"] == layered.layers[3].measures["cosine.profile"]


@pytest.mark.parametrize("study", ["on_text", "layered"])
def test_the_two_claims_are_decided(study: str, request: pytest.FixtureRequest) -> None:
    found: Study = request.getfixturevalue(study)
    assert found.claim("attention.four_terms").verdict is Verdict.SUPPORTED
    claim = found.claim("attention.position_contributes")
    bearing = shares(found)[1:4, 0].sum(axis=0)
    assert claim.value == pytest.approx(np.median(bearing), rel=1e-12)
    assert claim.verdict is Verdict.SUPPORTED
    assert "4 contexts of 41 tokens from the help topics of Python" in claim.note


@pytest.mark.parametrize("study", ["on_text", "layered"])
def test_what_was_read_is_recorded_and_kept(
    study: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    found: Study = request.getfixturevalue(study)
    settings = json.loads(found.to_json())["settings"]
    read = {"text": "pydoc_data.topics", "contexts": 4, "length": 41}
    layers = {"layers": True} if study == "layered" else {}
    assert settings == {"view": "raw", "nulls": 0, "seed": 0, **read, **layers}
    found.save(tmp_path / "study.nc")
    assert poslens.open_study(tmp_path / "study.nc") == found
    found.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "4 contexts of 41 tokens" in page
    assert ("plot-layered-paths" in page) == (study == "layered")


def test_the_logits_shown_sum_to_rows_without_a_mean(on_text: Study) -> None:
    logits = on_text.data["attention.logits"].values
    assert logits.shape == (5, 41, 41)
    np.testing.assert_allclose(logits.sum(axis=0).mean(axis=1), 0, atol=1e-4)
    assert on_text.data["attention.logits_token"].values[0] == "[CLS]"
    layer, head = on_text.data["attention.logits_place"].values
    assert (layer, int(head)) == (0, int(np.argmax(shares(on_text)[1:4, 0].sum(axis=0))))


def test_layers_that_are_left_out_are_named() -> None:
    assert _left_out({}) == {}
    note = _left_out({5: "of this reason", 2: "another", 0: "of this reason"})["attention.note"]
    assert str(note.values) == "layers 0, 5 left out: of this reason; layer 2 left out: another"


def test_without_a_text_tokens_are_drawn(minilm_study: Study) -> None:
    assert shares(minilm_study).shape == (5, 1, 12)
    note = minilm_study.claim("attention.position_contributes").note
    assert "32 contexts of 256 tokens drawn uniformly from the vocabulary of 30522" in note
    assert "text" not in json.loads(minilm_study.to_json())["settings"]


def test_a_slice_of_a_table_is_read_to_its_end(minilm: Path) -> None:
    part = poslens.load_table(minilm).slice_rows(400, 500)
    note = poslens.analyze(part, nulls=0).claim("attention.position_contributes").note
    assert "32 contexts of 100 tokens drawn uniformly" in note


def test_tokens_can_be_given(minilm: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 30522, (3, 17))
    study = poslens.analyze(str(minilm), nulls=0, tokens=tokens)
    assert study.settings.text == "tokens"
    assert (study.settings.contexts, study.settings.length) == (3, 17)
    note = study.claim("attention.position_contributes").note
    assert note.endswith("3 contexts of 17 tokens that were given")


def test_a_file_is_read(minilm: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("position " * 40, encoding="utf-8")
    study = poslens.analyze(str(minilm), nulls=0, text=path, contexts=3, length=9)
    assert study.settings.text == str(path)
    shown = study.data["attention.logits_token"].values
    assert list(shown) == ["[CLS]", *["position"] * 7, "[SEP]"]


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"length": 513}, SettingError, r"at most 512 tokens in each, got 513"),
        ({"length": 2}, SettingError, r"no room for text"),
        ({"length": 0}, SettingError, r"--length cannot be used"),
        ({"contexts": True}, SettingError, r"--contexts cannot be used"),
        ({"text": "nowhere.txt"}, SourceError, r"cannot read 'nowhere.txt'"),
        ({"tokens": np.zeros((2, 9))}, SettingError, r"tokens cannot be used.*float64"),
        ({"tokens": np.zeros(9, int)}, SettingError, r"tokens cannot be used"),
        ({"tokens": np.full((2, 9), 30522)}, SettingError, r"ids from 0 to 30521"),
        ({"tokens": np.ones((2, 9), int), "length": 9}, SettingError, r"and a text as well"),
    ],
)
def test_what_cannot_be_read_is_refused(
    minilm: Path, settings: dict[str, Any], error: type[PosLensError], said: str
) -> None:
    with pytest.raises(error, match=said):
        poslens.analyze(str(minilm), nulls=0, **settings)


def test_a_source_that_reads_no_text_says_so(curve: np.ndarray) -> None:
    for source in (curve, "alibi:heads=4"):
        with pytest.raises(SettingError, match="no model that could read a text"):
            poslens.analyze(source, nulls=0, length=9)
    claim = poslens.analyze(curve, nulls=0).claim("attention.four_terms")
    assert claim.verdict is Verdict.NOT_APPLICABLE
    assert "a position table alone does not decide it" in claim.note


def test_the_command_line_reads_a_text(minilm: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("What is where? " * 60, encoding="utf-8")
    options = ["--nulls", "0", "--text", str(path), "--contexts", "2", "--length", "31"]
    result = CliRunner().invoke(app, ["analyze", str(minilm), *options, "--layers", "--json", "-"])
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert record["settings"]["text"] == str(path)
    assert len(record["profiles"]["hidden.share.pos"]) == 7
    short = CliRunner().invoke(app, ["analyze", str(minilm), *options[:4], "--length", "500"])
    assert short.exit_code == 1
    assert short.stderr.count("\n") == 1
    assert "the text is shorter than one context" in short.stderr
