"""Files at http(s) addresses: of which kinds, what is fetched, and servers that know no ranges."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faults import gzipped, header, redirected, status, unranged
from gpt2_shaped import POSITIONS, Shape
from safetensors.numpy import load_file, save_file
from server import HubServer
from typer.testing import CliRunner

from poslens.checkpoints import PositionTable, load_table
from poslens.cli import app
from poslens.errors import SourceError

WEIGHTS = "model.safetensors"

Same = Callable[[PositionTable, PositionTable], None]


@pytest.fixture
def published(server: HubServer, gpt2: Path) -> str:
    """The address of the weights, with the config beside them."""
    server.publish("gpt2/config.json", gpt2 / "config.json")
    return server.publish(f"gpt2/{WEIGHTS}", gpt2 / WEIGHTS)


@pytest.mark.parametrize("suffix", ["", "?download=true&x=1", "#top"])
def test_weights_with_a_config_beside_them_are_that_model(
    published: str, gpt2: Path, same: Same, suffix: str
) -> None:
    table = load_table(published + suffix)
    same(table, load_table(gpt2))
    assert (table.source.uri, table.source.revision) == (published, None)


@pytest.mark.parametrize("answer", [404, 403, 401])
def test_weights_alone_are_a_file(
    server: HubServer, published: str, gpt2: Path, answer: int
) -> None:
    """Stores of files say of what is not there that it is forbidden."""
    server.fail("config.json", status(answer))
    table = load_table(f"{published}::{POSITIONS}")
    np.testing.assert_array_equal(table.rows, load_file(gpt2 / WEIGHTS)[POSITIONS])
    assert (table.source.family, table.source.tensor) == (None, POSITIONS)


def test_only_what_is_needed_is_fetched(server: HubServer, published: str, shape: Shape) -> None:
    load_table(published, tokens=False)
    needed = len(shape.header()) + shape.nbytes(POSITIONS, "h.0.ln_1.weight")
    assert server.sent(WEIGHTS) < needed + 16_384
    assert len(server.requests) <= 6


def test_shards(server: HubServer, tmp_path: Path) -> None:
    tables = {f"part-{i}.safetensors": np.random.default_rng(i).normal(size=(5, 4)) for i in (0, 1)}
    for file, rows in tables.items():
        save_file({f"wpe.{file}": rows}, tmp_path / file)
        server.publish(f"a/{file}", tmp_path / file)
    index = {"weight_map": {f"wpe.{file}": file for file in tables}}
    name = f"a/{WEIGHTS}.index.json"
    address = server.publish(name, json.dumps(index).encode())
    for file, rows in tables.items():
        np.testing.assert_array_equal(load_table(f"{address}::wpe.{file}").rows, rows)
        assert server.sent(file) > 0
    evil = server.publish(
        "b/model.safetensors.index.json", b'{"weight_map": {"wpe": "../a/part-0.safetensors"}}'
    )
    server.requests.clear()
    with pytest.raises(SourceError, match=r"expected file names within its folder"):
        load_table(evil)
    assert server.asked("part-0.safetensors") == []


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_numpy_files_come_whole(server: HubServer, tmp_path: Path, suffix: str) -> None:
    rows = np.random.default_rng(2).normal(size=(19, 8))
    path = tmp_path / f"table{suffix}"
    if suffix == ".npy":
        np.save(path, rows)
    else:
        np.savez(path, wpe=rows, other=np.zeros(3))
    address = server.publish(path.name, path)
    source = address if suffix == ".npy" else f"{address}::wpe"
    np.testing.assert_array_equal(load_table(source, allow_full_download=True).rows, rows)
    assert server.sent() <= 1.02 * path.stat().st_size


def test_a_redirect_to_a_second_host(server: HubServer, published: str, gpt2: Path) -> None:
    server.publish("moved.safetensors", b"?")
    server.fail("moved.safetensors", redirected(f"{published}?Signature=secret"))
    address = f"{server.cdn}/files/moved.safetensors"
    rows = load_file(gpt2 / WEIGHTS)[POSITIONS]
    np.testing.assert_array_equal(load_table(f"{address}::{POSITIONS}").rows, rows)
    server.fail(WEIGHTS, status(403))
    with pytest.raises(SourceError, match="HTTP status 403") as caught:
        load_table(f"{address}::h.1.ln_1.weight")
    assert "secret" not in str(caught.value)


def test_an_address_may_hold_a_password(published: str, server: HubServer) -> None:
    """It reaches the server, and no message, record or file."""
    private = published.replace("http://", "http://user:pa55word@")
    table = load_table(private, tokens=False)
    assert {one.authorization for one in server.requests} == {"Basic dXNlcjpwYTU1d29yZA=="}
    assert table.source.uri == published
    server.fail(WEIGHTS, status(403))
    with pytest.raises(SourceError) as caught:
        load_table(private)
    assert "pa55word" not in str(caught.value)
    home = Path(os.environ["HF_HOME"])
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    names = "".join(path.name for path in home.rglob("*"))
    assert b"pa55word" not in kept
    assert "pa55word" not in names


def test_the_hubs_token_stays_at_the_hub(
    server: HubServer, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_reader")
    load_table(published, tokens=False)
    assert {one.authorization for one in server.requests} == {None}


def test_an_address_of_the_hub_is_a_file_of_the_hub(
    server: HubServer, gpt2: Path, same: Same, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_reader")
    server.add_model("org/private", gpt2, token="hf_of_a_reader")  # noqa: S106
    same(load_table(f"{server.hub}/org/private/resolve/main/{WEIGHTS}"), load_table(gpt2))
    assert {one.authorization for one in server.asked(host="cdn")} == {None}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://", r"expected an http or https address"),
        ("http://[::1/x.safetensors", r"expected an http or https address"),
        ("http://127.0.0.1:99999/x.safetensors", r"expected an http or https address"),
        (
            "http://127.0.0.1:{closed}/x.safetensors",
            r"expected an answer, got .*3 times",
        ),
        ("{cdn}/files/absent.safetensors", r"nothing at .*absent\.safetensors.*HTTP status 404"),
        ("{cdn}/files/some.txt", r"expected a file that ends in .safetensors"),
        ("{cdn}/files/gpt2/model.safetensors::absent", r"no tensor 'absent' in"),
        ("http://127.0.0.1:port/x.safetensors", r"expected an http or https address"),
        ("{cdn}/files/gpt2/model.safetensors::", r"no tensor is named"),
        ("ftp://127.0.0.1/x.safetensors", r"nothing found at"),
        ("http://127.0.0.1:{closed}/\x1b[31m.safetensors", r"cannot read"),
    ],
)
def test_addresses_that_lead_nowhere(
    server: HubServer, published: str, address: str, message: str
) -> None:
    with HubServer() as other:
        closed = other.cdn.rpartition(":")[2]
    with pytest.raises(SourceError, match=message) as caught:
        load_table(address.replace("{cdn}", server.cdn).replace("{closed}", closed))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("etag", ['"strict"', 'W/"weak"', None])
def test_a_server_without_ranges(
    server: HubServer, gpt2: Path, published: str, same: Same, etag: str | None
) -> None:
    """It is refused before the body is read; with leave, all of it is fetched."""
    size = (gpt2 / WEIGHTS).stat().st_size
    server.fail(WEIGHTS, unranged)
    server.fail("", header(ETag=etag))
    with pytest.raises(SourceError, match=r"read in part: .*--allow-full-download") as caught:
        load_table(published)
    assert f"{size / 1e6:.1f} MB" in str(caught.value)
    table = load_table(published, allow_full_download=True)
    same(table, load_table(gpt2))


def test_what_is_refused_is_not_fetched(server: HubServer, tmp_path: Path) -> None:
    """Of a file of 4 GB, no more is on its way than the system's own buffers hold."""
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.truncate(2**32)
    address = server.publish("huge.safetensors", path)
    server.fail("huge.safetensors", unranged)
    with pytest.raises(SourceError, match=r"4,295\.0 MB; add --allow-full-download"):
        load_table(address)
    assert server.sent() < 32_000_000


def test_the_command_line_gives_leave(server: HubServer, published: str) -> None:
    server.fail(WEIGHTS, unranged)
    command = ["analyze", published, "--nulls", "0", "--json", "-"]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert "--allow-full-download" in refused.stderr
    assert refused.stderr.count("\n") == 1
    allowed = CliRunner().invoke(app, [*command, "--allow-full-download"])
    assert allowed.exit_code == 0
    assert json.loads(allowed.stdout)["source"]["uri"] == published


def test_a_small_file_needs_no_leave(server: HubServer, tmp_path: Path) -> None:
    """It has come whole with the first request, ranges or not."""
    rows = np.random.default_rng(0).normal(size=(6, 4))
    save_file({"wpe": rows}, tmp_path / "a.safetensors")
    address = server.publish("a.safetensors", tmp_path / "a.safetensors")
    server.fail("a.safetensors", unranged)
    np.testing.assert_array_equal(load_table(address).rows, rows)


def test_a_compressed_answer_is_not_taken_for_the_file(server: HubServer, published: str) -> None:
    server.fail(WEIGHTS, gzipped)
    with pytest.raises(SourceError, match=r"expected the bytes as they are, got .*'gzip'"):
        load_table(published)
