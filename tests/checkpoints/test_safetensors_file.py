"""The strict header parser: what the reference implementation writes is read, lies are refused."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from poslens.checkpoints import load_table
from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.safetensors_file import SafetensorsFile
from poslens.errors import SourceError, TableError

Write = Callable[..., Path]
F32 = {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}
DATA = np.arange(1, 7, dtype="<f4").tobytes()


def test_names_shapes_and_values_agree_with_the_reference_reader(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "some.safetensors"
    tensors = {
        "β/weird name": rng.normal(size=(3, 4)),
        "scalar": np.array(2.5, dtype=np.float32),
        "empty": np.zeros((0, 4), dtype=np.float16),
        "counts": np.arange(5),
    }
    save_file(tensors, path, metadata={"format": "np"})
    ours = SafetensorsFile(LocalFile(path))
    with safe_open(path, "np") as reference:
        assert set(ours.names()) == set(reference.keys())
        for name in reference.keys():  # noqa: SIM118 - not a dict
            assert ours.entry(name).shape == tuple(reference.get_slice(name).get_shape())
            if ours.entry(name).floating:
                np.testing.assert_array_equal(ours.read(name).values(), reference.get_tensor(name))


def test_only_the_tensor_asked_for_is_read(tmp_path: Path) -> None:
    """A sparse file of 64 GiB, which no machine of ours could read, gives its small table."""
    rows, huge = 5, 2**36
    text = (
        f'{{"big":{{"dtype":"F32","shape":[{huge // 4}],"data_offsets":[0,{huge}]}},'
        f'"wpe":{{"dtype":"F32","shape":[{rows},4],"data_offsets":[{huge},{huge + rows * 16}]}}}}'
    ).encode()
    expected = np.arange(1, 1 + rows * 4, dtype="<f4").reshape(rows, 4)
    path = tmp_path / "sparse.safetensors"
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.seek(8 + len(text) + huge)
        file.write(expected.tobytes())
    tracemalloc.start()
    table = load_table(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(table.rows, expected)
    assert table.source.bytes_read == expected.nbytes
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        (b"no json!", b"", r"header that is a JSON object, got one that begins"),
        (b"[1, 2]  ", b"", r"header that is a JSON object, got one that begins"),
        (b'{"a": ', b"", r"header that is a JSON object, got '"),
        (b'{"a": NaN}', b"", r"a JSON object, got 'no member of .* at byte 1'"),
        (b'{"\xff": 1}', b"", r"header that is a JSON object, got \"?'utf-8' codec"),
        (b'{"\\ud800": {}}', b"", r"a JSON object, got 'no member of .* at byte 1'"),
        (b'{"a":' * 100_000, b"", r"a JSON object, got 'no member of .* at byte 1'"),
        (b'{"a": {"dtype": NaN}}', b"", r"a JSON object .* for tensor 'a', got 'NaN is no JSON'"),
        (b'{"a": {"dtype": ' + b"[" * 4000 + b"]}}", b"", r"tensor 'a', got 'nested too deeply'"),
        (b'{"a": {"dtype": "' + b"x" * 4096 + b'"}}', b"", r"of at most 4096 bytes for tensor 'a'"),
        (b'{"' + b"x" * 4096 + b'": {}}', b"", r"got 'a name of more than 4096 bytes'"),
        (b'{"a": {} "b": {}}', b"", r"a JSON object, got 'no member of .* at byte 1'"),
        (b'{"a": {}, }', b"", r"a JSON object, got 'no member of .* at byte 9'"),
        (b"{} {}", b"", r"a JSON object, got 'more than a JSON object, from byte 2 on'"),
        (b"{}\0", b"", r"a JSON object, got 'more than a JSON object, from byte 2 on'"),
        (b'{"__metadata__": {"a": 1}}', b"", r"an object of strings as __metadata__"),
        (b'{"__metadata__": {"a": "\xff"}}', b"", r"header that is a JSON object, got .*'utf-8'"),
        (b'{"__metadata__": {}, "__metadata__": {}}', b"", r"the key '__metadata__' twice"),
        ({"a": F32 | {"shape": [-0.0, 2]}}, DATA, r"a shape of whole numbers for tensor 'a'"),
        (b'{"a": {}, "a": {}}', b"", r"the key 'a' twice"),
        (b'{"a": {"dtype": "F32", "dtype": "F16"}}', b"", r"the key 'dtype' twice"),
        ({"a": 3}, b"", r"dtype, shape and data_offsets for tensor 'a', got '3'"),
        ({"a": {"dtype": "F32", "shape": [3, 2]}}, DATA, r"dtype, shape and data_offsets for"),
        ({"a": F32 | {"dtype": 3}}, DATA, r"a dtype of the safetensors format .*, got '3'"),
        ({"a": F32 | {"dtype": "float32"}}, DATA, r"a dtype of the safetensors format"),
        ({"a": F32 | {"shape": [-3, -2]}}, DATA, r"a shape of whole numbers for tensor 'a'"),
        ({"a": F32 | {"shape": [3.0, 2]}}, DATA, r"a shape of whole numbers for tensor 'a'"),
        ({"a": F32 | {"shape": [3, True]}}, DATA, r"a shape of whole numbers for tensor 'a'"),
        ({"a": F32 | {"shape": 6}}, DATA, r"a shape of whole numbers for tensor 'a'"),
        ({"a": F32 | {"shape": [1] * 65}}, DATA, r"at most 64 dimensions for tensor 'a', got 65"),
        ({"a": F32 | {"shape": [2**64, 0]}}, DATA, r"a shape of whole numbers for tensor 'a'"),
        ({"a": F32 | {"shape": [3, 3]}}, DATA, r"as many bytes as dtype F32 and shape '\[3, 3\]'"),
        ({"a": F32 | {"dtype": "F64"}}, DATA, r"as many bytes as dtype F64 .*, got 24 bytes"),
        ({"a": F32 | {"shape": [2**62, 2**62]}}, DATA, r"as many bytes as dtype F32"),
        ({"a": F32 | {"data_offsets": [24, 0]}}, DATA, r"begin <= end for tensor 'a'"),
        ({"a": F32 | {"data_offsets": [-24, 0]}}, DATA, r"begin <= end for tensor 'a'"),
        ({"a": F32 | {"data_offsets": [0, 24, 48]}}, DATA, r"begin <= end for tensor 'a'"),
        ({"a": F32 | {"data_offsets": None}}, DATA, r"begin <= end for tensor 'a'"),
        ({"a": F32}, DATA[:-1], r"bytes, as the header says, got \d+ bytes \(truncated\)"),
        ({"a": F32}, DATA + b"x", r"bytes, as the header says, got .* that belong to no tensor"),
        ({"a": F32 | {"data_offsets": [4, 28]}}, DATA + DATA, r"tensor 'a' that follows a gap"),
        ({"a": F32, "b": F32}, DATA, r"tensor 'b' that overlaps the tensor before it"),
        (
            {"a": F32, "b": F32 | {"data_offsets": [20, 44]}},
            DATA + DATA,
            r"tensor 'b' that overlaps",
        ),
        (
            {"a": F32 | {"data_offsets": [2**62, 2**62 + 24]}},
            DATA,
            r"tensor 'a' that follows a gap",
        ),
    ],
)
def test_damaged_headers(write_raw: Write, header: Any, data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=f"not a sound safetensors file: .*{message}") as caught:
        load_table(write_raw(header, data))
    assert "\n" not in str(caught.value)
    assert "download or save it again" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1234567", r"expected at least 8 bytes, got 7 bytes"),
        ((9).to_bytes(8, "little") + b"{}", r"a header of 9 bytes, .* got 2 bytes after them"),
        ((32_000_001).to_bytes(8, "little") + b"{}", r"a header of at most 32 MB, got"),
        (b"\xff" * 64, r"a header of at most 32 MB, got"),
    ],
)
def test_damaged_lengths(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        load_table(path)


def test_a_file_of_no_tensors(write_raw: Write) -> None:
    with pytest.raises(SourceError, match=r"looks like a position table: .* got no tensors"):
        load_table(write_raw({"__metadata__": {"format": "pt"}}))


def test_a_name_cannot_forge_a_line(write_raw: Write) -> None:
    forged = "a\n\x1b[31mposlens: all is well"
    with pytest.raises(SourceError, match=r"tensor 'a\\n\\x1b\[31mposlens: all is well'") as caught:
        load_table(write_raw({forged: F32 | {"shape": [9, 9]}}, DATA))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "dtype",
    [torch.int64, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn],
)
def test_other_dtypes_are_refused_before_reading(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "x.safetensors"
    save_torch_file({"wpe": torch.ones(4, 4).to(dtype)}, path)
    with pytest.raises(TableError, match=r"expected a float64, .* or bfloat16 tensor, got dtype"):
        load_table(path)


@pytest.mark.parametrize(
    "text",
    [
        '{"wpe":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}}',
        '{"wpe":{"data_offsets":[0,24],"shape":[3,2],"dtype":"F32"}}',
        '{ "wpe" :\t{ "dtype" : "F32" ,\r\n "shape" : [ 3 , 2 ] , "data_offsets" : [ 0 , 24 ] } } ',
        '{"w\\u0070e":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24],"more":[1,null,"}"]}}',
        '{"__metadata__":null,"wpe":{"d\\u0074ype":"F\\u00332","shape":[3,2],"data_offsets":[0,24]}}',
    ],
)
def test_every_way_to_write_a_record(write_raw: Write, text: str) -> None:
    path = write_raw(text.encode(), DATA)
    np.testing.assert_array_equal(load_table(path).rows.ravel(), np.arange(1, 7))
    with safe_open(path, "np") as reference:
        np.testing.assert_array_equal(reference.get_tensor("wpe").ravel(), np.arange(1, 7))


def test_tensors_in_another_order_than_their_bytes(write_raw: Write) -> None:
    """And tensors without bytes, which may lie anywhere between others, not within one."""
    empty = {"dtype": "F32", "shape": [0, 2]}
    header = {
        "c": {"dtype": "F32", "shape": [1, 2], "data_offsets": [16, 24]},
        "at": empty | {"data_offsets": [16, 16]},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    }
    opened = SafetensorsFile(LocalFile(write_raw(header, DATA)))
    assert [opened.read(name).values().ravel().tolist() for name in opened.names()] == [
        [5, 6],
        [],
        [1, 2, 3, 4],
    ]
    header["at"] = empty | {"data_offsets": [8, 8]}
    with pytest.raises(SourceError, match=r"tensor 'at' that overlaps the tensor before it"):
        SafetensorsFile(LocalFile(write_raw(header, DATA)))


def replaced(path: Path) -> None:
    other = path.with_suffix(".other")
    other.write_bytes(path.read_bytes()[::-1])
    other.replace(path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def extended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def rewritten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(0, 1))


@pytest.mark.parametrize("change", [replaced, cut, extended, rewritten])
def test_a_file_that_changes_after_opening(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Its header may not hold for what is there now."""
    path = tmp_path / "x.safetensors"
    save_file({"wpe": np.eye(4)}, path)
    opened = SafetensorsFile(LocalFile(path))
    np.testing.assert_array_equal(opened.read("wpe").values(), np.eye(4))
    change(path)
    with pytest.raises(SourceError, match=r"not as it was when it was opened.*the same file of 20"):
        opened.read("wpe")
