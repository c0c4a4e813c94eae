"""Saved models, and the blocks that are read from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import transformers as hf
from block_models import Case, build
from safetensors.numpy import load_file, save_file

from poslens.checkpoints.blocks import AttentionBlock, read_block
from poslens.checkpoints.names import parse_source
from poslens.checkpoints.opening import open_located

BASIC = {
    "vocab_size": 37,
    "hidden_size": 60,
    "intermediate_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": 71,
    "pad_token_id": 0,
    "bos_token_id": 3,
    "eos_token_id": 4,
}
GROUPED = BASIC | {"num_key_value_heads": 3}
VISION = {"image_size": 9, "patch_size": 3}
GPT2 = {"vocab_size": 37, "n_embd": 42, "n_layer": 3, "n_head": 6, "n_positions": 71}


def saved(model: hf.PreTrainedModel, folder: Path, *, silent: bool) -> Path:
    """Save a model; where ``silent``, without any value of its config that is the default."""
    model.save_pretrained(folder)
    path = folder / "config.json"
    values = json.loads(path.read_text())
    for key, value in list(values.items()):
        if isinstance(value, dict) and value.get("model_type"):
            values[key] = _unusual(value)
    path.write_text(json.dumps(_unusual(values) if silent else values))
    return folder


def _unusual(values: dict[str, Any]) -> dict[str, Any]:
    # Some configs refuse to be built from nothing, or fill in other values from those given.
    defaults = hf.AutoConfig.for_model(values["model_type"]).to_dict()
    kept = {"model_type", "text_config", "vision_config", "num_key_value_heads"}
    return {k: v for k, v in values.items() if k in kept or v != defaults.get(k, object())}


def block_of(folder: Path, part: str | None = None, layer: int = 0) -> AttentionBlock:
    """The block that is read from a saved model."""
    return read_block(open_located(parse_source(str(folder)), str(folder)), part, layer)


def written(family: str, folder: Path, values: dict[str, Any] = BASIC, **more: Any) -> Path:
    """The folder of a saved model."""
    case = Case(family, values, "", "", more=more)
    return saved(build(case, head=False), folder, silent=False)


def edit(folder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> Path:
    """Change the tensors of a saved model."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(
        {name: np.ascontiguousarray(one) for name, one in tensors.items()},
        folder / "model.safetensors",
    )
    return folder


def configure(folder: Path, **values: Any) -> Path:
    """Change values of a saved model's config; None takes one out."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | values
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return folder
