"""A study survives saving, and nothing half-written is left behind."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

import poslens
from poslens.errors import OutputError, SourceError
from poslens.files import written_whole
from poslens.study import LayerStudy, Study


@pytest.fixture(scope="module")
def study(curve: np.ndarray) -> Study:
    return poslens.analyze(curve, nulls=30, rows=(0, 130), bars={"norm.stable": 0.3})


@pytest.fixture(scope="module")
def poor(curve: np.ndarray) -> Study:
    """With a zero row, so with undefined measures and missing arrays; and without nulls."""
    rows = curve[:40].copy()
    rows[3] = 0
    return poslens.analyze(rows, nulls=0)


def test_netcdf_round_trip_is_lossless(study: Study, poor: Study, tmp_path: Path) -> None:
    for name, original in (("study", study), ("poor", poor)):
        path = tmp_path / f"{name}.nc"
        original.save(path)
        opened = poslens.open_study(path)
        assert opened == original
        assert opened.to_json() == original.to_json()
        for key, array in original.data.items():
            assert opened.data[key].values.dtype.kind == array.values.dtype.kind
            assert np.array_equal(
                opened.data[key].values, array.values, equal_nan=array.values.dtype.kind == "f"
            )


def test_minilm_survives_saving(minilm_study: Study, tmp_path: Path) -> None:
    minilm_study.save(tmp_path / "minilm.nc")
    assert poslens.open_study(tmp_path / "minilm.nc") == minilm_study


@pytest.fixture(scope="module")
def with_layers(study: Study, poor: Study) -> Study:
    """With a layer like the study itself, and one with undefined measures."""
    layers = (
        LayerStudy(0, study.measures, study.claims),
        LayerStudy(5, poor.measures, poor.claims),
    )
    return dataclasses.replace(study, layers=layers)


def test_layers_survive_saving(with_layers: Study, study: Study, tmp_path: Path) -> None:
    with_layers.save(tmp_path / "study.nc")
    opened = poslens.open_study(tmp_path / "study.nc")
    assert opened == with_layers
    assert opened.layers[1].claims == with_layers.layers[1].claims
    assert opened.to_json() == with_layers.to_json()
    assert opened != study
    fewer = dataclasses.replace(with_layers, layers=with_layers.layers[:1])
    assert fewer != with_layers


def test_layers_are_recorded_as_the_study_itself_is(with_layers: Study, study: Study) -> None:
    record = json.loads(with_layers.to_json())
    first, other = record.pop("layers")
    assert record == json.loads(study.to_json())  # no such key without layers
    assert first == {"layer": 0, **{k: record[k] for k in ("measures", "profiles", "claims")}}
    assert list(other) == ["layer", "measures", "profiles", "claims"]
    assert other["layer"] == 5
    assert other["measures"]["cosine.adjacent"] is None


def test_a_file_from_before_there_were_layers_opens(study: Study, tmp_path: Path) -> None:
    import h5py

    study.save(tmp_path / "old.nc")
    with h5py.File(tmp_path / "old.nc", "r+") as file:
        record = json.loads(file.attrs["poslens_study"])
        assert record.pop("layers") == []
        file.attrs["poslens_study"] = json.dumps(record)
    assert poslens.open_study(tmp_path / "old.nc") == study


def test_arrays_are_labelled_with_the_declared_axes(study: Study) -> None:
    profile = study.arrays["cosine"]["profile"]
    assert profile.dims == ("lag",)
    assert profile.sel(lag=1).item() == study.measures["cosine.adjacent"]
    assert study.arrays["trajectory"]["scores"].dims == ("position", "component")
    band = study.arrays["cosine"]["null_permutation"].sel(quantile=[0.05, 0.95])
    assert (band[0] <= band[1]).all()


def test_a_study_differs_from_another(study: Study, poor: Study, curve: np.ndarray) -> None:
    assert study != poor
    assert study != poslens.analyze(curve, nulls=30, rows=(0, 130))
    assert "130 × 24" in repr(study)


def test_claims_are_found_by_name(study: Study) -> None:
    assert study.claim("norm.stable").bar == "<= 0.3"
    with pytest.raises(KeyError, match=r"norm\.unstable"):
        study.claim("norm.unstable")


def test_files_that_hold_no_study_are_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no study at"):
        poslens.open_study(tmp_path / "absent.nc")
    for content in (b"", b"not a study", b"\x89HDF\r\n\x1a\n" + b"\0" * 600):
        path = tmp_path / "bad.nc"
        path.write_bytes(content)
        with pytest.raises(SourceError, match="cannot open"):
            poslens.open_study(path)
    whole = tmp_path / "whole.nc"
    study.save(whole)
    (tmp_path / "cut.nc").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(SourceError, match="save the study again"):
        poslens.open_study(tmp_path / "cut.nc")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")

    def interrupted() -> None:
        with written_whole(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]  # noqa: PTH208


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left"), written_whole(tmp_path / "x"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_are_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder does not exist"):
        study.to_json(tmp_path / "no" / "x.json")
    with pytest.raises(OutputError, match="it is a folder"):
        study.save(tmp_path)
    with pytest.raises(OutputError, match="cannot write"):
        study.to_json("/proc/x.json")


def test_written_files_have_ordinary_permissions(study: Study, tmp_path: Path) -> None:
    study.to_json(tmp_path / "a.json")
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode
