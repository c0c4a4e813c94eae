"""Model folders, the files in them, and what is said when they do not fit."""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from poslens.checkpoints import index_file, load_table
from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.safetensors_file import SafetensorsFile
from poslens.errors import PosLensError, SourceError

Write = Callable[..., Path]
Tensors = dict[str, np.ndarray]
BERT = {"model_type": "bert"}
POSITIONS = "embeddings.position_embeddings.weight"
WORDS = "embeddings.word_embeddings.weight"
GAMMA = "embeddings.LayerNorm.weight"


def test_a_folder_gives_table_tokens_norms_and_sigma(
    write_model: Write, bert_tensors: Tensors
) -> None:
    folder = write_model(bert_tensors, BERT)
    table = load_table(folder)
    np.testing.assert_array_equal(table.rows, bert_tensors[POSITIONS])
    np.testing.assert_array_equal(table.tokens, bert_tensors[WORDS])
    np.testing.assert_array_equal(table.norm_scales, [bert_tensors[GAMMA]])
    assert table.rows.dtype == np.float64
    assert table.init_std == 0.02
    assert table.missing == {}
    assert table.source.uri == str(folder)
    read = (bert_tensors[name].nbytes for name in (POSITIONS, WORDS, GAMMA))
    assert table.source.bytes_read == sum(read)


def test_tokens_can_be_left_out(write_model: Write, bert_tensors: Tensors) -> None:
    folder = write_model(bert_tensors, BERT)
    table = load_table(folder, tokens=False)
    assert table.tokens is None
    assert table.missing == {"tokens": "the token table was not asked for"}
    without = bert_tensors[WORDS].nbytes
    assert table.source.bytes_read == load_table(folder).source.bytes_read - without


def test_a_file_with_a_config_beside_it_is_that_model(
    write_model: Write, bert_tensors: Tensors
) -> None:
    folder = write_model(bert_tensors, BERT, file="other.safetensors")
    for source in (folder, folder / "other.safetensors"):
        assert load_table(source).source.family == "bert"
    # Of several files, the folder cannot choose one; a file is read by itself.
    save_file({"embeddings.position_embeddings.weight": np.eye(4)}, folder / "x.safetensors")
    with pytest.raises(SourceError, match=r"several weight .*got 'other.safetensors', 'x.safetens"):
        load_table(folder)
    table = load_table(folder / "x.safetensors")
    np.testing.assert_array_equal(table.rows, np.eye(4))
    assert table.missing == {
        "tokens": f"no tensor '{WORDS}'",
        "norm_scales": f"no tensor '{GAMMA}'",
    }


def test_gamma_may_be_called_gamma(write_model: Write, bert_tensors: Tensors) -> None:
    tensors = dict(bert_tensors)
    tensors["embeddings.LayerNorm.gamma"] = tensors.pop(GAMMA)
    table = load_table(write_model(tensors, BERT))
    np.testing.assert_array_equal(table.norm_scales, [bert_tensors[GAMMA]])


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        ({WORDS: np.ones((9, 4))}, "tokens", r"not as wide as the position table, 5"),
        ({WORDS: np.ones(5)}, "tokens", r"not as wide as the position table"),
        ({WORDS: np.ones((9, 5), dtype=np.int8)}, "tokens", r"\(I8, 9×5\) has a dtype that"),
        ({WORDS: np.full((9, 5), np.nan)}, "tokens", r"holds NaN or infinite values"),
        ({GAMMA: np.ones(6)}, "norm_scales", r"not as wide as the position table"),
        ({GAMMA: np.full(5, np.inf)}, "norm_scales", r"holds NaN or infinite values"),
    ],
)
def test_unfit_neighbours_are_left_out_with_a_reason(
    write_model: Write, bert_tensors: Tensors, change: Tensors, key: str, reason: str
) -> None:
    table = load_table(write_model(bert_tensors | change, BERT))
    np.testing.assert_array_equal(table.rows, bert_tensors[POSITIONS])
    assert table.missing.keys() == {key}
    assert re.search(reason, table.missing[key])
    assert (table.tokens is None) == (key == "tokens")
    assert (table.norm_scales == ()) == (key == "norm_scales")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, r"no config.json in .*expected a model folder .*a tensor as FOLDER::TENSOR"),
        ("", r"cannot read '.*config.json'.* got an empty file"),
        ("{", r"cannot understand .*expected one JSON object .* got .Expecting property name"),
        ("[1]", r"expected one JSON object .* got a JSON list"),
        ("[" * 99_999, r"expected one JSON object .* got .nested too deeply"),
        (
            {},
            r"unknown model_type '' in .* one of the \d+ in docs/families.md, got these look like "
            r".*::TENSOR",
        ),
        (
            {"model_type": "xlm_roberta"},
            r"one of the \d+ in docs/families.md, such as xlm-roberta or",
        ),
        ({"model_type": None}, r"cannot use model_type in .*expected a string, got 'None'"),
        ({"model_type": 3}, r"cannot use model_type in .*expected a string, got '3'"),
        (
            '{"model_type":"bert","initializer_range":' + "[" * 400 + "]" * 400 + "}",
            r"'\[\[\[\[\[\[\[",
        ),
        (BERT | {"initializer_range": ["x" * 10**6] * 3}, r"initializer_range in .*finite num"),
        (BERT | {"initializer_range": "0.02"}, r"initializer_range in .*finite number .* '0.02'"),
        (BERT | {"initializer_range": -1}, r"initializer_range in .*finite number of at least 0"),
        (BERT | {"initializer_range": True}, r"initializer_range in .*finite number .* 'True'"),
        ('{"model_type":"bert","initializer_range":NaN}', r"a finite number of at least 0.*'nan'"),
        ('{"model_type":"bert","initializer_range":1e999}', r"a finite number .* got 'inf'"),
        (BERT | {"initializer_range": 10**400}, r"a finite number of at least 0, got '1000"),
        (BERT | {"position_embedding_type": 1}, r"position_embedding_type in .*expected a string"),
        (
            BERT | {"position_embedding_type": "relative_key"},
            r"no position table to measure in .* got 'bert' with position_embedding_type "
            r"'relative_key': Shaw relative keys, 1023 distances in .*; to read some tensor as a "
            r"table all the same, name one as",
        ),
        ({"model_type": "roberta", "pad_token_id": 1.0}, r"pad_token_id in .*expected a whole num"),
        ({"model_type": "roberta", "pad_token_id": None}, r"pad_token_id in .*a whole number"),
        ({"model_type": "roberta", "pad_token_id": -1}, r"pad_token_id in .*a whole number"),
        ({"model_type": "distilbert", "sinusoidal_pos_embds": 0}, r"expected true or false, got"),
    ],
)
def test_configs_that_cannot_be_used(
    write_model: Write, bert_tensors: Tensors, config: object, message: str
) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        load_table(write_model(bert_tensors, config))
    assert "\n" not in str(caught.value)


def test_an_unknown_family_lists_what_looks_like_a_table(
    write_model: Write, bert_tensors: Tensors
) -> None:
    more = {"rel_pos_embed": np.eye(4), "encoder.pos_embed": np.ones((1, 4, 3))}
    folder = write_model(bert_tensors | more, {"model_type": "novel"})
    with pytest.raises(SourceError, match=r"unknown model_type 'novel'") as caught:
        load_table(folder)
    text = str(caught.value)
    assert f"'{POSITIONS}' (float32, 7×5)" in text
    assert "'encoder.pos_embed' (float64, 1×4×3)" in text
    assert "rel_pos_embed" not in text
    assert f"name one as '{folder}'::TENSOR" in text
    named = load_table(f"{folder}::encoder.pos_embed")
    np.testing.assert_array_equal(named.rows, np.ones((4, 3)))
    assert named.source.family is None


def test_a_folder_without_config_gives_a_tensor_that_is_named(
    write_model: Write, bert_tensors: Tensors
) -> None:
    folder = write_model(bert_tensors, None)
    np.testing.assert_array_equal(load_table(f"{folder}::{WORDS}").rows, bert_tensors[WORDS])


def test_a_folder_without_the_tensor(write_model: Write, bert_tensors: Tensors) -> None:
    folder = write_model({"x": np.eye(3), GAMMA: bert_tensors[GAMMA]}, BERT)
    with pytest.raises(
        SourceError,
        match=rf"no position table .*'{POSITIONS}' or 'bert.{POSITIONS}', got none looks .*'x'",
    ):
        load_table(folder)
    with pytest.raises(SourceError, match=r"no tensor 'wpe' in .* expected one of"):
        load_table(f"{folder}::wpe")


def test_a_folder_with_both_spellings(write_model: Write, bert_tensors: Tensors) -> None:
    twice = bert_tensors | {f"bert.{POSITIONS}": np.eye(5)}
    folder = write_model(twice, BERT)
    with pytest.raises(SourceError, match=r"holds 2 position tables: .*name one as .*::TENSOR"):
        load_table(folder)
    table = load_table(f"{folder}::bert.{POSITIONS}")
    np.testing.assert_array_equal(table.rows, np.eye(5))
    assert table.source.family == "bert"


def test_a_part_where_there_are_none(write_model: Write, bert_tensors: Tensors) -> None:
    folder = write_model(bert_tensors, BERT)
    with pytest.raises(SourceError, match=r"no part 'text' in .*leave --part out"):
        load_table(folder, part="text")
    with pytest.raises(SourceError, match=r"no part 'text' in .*leave --part out"):
        load_table(f"{folder}::{WORDS}", part="text")


def test_a_part_whose_tensor_is_not_there(write_model: Write) -> None:
    folder = write_model({"encoder.embed_positions.weight": np.eye(6)}, {"model_type": "whisper"})
    assert load_table(folder).source.scheme == "sinusoidal"
    with pytest.raises(SourceError, match=r"no position table .*'decoder.embed_positions.weight'"):
        load_table(folder, part="decoder")


@pytest.mark.parametrize(("std", "expected"), [(0, 0.02), (0.5, 0.5), (1, 1.0)])
def test_sigma_zero_is_unset_as_in_transformers(
    write_model: Write, bert_tensors: Tensors, std: float, expected: float
) -> None:
    folder = write_model(bert_tensors, BERT | {"initializer_range": std})
    assert load_table(folder).init_std == expected


def test_a_sigma_that_is_zero(write_model: Write) -> None:
    folder = write_model(
        {"decoder.embed_positions.weight": np.eye(6)}, {"model_type": "opt"} | {"init_std": 0}
    )
    table = load_table(folder)
    assert table.init_std is None
    assert table.missing["init_std"] == "the table starts from zeros: its initial σ is 0"
    np.testing.assert_array_equal(table.rows, np.eye(6)[2:])


def test_clips_older_sections_come_first(write_model: Write) -> None:
    """As in `CLIPConfig.__post_init__`: text_config_dict is complete and wins."""
    name = "text_model.embeddings.position_embedding.weight"
    config = {
        "model_type": "clip",
        "text_config": {"initializer_factor": 9.0},
        "text_config_dict": {"initializer_factor": 2.0},
    }
    folder = write_model({name: np.eye(6)}, config)
    assert load_table(folder).init_std == 0.04
    (folder / "config.json").write_text(json.dumps(config | {"text_config_dict": None}))
    assert load_table(folder).init_std == pytest.approx(0.18)
    (folder / "config.json").write_text('{"model_type": "clip"}')
    assert load_table(folder).init_std == 0.02


def test_a_config_too_large_to_be_one(write_model: Write, bert_tensors: Tensors) -> None:
    folder = write_model(bert_tensors, BERT)
    with (folder / "config.json").open("ab") as file:
        file.truncate(7_200_000)
    with pytest.raises(SourceError, match=r"one JSON object of at most 7 MB, got 7200000 bytes"):
        load_table(folder)


def test_folders_without_weights(write_model: Write) -> None:
    folder = write_model(None, BERT)
    with pytest.raises(SourceError, match=r"no weights in .*got 'config.json'; save the model as"):
        load_table(folder)
    (folder / "flax_model.msgpack").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"expected safetensors or torch files, got .*'flax_mod"):
        load_table(folder)


def write_shards(
    folder: Path, tensors: Tensors, weight_map: dict[str, object] | None = None
) -> Path:
    folder.mkdir(exist_ok=True)
    for number, (name, tensor) in enumerate(tensors.items()):
        save_file({name: tensor}, folder / f"{number}.safetensors")
    found = {name: f"{number}.safetensors" for number, name in enumerate(tensors)}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": found | (weight_map or {})}))
    (folder / "config.json").write_text(json.dumps(BERT))
    return index


def test_only_the_shards_needed_are_opened(tmp_path: Path, bert_tensors: Tensors) -> None:
    """The shard of a tensor that is not needed is no safetensors file at all."""
    index = write_shards(tmp_path / "m", bert_tensors)
    (tmp_path / "m" / "3.safetensors").write_bytes(b"garbage, never looked at")
    for source in (tmp_path / "m", index):
        np.testing.assert_array_equal(load_table(source).rows, bert_tensors[POSITIONS])
    named = load_table(f"{index}::{WORDS}")
    np.testing.assert_array_equal(named.rows, bert_tensors[WORDS])


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ("../outside.safetensors", r"expected file names within its folder, got '../outside"),
        ("a/../../outside.safetensors", r"expected file names within its folder"),
        ("..\\outside.safetensors", r"expected file names within its folder"),
        ("/etc/passwd", r"expected file names within its folder, got '/etc/passwd' for tensor 'x'"),
        ("C:\\x.safetensors", r"expected file names within its folder"),
        ("C:x.safetensors", r"expected file names within its folder"),
        ("\\\\host\\x.safetensors", r"expected file names within its folder"),
        ("a\0b", r"expected file names within its folder"),
        ("", r"expected file names within its folder"),
        (3, r"expected file names within its folder, got '3'"),
        ([[]], r"expected file names within its folder, got '\[\[\]\]'"),
        (None, r"expected file names within its folder, got 'null'"),
        ("x" * 256, r"expected file names within its folder, got 'xxx"),
        ("a/" * 100, r"expected all its files, got no file 'a/a/"),
        (".", r"expected all its files, got no file '.'"),
        ("a\n\x1b[31m", r"expected all its files, got no file 'a\\n\\x1b\[31m'"),
        ("missing.safetensors", r"expected all its files, got no file 'missing.safetensors'"),
    ],
)
def test_indexes_that_name_other_files(
    tmp_path: Path, bert_tensors: Tensors, shard: object, message: str
) -> None:
    save_file({"x": np.eye(3)}, tmp_path / "outside.safetensors")
    write_shards(tmp_path / "m", bert_tensors, {"x": shard})
    with pytest.raises(SourceError, match=message) as caught:
        load_table(tmp_path / "m")
    assert "download the model again" in str(caught.value)


@pytest.mark.parametrize(
    "index", ["{}", '{"weight_map": []}', '{"weight_map": null}', '{"x": {"weight_map": {}}}']
)
def test_indexes_without_a_weight_map(tmp_path: Path, bert_tensors: Tensors, index: str) -> None:
    write_shards(tmp_path / "m", bert_tensors).write_text(index)
    with pytest.raises(SourceError, match=r"expected an object weight_map, got"):
        load_table(tmp_path / "m")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("[1]", r"one JSON object of at most 64 MB, got 'no JSON at byte 0'"),
        ("{", r"got 'no JSON at byte 1'"),
        ('{"weight_map": {"a": "0.safetensors"}', r"got 'no JSON at byte 37'"),
        ('{"weight_map": {"a": "0.safetensors",}}', r"got 'no JSON at byte 37'"),
        ('{"weight_map": {"a": "0.safetensors"}} {}', r"got 'no JSON at byte 38'"),
        ('{"a": NaN, "weight_map": {}}', r"got 'no JSON at byte 6'"),
        ('{"a": [[[[]]]], "weight_map": {}}', r"got 'no JSON at byte 6'"),
        ('{"a": "' + "x" * 3_000_000 + '", "weight_map": {}}', r"got 'no JSON at byte 6'"),
        ('{"weight_map": {}, "weight_map": {}}', r"the key 'weight_map' twice"),
        ('{"weight_map": {"a": "0.safetensors", "\\u0061": "x"}}', r"the key 'a' twice"),
        ('{"weight_map": {"\\ud800": "0.safetensors"}}', r"got 'no JSON at byte 16'"),
        ('{"weight_map": {"' + "x" * 5000 + '": "0.safetensors"}}', r"a name of more than 4096"),
        (
            json.dumps({"weight_map": {str(n): str(n) for n in range(2001)}}),
            r"expected at most 2000 files, got more",
        ),
    ],
)
def test_damaged_indexes(tmp_path: Path, bert_tensors: Tensors, index: str, message: str) -> None:
    write_shards(tmp_path / "m", bert_tensors).write_text(index)
    with pytest.raises(SourceError, match=message) as caught:
        load_table(tmp_path / "m")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("indent", [None, 0, 7])
@pytest.mark.parametrize("piece", [1, 7, 64, 1001])
def test_an_index_is_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indent: int | None, piece: int
) -> None:
    """Pieces that begin and end everywhere; json reads the same."""
    monkeypatch.setattr(index_file, "CHUNK", piece)
    weight_map = {f'{number}é"{"x" * number}': f"{number % 3}.safetensors" for number in range(40)}
    index = tmp_path / "model.safetensors.index.json"
    document = {"metadata": {"a": [1, {}]}, "weight_map": weight_map, "more": None}
    for ascii_only in (False, True):
        index.write_text(json.dumps(document, indent=indent, ensure_ascii=ascii_only) + "\n")
        assert index_file.read_index(LocalFile(index)) == weight_map


def test_an_index_that_names_the_wrong_shard(tmp_path: Path, bert_tensors: Tensors) -> None:
    write_shards(tmp_path / "m", bert_tensors, {POSITIONS: "2.safetensors"})
    with pytest.raises(
        SourceError, match=rf"tensor '{POSITIONS}' in '2.safetensors', got a file wi"
    ):
        load_table(tmp_path / "m")


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that everybody may enter, while the test runs as a user without privileges."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        if user == 0:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)


def test_permissions(unprivileged: Path, bert_tensors: Tensors) -> None:
    folder = unprivileged / "m"
    index = write_shards(folder, bert_tensors)
    index.chmod(0)
    with pytest.raises(SourceError, match=r"got 'Permission denied'; check the path and its perm"):
        load_table(folder)
    index.unlink()
    folder.chmod(0o300)  # may be entered, not listed
    with pytest.raises(SourceError, match=r"got 'Permission denied'; check the path and its perm"):
        load_table(folder)
    folder.chmod(0)
    with pytest.raises(SourceError, match=r"got 'Permission denied'; check the permissions"):
        load_table(folder / "model.safetensors")
    folder.chmod(0o700)


def test_a_folder_that_may_not_be_entered(unprivileged: Path, bert_tensors: Tensors) -> None:
    folder = unprivileged / "m"
    write_shards(folder, bert_tensors)
    folder.chmod(0o600)
    for source in (folder, f"{folder}::{WORDS}"):
        with pytest.raises(SourceError, match=r"cannot read .*got 'Permission denied'"):
            load_table(source)
    folder.chmod(0o700)


def test_shards_may_be_links_out_of_the_folder(tmp_path: Path, bert_tensors: Tensors) -> None:
    """As in the cache of huggingface_hub, whose snapshots are links to blobs."""
    folder, blobs = tmp_path / "snapshot", tmp_path / "blobs"
    index = write_shards(folder, bert_tensors)
    blobs.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(blobs / str(number))
        path.symlink_to(blobs / str(number))
    for source in (folder, index):
        np.testing.assert_array_equal(load_table(source).rows, bert_tensors[POSITIONS])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "1.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "device", "socket"])
def test_what_is_no_file(
    tmp_path: Path, bert_tensors: Tensors, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of a file that a model needs; reading the pipe or the device would never end."""
    write_shards(tmp_path, {name: bert_tensors[name] for name in sorted(bert_tensors)})
    path = tmp_path / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        monkeypatch.chdir(tmp_path)  # a socket's path must be short
        server = socket.socket(socket.AF_UNIX)
        server.bind(name)
        server.close()
    if name == "model.safetensors":  # no file of that name: there is still the index
        np.testing.assert_array_equal(load_table(tmp_path).rows, bert_tensors[POSITIONS])
        with pytest.raises(SourceError, match=r"expected a (regular|local) file|no config.json in"):
            load_table(path)
    else:
        with pytest.raises(SourceError, match=r"a regular file|no config.json|no file '1.safeten"):
            load_table(tmp_path)


def test_a_file_that_becomes_a_pipe(tmp_path: Path, bert_tensors: Tensors) -> None:
    write_shards(tmp_path, bert_tensors)
    opened = SafetensorsFile(LocalFile(tmp_path / "0.safetensors"))
    (tmp_path / "0.safetensors").unlink()
    os.mkfifo(tmp_path / "0.safetensors")
    with pytest.raises(SourceError, match=r"expected a regular file, got a folder, pipe or dev"):
        opened.read(next(iter(opened.names())))


def test_a_file_that_vanishes(write_model: Write, bert_tensors: Tensors) -> None:
    path = write_model(bert_tensors, BERT) / "model.safetensors"
    opened = SafetensorsFile(LocalFile(path))
    path.unlink()
    with pytest.raises(SourceError, match=r"got 'No such file or directory'; check the path"):
        opened.read(POSITIONS)


def test_a_section_of_the_wrong_type(write_model: Write) -> None:
    name = "text_model.embeddings.position_embedding.weight"
    folder = write_model({name: np.eye(6)}, {"model_type": "clip", "text_config": [3]})
    with pytest.raises(SourceError, match=r"text_config in .*expected an object, got '\[3\]'"):
        load_table(folder)


def test_every_error_is_a_poslens_error_of_one_line(tmp_path: Path) -> None:
    fifo = tmp_path / "x.safetensors"
    os.mkfifo(fifo)
    with pytest.raises(PosLensError, match=r"expected a regular file, got a folder, pipe or dev"):
        load_table(fifo)
    (tmp_path / "y.npy").mkdir()
    with pytest.raises(PosLensError, match=r"no config.json in"):
        load_table(tmp_path / "y.npy")
