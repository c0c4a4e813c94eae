"""Tiny transformers models with random norms and biases, and the kernels that poslens finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf

import poslens
from poslens.checkpoints.describe import described
from poslens.checkpoints.load import table_of
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.sources import open_any
from poslens.kernels import Kernels, kernels_of
from poslens.study import Study

hf.utils.logging.disable_progress_bar()
hf.utils.logging.set_verbosity_error()

LENGTH = 43
SPECIAL = {"bos_token_id": 3, "eos_token_id": 4, "pad_token_id": 1}
BASIC = SPECIAL | {
    "vocab_size": 37,
    "hidden_size": 42,
    "intermediate_size": 10,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "max_position_embeddings": LENGTH,
}
T5 = SPECIAL | {
    "vocab_size": 37,
    "d_model": 18,
    "d_kv": 5,
    "d_ff": 10,
    "num_heads": 6,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "decoder_start_token_id": 0,
}


def build(family: str, values: dict[str, Any], **more: Any) -> hf.PreTrainedModel:
    """Build the base model, every weight drawn anew so that no two norms or biases are alike."""
    torch.manual_seed(0)
    copied = json.loads(json.dumps(values | more))  # transformers writes into them
    config = hf.AutoConfig.for_model(family, **copied)
    model = hf.MODEL_MAPPING[type(config)]._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight += 0.3 * torch.randn_like(weight)
            elif weight.ndim == 2:
                weight.normal_(0, 0.3)
    return model


def saved(model: hf.PreTrainedModel, folder: Path, **changed: Any) -> Path:
    """Save a model, with some values of its config changed."""
    model.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    return folder


def studied(folder: Path, **more: Any) -> Study:
    return poslens.analyze(str(folder), nulls=0, **more)


def kernels(source: Path | str, part: str | None = None) -> Kernels:
    opened = open_any(str(source), Access(False))
    description = described(opened)
    adds = description is None or description.adds_table
    table = table_of(opened, part, with_tokens=True) if adds else None
    return kernels_of(opened, description, table, part)


def profile_of(study: Study) -> np.ndarray:
    """The profiles of the first layer, shape (head, offset)."""
    return np.array(study.measures["kernel.profile"])


def weights_of(model: hf.PreTrainedModel) -> dict[str, np.ndarray]:
    return {name: one.double().numpy() for name, one in model.state_dict().items()}
