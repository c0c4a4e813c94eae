"""What a position table must be: its shape, its size and its values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from poslens.checkpoints import load_table
from poslens.errors import SettingError, TableError


def routes(tmp_path: Path, array: np.ndarray) -> list[np.ndarray | Path]:
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", wpe=array)
    save_file({"wpe": np.ascontiguousarray(array).reshape(array.shape)}, tmp_path / "x.safetensors")
    return [array, tmp_path / "x.npy", tmp_path / "x.npz", tmp_path / "x.safetensors"]


@pytest.mark.parametrize(
    "shape", [(), (8,), (0, 4), (1, 4), (2, 4), (4, 0), (2, 4, 4), (1, 2, 4), (1, 1, 4, 4)]
)
def test_shapes_that_are_no_position_table(tmp_path: Path, shape: tuple[int, ...]) -> None:
    for source in routes(tmp_path, np.ones(shape, dtype=np.float32)):
        with pytest.raises(
            TableError, match=r"shape \(position, dim\) with at least 3 positions, got sha"
        ):
            load_table(source)


def test_the_smallest_shapes(tmp_path: Path) -> None:
    for shape in ((3, 1), (1, 3, 1)):
        for source in routes(tmp_path, np.arange(3.0).reshape(shape)):
            np.testing.assert_array_equal(load_table(source).rows, [[0], [1], [2]])


def test_an_all_zero_table(tmp_path: Path) -> None:
    for source in routes(tmp_path, np.zeros((4, 4))):
        with pytest.raises(
            TableError, match=r"is all zeros: expected at least one value that is not"
        ):
            load_table(source)


def test_a_zero_row_is_admitted(tmp_path: Path) -> None:
    for source in routes(tmp_path, np.diag([1.0, 0, 1, 1])):
        assert not load_table(source).rows[1].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_values_that_are_not_finite(tmp_path: Path, value: float, dtype: type) -> None:
    array = np.ones((20, 3), dtype=dtype)
    array[[2, 9], [0, 2]] = value
    for source in routes(tmp_path, array):
        with pytest.raises(TableError, match=r"got 2 of 20 rows that are not: 2, 9; repair"):
            load_table(source)
    array[3:] = value
    for source in routes(tmp_path, array):
        with pytest.raises(
            TableError, match=r"18 of 20 rows that are not: 2, 3, 4, 5, 6, …; repair"
        ):
            load_table(source)


def test_the_callers_array_is_not_shared() -> None:
    array = np.eye(4)
    table = load_table(array)
    table.rows[0, 0] = 5
    assert array[0, 0] == 1


def test_views_are_read_as_they_look(tmp_path: Path) -> None:
    array = np.arange(48.0).reshape(6, 8)[::-2, 1::3].T
    whole = load_table(array)
    np.testing.assert_array_equal(whole.rows, array)
    assert whole.rows.flags.c_contiguous
    assert whole.source.sha256 == load_table(array.copy()).source.sha256


@pytest.mark.parametrize(
    ("start", "stop", "first", "length"),
    [(None, None, 0, 9), (2, None, 2, 7), (None, 3, 0, 3), (4, 9, 4, 5)],
)
def test_a_slice_remembers_where_it_begins(
    start: int | None, stop: int | None, first: int, length: int
) -> None:
    table = load_table("sinusoidal:length=9,dim=4")
    part = table.slice_rows(start, stop)
    assert (part.first_position, part.length, part.dim) == (first, length, 4)
    np.testing.assert_array_equal(part.rows, table.rows[first : first + length])
    again = part.slice_rows(0, 3)
    assert again.first_position == first
    assert part.source == table.source


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 2), (7, 9), (5, 5), (6, 3), (-4, None), (0, 10), (9, None)]
)
def test_slices_that_are_too_short_or_outside(start: int, stop: int | None) -> None:
    table = load_table("sinusoidal:length=9,dim=4")
    with pytest.raises(SettingError, match=r"at least 3 rows within 0:9, got .*; choose a slice"):
        table.slice_rows(start, stop)
