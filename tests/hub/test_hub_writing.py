"""Models on the hub and at addresses, written as folders: read range by range, files asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants, snapshot_download
from safetensors.numpy import load_file
from server import HubServer

from poslens.checkpoints import load_table
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.sources import open_any
from poslens.edit import blocks
from poslens.edit.card import card_section
from poslens.edit.placing import table_edit
from poslens.edit.writing import Written, write_checkpoint

WEIGHTS = "model.safetensors"
TOKENIZER = b'{"version": "1.0", "truncation": {"max_length": 7}, "model": {}}'


@pytest.fixture
def files(gpt2: Path) -> dict[str, bytes | Path]:
    modules = json.dumps([{"path": ""}, {"path": "1_Pooling"}]).encode()
    return {name: gpt2 / name for name in ("config.json", WEIGHTS)} | {
        "tokenizer.json": TOKENIZER,
        "README.md": b"# Theirs\n",
        "modules.json": modules,
        "1_Pooling/config.json": b"{}",
    }


def written(source: str, folder: Path) -> Written:
    checkpoint = open_any(source, Access())
    assert isinstance(checkpoint, Checkpoint)
    rows = load_table(source).rows
    card = card_section(checkpoint, "Twice as long.", {})
    edit = table_edit(checkpoint, None, np.tile(rows, (2, 1)), card)
    return write_checkpoint(checkpoint, edit, folder)


def check(folder: Path, gpt2: Path) -> None:
    """Require the table twice as long, and all else as it is on the server."""
    old, new = load_file(gpt2 / WEIGHTS), load_file(folder / WEIGHTS)
    wpe = next(name for name in old if name.endswith("wpe.weight"))
    np.testing.assert_array_equal(new.pop(wpe), np.tile(old.pop(wpe), (2, 1)))
    masks = {name for name in old if name.endswith(".attn.bias")}  # transformers makes them anew
    assert old.keys() - masks == new.keys()
    assert all(old[name].tobytes() == new[name].tobytes() for name in new)
    length = json.loads((folder / "config.json").read_text())["n_positions"]
    assert length == load_table(str(folder)).length
    truncation = json.loads((folder / "tokenizer.json").read_text())["truncation"]
    assert truncation == {"max_length": length}


@pytest.mark.parametrize("kind", ["hub", "address"])
def test_a_model_far_away(
    server: HubServer, files: dict[str, bytes | Path], gpt2: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, kind: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(blocks, "FAR_CHUNK", 2**18)  # several ranges of one tensor
    server.add_model("org/name", files)
    source = "org/name" if kind == "hub" else f"{server.hub}/org/name/resolve/main/{WEIGHTS}"
    found = written(source, tmp_path / "out")
    check(tmp_path / "out", gpt2)
    assert set(found.files) == {*files}
    assert (tmp_path / "out/README.md").read_text().startswith("# Theirs\n\n## Positions edited")
    if kind == "hub":
        assert "`org/name` at commit " in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize("offline", [False, True])
def test_a_snapshot_in_the_cache(
    server: HubServer, files: dict[str, bytes | Path], gpt2: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, offline: bool,
) -> None:  # fmt: skip
    server.add_model("org/name", files)
    patterns = ["config.json", WEIGHTS, "tokenizer.json"]
    snapshot_download("org/name", allow_patterns=patterns)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    found = written("org/name", tmp_path / "out")
    check(tmp_path / "out", gpt2)
    # Without a network, what is not in the snapshot is not there.
    assert set(found.files) == ({*patterns, "README.md"} if offline else {*files})
