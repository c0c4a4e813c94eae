"""Folders are written whole or not at all, with what belongs to a model and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from written_models import (
    LENGTH,
    SIZES,
    bert,
    bytes_of,
    gpt2,
    longer,
    longer_edit,
    opened,
    raw_tensors,
    roberta,
    saved,
)

from poslens.checkpoints import load_table
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.sources import open_any
from poslens.edit.card import HEADING, card_section
from poslens.edit.placing import Edit, table_edit, together, values_edit
from poslens.edit.writing import FACTORS, check_writable_checkpoint, write_checkpoint
from poslens.errors import OutputError, PosLensError, SettingError, SourceError, TableError

MORE = 11


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return saved(gpt2(), tmp_path / "source")


def only_the_source(folder: Path) -> bool:
    return [path.name for path in folder.iterdir()] == ["source"]


def test_files_beside_the_weights(source: Path, tmp_path: Path) -> None:
    kept = {
        "merges.txt": b"",
        "LICENSE": b"all of it",
        "spiece.model": b"\0\xff",
        "chat_template.jinja": b"{{ x }}",
        "modules.json": json.dumps(
            [{"path": ""}, {"path": "2_Dense"}, {"path": "../tmp"}, {"path": 3}, "x"]
        ).encode(),
        "2_Dense/config.json": b"{}",
        "2_Dense/model.safetensors": b"weights of its own",
    }
    left = {
        "pytorch_model.bin": b"x",
        "tf_model.h5": b"x",
        "other.gguf": b"x",
        "flax_model.msgpack": b"x",
        "pytorch_model.bin.index.json": b"{}",
        ".gitattributes": b"x",
        "onnx/model.onnx": b"x",
        "onnx/config.json": b"{}",
        "code.py": b"x",
    }
    for name, content in {**kept, **left}.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(content)
    before = bytes_of(source)
    written = write_checkpoint(opened(source), longer_edit(source), tmp_path / "out")
    assert set(written.files) == {
        *kept, "config.json", "generation_config.json", "model.safetensors", "README.md"
    }  # fmt: skip
    assert {name: (tmp_path / "out" / name).read_bytes() for name in kept} == kept
    assert bytes_of(source) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_the_models_own_code_goes_with_it(source: Path, tmp_path: Path) -> None:
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "m.M"}}))
    (source / "m.py").write_text("pass")
    write_checkpoint(opened(source), longer_edit(source), tmp_path / "out")
    assert (tmp_path / "out/m.py").read_text() == "pass"


def test_the_config_keeps_its_order_and_older_spellings(source: Path, tmp_path: Path) -> None:
    config = json.loads((source / "config.json").read_text())
    config = {"n_ctx": LENGTH, "note": "ü", **config}
    (source / "config.json").write_text(json.dumps(config))
    write_checkpoint(opened(source), longer_edit(source), tmp_path / "out")
    text = (tmp_path / "out/config.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert list(found) == list(config)
    assert found == config | {"n_ctx": LENGTH + MORE, "n_positions": LENGTH + MORE}
    assert text == json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def test_a_config_that_is_silent_says_the_new_length(source: Path, tmp_path: Path) -> None:
    config = json.loads((source / "config.json").read_text())
    del config["n_positions"]
    (source / "config.json").write_text(json.dumps(config))
    write_checkpoint(opened(source), longer_edit(source), tmp_path / "out")
    assert json.loads((tmp_path / "out/config.json").read_text())["n_positions"] == LENGTH + MORE


@pytest.mark.parametrize("says", [None, LENGTH + 1])
def test_a_config_that_does_not_say_what_it_counts_is_refused(tmp_path: Path, says: object) -> None:
    source = saved(roberta(), tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"max_position_embeddings": says}))
    with pytest.raises(SettingError, match=r"config\.json has a number for its positions"):
        longer_edit(source)


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("torch_file", [False, True])
def test_buffers_as_long_as_the_table(tmp_path: Path, first: int, torch_file: bool) -> None:
    source = saved(bert(), tmp_path / "source")
    path = source / "model.safetensors"
    ids = torch.arange(LENGTH)[None] + first
    mask = torch.ones(1, 1, LENGTH, LENGTH, dtype=torch.bool)
    beside = {"bert.embeddings.position_ids": ids, "bert.layer.0.attn.bias": mask}
    other = {"bert.other.position_ids": ids.clone(), "bert.layer.0.bias": torch.ones(1, 1, 5, 5)}
    tensors = {**load_file(path), **beside, **other}
    if torch_file:
        path.unlink()
        torch.save(tensors, source / "pytorch_model.bin")
    else:
        save_file(tensors, path, {"format": "pt"})
    written = write_checkpoint(opened(source), longer_edit(source), tmp_path / "out")
    found = load_file(tmp_path / "out/model.safetensors")
    assert torch.equal(
        found["bert.embeddings.position_ids"], torch.arange(LENGTH + MORE)[None] + first
    )
    assert written.left_out == ("bert.layer.0.attn.bias",)
    assert "bert.layer.0.attn.bias" not in found
    assert all(torch.equal(found[name], tensor) for name, tensor in other.items())
    assert "`bert.layer.0.attn.bias`" in (tmp_path / "out/README.md").read_text()


def test_an_edit_of_the_same_length_changes_one_tensor(tmp_path: Path) -> None:
    source = saved(gpt2(), tmp_path / "source", "sharded safetensors")
    rows = load_table(str(source)).rows
    edit = table_edit(opened(source), None, 2 * rows, "x", {"U": rows[:, :3], "n": rows[0]})
    assert (edit.length, edit.config, edit.left_out) == (None, {}, ())
    written = write_checkpoint(opened(source), edit, tmp_path / "out")
    old, new = raw_tensors(source), raw_tensors(tmp_path / "out")
    assert {name for name in old if old[name] != new[name]} == {"transformer.wpe.weight"}
    factors = load_file(tmp_path / "out" / FACTORS)
    np.testing.assert_array_equal(factors["U"], rows[:, :3])
    assert FACTORS in written.files
    same = [
        p
        for p in source.glob("*.safetensors")
        if p.read_bytes() == (tmp_path / "out" / p.name).read_bytes()
    ]
    assert len(same) == len(list(source.glob("*.safetensors"))) - 1
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    original = json.loads((source / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == original["weight_map"]
    assert index["metadata"]["total_size"] == original["metadata"]["total_size"]


def test_a_model_card_keeps_what_was_there(source: Path, tmp_path: Path) -> None:
    card = b"---\nlicense: mit\n---\n# M\xfcller\n"  # not UTF-8
    (source / "README.md").write_bytes(card)
    checkpoint = opened(source)
    section = card_section(checkpoint, "Made longer.", {"Method": "tile", "Positions": "37 to 48"})
    assert str(tmp_path) not in section
    edit = longer_edit(source)
    edit = Edit(edit.tensors, edit.config, edit.length, section)
    write_checkpoint(checkpoint, edit, tmp_path / "out")
    text = (tmp_path / "out/README.md").read_bytes()
    assert text.startswith(card.rstrip() + b"\n\n" + HEADING.encode())
    for line in ("- Source: `source`", "- Method: tile", "`n_positions`", "byte for byte"):
        assert line.encode() in text
    write_checkpoint(opened(source), longer_edit(tmp_path / "out"), tmp_path / "again")


def test_a_card_is_made_where_there_was_none(source: Path, tmp_path: Path) -> None:
    write_checkpoint(opened(source), longer_edit(source), tmp_path / "out")
    assert (tmp_path / "out/README.md").read_text().startswith("# out\n\n## An edit\n\nChanged: ")


def test_progress_counts_the_bytes_of_tensors(tmp_path: Path) -> None:
    source = saved(gpt2(), tmp_path / "source", "sharded safetensors")
    said: list[tuple[str, int, int]] = []
    edit = longer_edit(source)
    written = write_checkpoint(
        opened(source), edit, tmp_path / "out", lambda *now: said.append(now)
    )
    done = [count for _, count, _ in said]
    assert done == sorted(done)
    assert said[-1][1:] == (written.nbytes, written.nbytes)
    tensors = raw_tensors(tmp_path / "out").values()
    assert written.nbytes == sum(len(raw) for _, raw in tensors)


def test_a_damaged_tokenizer_config_is_an_error(source: Path, tmp_path: Path) -> None:
    (source / "tokenizer_config.json").write_text("{")
    with pytest.raises(SourceError, match=r"cannot understand 'tokenizer_config\.json'"):
        write_checkpoint(opened(source), longer_edit(source), tmp_path / "out")
    assert only_the_source(tmp_path)


# Refusals.


def test_sources_that_are_read_alone(source: Path, tmp_path: Path, smollm2_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.ones((5, 3)))
    model = open_any(gpt2(), Access())
    for checkpoint, got in (
        (opened(smollm2_path), "GGUF file, which is read alone; give the model that"),
        (opened(tmp_path / "p.npy"), "a NumPy file"),
        (model, "model in memory, which is read alone; save it with save_pretrained"),
    ):
        with pytest.raises(SettingError, match=got):
            check_writable_checkpoint(checkpoint, tmp_path / "out")
        with pytest.raises(PosLensError):
            write_checkpoint(checkpoint, Edit({}, {}, None, ""), tmp_path / "out")


def test_weights_without_a_config_beside_them(source: Path, tmp_path: Path) -> None:
    (source / "config.json").unlink()
    with pytest.raises(SettingError, match=r"got no config\.json; save the model with"):
        check_writable_checkpoint(opened(source / "model.safetensors"), tmp_path / "out")
    arguments = {"block_size": LENGTH, "n_layer": 2, "n_head": 6, "n_embd": 24, "vocab_size": 41}
    state = {"transformer.wpe.weight": torch.ones(LENGTH, 24)}
    torch.save({"model": state, "model_args": arguments}, source / "ckpt.pt")
    with pytest.raises(SettingError, match="nanoGPT's model_args"):
        check_writable_checkpoint(opened(source / "ckpt.pt"), tmp_path / "out")


def test_targets_that_cannot_be(source: Path, tmp_path: Path) -> None:
    checkpoint, edit = opened(source), longer_edit(source)
    before = bytes_of(tmp_path)
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    for target, problem in (
        (source, "one that exists"),
        (source / "out", "one within"),
        (source / ".." / "source" / "out", "one within"),
        (dangling, "one that exists"),
        (tmp_path / "no" / "out", "does not exist"),
        (tmp_path / "source" / "config.json", "one that exists"),
    ):
        for call in (
            lambda at=target: check_writable_checkpoint(checkpoint, at),
            lambda at=target: write_checkpoint(checkpoint, edit, at),
        ):
            with pytest.raises(OutputError, match=problem):
                call()
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (np.ones((LENGTH - 1, 24)), "36 rows"),
        (np.ones((LENGTH, 23)), "shape"),
        (np.full((LENGTH, 24), np.nan), "NaN"),
    ],
)
def test_rows_that_do_not_fit(source: Path, rows: np.ndarray, problem: str) -> None:
    with pytest.raises(SettingError, match=f"at least 37 rows, got .*{problem}"):
        table_edit(opened(source), None, rows, "x")


def test_a_tensor_of_which_nothing_is_known_keeps_its_length(source: Path, tmp_path: Path) -> None:
    named = f"{source}::transformer.wte.weight"
    rows = load_table(named).rows
    with pytest.raises(SettingError, match="give the source without '::'"):
        table_edit(opened(named), None, longer(rows, 2), "x")
    edit = table_edit(opened(named), None, 2 * rows, "x")
    write_checkpoint(opened(named), edit, tmp_path / "out")
    found = load_table(f"{tmp_path / 'out'}::transformer.wte.weight").rows
    np.testing.assert_array_equal(found, 2 * rows)


def test_two_tables_under_two_names_are_not_guessed_about(source: Path) -> None:
    path = source / "model.safetensors"
    save_file({**load_file(path), "wpe.weight": torch.ones(LENGTH, 24)}, path, {"format": "pt"})
    named = f"{source}::wpe.weight"
    with pytest.raises(SettingError, match=r"another one in 'transformer\.wpe\.weight'"):
        table_edit(opened(named), None, load_table(named).rows, "x")


def test_edits_that_do_not_fit(source: Path, tmp_path: Path) -> None:
    wpe, good = "transformer.wpe.weight", np.ones((LENGTH + 1, 24))
    for edit in (
        Edit({"nowhere": good}, {}, None, ""),
        Edit({wpe: good}, {}, None, ""),
        Edit({wpe: good}, {("n_positions",): LENGTH}, None, ""),
        Edit({wpe: good[:, 1:]}, {("n_positions",): LENGTH + 1}, None, ""),
        Edit({}, {("n_positions",): LENGTH + 1}, None, ""),
    ):
        with pytest.raises(SettingError):
            write_checkpoint(opened(source), edit, tmp_path / "out")
    assert only_the_source(tmp_path)
    one = values_edit(opened(source), None, {"a": 1}, 5, "x")
    two = values_edit(opened(source), None, {"a": 2}, 5, "x")
    with pytest.raises(SettingError, match="two of 'a'"):
        together(one, two)
    with pytest.raises(SettingError, match="no part 'decoder'"):
        values_edit(opened(source), "decoder", {"a": 2}, 5, "x")


def test_numbers_beyond_the_stored_dtype_leave_nothing(tmp_path: Path) -> None:
    source = saved(gpt2().half(), tmp_path / "source")
    edit = table_edit(opened(source), None, np.full((LENGTH, 24), 1e5), "x")
    with pytest.raises(TableError, match="within the range of float16"):
        write_checkpoint(opened(source), edit, tmp_path / "out")
    assert only_the_source(tmp_path)


# Nothing is left half-written.


@pytest.mark.parametrize("container", ["safetensors", "sharded bin"])
def test_a_disk_that_is_full(tmp_path: Path, container: str) -> None:
    source = saved(gpt2(), tmp_path / "source", container)
    before = bytes_of(source)
    script = Path(__file__).with_name("written_in_a_process.py")
    command = [sys.executable, str(script), str(source), str(tmp_path / "out"), "9000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert "cannot write the folder" in done.stdout
    assert "File too large" in done.stdout
    assert "make room" in done.stdout
    assert only_the_source(tmp_path)
    assert bytes_of(source) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, os.strerror(28))])
def test_what_stops_it_on_the_way_leaves_nothing(
    source: Path, tmp_path: Path, error: BaseException
) -> None:
    def stop(_: str, done: int, total: int) -> None:
        if done > total / 2:
            raise error

    expected = OutputError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_checkpoint(opened(source), longer_edit(source), tmp_path / "out", stop)
    assert only_the_source(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_termination_leaves_nothing(source: Path, tmp_path: Path) -> None:
    """Nor does a second one, which `timeout` sends, while the first is obeyed."""
    script = Path(__file__).with_name("terminated_in_a_process.py")
    asked = [
        "extend",
        str(source),
        "--to",
        "90",
        "--method",
        "tile",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(  # noqa: S603
        [sys.executable, str(script), *asked], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["open", "shutil.rmtree"]
    assert done.stderr == "poslens: terminated; nothing was written\n"
    assert done.returncode == 143
    assert only_the_source(tmp_path)


def test_a_folder_that_appears_meanwhile_is_not_replaced(source: Path, tmp_path: Path) -> None:
    def make(*_: object) -> None:
        (tmp_path / "out").mkdir(exist_ok=True)

    with pytest.raises(OutputError, match="one that exists"):
        write_checkpoint(opened(source), longer_edit(source), tmp_path / "out", make)
    assert list((tmp_path / "out").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_a_source_that_changes_meanwhile_is_an_error(source: Path, tmp_path: Path) -> None:
    checkpoint, edit = opened(source), longer_edit(source)
    path = source / "model.safetensors"
    os.utime(path, (1, 1))
    with pytest.raises(SourceError, match="not as it was when it was opened"):
        write_checkpoint(checkpoint, edit, tmp_path / "out")
    assert only_the_source(tmp_path)


def test_an_index_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    source = saved(gpt2(), tmp_path / "source", "sharded safetensors")
    path = source / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["transformer.wpe.weight"] = "../x.safetensors"
    path.write_text(json.dumps(index))
    with pytest.raises(SourceError, match="file names within its folder"):
        opened(source)


def test_shards_get_the_usual_names(tmp_path: Path) -> None:
    source = saved(gpt2(), tmp_path / "source", "sharded safetensors")
    path = source / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    files = set(index["weight_map"].values())
    renamed = {file: f"config{number}.json" for number, file in enumerate(files)}
    for file, name in renamed.items():
        (source / file).rename(source / name)
    index["weight_map"] = {name: renamed[file] for name, file in index["weight_map"].items()}
    path.write_text(json.dumps(index))
    written = write_checkpoint(opened(source), longer_edit(source), tmp_path / "out")
    count = len(renamed)
    names = {f"model-{n:05d}-of-{count:05d}.safetensors" for n in range(1, count + 1)}
    assert names <= set(written.files)
    assert raw_tensors(tmp_path / "out").keys() == set(index["weight_map"])
    assert SIZES["n_embd"] == load_table(str(tmp_path / "out")).dim
