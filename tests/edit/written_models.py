"""Tiny models of transformers that are saved, edited and loaded again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from safetensors import safe_open

from poslens.checkpoints import load_table
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.sources import open_any
from poslens.edit.places import parts_together
from poslens.edit.placing import Edit, table_edit, together

hf.utils.logging.disable_progress_bar()
hf.utils.logging.set_verbosity_error()

VOCAB, WIDTH, LENGTH = 41, 24, 37
SPECIAL = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
# Every configuration class takes the names that it knows, and keeps the others.
SIZES: dict[str, Any] = SPECIAL | {
    "vocab_size": VOCAB,
    **dict.fromkeys(("hidden_size", "d_model", "emb_dim", "n_embd", "dim"), WIDTH),
    **dict.fromkeys(("embedding_size", "input_embedding_size", "output_embedding_size"), WIDTH),
    **dict.fromkeys(("num_hidden_layers", "n_layers", "n_layer", "num_layers"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_heads", "n_head", "num_heads"), 6),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads", "attention_heads"), 6),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "dff", "n_inner", "hidden_dim"), 10),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 10),
    "num_mel_bins": 5,
}


def saved(model: hf.PreTrainedModel, folder: Path, container: str = "safetensors") -> Path:
    """Save a model: ``safetensors`` or ``bin``, in one file or ``sharded``."""
    size = "12KB" if "sharded" in container else "1GB"
    model.save_pretrained(folder, max_shard_size=size)
    if "bin" in container:
        _as_torch_files(model, folder)
    return folder


def _as_torch_files(model: hf.PreTrainedModel, folder: Path) -> None:
    """Replace safetensors by what `torch.save` writes, tied weights under all their names."""
    state = model.state_dict()
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        (folder / "model.safetensors").unlink()
        torch.save(state, folder / "pytorch_model.bin")
        return
    stored = json.loads(index.read_text())["weight_map"]
    first = min(stored.values())
    weight_map = {name: stored.get(name, first) for name in state}
    names = {file: file.replace("model-", "pytorch_model-") for file in set(stored.values())}
    for file, name in names.items():
        (folder / file).unlink()
        name = name.replace(".safetensors", ".bin")
        torch.save({n: t for n, t in state.items() if weight_map[n] == file}, folder / name)
    index.unlink()
    renamed = {n: names[f].replace(".safetensors", ".bin") for n, f in weight_map.items()}
    content = {"metadata": {"total_size": 0}, "weight_map": renamed}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(content))


def opened(source: object) -> Checkpoint:
    checkpoint = open_any(str(source), Access())
    assert isinstance(checkpoint, Checkpoint)
    return checkpoint


def longer(rows: np.ndarray, more: int) -> np.ndarray:
    """Rows with ``more`` at their end that are unlike any of them."""
    return np.concatenate([rows, 3 + rows[:more]])


def longer_edit(source: object, more: int = 11, part: str | None = None) -> Edit:
    """An edit by which all tables that share a length with one grow."""
    checkpoint = opened(source)
    edits = []
    for one in parts_together(checkpoint, part):
        rows = load_table(str(source), part=one, tokens=False).rows
        edits.append(table_edit(checkpoint, one, longer(rows, more), "## An edit"))
    return together(*edits)


def loaded(
    kind: type[hf.PreTrainedModel], folder: Path
) -> tuple[hf.PreTrainedModel, dict[str, torch.Tensor]]:
    """Load a model that must fit its files exactly; with its parameters and buffers."""
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    return model.eval(), dict(model.state_dict())


def raw_tensors(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Dtype and bytes of every tensor in a folder's safetensors, by safetensors' own reader."""
    found = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no dict
                tensor = file.get_tensor(name)
                raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
                found[name] = str(tensor.dtype), raw
    return found


def bytes_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of change of every file in a folder."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


Build = Callable[[], hf.PreTrainedModel]


def gpt2() -> hf.PreTrainedModel:
    return hf.GPT2LMHeadModel(hf.GPT2Config(**SIZES, n_positions=LENGTH))


def opt() -> hf.PreTrainedModel:
    sizes = SIZES | {"word_embed_proj_dim": WIDTH}
    return hf.OPTForCausalLM(hf.OPTConfig(**sizes, max_position_embeddings=LENGTH))


def bert() -> hf.PreTrainedModel:
    return hf.BertForMaskedLM(hf.BertConfig(**SIZES, max_position_embeddings=LENGTH))


def roberta() -> hf.PreTrainedModel:
    return hf.RobertaForMaskedLM(hf.RobertaConfig(**SIZES, max_position_embeddings=LENGTH))


def bart() -> hf.PreTrainedModel:
    config = hf.BartConfig(**SIZES, max_position_embeddings=LENGTH, decoder_start_token_id=2)
    return hf.BartForConditionalGeneration(config)
