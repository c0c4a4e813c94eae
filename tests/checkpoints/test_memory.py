"""However a header, index or config is made, it never takes 64 MB; honest large ones are read."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from containers import Held, config_of
from peaks import error_of, peak

from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.index_file import LARGEST_INDEX
from poslens.checkpoints.json_text import LARGEST_PARSED, MOST_MEMORY, memory_to_parse
from poslens.checkpoints.load import table_of
from poslens.checkpoints.numpy_files import LARGEST_DIRECTORY
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.safetensors_file import LARGEST_HEADER, SafetensorsFile
from poslens.encodings import Concatenated
from poslens.errors import SourceError

Peak = Callable[[str, Path], tuple[int, str]]


@pytest.fixture(scope="module")
def peak_of() -> Iterator[Peak]:
    """`peaks.peak` in a process of its own, where no annotation is checked, which takes memory."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        yield lambda reader, path: process.submit(peak, reader, path).result()


def filled(size: int, parts: Iterator[str], start: str = "{", end: str = "}") -> bytes:
    """JSON of nearly ``size`` bytes."""
    found, length = [start], len(start) + len(end)
    for part in parts:
        length += len(part) + 1
        if length > size:
            break
        found.append(part + ",")
    return "".join(found)[:-1].encode() + end.encode()


def repeated(size: int, part: str, start: str, end: str) -> bytes:
    """The same of one part, again and again."""
    times = (size - len(start) - len(end)) // (len(part) + 1)
    return start.encode() + (part.encode() + b",") * (times - 1) + part.encode() + end.encode()


def numbered(text: str) -> Iterator[str]:
    """The text with its # replaced by 0, 1, 2, …, as short as they can be."""
    return (text.replace("#", format(number, "x")) for number in count())


RECORD = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
ODD = '{"shape":[0],"dtype":"U8","data_offsets":[0,0]}'
HEADERS: dict[str, Callable[[int], bytes]] = {
    "opening brackets": lambda size: b'{"a":' + b"[" * (size - 5),
    "opening braces": lambda size: b'{"a":' * (size // 5),
    "empty lists": lambda size: repeated(size, "[]", '{"a":[', "]}"),
    "empty objects": lambda size: repeated(size, "{}", '{"a":[', "]}"),
    "one string": lambda size: b'{"a":"' + b"x" * (size - 8) + b'"}',
    "one name": lambda size: b'{"' + b"x" * (size - 8) + b'":{}}',
    "one wide name": lambda size: '{"😀'.encode() + b"x" * (size - 12) + b'":{}}',
    "one escaped name": lambda size: b'{"' + b"\\n" * (size // 2 - 4) + b'":{}}',
    "wide names": lambda size: filled(size - size // 200, numbered(f'"😀{"x" * 900}#":{RECORD}')),
    "the same name": lambda size: repeated(size, '"a":0', "{", "}"),
    "names alone": lambda size: filled(size, numbered('"#":0')),
    "tensors of no bytes": lambda size: filled(size, numbered(f'"#":{RECORD}')),
    "odd records": lambda size: filled(size, numbered(f'"#":{ODD}')),
    "one shape": lambda size: repeated(
        size, "1", '{"a":{"dtype":"U8","shape":[', '],"data_offsets":[0,1]}}'
    ),
    "one odd shape": lambda size: repeated(size, "1", '{"a":{"shape":[', "]}}"),
    "metadata": lambda size: filled(size, numbered('"#":"#"'), '{"__metadata__":{', "}}"),
    "spaces": lambda size: b"{" + b" " * (size - 2) + b"}",
    "spaces after": lambda size: b"{}" + b" " * (size - 2),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers(tmp_path: Path, peak_of: Peak, name: str) -> None:
    path, text = tmp_path / "x.safetensors", HEADERS[name](LARGEST_HEADER)
    assert 0.9 * LARGEST_HEADER < len(text) <= LARGEST_HEADER
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    most, message = peak_of("header", path)
    assert most < MOST_MEMORY
    assert message.isprintable()


@pytest.mark.parametrize("tensors", [10_000, 40_000, 43_700, 43_800, 87_400, 87_500, 110_000])
def test_headers_just_before_and_after_their_dicts_grow(
    tmp_path: Path, peak_of: Peak, tensors: int
) -> None:
    path = tmp_path / "x.safetensors"
    text = ("{" + ",".join(f'"{number}":{RECORD}' for number in range(tensors)) + "}").encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    most, message = peak_of("header", path)
    assert not message
    assert most < len(text) + tensors * (60 + 180) + 100_000


INDEXES: dict[str, Callable[[int], bytes]] = {
    "names": lambda size: filled(size, numbered('"#":"x"'), '{"weight_map":{', "}}"),
    "long names": lambda size: filled(size, numbered(f'"{"x" * 900}#":"x"'), '{"weight_map":{'),
    "wide names": lambda size: filled(size, numbered(f'"😀{"x" * 900}#":"x"'), '{"weight_map":{'),
    "files": lambda size: filled(size, numbered('"#":"#"'), '{"weight_map":{', "}}"),
    "wide files": lambda size: filled(size, numbered(f'"#":"😀{"x" * 230}#"'), '{"weight_map":{'),
    "metadata": lambda size: repeated(size, "{}", '{"metadata":[', '],"weight_map":{}}'),
    "one string": lambda size: b'{"a":"' + b"x" * (size - 8) + b'"}',
    "one name": lambda size: b'{"' + b"x" * (size - 8) + b'":{}}',
    "one file": lambda size: b'{"weight_map":{"":"' + b"x" * (size - 22) + b'"}}',
    "opening brackets": lambda size: b'{"a":' + b"[" * (size - 5),
    "spaces": lambda size: b"{" + b" " * (size - 2) + b"}",
    "spaces after": lambda size: b'{"weight_map":{}}' + b" " * (size - 17),
}


@pytest.mark.parametrize("name", INDEXES)
def test_indexes(tmp_path: Path, peak_of: Peak, name: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(INDEXES[name](LARGEST_INDEX // 4))
    most, message = peak_of("index", path)
    assert most < MOST_MEMORY
    assert message.isprintable()


DOCUMENTS: dict[str, Callable[[int], bytes]] = {
    "one string": lambda size: b'{"a":"' + b"x" * (size - 8) + b'"}',
    "one wide string": lambda size: '{"a":"😀'.encode() + b"x" * (size - 12) + b'"}',
    "one escaped string": lambda size: b'{"a":"\\ud83d\\ude00' + b"x" * (size - 20) + b'"}',
    "lists": lambda size: repeated(size, "[]", '{"a":[', "]}"),
    "objects": lambda size: repeated(size, "{}", '{"a":[', "]}"),
    "objects of one": lambda size: repeated(size, '{"":0}', '{"a":[', "]}"),
    "objects of six": lambda size: repeated(
        size, '{"":0,"a":0,"b":0,"c":0,"d":0,"e":0}', '{"a":[', "]}"
    ),
    "lists of one": lambda size: repeated(size, "[0.5]", '{"a":[', "]}"),
    "lists of five": lambda size: repeated(size, "[9e9,9e9,9e9,9e9,9e9]", '{"a":[', "]}"),
    "numbers": lambda size: repeated(size, "9e9", '{"a":[', "]}"),
    "small numbers": lambda size: repeated(size, "0", '{"a":[', "]}"),
    "large numbers": lambda size: repeated(size, "9" * 400, '{"a":[', "]}"),
    "strings": lambda size: filled(size, numbered('"#"'), '{"a":[', "]}"),
    "wide strings": lambda size: filled(size - size // 3, numbered('"😀#"'), '{"a":[', "]}"),
    "names": lambda size: filled(size, numbered('"#":0')),
    "names and strings": lambda size: filled(size, numbered('"#":"#"')),
    "nested": lambda size: repeated(size, "[" * 90 + "]" * 90, '{"a":[', "]}"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_that_are_parsed(tmp_path: Path, peak_of: Peak, name: str) -> None:
    """The bound that decides whether `json` may have a document holds, whatever is in it."""
    path = tmp_path / "config.json"
    for size in (100_000, 217_000, 400_000):
        text = DOCUMENTS[name](size)
        path.write_bytes(text)
        most, _ = peak_of("json", path)
        assert most < memory_to_parse(text) + 50_000
    path.write_bytes(DOCUMENTS[name](LARGEST_PARSED))
    most, message = peak_of("config", path)
    assert most < MOST_MEMORY
    assert not message or "could take more than 64 MB once parsed" in message


def test_a_config_of_many_labels(tmp_path: Path, peak_of: Peak) -> None:
    """Twice 22,000 classes, as the largest image classifiers have."""
    labels = {f"{number}": f"class {number}, and its other name" for number in range(22_000)}
    config = {"id2label": labels, "label2id": {label: int(n) for n, label in labels.items()}}
    (tmp_path / "config.json").write_text(json.dumps(config, indent=2))
    most, message = peak_of("config", tmp_path / "config.json")
    assert not message
    assert most < MOST_MEMORY


@pytest.mark.parametrize("reader", ["header", "config", "index"])
def test_a_hundred_megabytes_are_refused_unread(tmp_path: Path, peak_of: Peak, reader: str) -> None:
    path, size = tmp_path / "x", 100_000_000
    start = size.to_bytes(8, "little") if reader == "header" else b""
    with path.open("wb") as file:
        file.write(start + b'{"a":')
        file.write(b"[" * (size - 5))
    most, message = peak_of(reader, path)
    assert "MB, got " in message
    assert most < 1_000_000


def test_a_header_of_a_hundred_thousand_tensors(tmp_path: Path, peak_of: Peak) -> None:
    """A mixture of experts in one file, its names among the longest."""
    names = [
        f"language_model.model.layers.{number // 900}.mlp.experts.{number % 900}.down_proj.weight"
        for number in range(100_000)
    ]
    header = {
        name: {"dtype": "BF16", "shape": [1, 2], "data_offsets": [4 * number, 4 * number + 4]}
        for number, name in enumerate(names)
    }
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    data = np.arange(200_000, dtype="<u2").tobytes()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    most, message = peak_of("header", path)
    assert not message
    assert most < MOST_MEMORY
    tensors = SafetensorsFile(LocalFile(path))
    assert list(tensors.names()) == names
    assert tensors.entry(names[-1]).shape == (1, 2)
    assert tensors.read(names[77_777]).raw == data[4 * 77_777 : 4 * 77_778]


def test_an_index_of_two_hundred_thousand_tensors(tmp_path: Path, peak_of: Peak) -> None:
    """As that of a model of a trillion parameters in four bits."""
    files = {
        f"language_model.model.layers.{number // 3500}.mlp.experts.{number % 3500 // 9}"
        f".down_proj.weight_packed_{number % 9}": f"model-{number // 2000:05d}-of-00100.safetensors"
        for number in range(200_000)
    }
    for file in set(files.values()):
        (tmp_path / file).touch()
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": files}, indent=2))
    most, message = peak_of("index", path)
    assert not message
    assert most < MOST_MEMORY


@pytest.mark.parametrize(("byte_a_member", "message"), [(60, ""), (40, "a directory of")])
def test_directories_of_archives(
    tmp_path: Path, peak_of: Peak, byte_a_member: int, message: str
) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(LARGEST_DIRECTORY // byte_a_member):
            archive.writestr(f"{number:x}.txt", b"")
    most, error = peak_of("archive", path)
    assert message in error
    assert bool(message) == bool(error)
    assert most < MOST_MEMORY


@pytest.mark.parametrize("layout", ["C", "F", "big-endian", "stored", "deflated"])
def test_arrays_are_read_in_pieces(tmp_path: Path, peak_of: Peak, layout: str) -> None:
    array = np.random.default_rng(0).normal(size=(1001, 2003))
    path = tmp_path / "x"
    if layout in ("stored", "deflated"):
        save = np.savez if layout == "stored" else np.savez_compressed
        with path.open("wb") as file:
            save(file, a=array)
    else:
        laid_out = array.astype(">f8") if layout == "big-endian" else np.array(array, order=layout)
        with path.open("wb") as file:
            np.save(file, laid_out)
    most, message = peak_of("npz" if layout in ("stored", "deflated") else "npy", path)
    assert not message
    assert most < array.nbytes + 8_000_000


@pytest.mark.parametrize("reader", ["tensor", "npy"])
def test_a_tensor_larger_than_the_memory(tmp_path: Path, reader: str) -> None:
    """A sparse file of 16 GB, in a process that may take 8."""
    length, path = 2**32, tmp_path / "x"
    if reader == "tensor":
        record = {"dtype": "F32", "shape": [length], "data_offsets": [0, 4 * length]}
        text = json.dumps({"a": record}).encode()
        start = len(text).to_bytes(8, "little") + text
    else:
        npy = io.BytesIO()
        header = {"descr": "<f4", "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(npy, header)
        start = npy.getvalue()
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + 4 * length)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        message = process.submit(error_of, reader, path, 2**33).result()
    assert f"expected data that fit in memory, got {4 * length} bytes" in message


def test_a_formula_is_not_computed_at_any_size() -> None:
    """Where a config of a few bytes names a table of exabytes."""
    for length in (5, 2**31 - 1):
        config = config_of({"model_type": "ctrl", "n_positions": length, "n_embd": 8})
        held = Held(**{"w.weight": np.eye(8)})
        checkpoint = Checkpoint(held, config, "computed")
        if length == 5:
            rows = table_of(checkpoint, None, with_tokens=False).rows
            np.testing.assert_array_equal(rows, Concatenated(8).table(np.arange(5)))
        else:
            with pytest.raises(SourceError, match=r"at most 67108864 entries, got 2147483647 × 8"):
                table_of(checkpoint, None, with_tokens=False)
