"""Torch files: every tensor as torch itself reads it, and everything else refused unread."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import save_file
from torch_bytes import Held, archive_of, records, saved

from annotations import unchecked
from poslens.checkpoints import PositionTable, load_table
from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.names import Located
from poslens.checkpoints.opening import open_located
from poslens.checkpoints.torch_file import TorchFile
from poslens.errors import PosLensError, SourceError, TableError

Values = dict[str, torch.Tensor]
LAYOUTS = pytest.mark.parametrize("stream", [False, True], ids=["archive", "stream"])
W = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
BIG = torch.arange(600.0).reshape(20, 30)
PARAMETER = torch.nn.Parameter(W.clone())
PARAMETER.marked = "an attribute of a parameter is saved with it"  # type: ignore[attr-defined]


def stored(tensor: torch.Tensor) -> bytes:
    """A tensor's bytes in row-major order, as torch gives them."""
    values = tensor.detach().contiguous().reshape(-1)
    return values.view(torch.uint8).numpy().tobytes()


def values_by_name() -> Values:
    halves = BIG.split(15, dim=1)
    return {
        "transposed": BIG.T,
        "slice": BIG[3:9, 2:17:3],
        "shared": halves[1],
        "permuted": torch.randn(4, 6, 8).permute(2, 0, 1),
        "channels_last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "diagonal": torch.randn(9, 9).diagonal(),
        "windows": BIG.reshape(-1).unfold(0, 9, 4),
        "expanded": W[:1].expand(9, 5),
        "parameter": torch.nn.Parameter(W),
        "frozen": torch.nn.Parameter(W, requires_grad=False),
        "marked": PARAMETER,
        "half": W.half(),
        "bfloat16": W.bfloat16()[1:, ::2],
        "double": W.double().T,
        "empty": torch.empty(0, 4),
        "hollow": torch.empty(3, 0),
        "scalar": torch.tensor(3.0),
        "one": BIG[5:6, 7:8],
    }


@LAYOUTS
def test_every_tensor_is_as_torch_reads_it(tmp_path: Path, stream: bool) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(saved(values_by_name(), stream=stream))
    expected = torch.load(path, weights_only=True)
    file = TorchFile(LocalFile(path))
    assert list(file.names()) == list(expected)
    for name, tensor in expected.items():
        entry = file.entry(name)
        assert f"torch.{entry.dtype}" == str(tensor.dtype)
        assert entry.shape == tuple(tensor.shape)
        assert bytes(file.read(name).raw) == stored(tensor), name
    assert file.opening_bytes < path.stat().st_size / 2 + 2**16


def test_tensors_that_cannot_be_read_are_named() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to drop quantised tensors
        quantised = torch.quantize_per_tensor(W, 0.1, 0, torch.qint8)
        csr = W.to_sparse_csr()
    content = {
        "quantised": quantised,
        "sparse": W.to_sparse(),
        "csr": csr,
        "meta": torch.empty(3, 4, device="meta"),
        "conjugate": torch.randn(4, dtype=torch.complex64).conj(),
        "ids": torch.arange(5),
        "mask": torch.ones(5, dtype=torch.bool),
        "float8": W.to(torch.float8_e4m3fn),
        "uint16": torch.arange(4).to(torch.uint16),
        "wpe": W,
    }
    file = TorchFile(Held(saved(content)))
    kinds = {name: file.entry(name).dtype for name in file.names()}
    assert kinds == {
        "quantised": "quantised tensor",
        "sparse": "sparse tensor",
        "csr": "sparse tensor",
        "meta": "meta tensor",
        "conjugate": "conjugate or negative tensor",
        "ids": "int64",
        "mask": "bool",
        "float8": "float8_e4m3fn",
        "uint16": "uint16",
        "wpe": "float32",
    }
    for name in kinds.keys() - {"wpe"}:
        with pytest.raises(TableError, match=rf"tensor '{name}' of .* got dtype '{kinds[name]}'"):
            file.read(name)
    assert bytes(file.read("wpe").raw) == stored(W)
    assert str(file.entry("sparse")) == "'sparse' (sparse tensor)"


def test_values_that_are_no_tensors_are_left_out() -> None:
    content = {
        **{"none": None, "flag": True, "count": 3, "large": 2**70, "negative": -5, "rate": 0.5},
        **{"text": "é", "bytes": b"ab", "array": bytearray(b"x"), "list": [1, [2]], "pair": (1, 2)},
        **{"set": {1, 2}, "complex": 1j, "size": W.shape, "device": torch.device("cpu")},
        **{"dtype": torch.float16, "counts": Counter("aab"), "ordered": OrderedDict(a=1)},
        **{3: W, (1, 2): W, "wpe": W},
    }
    file = TorchFile(Held(saved(content)))
    assert list(file.names()) == ["wpe"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_pickle(protocol: int) -> None:
    buffer = io.BytesIO()
    torch.save({"wpe": W, "t": BIG.T, "n": b"x", "s": {1}}, buffer, pickle_protocol=protocol)
    file = TorchFile(Held(buffer.getvalue()))
    assert bytes(file.read("wpe").raw) == stored(W)
    assert bytes(file.read("t").raw) == stored(BIG.T)


def gpt2() -> hf.GPT2LMHeadModel:
    torch.manual_seed(0)
    return hf.GPT2LMHeadModel(
        hf.GPT2Config(
            **{"n_layer": 1, "n_head": 2, "n_embd": 6, "n_positions": 11, "vocab_size": 13},
            **{"bos_token_id": 0, "eos_token_id": 0},
        )
    )


def write_config(folder: Path, model: hf.PreTrainedModel) -> None:
    folder.mkdir()
    model.config.save_pretrained(folder)


def write_index(index: Path, shards: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
    """Shards and index as save_pretrained wrote them, before transformers 5."""
    for file, tensors in shards.items():
        torch.save(dict(tensors), index.parent / file)
    found = {name: file for file, tensors in shards.items() for name in tensors}
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": found}))


def every_route(folder: Path) -> dict[str, PositionTable]:
    """One model, written in every way and loaded."""
    model = gpt2()
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    del state["lm_head.weight"]  # the token table, which safetensors stores once
    names = list(state)
    writers: dict[str, Callable[[Path], object]] = {
        "safetensors": lambda at: save_file(state, at / "model.safetensors"),
        "bin": lambda at: torch.save(state, at / "pytorch_model.bin"),
        "stream": lambda at: (at / "pytorch_model.bin").write_bytes(saved(state, stream=True)),
        "pt": lambda at: torch.save(model.state_dict(), at / "best.pt"),
        "pth": lambda at: torch.save({"state_dict": state, "epoch": 3}, at / "last.pth"),
        "sharded": lambda at: write_index(
            at / "pytorch_model.bin.index.json",
            {
                f"{number}.bin": {name: state[name] for name in part}
                for number, part in enumerate([names[:1], names[1:2], names[2:3], names[3:]])
            },
        ),
    }
    loaded = {}
    for way, write in writers.items():
        write_config(folder / way, model)
        write(folder / way)
        loaded[way] = load_table(folder / way)
    return loaded


def test_every_route_gives_the_same_model(tmp_path: Path) -> None:
    loaded = every_route(tmp_path)
    expected = loaded.pop("safetensors")
    assert expected.source.family == "gpt2"
    assert expected.tokens is not None
    assert len(expected.norm_scales) == 1
    for way, got in loaded.items():
        np.testing.assert_array_equal(got.rows, expected.rows)
        np.testing.assert_array_equal(got.tokens, expected.tokens)
        np.testing.assert_array_equal(got.norm_scales, expected.norm_scales)
        assert got.missing == {}
        assert got.source.sha256 == expected.source.sha256, way
        assert got.source.bytes_read == expected.source.bytes_read
        assert got.source.tensor == "transformer.wpe.weight"


def test_files_and_tensors_can_be_named(tmp_path: Path) -> None:
    rows = every_route(tmp_path)["bin"].rows
    index = tmp_path / "sharded" / "pytorch_model.bin.index.json"
    for source in (tmp_path / "bin" / "pytorch_model.bin", index, tmp_path / "pt" / "best.pt"):
        np.testing.assert_array_equal(load_table(source).rows, rows)
        named = load_table(f"{source}::transformer.wte.weight")
        assert named.rows.shape == (13, 6)
    (tmp_path / "sharded" / "3.bin").write_bytes(b"garbage, never looked at")
    np.testing.assert_array_equal(load_table(f"{index}::transformer.wpe.weight").rows, rows)


def test_a_shard_is_taken_as_its_index_names_it(tmp_path: Path) -> None:
    """The model's own attribute is called as a wrapper's prefix."""
    index = tmp_path / "pytorch_model.bin.index.json"
    write_index(index, {"0.bin": {"module.wpe": W}, "1.bin": {"module.wte": W[:3]}})
    np.testing.assert_array_equal(load_table(f"{index}::module.wpe").rows, W.double())
    write_index(index, {"0.bin": {"wpe": W}})
    torch.save({"other": W}, tmp_path / "0.bin")
    with pytest.raises(SourceError, match=r"tensor 'wpe' in '0.bin', got a file without it"):
        load_table(index)


def test_which_weights_of_a_folder_are_taken(tmp_path: Path) -> None:
    """Safetensors first, then torch's usual names, then a file that is alone."""
    write_config(tmp_path / "m", gpt2())
    folder = tmp_path / "m"
    torch.save({"beta": 1}, folder / "training_args.bin")
    torch.save({"state": 1}, folder / "optimizer.pt")

    def saving(name: str, value: float) -> None:
        tensors = {"wpe.weight": torch.full((4, 6), float(value))}
        save_file(tensors, folder / name) if "safe" in name else torch.save(tensors, folder / name)

    saving("weights.pt", 1)
    assert load_table(folder).rows[0, 0] == 1
    saving("other.bin", 9)
    with pytest.raises(SourceError, match=r"several weight files .* got 'other.bin', 'weights.pt'"):
        load_table(folder)
    saving("x.safetensors", 2)
    assert load_table(folder).rows[0, 0] == 2
    saving("3.bin", 3)
    index = {"weight_map": {"wpe.weight": "3.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert load_table(folder).rows[0, 0] == 3
    saving("pytorch_model.bin", 4)
    assert load_table(folder).rows[0, 0] == 4
    saving("model.safetensors", 5)
    assert load_table(folder).rows[0, 0] == 5


def nanogpt_checkpoint(prefix: str) -> dict[str, object]:
    """What nanoGPT's train.py saves (its model has GPT-2's names under ``transformer.``)."""
    model = gpt2()
    optimizer = torch.optim.AdamW(model.parameters())
    sum(p.sum() for p in model.parameters()).backward()  # type: ignore[union-attr]
    optimizer.step()
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 6, "block_size": 11, "vocab_size": 13}
    return {
        "model": {prefix + name: tensor for name, tensor in model.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "model_args": {**sizes, "bias": False, "dropout": 0.0},
        "iter_num": 2000,
        "best_val_loss": torch.tensor(1.5),
        "config": {"out_dir": "out", "device": "cuda", "learning_rate": 1e-3},
    }


@LAYOUTS
@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module.", "module._orig_mod."])
def test_nanogpt(tmp_path: Path, prefix: str, stream: bool) -> None:
    checkpoint = nanogpt_checkpoint(prefix)
    path = tmp_path / "ckpt.pt"
    path.write_bytes(saved(checkpoint, stream=stream))
    table = load_table(path)
    state: Values = checkpoint["model"]  # type: ignore[assignment]
    wpe = state[f"{prefix}transformer.wpe.weight"]
    np.testing.assert_array_equal(table.rows, wpe.double().numpy())
    assert table.source.tensor == "transformer.wpe.weight"
    assert (table.source.family, table.source.scheme) == ("gpt2", "learned")
    assert (table.tokens is not None, len(table.norm_scales)) == (True, 1)
    config = open_located(Located(path), str(path)).config
    assert config is not None
    assert config.values == {
        **{"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 6},
        **{"n_positions": 11, "vocab_size": 13, "bias": False},
    }


def test_model_args_of_another_program_are_not_gpt2s(tmp_path: Path) -> None:
    """llama2.c saves under the same keys as nanoGPT."""
    path = tmp_path / "x.pt"
    torch.save({"model": {"wpe": W}, "model_args": {"dim": 5, "n_layers": 2}}, path)
    table = load_table(path)
    assert table.source.family is None
    np.testing.assert_array_equal(table.rows, W.double())


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict"])
def test_a_state_dict_under_a_usual_key(key: str) -> None:
    file = TorchFile(Held(saved({"loss": torch.tensor(1.0), key: {"module.wpe": W, "n": 3}})))
    assert list(file.names()) == ["wpe"]


def test_a_prefix_that_only_some_names_have_is_kept() -> None:
    file = TorchFile(Held(saved({"module.wpe": W, "head": W})))
    assert list(file.names()) == ["module.wpe", "head"]


def test_one_tensor_alone(tmp_path: Path) -> None:
    torch.save(W, tmp_path / "x.pt")
    table = load_table(tmp_path / "x.pt")
    np.testing.assert_array_equal(table.rows, W.double())
    assert table.source.tensor == "tensor"


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ({"a": 1, "b": "x"}, "a mapping of 'a', 'b'"),
        ({}, "a mapping of nothing"),
        ([W], "a list"),
        ({"encoder": {"wpe": W}}, "a mapping of 'encoder'"),
    ],
)
def test_files_without_a_state_dict(value: object, got: str) -> None:
    with pytest.raises(SourceError, match=rf"no state dict in 'x.pt'.* got {got}; use the model's"):
        TorchFile(Held(saved(value)))


class Trap:
    """Unpickling this would run a command that makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


class Evaluated(Trap):
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (f"__import__('pathlib').Path({str(self.mark)!r}).touch()",)


@pytest.mark.parametrize(("kind", "named"), [(Trap, "posix.system"), (Evaluated, "builtins.eval")])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_would_run_something_is_refused(
    tmp_path: Path, kind: type[Trap], named: str, protocol: int
) -> None:
    mark, path = tmp_path / "mark", tmp_path / "pytorch_model.bin"
    value = {"wpe": W, "trap": kind(mark)}
    for stream in (False, True):
        with path.open("wb") as file:
            torch.save(
                *(value, file),
                pickle_protocol=protocol,
                _use_new_zipfile_serialization=not stream,
            )
        with pytest.raises(
            SourceError, match=rf"would have to be unpickled: .* asks for '{named}'"
        ):
            load_table(path)
    path.write_bytes(pickle.dumps(value["trap"], protocol=protocol))
    with pytest.raises(SourceError, match=rf"asks for '{named}'; save the model's state_dict"):
        load_table(path)
    assert not mark.exists()
    kind(mark).__reduce__()[0](*kind(mark).__reduce__()[1])  # type: ignore[operator]
    assert mark.exists(), "the trap works"


@LAYOUTS
@pytest.mark.parametrize(
    ("value", "named"),
    [
        (argparse.Namespace(lr=1), "argparse.Namespace"),
        (np.float64(1.5), "numpy._core.multiarray.scalar"),
        (torch.nn.Linear(2, 3), "torch.nn.modules.linear.Linear"),
        (Path("x"), "pathlib.PosixPath"),
        (torch.nn.Linear, "torch.nn.modules.linear.Linear"),
        (torch.nn.functional.linear, "torch._C._nn.linear"),
    ],
)
def test_what_would_need_a_class_is_refused_by_its_name(
    value: object, named: str, stream: bool
) -> None:
    with pytest.raises(SourceError, match=rf"asks for '{named}'") as caught:
        TorchFile(Held(saved({"args": value, "wpe": W}, stream=stream)))
    assert str(caught.value).isprintable()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused() -> None:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), buffer)
    with pytest.raises(SourceError, match=r"is a TorchScript program: .* code, which is never run"):
        TorchFile(Held(buffer.getvalue()))


def test_torch_is_not_imported(tmp_path: Path) -> None:
    torch.save({"wpe": W}, tmp_path / "x.pt")
    program = "import sys, poslens; poslens.load_table(sys.argv[1]); print('torch' in sys.modules)"
    run = [sys.executable, "-c", program, str(tmp_path / "x.pt")]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "False\n"  # noqa: S603


def test_checksums(tmp_path: Path) -> None:
    content = saved({"wpe": W})
    damaged = content.replace(stored(W), stored(W)[:-1] + b"\xff")
    with pytest.raises(SourceError, match=r"expected 'data/0' as its checksum says, got other by"):
        TorchFile(Held(damaged)).read("wpe")
    at = content.index(b"wpe")
    with pytest.raises(SourceError, match=r"expected 'data.pkl' as its checksum says"):
        TorchFile(Held(content[:at] + b"wxe" + content[at + 3 :]))
    try:
        torch.serialization.set_crc32_options(False)
        without = saved({"wpe": W})
    finally:
        torch.serialization.set_crc32_options(True)
    assert bytes(TorchFile(Held(without)).read("wpe").raw) == stored(W)


def test_a_file_from_a_big_endian_machine(tmp_path: Path) -> None:
    """As torch reads it: it swaps the bytes of storages where the file's order is not its own."""
    parts = records(saved({"wpe": W, "h": W.half(), "t": BIG.T}))
    for name, data in parts.items():
        if name.endswith("byteorder"):
            parts[name] = b"big"
        elif "/data/" in name:
            width = "<u2" if len(data) == W.numel() * 2 else "<u4"
            parts[name] = np.frombuffer(data, width).byteswap().tobytes()
    path = tmp_path / "x.pt"
    path.write_bytes(archive_of(parts))
    expected = torch.load(path, weights_only=True)
    file = TorchFile(LocalFile(path))
    for name, tensor in expected.items():
        assert bytes(file.read(name).raw) == stored(tensor)
    torch.testing.assert_close(expected["wpe"], W, rtol=0, atol=0)
    parts["archive/byteorder"] = b"middle"
    with pytest.raises(SourceError, match=r"expected byte order little or big, got .b'middle'"):
        TorchFile(Held(archive_of(parts)))


class TestFilesThatLie:
    """Archives with sound checksums whose pickle or directory is not true."""

    def changed(self, old: bytes, new: bytes, value: object = None) -> TorchFile:
        parts = records(saved({"wpe": W} if value is None else value))
        text = next(data for name, data in parts.items() if name.endswith("/data.pkl"))
        assert text.count(old) == 1
        return TorchFile(Held(archive_of(parts, pickle=text.replace(old, new))))

    def test_a_tensor_larger_than_its_storage(self) -> None:
        with pytest.raises(
            SourceError,
            match=r"'wpe' within its storage of 140 bytes, got one that ends at byte 16",
        ):
            self.changed(b"K\x07K\x05\x86", b"K\x08K\x05\x86")
        with pytest.raises(
            SourceError, match=r"within its storage of 140 bytes, got one that ends"
        ):
            self.changed(b"K\x05K\x01\x86", b"K\x06K\x01\x86")

    def test_a_storage_larger_than_its_record(self) -> None:
        with pytest.raises(
            SourceError, match=r"expected 144 bytes for tensor 'wpe', got 140 bytes"
        ):
            self.changed(b"K\x23tq", b"K\x24tq")
        huge = b"\x8a\x08" + b"\xff" * 7 + b"\x0ftq"
        with pytest.raises(SourceError, match=r"for tensor 'wpe', got 140 bytes"):
            self.changed(b"K\x23tq", huge)

    def test_a_storage_that_is_not_there(self) -> None:
        with pytest.raises(SourceError, match=r"for tensor 'wpe', got no such record"):
            self.changed(b"X\x01\0\0\0000", b"X\x01\0\0\0007")

    def test_an_expanded_tensor(self) -> None:
        """A terabyte of rows that are one row: small enough ones are read, as torch does."""
        small = self.changed(b"K\x07K\x05\x86q", b"J\x00\x00\x08\x00K\x05\x86q", W[:1].expand(7, 5))
        assert small.read("tensor").nbytes == 2**19 * 20
        rows = b"\x8a\x06" + b"\0" * 5 + b"\x01"
        huge = self.changed(b"K\x07K\x05\x86q", rows + b"K\x05\x86q", W[:1].expand(7, 5))
        with pytest.raises(
            TableError, match=r"21990232555520 bytes expanded from 140; save a copy"
        ):
            huge.read("tensor")

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (b"K\x07K\x05\x86", b"J\xff\xff\xff\xffK\x05\x86", "a size or stride out of range"),
            (b"K\x07K\x05\x86", b"\x88K\x05\x86", "a size or stride out of range"),
            (b"K\x07K\x05\x86", b"K\x05\x85", "shape and strides that do not fit each other"),
            (b"FloatStorage", b"Size", "'torch.Size'"),
            (b"ctorch\nFloatStorage\n", b"X\x01\0\0\0x", "str for Name"),
            (b"storage", b"storagf", "persistent id that is no storage"),
            (b"Q", b"R", "IndexError"),
        ],
    )
    def test_a_record_of_nonsense(self, old: bytes, new: bytes, message: str) -> None:
        with pytest.raises(SourceError, match=rf"a pickle of tensors, got .*{message}"):
            self.changed(old, new)

    def test_compressed_records(self) -> None:
        parts = records(saved({"wpe": W}))
        with pytest.raises(
            SourceError, match=r"records that are not compressed, got 'byteorder' t"
        ):
            TorchFile(Held(archive_of(parts, zipfile.ZIP_DEFLATED)))

    def test_a_record_twice(self) -> None:
        parts = records(saved({"wpe": W}))
        buffer = io.BytesIO(archive_of(parts))
        with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("archive/data.pkl", b"x")
        with pytest.raises(SourceError, match=r"one record of each name, got 'data.pkl' twice"):
            TorchFile(Held(buffer.getvalue()))

    def test_records_that_overlap(self) -> None:
        """The storage of one tensor is claimed to reach into the next record."""
        content = bytearray(saved({"wpe": W, "wte": W + 1}))
        with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
            start = archive.start_dir
        entry = content.index(b"archive/data/0", start) - 46
        longer = (700).to_bytes(4, "little")
        content[entry + 20 : entry + 28] = longer * 2
        with pytest.raises(
            SourceError, match=r"700 bytes in 'data/0', got \d+ bytes before the ne"
        ):
            TorchFile(Held(bytes(content))).read("wpe")
        content[entry + 42 : entry + 46] = (0).to_bytes(4, "little")
        with pytest.raises(SourceError, match=r"follow one another, got two at the same place"):
            TorchFile(Held(bytes(content)))

    def test_a_directory_too_large(self) -> None:
        parts = {f"archive/data/{number}": b"" for number in range(40_000)}
        with pytest.raises(SourceError, match=r"a list of records of more than 2000000 bytes"):
            TorchFile(Held(archive_of({"archive/data.pkl": b"", **parts})))

    def test_an_archive_of_something_else(self) -> None:
        with pytest.raises(SourceError, match=r"expected a record 'data.pkl', got an archive with"):
            TorchFile(Held(archive_of({"x/readme": b"hello"})))


class TestStreamsThatLie:
    def test_other_files(self, tmp_path: Path) -> None:
        path = tmp_path / "x.bin"
        for content, message in (
            (
                b"gello, world",
                r"got .ValueError at byte 1: instruction 0x67, which tensors do not need",
            ),
            (pickle.dumps([1, 2], protocol=2), r"a file that torch.save wrote, got another pickle"),
            (b"\x80\x02", r"got 'IndexError at byte 2: index out of range'"),
        ):
            path.write_bytes(content)
            with pytest.raises(SourceError, match=message):
                load_table(path)

    def test_the_count_before_a_storage(self) -> None:
        content = saved({"wpe": W}, stream=True)
        at = content.index(stored(W))
        assert content[at - 8 : at] == (35).to_bytes(8, "little")
        wrong = content[: at - 8] + (36).to_bytes(8, "little") + content[at:]
        with pytest.raises(SourceError, match=r"expected 35 elements in a storage, got 36"):
            TorchFile(Held(wrong)).read("wpe")

    def test_a_storage_that_is_not_listed(self) -> None:
        content = saved({"wpe": W}, stream=True)
        key = content[: content.index(stored(W))].rindex(b"X")
        with pytest.raises(SourceError, match=r"for tensor 'wpe', got no such record"):
            TorchFile(
                Held(content[: key - 3] + b"]q\x01." + content[content.index(stored(W)) - 8 :])
            )


@LAYOUTS
def test_every_cut_is_noticed(stream: bool) -> None:
    content = saved({"wpe": W, "t": BIG[:2, :3].clone()}, stream=stream)
    for stop in range(0, len(content), 1 if stream else 3):
        with pytest.raises(PosLensError, match="expected") as caught:
            TorchFile(Held(content[:stop] or b"P"))
        assert str(caught.value).isprintable()


def peak_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        with unchecked():
            work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


PRE = b"\x80\x02"
HOSTILE = {
    "a gigabyte from a call": PRE + b"cbuiltins\nbytearray\nJ\0\0\0@\x85R.",
    "a gigabyte of a class": PRE + b"ctorch\nFloatTensor\nJ\0\0\0\x20\x85R.",
    "a long string": PRE + b"X\xff\xff\xff\xffx.",
    "a far memo": PRE + b"}r\xff\xff\xff\xff.",
    "dicts": PRE + b"}\x94" * 190_000 + b".",
    "wide strings": PRE + b"X\x08\0\0\0" + "😀".encode() + b"aaaa" + b"h\0" * 10 + b".",
    "a deep key": PRE + b"})" + b"\x85" * 100_000 + b"Ns.",
    "deep arguments": PRE + b"}X\x01\0\0\0a(" + b")" + b"\x85" * 100_000 + b"tNs.",
    "itself": PRE + b"}q\0X\x05\0\0\0modelh\0s.",
    "pairs again": PRE
    + b"ccollections\nOrderedDict\nq\0]("
    + b"]" * 9_000
    + b"eq\2"
    + b"h\0h\2\x85R" * 5_000
    + b".",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_pickle_takes_more_than_64_mb(text: bytes) -> None:
    file = Held(archive_of({"archive/data.pkl": text}))

    def refused() -> None:
        with pytest.raises(SourceError, match="expected"):
            TorchFile(file)

    assert peak_of(refused) < 64 * 10**6


@LAYOUTS
def test_no_tensor_takes_more_than_itself_and_64_mb(tmp_path: Path, stream: bool) -> None:
    """One column of a matrix of 128 MB, and the matrix itself transposed."""
    matrix = torch.arange(2**25, dtype=torch.float32).reshape(2**12, 2**13)
    path = tmp_path / "x.pt"
    path.write_bytes(saved({"column": matrix[:, 77], "turned": matrix.T}, stream=stream))
    file = TorchFile(LocalFile(path))
    assert bytes(file.read("column").raw) == stored(matrix[:, 77])
    assert peak_of(lambda: file.read("column")) < 40 * 10**6
    assert peak_of(lambda: file.read("turned")) < matrix.nbytes + 40 * 10**6
    assert bytes(file.read("turned").raw) == stored(matrix.T)
