"""`analyze` end to end: the figures of the first issue, settings, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import poslens
from poslens.claims.claim import Verdict
from poslens.errors import PosLensError, SettingError, TableError
from poslens.study import PROFILES, Study


def test_minilm_gives_the_known_figures(minilm_study: Study) -> None:
    """The figures named in the issue that this analysis was built for, to three digits."""
    known = {
        "norm.cv": 0.196,
        "cosine.adjacent": 0.851,
        "trajectory.linear_r2": 0.070,
        "difference.parallel": 0.389,
    }
    for name, value in known.items():
        assert minilm_study.measures[name] == pytest.approx(value, abs=0.0005), name
    assert minilm_study.measures["pca.n80"] == 9
    # Depends on the folds that the seed draws.
    assert minilm_study.measures["probe.position_mae"] == pytest.approx(59, abs=4)
    for name in ("norm.stable", "trajectory.linear", "difference.parallel"):
        assert minilm_study.claim(name).verdict is not Verdict.SUPPORTED
    assert (minilm_study.length, minilm_study.dim) == (512, 384)
    assert minilm_study.source.family == "bert"
    assert minilm_study.measures["norm.token_ratio"] == pytest.approx(0.431, abs=0.0005)


def test_the_same_input_and_seed_give_the_same_bytes(curve: np.ndarray) -> None:
    first = poslens.analyze(curve, nulls=40, seed=3)
    again = poslens.analyze(curve.copy(), nulls=40, seed=3)
    other = poslens.analyze(curve, nulls=40, seed=4)
    assert first.to_json() == again.to_json()
    assert first == again
    assert first.to_json() != other.to_json()


def test_json_has_the_documented_schema(minilm_study: Study) -> None:
    record = json.loads(minilm_study.to_json())
    assert list(record) == [
        "schema", "poslens", "source", "table", "measures", "profiles", "claims", "settings",
    ]  # fmt: skip
    assert record["schema"] == 1
    assert record["poslens"] == poslens.__version__
    assert set(record["source"]) == {
        "uri", "revision", "tensor", "family", "scheme", "row_offset", "dtype", "sha256",
        "bytes_read",
    }  # fmt: skip
    assert record["table"] == {"length": 512, "dim": 384}
    of_text = ("attention.", "hidden.")  # these need one
    assert set(record["profiles"]) == {name for name in PROFILES if not name.startswith(of_text)}
    assert len(record["profiles"]["cosine.profile"]) == 512
    assert (
        record["profiles"]["difference.parallel_at"]["1"]
        == record["measures"]["difference.parallel"]
    )
    for claim in record["claims"]:
        assert list(claim) == [
            "id", "section", "verdict", "value", "bar", "interval", "null", "p_value", "note",
        ]  # fmt: skip
    assert record["settings"] == {"view": "raw", "nulls": 200, "seed": 0}


def test_rows_restrict_every_measure(curve: np.ndarray) -> None:
    part = poslens.analyze(curve, rows=(10, 90), nulls=0)
    same = poslens.analyze(curve[10:90], nulls=0)
    assert part.measures == same.measures
    assert part.length == 80
    assert part.data["norm.row"].coords["position"][[0, -1]].tolist() == [10, 89]
    assert part.settings.as_json()["rows"] == [10, 90]
    assert poslens.analyze(curve, rows=(None, 90), nulls=0).length == 90


def test_a_zero_row_is_named_and_the_rest_still_works(curve: np.ndarray) -> None:
    rows = curve.copy()
    rows[17] = 0
    study = poslens.analyze(rows, nulls=19)
    assert study.measures["cosine.adjacent"] is None
    assert "row 17 is all zeros" in study.undefined["cosine.adjacent"]
    claim = study.claim("cosine.neighbours_alike")
    assert claim.verdict is Verdict.NOT_APPLICABLE
    assert "row 17" in claim.note
    for name in ("trajectory.linear_r2", "pca.n80", "norm.cv", "probe.position_mae"):
        assert study.measures[name] is not None
    assert 17 in study.measures["norm.outlier_rows"]


def test_equal_neighbours_leave_differences_undefined(curve: np.ndarray) -> None:
    rows = curve.copy()
    rows[5] = rows[4]
    study = poslens.analyze(rows, nulls=19)
    assert study.measures["difference.parallel"] is None
    assert "row 4" in study.undefined["difference.parallel"]
    assert study.measures["cosine.adjacent"] is not None


def test_a_constant_table_has_norms_but_no_trajectory() -> None:
    study = poslens.analyze(np.tile(np.linspace(1, 2, 8), (30, 1)), nulls=19)
    assert study.measures["norm.cv"] == pytest.approx(0, abs=1e-15)
    assert study.measures["trajectory.linear_r2"] is None
    assert "identical" in study.undefined["trajectory.linear_r2"]
    assert study.measures["pca.n80"] is None


@pytest.mark.parametrize(("length", "dim"), [(3, 1), (3, 5), (4, 2), (5, 3), (6, 1), (9, 9)])
def test_the_smallest_tables_are_measured(length: int, dim: int) -> None:
    rows = np.random.default_rng(0).standard_normal((length, dim))
    study = poslens.analyze(rows, nulls=19)
    missing = {name for name, value in study.measures.items() if value is None}
    assert missing <= set(study.undefined)
    assert study.measures["norm.mean"] > 0
    json.loads(study.to_json())


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 14), st.integers(1, 6)),
        elements=st.floats(-1e3, 1e3, width=32) | st.sampled_from([0.0, 1.0]),
    )
)
@example(np.array([[1e-26], [0.0], [0.0]]))  # its squares vanish in float32
@settings(max_examples=60, deadline=None)
def test_any_array_gives_finite_numbers_reasons_or_an_error(rows: np.ndarray) -> None:
    try:
        study = poslens.analyze(rows, nulls=9)
    except PosLensError as error:
        refusal = str(error)
    else:
        refusal = ""
    assert "\n" not in refusal
    if refusal:
        return
    text = study.to_json()  # refuses NaN and Inf
    assert "NaN" not in text
    for name, value in study.measures.items():
        assert value is not None or study.undefined[name]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extreme_scales_change_nothing_but_the_scale(curve: np.ndarray, scale: float) -> None:
    plain, scaled = (poslens.analyze(rows, nulls=0).measures for rows in (curve, curve * scale))
    assert scaled["norm.mean"] == pytest.approx(plain["norm.mean"] * scale, rel=1e-9)
    for name in ("norm.cv", "cosine.adjacent", "trajectory.helix_r2", "pca.participation_ratio"):
        assert scaled[name] == pytest.approx(plain[name], rel=1e-9), name
    assert scaled["shift.r2"] == pytest.approx(plain["shift.r2"], rel=1e-6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((10, 4)), "all zeros"),
        (np.ones((2, 4)), "at least 3"),
        (np.ones(9), "position|dimension"),
        (np.full((9, 4), 1e200), "out of range"),
    ],
)
def test_unusable_arrays_are_refused(rows: np.ndarray, message: str) -> None:
    with pytest.raises(PosLensError, match=message):
        poslens.analyze(rows)


def test_values_that_are_not_finite_are_named() -> None:
    rows = np.ones((9, 4))
    rows[[2, 5], 1] = np.nan
    rows[7, 0] = np.inf
    with pytest.raises(TableError, match="2, 5, 7"):
        poslens.analyze(rows)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"view": "effektive"}, "raw or effective"),
        ({"nulls": -1}, "null draws"),
        ({"nulls": 10**9}, "null draws"),
        ({"seed": -3}, "seed"),
        ({"rows": (5, 7)}, "at least 3 rows"),
        ({"rows": (-5, 70)}, "START:STOP"),
        ({"rows": (0, 7000)}, "START:STOP"),
        ({"view": "effective"}, "no effective view"),
        ({"part": "encoder"}, "part|encoder"),
    ],
)
def test_unusable_settings_are_refused(
    curve: np.ndarray, setting: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingError if "part" not in setting else PosLensError, match=message):
        poslens.analyze(curve, **setting)


def test_progress_is_told_what_is_being_done(curve: np.ndarray) -> None:
    calls: list[tuple[str, int, int]] = []
    poslens.analyze(curve, nulls=5, progress=lambda *call: calls.append(call))
    assert ("phase-randomised tables", 5, 5) in calls
    assert calls[-1] == ("done", 1, 1)
    assert all(0 <= done <= total for _, done, total in calls)


def test_a_table_can_be_loaded_once_and_analysed_often(minilm: Path) -> None:
    table = poslens.load_table(str(minilm))
    assert poslens.analyze(table, nulls=0) == poslens.analyze(str(minilm), nulls=0)
