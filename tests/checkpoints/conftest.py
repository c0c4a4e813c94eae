"""Files for the tests of sources, written by the reference implementations where there are any."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file


@pytest.fixture
def table() -> np.ndarray:
    """An arbitrary table of 7 positions and 5 dimensions, in float32."""
    return np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)


@pytest.fixture
def bert_tensors(table: np.ndarray) -> dict[str, np.ndarray]:
    """The tensors of a BERT that matter, and one that does not."""
    rng = np.random.default_rng(1)
    return {
        "embeddings.position_embeddings.weight": table,
        "embeddings.word_embeddings.weight": rng.normal(size=(11, 5)).astype(np.float32),
        "embeddings.LayerNorm.weight": rng.normal(size=5).astype(np.float32),
        "encoder.layer.0.attention.self.query.weight": rng.normal(size=(5, 5)).astype(np.float32),
    }


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a model folder from tensors and a config (JSON value, or raw text)."""

    def write(
        tensors: Mapping[str, np.ndarray] | None,
        config: Mapping[str, Any] | str | None,
        file: str = "model.safetensors",
    ) -> Path:
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        if tensors is not None:
            save_file(dict(tensors), folder / file)
        if config is not None:
            text = config if isinstance(config, str) else json.dumps(config)
            (folder / "config.json").write_text(text)
        return folder

    return write


@pytest.fixture
def write_raw(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a safetensors file from a header (JSON value, or bytes) and data."""

    def write(header: Mapping[str, Any] | bytes, data: bytes = b"", length: int = -1) -> Path:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        count = len(text) if length < 0 else length
        path = tmp_path / "raw.safetensors"
        path.write_bytes(count.to_bytes(8, "little") + text + data)
        return path

    return write
