"""A hub of one's own, for each test: a server, an empty HF_HOME, and little patience."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gpt2_shaped import Shape, write_gpt2
from huggingface_hub import constants, hf_api, utils
from huggingface_hub.utils import _cache_assets
from server import HubServer

from poslens.checkpoints import PositionTable
from poslens.checkpoints.remote import patience
from poslens.checkpoints.remote.patience import Patience


@pytest.fixture
def hf_home(tmp_path: Path) -> Path:
    return tmp_path / "hf_home"


@pytest.fixture
def environment(hf_home: Path) -> dict[str, str]:
    """Variables that make a process of its own know nothing of this machine's hub settings."""
    return {
        "HF_HOME": str(hf_home),
        "HF_HUB_CACHE": str(hf_home / "hub"),
        "HF_TOKEN_PATH": str(hf_home / "token"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
    }


@pytest.fixture
def server(
    hf_home: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[HubServer]:
    """A running server that huggingface_hub, in this process, takes for the hub.

    The library reads its variables when it is imported; here its constants are set instead.
    """
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with HubServer() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.hub)
        template = running.hub + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {
            "ENDPOINT": running.hub,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HOME": str(hf_home),
            "HF_HUB_CACHE": str(hf_home / "hub"),
            "HF_ASSETS_CACHE": str(hf_home / "assets"),
            "HF_TOKEN_PATH": str(hf_home / "token"),
            "HF_STORED_TOKENS_PATH": str(hf_home / "stored_tokens"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_TELEMETRY": True,
            "HF_HUB_DISABLE_PROGRESS_BARS": True,
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(hf_api.api, "endpoint", running.hub)
        monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(hf_home / "assets"))
        yield running
        utils.close_session()


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> Patience:
    """Three tries within a blink; a silent connection is soon dead."""
    little = Patience(tries=3, first_wait=0.001, timeout=0.3)
    monkeypatch.setattr(patience, "PATIENCE", little)
    return little


@pytest.fixture(scope="session")
def shape() -> Shape:
    """Sizes at which the tables outweigh the header, and all else outweighs the tables."""
    return Shape(length=257, dim=192, vocabulary=601, layers=2)


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory, shape: Shape) -> Path:
    """A small model folder with the names of GPT-2."""
    return write_gpt2(tmp_path_factory.mktemp("gpt2"), shape, filled=True)


@pytest.fixture
def same() -> Callable[[PositionTable, PositionTable], None]:
    """A function that requires two tables to be the same but for their address and revision."""

    def require(one: PositionTable, other: PositionTable) -> None:
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_array_equal(one.norm_scales, other.norm_scales)
        assert replace(one.source, uri="", revision=None) == replace(
            other.source, uri="", revision=None
        )
        assert (one.init_std, one.missing) == (other.init_std, other.missing)

    return require
