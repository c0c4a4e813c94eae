"""Tokenizers of models on the hub and at addresses: asked for when a text is, and only once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from faults import closed, status
from huggingface_hub import constants, snapshot_download
from server import HubServer
from tokenizers import Tokenizer, models, pre_tokenizers

import poslens
from poslens.checkpoints import load_table
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.remote.meter import Meter
from poslens.checkpoints.sources import open_any
from poslens.errors import SourceError
from poslens.text import tokenizer_of

TOKEN = "hf_of_a_reader"  # noqa: S105 - a token of no one
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"


def content(*words: str) -> bytes:
    made = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(words)}, unk_token=words[0])
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made.to_str().encode()


CATS = content("?", "cat")


@pytest.fixture
def files(gpt2: Path) -> dict[str, bytes | Path]:
    return {name: gpt2 / name for name in ("config.json", WEIGHTS)}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that takes the network away."""
    return lambda: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def ids(source: str, text: str = "cat dog", access: Access | None = None) -> list[int]:
    return tokenizer_of(open_any(source, access or Access())).ids(text)


@pytest.mark.parametrize("source", ["org/name", f"org/name/{WEIGHTS}", "org/name::wpe.weight"])
@pytest.mark.parametrize("relays", [False, True])
def test_it_is_asked_for_once_and_only_for_a_text(
    server: HubServer, files: dict[str, bytes | Path], source: str, relays: bool
) -> None:
    server.relays = relays
    server.add_model("org/name", files | {TOKENIZER: CATS})
    poslens.describe(source)
    load_table(source)
    assert server.asked(TOKENIZER) == []
    opened = open_any(source, Access())
    assert server.asked(TOKENIZER) == []
    assert tokenizer_of(opened).ids("cat dog") == [1, 0]
    assert len(server.asked(TOKENIZER)) == 1 + relays


def test_analyze_asks_for_none(server: HubServer, files: dict[str, bytes | Path]) -> None:
    server.add_model("org/name", files | {TOKENIZER: CATS})
    poslens.analyze("org/name", nulls=0)
    assert server.asked(TOKENIZER) == []


def test_it_is_of_the_commit_of_the_weights(
    server: HubServer, files: dict[str, bytes | Path]
) -> None:
    server.add_model("org/name", files | {TOKENIZER: CATS})
    opened = open_any("org/name", Access())
    server.add_model("org/name", files | {TOKENIZER: content("?", "dog", "cat")})
    assert tokenizer_of(opened).ids("cat dog") == [1, 0]
    assert ids("org/name") == [2, 1]


def test_it_is_taken_from_a_snapshot(
    server: HubServer, files: dict[str, bytes | Path], offline: Callable[[], None]
) -> None:
    server.add_model("org/name", files | {TOKENIZER: CATS})
    snapshot_download("org/name")
    server.requests.clear()
    assert ids("org/name") == [1, 0]
    assert ids(f"org/name/{WEIGHTS}") == [1, 0]
    offline()
    assert ids("org/name") == [1, 0]
    assert server.requests == []


def test_a_snapshot_without_it_asks_for_that_of_its_own_commit(
    server: HubServer, files: dict[str, bytes | Path], offline: Callable[[], None]
) -> None:
    commit = server.add_model("org/name", files | {TOKENIZER: CATS})
    snapshot_download("org/name", ignore_patterns=[TOKENIZER])
    server.add_model("org/name", files | {TOKENIZER: content("?", "dog", "cat")})
    server.requests.clear()
    assert ids("org/name") == [1, 0]
    (asked,) = server.requests
    assert commit in asked.path
    offline()
    assert ids("org/name") == [1, 0]


def test_a_snapshot_has_it_when_the_weights_are_not_there(
    server: HubServer, files: dict[str, bytes | Path]
) -> None:
    """If it is of the commit that the weights are of; else it is asked for."""
    server.add_model("org/name", files | {TOKENIZER: CATS})
    snapshot_download("org/name", allow_patterns=[TOKENIZER])
    server.requests.clear()
    assert ids("org/name") == [1, 0]
    assert server.asked(TOKENIZER) == []
    server.add_model("org/name", files | {TOKENIZER: content("?", "dog", "cat")})
    assert ids("org/name") == [2, 1]


def test_offline_after_a_first_run(
    server: HubServer, files: dict[str, bytes | Path], offline: Callable[[], None]
) -> None:
    server.add_model("org/name", files | {TOKENIZER: CATS})
    server.add_model("org/none", files)
    assert ids("org/name") == [1, 0]
    load_table("org/none")
    offline()
    server.requests.clear()
    assert ids("org/name") == [1, 0]
    with pytest.raises(SourceError, match=r"offline mode"):
        ids("org/none")
    assert server.requests == []


def test_a_model_without_one(server: HubServer, files: dict[str, bytes | Path]) -> None:
    server.add_model("org/name", files)
    server.add_model("org/cached", files)
    snapshot_download("org/cached")
    for source in ("org/name", "org/cached"):
        message = rf"no tokenizer for '{source}': .*AutoTokenizer.*tokens="
        with pytest.raises(SourceError, match=message):
            ids(source)
        assert len(server.asked(f"{source}/{TOKENIZER}")) == 1


def test_the_token_goes_to_the_hub_alone(
    server: HubServer, files: dict[str, bytes | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    server.add_model("org/private", files | {TOKENIZER: CATS}, token=TOKEN)
    assert ids("org/private") == [1, 0]
    assert [one.authorization for one in server.asked(TOKENIZER)] == [f"Bearer {TOKEN}"]
    server.requests.clear()
    server.publish(f"a/{TOKENIZER}", CATS)
    assert ids(server.publish(f"a/{WEIGHTS}", files[WEIGHTS])) == [1, 0]
    assert {one.authorization for one in server.requests} == {None}


def test_bytes_are_counted(server: HubServer, files: dict[str, bytes | Path]) -> None:
    """Of one that takes more than one request, too."""
    large = CATS + b" " * 1_500_000
    server.add_model("org/name", files | {TOKENIZER: large})
    meter = Meter()
    opened = open_any("org/name", Access(meter=meter))
    before = meter.received
    assert tokenizer_of(opened).ids("cat dog") == [1, 0]
    assert meter.received - before == len(large) == server.sent(TOKENIZER)
    assert meter.received == server.sent()


def test_what_fails_is_tried_again_and_then_said(
    server: HubServer, files: dict[str, bytes | Path]
) -> None:
    server.add_model("org/name", files | {TOKENIZER: CATS})
    server.fail(TOKENIZER, closed(20), times=2)
    assert ids("org/name") == [1, 0]
    server.add_model("org/other", files | {TOKENIZER: CATS[:-9]})
    with pytest.raises(SourceError, match=r"cannot understand .*org/other.*tokenizer\.json"):
        ids("org/other")
    server.fail(TOKENIZER, status(500))
    with pytest.raises(SourceError, match=r"tokenizer\.json.*HTTP status 500.*3 times"):
        ids("org/name")


def test_one_that_is_too_large_is_not_fetched(
    server: HubServer, files: dict[str, bytes | Path], tmp_path: Path
) -> None:
    with (tmp_path / TOKENIZER).open("wb") as file:
        file.truncate(64_000_001)
    server.add_model("org/name", files | {TOKENIZER: tmp_path / TOKENIZER})
    with pytest.raises(SourceError, match=r"at most 64 MB, got 64000001 bytes"):
        ids("org/name")
    assert server.sent(TOKENIZER) <= 1_000_000


@pytest.mark.parametrize("suffix", ["", "?download=true", "::wpe.weight"])
def test_beside_a_file_at_an_address(
    server: HubServer, files: dict[str, bytes | Path], suffix: str
) -> None:
    server.publish(f"gpt2/{TOKENIZER}", CATS)
    address = server.publish(f"gpt2/{WEIGHTS}", files[WEIGHTS]) + suffix
    opened = open_any(address, Access())
    assert server.asked(TOKENIZER) == []
    assert tokenizer_of(opened).ids("cat dog") == [1, 0]
    assert len(server.asked(TOKENIZER)) == 1


def test_beside_a_gguf_file(server: HubServer, tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "gpt2")
    writer.add_tensor("position_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    server.add_model("org/name", {"m.gguf": tmp_path / "m.gguf", TOKENIZER: CATS})
    server.publish(f"a/{TOKENIZER}", CATS)
    for source in ("org/name/m.gguf", server.publish("a/m.gguf", tmp_path / "m.gguf")):
        assert ids(source) == [1, 0]
    assert len(server.asked(TOKENIZER)) == 2


@pytest.mark.parametrize("answer", [404, 403, 401])
def test_none_beside_a_file_at_an_address(
    server: HubServer, files: dict[str, bytes | Path], answer: int
) -> None:
    address = server.publish(f"gpt2/{WEIGHTS}", files[WEIGHTS])
    server.fail(TOKENIZER, status(answer))
    with pytest.raises(SourceError, match=rf"no tokenizer for '{address}'"):
        ids(address)
