"""What compression refuses, and what it says."""

from __future__ import annotations

import numpy as np
import pytest
from compressed_tables import smooth

from poslens.edit.compression import METHODS, check_rank, compressor, smallest_rank
from poslens.errors import SettingError, TableError

every_method = pytest.mark.parametrize("method", METHODS)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cosines", "expected one of svd, cosine, spline, .* got 'cosines'; did you mean cosine"),
        ("SVD", "no such method of compression"),
        ("", "got ''$"),
        ("a\n\x1b[31mb", r"got 'a\\n\\x1b\[31mb'"),
    ],
)
def test_no_such_method(name: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        compressor(name, smooth(9, 4))


@every_method
@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.ones((1, 4)), "at least 3 positions, got shape \\(1, 4\\)"),
        (np.ones((9, 0)), "got shape \\(9, 0\\)"),
        (np.zeros((9, 4)), "all zeros"),
        (np.full((9, 4), 1e200), "out of range"),
        (np.where(np.arange(36).reshape(9, 4) == 13, np.nan, 1.0), "NaN or Inf in row 3"),
        (np.where(np.arange(36).reshape(9, 4) == 13, np.inf, 1.0), "NaN or Inf in row 3"),
    ],
)
def test_no_such_table(method: str, rows: np.ndarray, said: str) -> None:
    with pytest.raises(TableError, match=said):
        compressor(method, rows)


@pytest.mark.parametrize(
    "rank", [0, -1, 10, 2**70, 2.0, 2.5, True, np.True_, "2", None, np.array([2, 3])], ids=repr
)
def test_no_such_rank(rank: object) -> None:
    found = compressor("svd", smooth(9, 12))
    with pytest.raises(SettingError, match=r"a whole number from 1 to 9 for svd of .* 9 × 12, got"):
        check_rank(found, rank)


@every_method
def test_ranks_of_numpy(method: str) -> None:
    found = compressor(method, smooth(9, 12))
    for rank in (np.int64(9), np.uint8(1)):
        checked = check_rank(found, rank)
        assert checked == rank
        assert type(checked) is int


@pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf"), -float("inf")])
def test_no_such_error(value: float) -> None:
    found = compressor("cosine", smooth(9, 4))
    with pytest.raises(SettingError, match="expected an error of at least 0, got"):
        smallest_rank(found, error=value)


@pytest.mark.parametrize("value", [0.0, -0.5, float("nan"), float("inf")])
def test_no_such_size(value: float) -> None:
    found = compressor("cosine", smooth(9, 4))
    with pytest.raises(SettingError, match="expected a size above 0, got"):
        smallest_rank(found, size=value)


@every_method
def test_a_size_below_that_of_rank_1(method: str) -> None:
    found = compressor(method, smooth(131, 24))
    with pytest.raises(SettingError, match=r"of at least .*, that of rank 1, got 0\.001") as caught:
        smallest_rank(found, size=0.001)
    least = float(str(caught.value).split("at least ")[1].split(",")[0])
    assert smallest_rank(found, size=least) == 1


def test_one_of_size_and_error() -> None:
    found = compressor("cosine", smooth(9, 4))
    with pytest.raises(SettingError, match="expected one of them, got neither"):
        smallest_rank(found)
    with pytest.raises(SettingError, match="expected one of them, got both"):
        smallest_rank(found, size=0.5, error=0.1)
