"""Experiments as TOML: what is read, what is refused, and how a smooth table begins."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from lab_experiments import TOML, small, written

from poslens.encodings import Alibi, Learned, Rope
from poslens.encodings.validate import noise
from poslens.errors import LabError, PosLensError, SettingError
from poslens.lab.data import OnText
from poslens.lab.reading import read_experiment, shipped
from poslens.lab.smooth import smooth_table


def test_those_that_are_shipped_say_what_to_expect() -> None:
    assert shipped() == ["demo", "paper", "quick", "tasks"]
    for name in shipped():
        experiment = read_experiment(name)
        assert experiment.name == name
        for said in ("about", "expected", "cost", "hardware"):
            assert len(getattr(experiment, said)) > 20
        if name == "demo":  # one model, to be looked at; the others compare
            continue
        assert len(experiment.seeds) >= 3
        assert {"learned", "alibi", "rope"} <= {arm.scheme for arm in experiment.schemes}
        assert {1, 2, 4, 8} <= set(experiment.evaluate.factors)


@pytest.mark.parametrize("name", ["quick", "paper", "tasks"])
def test_what_is_written_is_read_as_the_same(name: str, tmp_path: Path) -> None:
    experiment = read_experiment(name, ["about='Tab\\t, \\u007f, \"quoted\", ç, \\\\'"])
    path = tmp_path / "copy.toml"
    path.write_text(experiment.to_toml(), encoding="utf-8")
    assert read_experiment(path) == experiment


def test_a_text_is_found_beside_the_file(tmp_path: Path) -> None:
    experiment = small(tmp_path)
    assert isinstance(experiment.data, OnText)
    assert experiment.data.file == str(tmp_path / "text.txt")
    assert experiment.data.split(128).text.name == "text.txt"
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    (copy / "experiment.toml").write_text(experiment.to_toml(), encoding="utf-8")
    assert read_experiment(copy / "experiment.toml") == experiment


def test_schemes_begin_as_the_lab_has_them(tmp_path: Path) -> None:
    experiment = small(tmp_path)
    learned, rope, smooth = experiment.schemes
    assert [arm.label for arm in experiment.schemes] == ["learned", "rope", "smooth"]
    table, rotation = experiment.encoding(learned, 3), experiment.encoding(rope, 3)
    curve = experiment.encoding(smooth, 3)
    assert isinstance(table, Learned)
    assert isinstance(curve, Learned)
    assert isinstance(rotation, Rope)
    assert (table.length, curve.length) == (8 * 16, 8 * 16)  # up to the longest evaluation
    assert rotation.head_dim == 8
    assert not np.array_equal(table.rows, experiment.encoding(learned, 0).rows)


def test_settings_can_be_changed(tmp_path: Path) -> None:
    changes = ["recipe.steps=7", "schemes=['alibi']", "compute.device=cpu", "record.snapshots = 3"]
    experiment = small(tmp_path, *changes)
    assert (experiment.recipe.steps, experiment.record.snapshots) == (7, 3)
    assert isinstance(experiment.encoding(experiment.schemes[0], 0), Alibi)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("recipe.stepz=1", ["unknown key 'recipe.stepz'", "did you mean steps?"]),
        ("recipy.steps=1", ["unknown key 'recipy'", "did you mean recipe?"]),
        ("recipe.seed=1", ["unknown key 'recipe.seed'"]),
        ("model.vocabulary=9", ["unknown key 'model.vocabulary'"]),
        ("schemes=['ropee']", ["unknown scheme 'ropee'", "did you mean rope?"]),
        ("schemes=['rotary']", ["'rotary'", "one of learned, sinusoidal", "did you mean rope?"]),
        ("schemes=[{scheme='rope', lable='r'}]", ["'schemes[0].lable'", "did you mean label?"]),
        ("schemes=[{label='r'}]", ["lacks 'schemes[0].scheme'"]),
        ("schemes=[{scheme='rope', init='smooth'}]", ["rope has no table", "learned alone"]),
        ("schemes=[{scheme='learned', init='smoth'}]", ["schemes[0].init", "random or smooth"]),
        ("schemes=['rope', 'rope']", ["'rope' twice", "another label"]),
        ("schemes=[{scheme='rope', label='../x'}]", ["cannot use this label", "'../x'"]),
        ("schemes=[]", ["cannot use these schemes", "got none"]),
        ("schemes='rope'", ["'schemes'", "expected a list", "a string"]),
        ("seeds=[1, 1]", ["'1' twice"]),
        ("seeds=[1.5]", ["'seeds[0]'", "a whole number", "1.5"]),
        ("seeds=[-1]", ["seeds", "-1"]),
        ("recipe.steps='many'", ["'recipe.steps'", "a whole number", "'many'"]),
        ("recipe.steps=true", ["'recipe.steps'", "a whole number", "true or false"]),
        ("recipe.betas=[0.9]", ["'recipe.betas'", "a list of 2"]),
        ("recipe.rate=nan", ["rate", "nan"]),
        ("recipe=3", ["'recipe'", "a table"]),
        ("model.biases=1", ["'model.biases'", "true or false"]),
        ("model.heads=3", ["multiple of 3", "16"]),
        ("data.held_out=0.3", ["data.held_out", "0.3"]),
        ("data.tusk=copy", ["unknown key 'data.tusk'", "did you mean task?"]),
        ("data.back=3", ["unknown key 'data.back'", "one of task, file, held_out"]),
        ("data=3", ["'data'", "a table"]),
        ("evaluate.contexts=9", ["evaluate.contexts is for an experiment on a task", "got 9"]),
        ("evaluate.factors=[2, 4]", ["evaluate.factors", "[2, 4]"]),
        ("evaluate.factors=[1, 1]", ["evaluate.factors", "[1, 1]"]),
        ("compute.device=gpu", ["'compute.device'", "cpu or cuda", "gpu"]),
        ("name='A b'", ["cannot use this name", "'A b'"]),
        ("about=", ["'about'"]),
        ("recipe.steps", ["KEY=VALUE", "'recipe.steps'"]),
        ("name.x=1", ["cannot change 'name.x'", "'name' is no table"]),
    ],
)
def test_what_cannot_be_used_is_named(change: str, words: list[str], tmp_path: Path) -> None:
    if change == "about=":
        path = written(tmp_path, TOML.replace('about = "A test."', ""))
        with pytest.raises(LabError) as caught:
            read_experiment(path)
    else:
        with pytest.raises((LabError, SettingError)) as caught:
            small(tmp_path, change)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    missing, broken, binary = (tmp_path / name for name in ("no.toml", "broken.toml", "binary"))
    broken.write_text("steps = = 3")
    binary.write_bytes(b"\xff\xfe")
    for path, words in ((missing, "No such file"), (broken, "TOML"), (binary, "no UTF-8")):
        with pytest.raises(PosLensError, match=words):
            read_experiment(path)


def test_a_text_that_is_too_short_is_refused(tmp_path: Path) -> None:
    experiment = small(tmp_path, "model.context=100")
    with pytest.raises(LabError, match="too short"):
        experiment.batches()


def test_a_smooth_table_is_noise_under_a_window() -> None:
    length, dim, scale, std = 37, 5, 6.0, 0.3
    table = smooth_table(length, dim, scale, std, seed=9)
    width = scale / np.sqrt(2)
    reach = int(np.ceil(4 * width))
    window = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * width**2))
    window *= std / np.sqrt((window**2).sum())
    white = noise(1.0, 9, length + 2 * reach, dim)
    for column in range(dim):
        expected = np.convolve(white[:, column], window, mode="valid")
        np.testing.assert_allclose(table.rows[:, column], expected, rtol=0, atol=1e-14)


def test_rows_of_a_smooth_table_are_as_large_as_noise_and_alike_by_distance() -> None:
    dim, scale = 40_000, 5.0
    rows = smooth_table(21, dim, scale, 0.02, seed=2).rows
    variance = (rows**2).mean(axis=1) / 0.02**2
    assert np.abs(variance - 1).max() < 5 * np.sqrt(2 / dim)
    for lag in (1, 3, 5, 10):
        found = (rows[0] * rows[lag]).mean() / 0.02**2
        assert abs(found - np.exp(-(lag**2) / (2 * scale**2))) < 5 / np.sqrt(dim)


def test_the_file_is_toml_as_others_read_it(tmp_path: Path) -> None:
    table = tomllib.loads(small(tmp_path).to_toml())
    assert table["schemes"][2] == {"scheme": "learned", "label": "smooth", "init": "smooth"}
    assert "seed" not in table["recipe"]
    assert "vocabulary" not in table["model"]
    assert table["recipe"]["rate"] == 1e-2
