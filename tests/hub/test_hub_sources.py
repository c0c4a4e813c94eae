"""Models on the hub: what each name gives, what is asked for it, and what is said when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from faults import Reply
from gpt2_shaped import POSITIONS, SCALES, TOKENS, Shape
from safetensors.numpy import load_file, save_file
from server import HubServer

import poslens
from poslens.checkpoints import PositionTable, load_table
from poslens.errors import SourceError

TOKEN = "hf_of_a_reader"  # noqa: S105 - a token of no one
WEIGHTS = "model.safetensors"

Same = Callable[[PositionTable, PositionTable], None]


@pytest.mark.parametrize("relays", [False, True])
@pytest.mark.parametrize("name", ["gpt2", "org/some-model.v1_2"])
def test_a_name_gives_what_the_folder_gives(
    server: HubServer, gpt2: Path, same: Same, name: str, relays: bool
) -> None:
    server.relays = relays
    commit = server.add_model(name, gpt2)
    table = load_table(name)
    same(table, load_table(gpt2))
    assert (table.source.uri, table.source.revision) == (name, commit)
    assert table.source.family == "gpt2"


def test_a_renamed_model(server: HubServer, gpt2: Path, same: Same) -> None:
    commit = server.add_model("openai-community/gpt2", gpt2)
    server.rename("gpt2", "openai-community/gpt2")
    table = load_table("gpt2")
    same(table, load_table(gpt2))
    assert table.source.revision == commit


def test_revisions(server: HubServer) -> None:
    commits, tables = {}, {}
    for seed, revision in enumerate(("v1.0", "refs/pr/7", "main")):
        tables[revision] = np.random.default_rng(seed).normal(size=(5, 3))
        path = Path(os.environ["HF_HOME"]).parent / f"{seed}.safetensors"
        save_file({"wpe.weight": tables[revision]}, path)
        files = {"config.json": b'{"model_type": "gpt2"}', WEIGHTS: path}
        commits[revision] = server.add_model("org/name", files, revision=revision)
    assert len(set(commits.values())) == 3
    for revision, expected in tables.items():
        for name in (revision, commits[revision]):
            table = load_table(f"org/name@{name}")
            np.testing.assert_array_equal(table.rows, expected)
            assert table.source.revision == commits[revision]
    assert load_table("org/name").source.revision == commits["main"]


def test_one_tensor_or_one_file(server: HubServer, gpt2: Path, shape: Shape) -> None:
    commit = server.add_model(
        "org/name", {"config.json": gpt2 / "config.json", "sub dir/x/w.safetensors": gpt2 / WEIGHTS}
    )
    stored = load_file(gpt2 / WEIGHTS)
    other = "h.1.mlp.c_fc.weight"
    server.add_model("gpt2", gpt2)
    for source, name in (
        (f"gpt2::{POSITIONS}", POSITIONS),
        (f"gpt2::{other}", other),
        (f"gpt2@main::{TOKENS}", TOKENS),
    ):
        table = load_table(source, tokens=False)
        np.testing.assert_array_equal(table.rows, stored[name])
        assert (table.source.uri, table.source.tensor) == (source, name)
    server.add_model("org/flat", {"sub/w.safetensors": gpt2 / WEIGHTS})
    table = load_table(f"org/flat/sub/w.safetensors::{POSITIONS}")
    np.testing.assert_array_equal(table.rows, stored[POSITIONS])
    assert table.source.family is None
    assert commit != table.source.revision


def test_a_file_that_is_not_safetensors(server: HubServer, table_file: Path) -> None:
    server.add_model("org/name", {"tables/wpe.npy": table_file})
    expected = np.load(table_file)
    source = "org/name/tables/wpe.npy"
    np.testing.assert_array_equal(load_table(source, allow_full_download=True).rows, expected)


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    path = tmp_path / "wpe.npy"
    np.save(path, np.random.default_rng(3).normal(size=(31, 6)))
    return path


def test_a_path_comes_before_a_name(
    server: HubServer, gpt2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_model("org/name", gpt2)
    folder = Path(os.environ["HF_HOME"]).parent / "here"
    (folder / "org").mkdir(parents=True)
    (folder / "org" / "name").symlink_to(gpt2)
    monkeypatch.chdir(folder)
    assert load_table("org/name").source.revision is None
    assert server.requests == []
    for source in (Path("org/other"), "./org/other", "org/other.safetensors", "/org/other"):
        with pytest.raises(SourceError, match=r"nothing found at '"):
            load_table(source)
    assert server.requests == []


def test_only_what_is_needed_is_fetched(server: HubServer, gpt2: Path, shape: Shape) -> None:
    server.add_model("gpt2", gpt2)
    load_table("gpt2")
    config = (gpt2 / "config.json").stat().st_size
    needed = len(shape.header()) + shape.nbytes(POSITIONS, TOKENS, SCALES)
    assert server.sent() <= needed + config + 16_384  # a first request for a header of any size
    assert server.sent(WEIGHTS) < 0.2 * (gpt2 / WEIGHTS).stat().st_size
    assert len(server.requests) <= 6


def test_a_long_header(server: HubServer, tmp_path: Path) -> None:
    """A header that no first request could hold, with the table behind it."""
    tensors = {f"layer.{index}.β": np.zeros(1, np.float16) for index in range(700)}
    expected = np.random.default_rng(0).normal(size=(9, 5))
    path = tmp_path / "many.safetensors"
    save_file(tensors | {"wpe.weight": expected}, path)
    server.add_model("org/many", {"config.json": b'{"model_type": "gpt2"}', WEIGHTS: path})
    np.testing.assert_array_equal(load_table("org/many").rows, expected)
    assert server.sent(WEIGHTS) <= path.stat().st_size
    assert len(server.requests) <= 6


def test_ranges_are_fetched_at_the_same_time(server: HubServer, gpt2: Path, same: Same) -> None:
    """Each of the two waits for the other: one after the other would never end well."""
    both = threading.Barrier(2)

    def together(reply: Reply) -> Reply:
        if reply.start > 0:
            both.wait(10)
        return reply

    server.add_model("gpt2", gpt2)
    server.fail(WEIGHTS, together, host="cdn")
    same(load_table("gpt2"), load_table(gpt2))
    assert len([one for one in server.asked(WEIGHTS, "cdn") if one.sent]) == 3


def shards(folder: Path, files: dict[str, dict[str, np.ndarray]]) -> dict[str, bytes | Path]:
    """Write shards and their index; return the repository's files."""
    weight_map = {name: file for file, tensors in files.items() for name in tensors}
    for file, tensors in files.items():
        save_file(tensors, folder / file)
    index = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    paths = {file: folder / file for file in files}
    return paths | {f"{WEIGHTS}.index.json": index, "config.json": b'{"model_type": "gpt2"}'}


def test_only_the_shards_that_hold_something_needed(server: HubServer, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    first, second, third = (f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3))
    files = {
        first: {"h.5.mlp.c_fc.weight": rng.normal(size=(64, 64))},
        second: {"wpe.weight": rng.normal(size=(17, 12)), "h.0.ln_1.weight": np.ones(12)},
        third: {"wte.weight": rng.normal(size=(40, 12)), "h.1.ln_1.weight": np.zeros(12)},
    }
    server.add_model("org/sharded", shards(tmp_path, files))
    table = load_table("org/sharded", tokens=False)
    np.testing.assert_array_equal(table.rows, files[second]["wpe.weight"])
    np.testing.assert_array_equal(table.norm_scales, [np.ones(12)])
    assert [server.sent(file) > 0 for file in files] == [False, True, False]
    table = load_table("org/sharded")
    np.testing.assert_array_equal(table.tokens, files[third]["wte.weight"])
    assert server.asked(first) == []
    np.testing.assert_array_equal(
        load_table("org/sharded::h.5.mlp.c_fc.weight").rows, files[first]["h.5.mlp.c_fc.weight"]
    )


@pytest.mark.parametrize(
    "evil", ["../evil.safetensors", "/evil.safetensors", "a/../../evil", "C:\\evil", "..\\evil", ""]
)
def test_an_index_that_leads_out_of_the_repository(
    server: HubServer, tmp_path: Path, evil: str
) -> None:
    path = tmp_path / "evil.safetensors"
    save_file({"wpe.weight": np.eye(4)}, path)
    index = json.dumps({"weight_map": {"wpe.weight": evil}}).encode()
    files = {"config.json": b'{"model_type": "gpt2"}', f"{WEIGHTS}.index.json": index}
    server.add_model("org/victim", files)
    server.add_model("org", {"evil.safetensors": path})
    with pytest.raises(SourceError, match=r"expected file names within its folder, got"):
        load_table("org/victim")
    assert not any("evil" in one.path for one in server.requests)


def test_an_index_that_names_what_is_not_there(server: HubServer, tmp_path: Path) -> None:
    files = shards(tmp_path, {"a.safetensors": {"wpe.weight": np.eye(4)}})
    server.add_model("org/less", files | {"a.safetensors": b""})
    with pytest.raises(SourceError, match=r"a\.safetensors.*an empty file"):
        load_table("org/less")
    server.add_model("org/none", {k: v for k, v in files.items() if k != "a.safetensors"})
    with pytest.raises(SourceError, match=r"a\.safetensors"):
        load_table("org/none")


@pytest.mark.parametrize("place", ["variable", "file"])
def test_the_token_goes_to_the_hub_alone(
    server: HubServer, gpt2: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    server.add_model("org/private", gpt2, token=TOKEN)
    with pytest.raises(SourceError, match=r"HF_TOKEN"):
        load_table("org/private")
    if place == "variable":
        monkeypatch.setenv("HF_TOKEN", TOKEN)
    else:
        home = Path(os.environ["HF_HOME"])
        home.mkdir(exist_ok=True)
        (home / "token").write_text(TOKEN)
    server.requests.clear()
    assert load_table("org/private").length == 257
    seen = {(one.host, one.authorization) for one in server.requests}
    assert seen == {("hub", f"Bearer {TOKEN}"), ("cdn", None)}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("org/absent", r"nothing found at 'org/absent': .*RepoNotFound.*; check the name, or set"),
        ("absent", r"nothing found at 'absent': expected a local path, or a model on the hub"),
        ("org/private", r"nothing found at 'org/private': .*RepoNotFound.* set HF_TOKEN"),
        ("org/gated", r"org/gated.*terms of the model"),
        ("org/name@v9", r"expected a revision of this repository, got .*RevisionNotFound"),
        ("org/name/absent.safetensors", r"absent\.safetensors"),
        ("org/empty", r"expected .*weights in safetensors"),
        ("org/name::absent", r"no tensor 'absent'"),
        ("org/name::", r"no tensor is named"),
        ("org/name@", r"nothing found at"),
        ("org/name/README.md", r"nothing found at"),
        ("org/a..b", r"nothing found at"),
        ("org/" + "x" * 97, r"nothing found at"),
    ],
)
def test_what_cannot_be_had(server: HubServer, gpt2: Path, source: str, message: str) -> None:
    server.add_model("org/name", gpt2)
    server.add_model("org/private", gpt2, token=TOKEN)
    server.add_model("org/gated", gpt2, gated=True)
    server.add_model("org/empty", {"README.md": b"#"})
    with pytest.raises(SourceError, match=message) as caught:
        load_table(source)
    assert "\n" not in str(caught.value)
    assert not any(one.sent for one in server.asked(WEIGHTS, "cdn") if "absent" not in source)


def test_a_gated_model_with_a_token(
    server: HubServer, gpt2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    server.add_model("org/gated", gpt2, gated=True)
    with pytest.raises(SourceError, match=r"accept the terms") as caught:
        load_table("org/gated")
    assert TOKEN not in str(caught.value)


def test_a_description_reads_no_tensor(server: HubServer, gpt2: Path, shape: Shape) -> None:
    server.add_model("gpt2", gpt2)
    described = poslens.describe("gpt2")
    assert described.schemes == poslens.describe(gpt2).schemes
    assert (described.family, described.context) == ("gpt2", shape.length)
    assert server.sent(WEIGHTS) <= 16_384
    assert len(server.requests) <= 3


def test_progress_counts_bytes(server: HubServer, gpt2: Path) -> None:
    server.add_model("gpt2", gpt2)
    said: list[tuple[str, int, int]] = []
    load_table("gpt2", progress=lambda *words: said.append(words))
    done = [one[1] for one in said]
    assert done == sorted(done)
    assert all(0 <= count <= total for _, count, total in said)
    assert said[-1][1] == said[-1][2] == server.sent()
    assert "MB" in said[-1][0]


def test_minilm_is_the_same_by_every_route(server: HubServer, minilm: Path) -> None:
    """Folder, file, hub and address: one sha256, and one record but for the source's address."""
    commit = server.add_model("org/minilm", minilm)
    for file in ("config.json", WEIGHTS):
        server.publish(f"minilm/{file}", minilm / file)
    routes = {
        str(minilm): None,
        str(minilm / WEIGHTS): None,
        f"org/minilm@{commit}": commit,
        f"{server.cdn}/files/minilm/{WEIGHTS}": None,
    }
    records = []
    for source, revision in routes.items():
        record = json.loads(poslens.analyze(source, nulls=0).to_json())
        assert (record["source"].pop("uri"), record["source"].pop("revision")) == (source, revision)
        records.append(record)
    assert len(records[0]["source"]["sha256"]) == 64
    assert records[0]["claims"]
    assert records == [records[0]] * len(routes)


def test_the_command_line(
    server: HubServer, gpt2: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """In a process of its own, which reads the variables itself."""
    commit = server.add_model("org/name", gpt2)
    variables = {**os.environ, **environment, "HF_ENDPOINT": server.hub}

    def run(source: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "poslens", "analyze", source, "--json", "-"]
        return subprocess.run(  # noqa: S603
            [*command, "--nulls", "9"],
            env=variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("org/name")
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(done.stdout)
    assert record["source"]["uri"] == "org/name"
    assert record["source"]["revision"] == commit
    assert record["source"]["sha256"] == load_table(gpt2).source.sha256
    assert len(server.requests) <= 6
    failed = run("org/other")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("poslens: ")
    assert failed.stderr.count("\n") == 1
    server.requests.clear()
    variables["HF_HUB_OFFLINE"] = "1"
    again = run("org/name")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert server.requests == []


def test_a_source_is_the_same_whatever_was_asked_before(
    server: HubServer, gpt2: Path, same: Same
) -> None:
    server.add_model("gpt2", gpt2)
    alone = load_table("gpt2", tokens=False)
    assert alone.tokens is None
    table = load_table("gpt2")
    same(table, load_table(gpt2))
    assert replace(table.source, bytes_read=0) == replace(alone.source, bytes_read=0)


def test_a_gguf_file(server: HubServer, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "gpt2")
    rows = np.random.default_rng(0).normal(size=(33, 32)).astype(np.float32)
    writer.add_tensor("position_embd.weight", rows)
    writer.add_tensor("blk.0.ffn_up.weight", np.zeros((900, 900), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    server.add_model("org/name", {"sub/m.gguf": path})
    for source in ("org/name/sub/m.gguf", server.publish("m.gguf", path)):
        table = load_table(f"{source}::position_embd.weight")
        np.testing.assert_array_equal(table.rows, rows)
        assert table.source.sha256 == load_table(f"{path}::position_embd.weight").source.sha256
    assert server.sent() < 0.1 * path.stat().st_size
