"""A trained model as a folder that transformers loads with the same logits.

Learned and sinusoidal tables are GPT-2's. RoPE is GPT-NeoX's: Llama has RMSNorm and no biases.
ALiBi without biases is MPT's: BLOOM normalises its embeddings once more, and Falcon divides the
penalty by √d_k and rounds it to bfloat16. Nothing in transformers is this decoder with T5's
buckets, Shaw's keys or no positions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn

from poslens.encodings import Alibi, Rope, Unscaled
from poslens.encodings.alibi import MAX_BIAS
from poslens.encodings.protocol import AddsTable
from poslens.errors import LabError, OutputError, quoted
from poslens.files import written_whole
from poslens.lab.data import BYTES
from poslens.lab.model import Decoder
from poslens.lab.tensors import write_tensors

Tensors = dict[str, Tensor]
SPECIAL = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


def export(model: Decoder, folder: str | Path) -> None:
    """Write ``config.json``, ``model.safetensors``, and a tokenizer where tokens are bytes.

    Raises
    ------
    LabError
        If no architecture of transformers computes what the model does.
    OutputError
        If the folder is not empty, or cannot be written.
    """
    encoding = model.position.trained()
    if isinstance(encoding, AddsTable):
        config, tensors = _as_gpt2(model, encoding)
    elif isinstance(encoding, Rope) and isinstance(encoding.scaling, Unscaled):
        config, tensors = _as_gpt_neox(model, encoding)
    elif isinstance(encoding, Alibi) and _as_in_mpt(model, encoding):
        config, tensors = _as_mpt(model)
    else:
        raise LabError(
            f"no architecture of transformers is this model with {encoding!r}",
            expected="an added table, RoPE without scaling, or ALiBi in a model without biases",
            got=encoding.name,
            remedy="train it with Shape(biases=False)" if isinstance(encoding, Alibi) else "",
        )
    target = _made(folder)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    _write_json(target / "config.json", {**config, **SPECIAL, "dtype": "float32"})
    if model.shape.vocabulary == BYTES:
        with written_whole(target / "tokenizer.json") as temporary:
            temporary.write_text(byte_tokenizer().to_str(pretty=True), encoding="utf-8")
        _write_json(
            target / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}
        )
    # Last: a folder with weights is whole.
    write_tensors(whole, target / "model.safetensors", {"format": "pt"})


def byte_tokenizer() -> Tokenizer:
    """Return a tokenizer whose ids are the values of UTF-8 bytes: no merges, no special tokens."""
    # GPT-2's alphabet: printable bytes stand for themselves, the others for the letters from 256.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(BYTES) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable}
    letters |= {byte: chr(BYTES + place) for place, byte in enumerate(others)}
    vocabulary = {letters[byte]: byte for byte in range(BYTES)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _as_gpt2(model: Decoder, encoding: AddsTable) -> tuple[dict[str, Any], Tensors]:
    shape = model.shape
    length = model.longest or shape.context
    table = torch.from_numpy(encoding.table(np.arange(length))).float()
    tensors = {
        "transformer.wte.weight": model.tokens.weight,
        "transformer.wpe.weight": table,
        **_affine("transformer.ln_f", model.norm),
    }
    for layer, block in enumerate(model.layers):
        name = f"transformer.h.{layer}"
        tensors |= {
            **_affine(f"{name}.ln_1", block.attention_norm),
            **_affine(f"{name}.attn.c_attn", block.attention_in, turned=True),
            **_affine(f"{name}.attn.c_proj", block.attention_out, turned=True),
            **_affine(f"{name}.ln_2", block.mlp_norm),
            **_affine(f"{name}.mlp.c_fc", block.mlp_in, turned=True),
            **_affine(f"{name}.mlp.c_proj", block.mlp_out, turned=True),
        }
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": shape.vocabulary,
        "n_positions": length,
        "n_embd": shape.width,
        "n_layer": shape.layers,
        "n_head": shape.heads,
        "activation_function": "gelu",
        "layer_norm_epsilon": model.norm.eps,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop"), shape.dropout),
        "attn_pdrop": 0.0,
        "tie_word_embeddings": True,
    }
    return config, tensors


def _as_gpt_neox(model: Decoder, rope: Rope) -> tuple[dict[str, Any], Tensors]:
    shape = model.shape
    tensors = {
        "gpt_neox.embed_in.weight": model.tokens.weight,
        **_affine("gpt_neox.final_layer_norm", model.norm),
    }
    for layer, block in enumerate(model.layers):
        name = f"gpt_neox.layers.{layer}"
        together = _affine(f"{name}.attention.query_key_value", block.attention_in)
        tensors |= {
            **_affine(f"{name}.input_layernorm", block.attention_norm),
            **{key: _by_head(tensor, model, rope) for key, tensor in together.items()},
            **_affine(f"{name}.attention.dense", block.attention_out),
            **_affine(f"{name}.post_attention_layernorm", block.mlp_norm),
            **_affine(f"{name}.mlp.dense_h_to_4h", block.mlp_in),
            **_affine(f"{name}.mlp.dense_4h_to_h", block.mlp_out),
        }
    share = rope.rotated / rope.head_dim
    config = {
        "architectures": ["GPTNeoXForCausalLM"],
        "model_type": "gpt_neox",
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.context,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": 4 * shape.width,
        "hidden_act": "gelu",
        "layer_norm_eps": model.norm.eps,
        "use_parallel_residual": False,
        "rotary_pct": share,
        "rotary_emb_base": rope.base,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": rope.base,
            "partial_rotary_factor": share,
        },
        "hidden_dropout": shape.dropout,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
    }
    return config, tensors


def _by_head(together: Tensor, model: Decoder, rope: Rope) -> Tensor:
    """Turn (query, key, value) of all heads into (query, key, value) of each head.

    Coordinates that turn together, where they are neighbours, are moved half a rotation apart: in
    queries and keys alike, which their products do not see.
    """
    parts = together.unflatten(0, (3, model.shape.heads, rope.head_dim))
    order = np.arange(rope.head_dim)
    if rope.pairing == "interleaved":
        order[: rope.rotated] = order[: rope.rotated].reshape(-1, 2).T.ravel()
    turned = parts[:2, :, torch.from_numpy(order)]
    return torch.cat([turned, parts[2:]]).transpose(0, 1).flatten(0, 2)


def _as_in_mpt(model: Decoder, alibi: Alibi) -> bool:
    # transformers' MPT takes no other largest slope, whatever its config says.
    return not model.shape.biases and alibi.max_bias == MAX_BIAS


def _as_mpt(model: Decoder) -> tuple[dict[str, Any], Tensors]:
    shape = model.shape
    tensors = {
        "transformer.wte.weight": model.tokens.weight,
        "transformer.norm_f.weight": model.norm.weight,
    }
    for layer, block in enumerate(model.layers):
        name = f"transformer.blocks.{layer}"
        tensors |= {
            f"{name}.norm_1.weight": block.attention_norm.weight,
            f"{name}.attn.Wqkv.weight": block.attention_in.weight,
            f"{name}.attn.out_proj.weight": block.attention_out.weight,
            f"{name}.norm_2.weight": block.mlp_norm.weight,
            f"{name}.ffn.up_proj.weight": block.mlp_in.weight,
            f"{name}.ffn.down_proj.weight": block.mlp_out.weight,
        }
    config = {
        "architectures": ["MptForCausalLM"],
        "model_type": "mpt",
        "vocab_size": shape.vocabulary,
        "max_seq_len": shape.context,
        "d_model": shape.width,
        "n_layers": shape.layers,
        "n_heads": shape.heads,
        "expansion_ratio": 4,
        "layer_norm_epsilon": model.norm.eps,
        "no_bias": True,
        "attn_config": {"alibi": True, "alibi_bias_max": int(MAX_BIAS)},
        "tie_word_embeddings": True,
    }
    return config, tensors


def _affine(name: str, module: nn.Module, *, turned: bool = False) -> Tensors:
    """Return weight and bias by name; a bias that the model does not have is 0."""
    own = dict(module.named_parameters())
    weight = own["weight"]
    bias = own.get("bias", torch.zeros(len(weight)))
    return {f"{name}.weight": weight.T if turned else weight, f"{name}.bias": bias}


def _made(folder: str | Path) -> Path:
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise OutputError(
                f"cannot export to {quoted(folder)}",
                expected="a folder that is empty or not there",
                got="files in it",
            )
    except OSError as error:
        raise OutputError(
            f"cannot export to {quoted(folder)}", got=quoted(error.strerror or error)
        ) from error
    return target


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
