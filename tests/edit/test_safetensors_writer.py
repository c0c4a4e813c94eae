"""What is written, as safetensors' own reader and ours read it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load, save_file

from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.safetensors_file import BITS, SafetensorsFile
from poslens.checkpoints.tensors import Entry
from poslens.edit.blocks import CHUNK
from poslens.edit.raw import copied_piece
from poslens.edit.safetensors_writer import array_piece, write_safetensors
from poslens.edit.stored import WORDS, as_stored
from poslens.errors import TableError

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "U8": "u1", "BOOL": "?"}
# A tab, a quote, an umlaut and what is no letter at all: names are data.
NAMES = st.text(alphabet='ab.\t"\\ü😀', min_size=1, max_size=6)
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    tensors=st.dictionaries(NAMES, st.tuples(st.sampled_from(list(DTYPES)), SHAPES), max_size=6),
    metadata=st.none() | st.dictionaries(st.text("aé\n", max_size=3), st.text("b", max_size=2)),
)
def test_safetensors_reads_what_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    tensors: dict[str, tuple[str, tuple[int, ...]]],
    metadata: dict[str, str] | None,
) -> None:
    path = tmp_path_factory.mktemp("written") / "a.safetensors"
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.integers(0, 2, shape).astype(DTYPES[word])
        for name, (word, shape) in tensors.items()
    }
    counted: list[int] = []
    pieces = [array_piece(name, tensors[name][0], values) for name, values in arrays.items()]
    text = None if metadata is None else json.dumps(metadata).encode()
    write_safetensors(path, pieces, text, counted.append)

    assert sum(counted) == sum(values.nbytes for values in arrays.values())
    with safe_open(path, "np") as file:
        assert file.metadata() == metadata
        assert set(file.keys()) == set(arrays)
        for name, values in arrays.items():
            found = file.get_tensor(name)
            assert found.dtype == values.dtype
            np.testing.assert_array_equal(found, values)
    again = SafetensorsFile(LocalFile(path))
    assert list(again.names()) == list(arrays)
    for name in arrays:  # every number lies at a multiple of its own width
        assert again.placed[name].start % (BITS[tensors[name][0]] // 8) == 0


def test_a_copy_of_every_tensor_is_the_file_itself(tmp_path: Path) -> None:
    values = {
        "wide": torch.arange(CHUNK // 4 + 3, dtype=torch.float32),  # more than is held at once
        "bf16": torch.randn(3, 5).to(torch.bfloat16),
        "eight": torch.randn(4).to(torch.float8_e4m3fn),
        "odd": torch.arange(3, dtype=torch.uint8),
    }
    save_file(values, tmp_path / "a.safetensors", {"format": "pt", "by": "someone"})
    source = SafetensorsFile(LocalFile(tmp_path / "a.safetensors"))
    pieces = [copied_piece(source, name) for name in source.names()]
    write_safetensors(tmp_path / "b.safetensors", pieces, source.placed.metadata, lambda _: None)
    again = SafetensorsFile(LocalFile(tmp_path / "b.safetensors"))
    assert list(again.names()) == list(source.names())
    assert json.loads(again.placed.metadata or b"") == {"format": "pt", "by": "someone"}
    read = load((tmp_path / "b.safetensors").read_bytes())
    for name, tensor in values.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name].view(torch.uint8), tensor.view(torch.uint8))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_bfloat16_is_rounded_as_torch_rounds_it(numbers: list[float]) -> None:
    values = np.array(numbers, dtype=np.float32)
    entry = Entry("p", "bfloat16", values.shape)
    expected = torch.from_numpy(values).to(torch.bfloat16)
    if not expected.isfinite().all():
        with pytest.raises(TableError, match="within the range of bfloat16"):
            as_stored(values.astype(np.float64), entry)
        return
    stored = as_stored(values.astype(np.float64), entry)
    np.testing.assert_array_equal(stored, expected.view(torch.uint16).numpy())


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_number_beyond_the_range_of_the_dtype_is_refused(dtype: str) -> None:
    values = np.array([[1.0, 1e39]])
    with pytest.raises(TableError, match=f"within the range of {dtype}"):
        as_stored(values, Entry("p", dtype, values.shape))


def test_every_dtype_that_torch_saves_and_safetensors_has_gets_its_word(tmp_path: Path) -> None:
    words = {name: word for name, word in WORDS.items() if hasattr(torch, name)}
    assert len(words) == len(WORDS)
    for name, word in words.items():
        tensor = torch.zeros(4, dtype=torch.uint8 if "8" in name else torch.int64)
        tensor = tensor.view(getattr(torch, name)) if "float8" in name else tensor
        tensor = tensor.to(getattr(torch, name)) if "float8" not in name else tensor
        save_file({"t": tensor}, tmp_path / "t.safetensors")
        file = SafetensorsFile(LocalFile(tmp_path / "t.safetensors"))
        assert file.entry("t").dtype in (name, word)
        assert word in BITS
