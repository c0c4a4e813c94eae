"""What a source string names, and what is said when it names nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from poslens.checkpoints import load_table
from poslens.checkpoints.candidates import looks_like_positions
from poslens.checkpoints.names import Address, HubModel, Located, parse_source
from poslens.encodings import EncodingSpec, Sinusoidal
from poslens.encodings.sinusoidal import sinusoidal_table
from poslens.errors import SourceError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sinusoidal:length=512,dim=768", EncodingSpec(Sinusoidal(768), 512)),
        ("sinusoidal:base=1e4,length=3,dim=1", EncodingSpec(Sinusoidal(1), 3)),
        ("sinusoidal:dim=7,length=3,base=1.5", EncodingSpec(Sinusoidal(7, 1.5), 3)),
    ],
)
def test_encoding_strings(text: str, expected: EncodingSpec) -> None:
    assert parse_source(text) == expected
    table = load_table(text)
    rows = sinusoidal_table(expected.length, expected.encoding.dim, expected.encoding.base)
    np.testing.assert_array_equal(table.rows, rows)
    assert (table.source.scheme, table.source.family) == ("sinusoidal", None)
    assert (table.source.uri, table.source.bytes_read) == (text, 0)
    assert table.source.dtype == "float64"
    assert table.source.sha256 == load_table(rows).source.sha256
    assert table.missing.keys() == {"tokens", "norm_scales", "init_std"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("", r"of at least 3 for length, got no length"),
        ("length=5", r"a whole number for dim, got no dim"),
        ("length=2,dim=4", r"at least 3 for length, got '2'"),
        ("length=5,dim=0", r"at least 1 for dim, got 0"),
        ("length=5.0,dim=4", r"at least 3 for length, got '5.0'"),
        ("length=1_000,dim=4", r"at least 3 for length, got '1_000'"),
        ("length=٥,dim=4", r"at least 3 for length, got '٥'"),
        ("length=5,dim=4,", r"keys among length, dim, base, got ''"),
        ("length=5,dim=4,length=6", r"each key once, got 'length' twice"),
        ("length=5,dim=4\n", r"a whole number for dim, got '4\\n'"),
        ("length=5,dim=4,base=nan", r"a decimal number for base, got 'nan'"),
        (f"length=5,dim=4,base={'9' * 300}e99", r"a finite number of at least 1 for base"),
        ("length=999999999999,dim=999999999999", r"at most 268435456 for dim"),
    ],
)
def test_encoding_strings_that_cannot_be_used(settings: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        load_table(f"sinusoidal:{settings}")
    assert str(caught.value).endswith("write sinusoidal:length=…,dim=…[,base=10000]")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"nothing found at ''"),
        ("no/such/folder", r"nothing found at 'no/such/folder': expected a local file or folder"),
        ("no-such-file.npy::wpe", r"nothing found at 'no-such-file.npy'"),
        ("::wpe", r"nothing found at ''"),
        ("a\0b", r"nothing found at 'a\\x00b'"),
        ("x" * 5000, r"nothing found at 'xxx.*…'"),
        ("rope:dim=3", r"cannot understand 'rope:dim=3': expected keys among head_dim, base"),
        ("mpope:dim=3", r"nothing found at 'mpope:dim=3'.* or sinusoidal:length=…,dim=…"),
        ("a\nb\x1b[2J", r"nothing found at 'a\\nb\\x1b\[2J'"),
    ],
)
def test_nothing_there(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        load_table(text)
    assert str(caught.value).isprintable()


def test_paths_and_tensors(tmp_path: Path) -> None:
    path = tmp_path / "odd::name.npy"
    np.save(path, np.eye(4))
    assert parse_source(str(path)) == Located(path)
    assert load_table(path).source.uri == str(path)
    assert parse_source(f"{tmp_path}::a::b") == Located(tmp_path, "a::b")
    with pytest.raises(
        SourceError, match=r"no tensor is named in .*nothing after '::'; name a ten"
    ):
        load_table(f"{tmp_path}::")


def test_the_longest_path_that_exists_is_taken(tmp_path: Path) -> None:
    """Folders and tensors may both have '::' in their names."""
    folder = tmp_path / "a::b"
    folder.mkdir()
    path = folder / "x.npz"
    np.savez(path, **{"c::d": np.eye(3)})
    assert parse_source(f"{path}::c::d") == Located(path, "c::d")
    assert parse_source(f"{path}:::d") == Located(path, ":d")
    np.testing.assert_array_equal(load_table(f"{path}::c::d").rows, np.eye(3))
    (tmp_path / "a").mkdir()
    assert parse_source(f"{folder}::x") == Located(folder, "x")
    assert parse_source(f"{tmp_path}/a::c::x") == Located(tmp_path / "a", "c::x")


def test_long_names_are_looked_through_once() -> None:
    """A search from each of a million places to the end would take hours."""
    assert not looks_like_positions("_emb" * 250_000)
    assert not looks_like_positions("_pos_emb" * 250_000 + "!")
    assert looks_like_positions("x." * 500_000 + "wpe.weight")
    assert looks_like_positions("x" * 500_000 + "_position_embeddings.weight")
    assert not looks_like_positions("x" * 500_000 + "wpe.weight")


def test_a_path_is_never_an_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "sinusoidal:length=5,dim=3"
    Path(name).mkdir()
    assert isinstance(parse_source(name), EncodingSpec)
    assert parse_source(Path(name)) == Located(Path(name))
    assert parse_source(f"./{name}") == Located(Path(name))


@pytest.mark.parametrize("suffix", [".txt", ""])
def test_other_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"x")
    said = f"got suffix '{suffix}'" if suffix else "got no suffix"
    with pytest.raises(
        SourceError, match=rf"ends in .safetensors, .*which this version reads, {said}"
    ):
        load_table(path)


@pytest.mark.parametrize(
    "suffix", [".safetensors", ".safetensors.index.json", ".bin", ".pt", ".npy", ".npz"]
)
def test_empty_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.touch()
    with pytest.raises(SourceError, match=r"cannot read .* got an empty file; download or save it"):
        load_table(path)


@pytest.mark.parametrize(
    "source", ["sinusoidal:length=5,dim=3", "x.npy", "x.safetensors", np.eye(4)]
)
def test_a_part_of_what_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str | np.ndarray
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.eye(4))
    save_file({"wpe": np.eye(4)}, "x.safetensors")
    with pytest.raises(
        SourceError, match=r"no part 'text' in .*a source that has parts, got 'text'"
    ):
        load_table(source, part="text")


def save(path: Path, **tensors: np.ndarray) -> Path:
    renamed = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    if path.suffix == ".npz":
        np.savez(path, **renamed)
    else:
        save_file(renamed, path)
    return path


@pytest.mark.parametrize("file", ["x.safetensors", "x.npz"])
class TestBareFiles:
    def test_the_one_that_is_named_like_a_table(self, tmp_path: Path, file: str) -> None:
        for name in (
            "wpe__weight",
            "W_pos",
            "model__embed_positions__weight",
            "pos_embed",
            "vit__embeddings__position_embeddings",
            "positional_embedding",
            "positions_embed__weight",
            "decoder_pos_emb",
            "encoder__pe",
        ):
            path = save(tmp_path / file, **{name: np.eye(4)}, wte=np.eye(5), h=np.ones((4, 4)))
            table = load_table(path)
            np.testing.assert_array_equal(table.rows, np.eye(4))
            assert table.source.tensor == name.replace("__", ".")
            assert table.source.scheme == "unknown"
            assert table.source.family is None
            assert table.norm_scales == ()
            assert table.missing.keys() == {"tokens", "norm_scales", "init_std"}

    def test_the_only_matrix_of_floats(self, tmp_path: Path, file: str) -> None:
        path = save(
            tmp_path / file,
            m=np.eye(4),
            bias=np.ones(4),
            wpe=np.eye(4, dtype=np.int64),
            rel_pos_emb=np.ones((2, 4, 4)),
        )
        assert load_table(path).source.tensor == "m"

    def test_several_that_are_named_like_tables(self, tmp_path: Path, file: str) -> None:
        path = save(tmp_path / file, a__wpe=np.eye(4), b__wpe=np.ones((1, 5, 4)), c=np.eye(4))
        with pytest.raises(
            SourceError,
            match=r"several tensors .*'a.wpe' \(float64, 4×4\), 'b.wpe' \(float64, 1×5×4\); name",
        ) as caught:
            load_table(path)
        assert str(caught.value).endswith("::TENSOR")
        assert load_table(f"{path}::b.wpe").rows.shape == (5, 4)

    def test_none_and_several_matrices(self, tmp_path: Path, file: str) -> None:
        path = save(tmp_path / file, **{f"m{i:02}": np.eye(4) for i in range(11)})
        with pytest.raises(
            SourceError,
            match=r"no tensor in .* looks like .*'m07' \(float64, 4×4\) and 3 more; name",
        ):
            load_table(path)


def test_sources_of_other_types(tmp_path: Path) -> None:
    class Bytes:
        def __fspath__(self) -> bytes:
            return b"x"

    with pytest.raises(
        SourceError, match=r"expected a string, a path, an array .* torch, got Bytes"
    ):
        load_table(Bytes())


def test_a_path_that_is_not_utf8_can_be_written_about(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.npy")
    np.save(path, np.arange(12.0).reshape(4, 3))
    uri = load_table(path).source.uri
    assert uri.encode("utf-8").endswith(b"\\udcff.npy")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpt2", HubModel("gpt2")),
        ("org/name", HubModel("org/name")),
        ("org/name@v1.0", HubModel("org/name", "v1.0")),
        ("org/name@refs/pr/3::wpe.weight", HubModel("org/name", "refs/pr/3", None, "wpe.weight")),
        ("org/name/sub/x.gguf@main", HubModel("org/name", "main", "sub/x.gguf")),
        ("https://host/a/x.safetensors", Address("https://host/a/x.safetensors")),
        ("HTTP://host:80/x.npz::a b", Address("HTTP://host:80/x.npz", "a b")),
    ],
)
def test_what_is_elsewhere(text: str, expected: HubModel | Address) -> None:
    assert parse_source(text) == expected


def test_a_path_is_taken_before_a_model_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("org", "name").mkdir(parents=True)
    assert parse_source("org/name") == Located(Path("org/name"))
    assert parse_source("org/name::wpe") == Located(Path("org/name"), "wpe")


@pytest.mark.parametrize(
    "text", ["x.safetensors", "org/x.npy", "a/b/c", "../org/name", "org/name@", "~/model", "org//x"]
)
def test_what_can_only_have_been_a_path_is_not_looked_for_elsewhere(text: str) -> None:
    with pytest.raises(SourceError, match=r"nothing found at .*a model on the hub \(org/name\)"):
        parse_source(text)
