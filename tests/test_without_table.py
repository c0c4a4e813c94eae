"""Models that add no position table: a study all the same, which says what they do instead."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

import poslens
from poslens.cli import app
from poslens.errors import SettingError, SourceError

LLAMA = {
    "model_type": "llama",
    "rope_theta": 12_345.0,
    "hidden_size": 36,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "num_hidden_layers": 2,
    "max_position_embeddings": 77,
}
LINE = (
    "RoPE, base 12345, head dimension 6, 6 query and 3 key heads, in all 2 layers; context 77; "
    "read 88 bytes of header"
)


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    save_file({"model.norm.weight": np.ones(36, np.float32)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    return tmp_path


def test_it_is_described_and_studied(llama: Path) -> None:
    study = poslens.analyze(str(llama))
    assert str(poslens.describe(llama)) == study.recognised == f"llama: {LINE}"
    assert (study.length, study.dim) == (None, None)
    assert set(study.measures.values()) == {None}
    assert all(name.startswith(("kernel.", "attention.")) for name in study.measures)
    assert all(study.undefined[name] for name in study.measures)
    assert set(study.data) == {"kernel.context", "kernel.wavelength"}
    assert {claim.verdict for claim in study.claims} == {poslens.Verdict.NOT_APPLICABLE}
    assert "RoPE, base 12345" in study.claim("norm.stable").note
    assert "no table" in repr(study)


def test_its_record_says_null_where_there_is_no_table(llama: Path) -> None:
    record = json.loads(poslens.analyze(str(llama)).to_json())
    assert record["table"] is None
    source = record["source"]
    assert (source["scheme"], source["family"]) == ("rope", "llama")
    assert (source["tensor"], source["dtype"], source["sha256"]) == (None, None, None)
    assert record["measures"] == {"attention.reconstruction_error": None}
    assert set(record["profiles"].values()) == {None}
    assert len(record["claims"]) == 25


def test_it_is_saved_opened_and_shown(llama: Path, tmp_path: Path) -> None:
    study = poslens.analyze(str(llama), bars={"norm.stable": 0.2})
    study.save(tmp_path / "study.nc")
    assert poslens.open_study(tmp_path / "study.nc") == study
    assert study.claim("norm.stable").bar == "<= 0.2"
    study.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "RoPE, base 12345" in page
    assert "Not drawn" not in page
    assert "no position table" in study._repr_html_()


def test_the_command_line_prints_what_was_recognised(llama: Path) -> None:
    result = CliRunner().invoke(app, ["analyze", str(llama)])
    assert result.exit_code == 0, result.stderr
    assert f"llama: {LINE}" in " ".join(result.stdout.split())


@pytest.mark.parametrize("settings", [{"rows": (0, 5)}, {"view": "effective"}])
def test_what_needs_a_table_is_refused(llama: Path, settings: dict[str, object]) -> None:
    with pytest.raises(SettingError, match=r"there is no table .*got llama: RoPE, base 12345"):
        poslens.analyze(str(llama), **settings)


def test_loading_its_table_says_what_there_is_instead(llama: Path) -> None:
    with pytest.raises(SourceError, match=r"no position table .*RoPE, base 12345"):
        poslens.load_table(llama)


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("rope:head_dim=64", "rope"),
        ("alibi:heads=12", "alibi"),
        ("t5:heads=6", "t5"),
        ("nope", "nope"),
    ],
)
def test_an_encoding_that_adds_nothing(text: str, scheme: str) -> None:
    study = poslens.analyze(text)
    assert (study.source.scheme, study.source.uri, study.length) == (scheme, text, None)
    assert study.recognised == str(poslens.describe(text))


@pytest.mark.parametrize("name", ["sinusoidal", "concatenated"])
def test_an_encoding_that_adds_a_table_is_measured(name: str) -> None:
    study = poslens.analyze(f"{name}:length=33,dim=6", nulls=0)
    assert (study.length, study.dim) == (33, 6)
    assert study.measures["norm.cv"] == pytest.approx(0, abs=1e-12)


def test_a_model_of_an_unknown_kind_is_described_by_its_tensors(tmp_path: Path) -> None:
    save_file({"wpe": np.eye(7), "other": np.eye(3)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "none\nsuch"}))
    assert str(poslens.describe(tmp_path)) == (
        r"none\nsuch: tensor 'wpe' of 7 × 7, of which nothing says how positions use it; "
        "read 136 bytes of header"
    )
    assert str(poslens.describe(np.eye(4))).startswith("an array of 4 × 4, of which nothing says")
