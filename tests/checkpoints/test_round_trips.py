"""Any table by every route and dtype; and no file that is cut."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import save as save_numpy
from safetensors.torch import save as save_torch

from poslens.checkpoints import PositionTable, load_table
from poslens.errors import PosLensError

WIDTHS = {"float64": 64, "float32": 32, "float16": 16}


def tables(dtype: str) -> st.SearchStrategy[np.ndarray]:
    finite = st.floats(allow_nan=False, allow_infinity=False, width=WIDTHS[dtype])
    shapes = array_shapes(min_dims=2, max_dims=2, min_side=3, max_side=6)
    return arrays(dtype, shapes, elements=finite).map(not_all_zero)


def not_all_zero(table: np.ndarray) -> np.ndarray:
    table[0, 0] = table[0, 0] or 1
    return table


def npy(table: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, table)
    return buffer.getvalue()


def npz(table: np.ndarray, save: Callable[..., None] = np.savez) -> bytes:
    buffer = io.BytesIO()
    save(buffer, wpe=table)
    return buffer.getvalue()


def safetensors(table: np.ndarray) -> bytes:
    return save_numpy({"wpe": np.ascontiguousarray(table)})


def load_bytes(content: bytes, name: str) -> PositionTable:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return load_table(path)


@pytest.mark.parametrize("dtype", WIDTHS)
@given(data=st.data())
@settings(deadline=None, max_examples=25, derandomize=True)
def test_every_route_gives_the_same_rows_and_hash(dtype: str, data: st.DataObject) -> None:
    table = data.draw(tables(dtype))
    loaded = [
        load_table(table),
        load_table(np.asfortranarray(table)),
        load_table(table.astype(table.dtype.newbyteorder(">"))),
        load_bytes(npy(table), "x.npy"),
        load_bytes(npy(np.asfortranarray(table)), "x.npy"),
        load_bytes(npy(table.astype(table.dtype.newbyteorder(">"))), "x.npy"),
        load_bytes(npz(table), "x.npz"),
        load_bytes(npz(table, np.savez_compressed), "x.npz"),
        load_bytes(safetensors(table), "x.safetensors"),
    ]
    for got in loaded:
        np.testing.assert_array_equal(got.rows, table.astype(np.float64))
        assert got.rows.dtype == np.float64
        assert got.source.sha256 == hashlib.sha256(table.tobytes()).hexdigest()
        assert (got.source.dtype, got.source.bytes_read) == (dtype, table.nbytes)


@given(table=tables("float32"))
@settings(deadline=None, max_examples=50, derandomize=True)
def test_bfloat16_is_decoded_as_torch_does(table: np.ndarray) -> None:
    tensor = torch.from_numpy(table).to(torch.bfloat16)
    expected = tensor.double().numpy()
    if not np.isfinite(expected).all() or not expected.any():
        expected = None  # rounding has made the largest infinite, or the smallest zero
    content = save_torch({"wpe": tensor})
    if expected is None:
        with pytest.raises(PosLensError, match=r"NaN or infinite|all zeros"):
            load_bytes(content, "x.safetensors")
    else:
        got = load_bytes(content, "x.safetensors")
        np.testing.assert_array_equal(got.rows, expected)
        assert got.source.dtype == "bfloat16"
        stored = tensor.view(torch.int16).numpy().tobytes()
        assert got.source.sha256 == hashlib.sha256(stored).hexdigest()


TABLE = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
VALID = {"x.npy": npy(TABLE), "x.npz": npz(TABLE), "x.safetensors": safetensors(TABLE)}


@pytest.mark.parametrize("name", VALID)
def test_every_cut_is_noticed(name: str) -> None:
    for stop in range(len(VALID[name])):
        with pytest.raises(PosLensError, match="expected"):
            load_bytes(VALID[name][:stop], name)
