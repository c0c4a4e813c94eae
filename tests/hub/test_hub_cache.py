"""What is kept between runs: huggingface_hub's snapshots, our ranges, and what makes them stale."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faults import header
from gpt2_shaped import POSITIONS, TOKENS, Shape, write_gpt2
from huggingface_hub import constants, hf_hub_download, snapshot_download
from safetensors.numpy import load_file, save_file
from server import HubServer
from test_hub_sources import shards

from poslens.checkpoints import PositionTable, load_table
from poslens.errors import SourceError

WEIGHTS = "model.safetensors"

Same = Callable[[PositionTable, PositionTable], None]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that takes the network away."""
    return lambda: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_a_second_run_only_asks_whether_anything_changed(
    server: HubServer, gpt2: Path, same: Same, shape: Shape
) -> None:
    server.add_model("gpt2", gpt2)
    load_table("gpt2", tokens=False)
    server.requests.clear()
    same(load_table("gpt2"), load_table(gpt2))
    assert server.sent() <= shape.nbytes(TOKENS) + 20_000  # what had not been asked for
    server.requests.clear()
    same(load_table("gpt2"), load_table(gpt2))
    assert server.sent() <= 20_000
    assert len(server.requests) <= 3


def test_a_new_commit_is_noticed(server: HubServer, tmp_path: Path, same: Same) -> None:
    """Of the same names and sizes, with other values: only commit and etag tell."""
    one, other = (write_gpt2(tmp_path / str(i), Shape(9, 4, 11, 1), seed=i) for i in (1, 2))
    first = server.add_model("org/name", one)
    same(load_table("org/name"), load_table(one))
    second = server.add_model("org/name", other)
    same(load_table("org/name"), load_table(other))
    same(load_table(f"org/name@{first}"), load_table(one))
    same(load_table(f"org/name@{second}"), load_table(other))


def test_a_changed_file_at_an_address_is_noticed(server: HubServer, tmp_path: Path) -> None:
    for seed in (1, 2):
        rows = np.random.default_rng(seed).normal(size=(500, 40))
        path = tmp_path / f"{seed}.safetensors"
        save_file({"wpe": rows}, path)
        address = server.publish("a.safetensors", path)
        np.testing.assert_array_equal(load_table(address).rows, rows)
        server.requests.clear()
        np.testing.assert_array_equal(load_table(address).rows, rows)
        assert server.sent() <= 16_384


@pytest.mark.parametrize("etag", ['W/"weak"', None])
def test_nothing_is_kept_of_a_file_without_a_strict_etag(
    server: HubServer, tmp_path: Path, etag: str | None
) -> None:
    """Nothing says whether it is the same the next time."""
    server.fail("a.safetensors", header(ETag=etag))
    for seed in (1, 2):
        rows = np.random.default_rng(seed).normal(size=(500, 40))
        path = tmp_path / f"{seed}.safetensors"
        save_file({"wpe": rows}, path)
        np.testing.assert_array_equal(load_table(server.publish("a.safetensors", path)).rows, rows)


def test_offline_after_a_first_run(
    server: HubServer, gpt2: Path, same: Same, offline: Callable[[], None]
) -> None:
    commit = server.add_model("gpt2", gpt2)
    load_table("gpt2")
    server.requests.clear()
    offline()
    table = load_table("gpt2")
    same(table, load_table(gpt2))
    assert table.source.revision == commit
    assert server.requests == []
    with pytest.raises(SourceError, match=r"offline mode"):
        load_table("gpt2::h.1.mlp.c_fc.weight")
    with pytest.raises(SourceError, match=r"offline mode"):
        load_table("org/never-seen")


def test_offline_with_shards(
    server: HubServer, tmp_path: Path, offline: Callable[[], None]
) -> None:
    rows = np.random.default_rng(1).normal(size=(17, 12))
    server.add_model("org/sharded", shards(tmp_path, {"a.safetensors": {"wpe.weight": rows}}))
    load_table("org/sharded")
    offline()
    np.testing.assert_array_equal(load_table("org/sharded").rows, rows)


def test_offline_with_an_address(
    server: HubServer, tmp_path: Path, offline: Callable[[], None]
) -> None:
    """There is no config beside it, which must be known as well."""
    rows = np.random.default_rng(1).normal(size=(17, 12))
    save_file({"wpe": rows}, tmp_path / "a.safetensors")
    address = server.publish("a.safetensors", tmp_path / "a.safetensors")
    load_table(address)
    offline()
    np.testing.assert_array_equal(load_table(address).rows, rows)


def test_a_whole_snapshot_is_used_first(
    server: HubServer, gpt2: Path, same: Same, offline: Callable[[], None]
) -> None:
    commit = server.add_model("org/name", gpt2)
    snapshot_download("org/name")
    server.requests.clear()
    for source in ("org/name", f"org/name@{commit}", f"org/name/{WEIGHTS}"):
        if source != f"org/name/{WEIGHTS}":
            table = load_table(source)
            same(table, load_table(gpt2))
            assert table.source.revision == commit
    assert server.requests == []
    offline()
    same(load_table("org/name"), load_table(gpt2))


def test_a_snapshot_that_lacks_the_weights_is_not_used(
    server: HubServer, gpt2: Path, same: Same
) -> None:
    server.add_model("org/name", gpt2)
    hf_hub_download("org/name", "config.json")
    same(load_table("org/name"), load_table(gpt2))


def test_a_snapshot_that_lacks_a_shard_is_not_used(server: HubServer, tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(17, 12))
    files = {"a.safetensors": {"x": np.eye(3)}, "b.safetensors": {"wpe.weight": rows}}
    server.add_model("org/sharded", shards(tmp_path, files))
    for file in ("config.json", f"{WEIGHTS}.index.json", "a.safetensors"):
        hf_hub_download("org/sharded", file)
    np.testing.assert_array_equal(load_table("org/sharded").rows, rows)


def kept(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file() and path.stat().st_size]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: os.truncate(path, path.stat().st_size // 2),
        lambda path: path.write_bytes(path.read_bytes() + b"more"),
        lambda path: path.write_bytes(b""),
    ],
)
def test_a_damaged_cache_is_filled_again(
    server: HubServer, gpt2: Path, same: Same, damage: Callable[[Path], object]
) -> None:
    server.add_model("gpt2", gpt2)
    load_table("gpt2")
    found = kept(Path(os.environ["HF_HOME"]))
    assert len(found) >= 4
    for path in found:
        damage(path)
        same(load_table("gpt2"), load_table(gpt2))


def test_runs_at_the_same_time(server: HubServer, gpt2: Path, environment: dict[str, str]) -> None:
    """Four processes want the same ranges of the same cache."""
    server.add_model("gpt2", gpt2)
    code = "import poslens; print(poslens.load_table('gpt2').source.sha256)"
    variables = {**os.environ, **environment, "HF_ENDPOINT": server.hub}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=variables, stdout=subprocess.PIPE)  # noqa: S603
        for _ in range(4)
    ]
    expected = load_table(gpt2).source.sha256
    for process in running:
        out, _ = process.communicate(timeout=60)
        assert out.decode().strip() == expected


def test_nothing_is_written_outside_the_cache(
    server: HubServer, gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server.add_model("gpt2", gpt2)
    load_table("gpt2")
    assert [path.name for path in tmp_path.iterdir()] == ["hf_home"]
    assert [path.name for path in (tmp_path / "hf_home").iterdir()] == ["assets"]


def test_what_is_kept_is_what_was_needed(
    server: HubServer, gpt2: Path, shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_model("gpt2", gpt2)
    table = load_table("gpt2", tokens=False)
    np.testing.assert_array_equal(table.rows, load_file(gpt2 / WEIGHTS)[POSITIONS])
    size = sum(path.stat().st_size for path in kept(Path(os.environ["HF_HOME"])))
    assert size <= shape.nbytes(POSITIONS) + 24_000
