"""Checkpoints of one random attention block, by scheme, as a model's own files would hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from poslens.axes import Rows, TokenRows
from poslens.checkpoints.config import Config
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.python_objects import PythonTensors

HEADS = 6
VOCABULARY = 251

_BIASES = 0.1  # standard deviation, that of what they are added to being about 1

Weights = np.ndarray  # shape (dim, dim), by which rows are multiplied from the left


def token_rows(dim: int, rng: np.random.Generator) -> TokenRows:
    """Return the vectors of a vocabulary, independent and of variance 1."""
    return rng.standard_normal((VOCABULARY, dim))


def weights(dim: int, rng: np.random.Generator) -> Weights:
    """Return independent normal weights that keep the size of what they multiply."""
    return np.asarray(rng.standard_normal((dim, dim)) / np.sqrt(dim))


def with_table(
    table: Rows,
    tokens: TokenRows,
    rng: np.random.Generator,
    queries: Weights | None = None,
    keys: Weights | None = None,
) -> Checkpoint:
    """Return a GPT-1, in which nothing acts between the sum of the embeddings and attention.

    Parameters
    ----------
    table, tokens
        What is added up.
    rng
        Of the weights that are not given, and of biases.
    queries, keys
        W_Q and W_K of all heads side by side; independent if None.
    """
    dim = table.shape[1]
    given = (queries, keys, None)
    three = [weights(dim, rng) if one is None else one for one in given]
    tensors = {
        "positions_embed.weight": table,
        "tokens_embed.weight": tokens,
        "h.0.attn.c_attn.weight": np.concatenate(three, axis=1),
        "h.0.attn.c_attn.bias": rng.standard_normal(3 * dim) / np.sqrt(dim),
        "h.0.attn.c_proj.weight": weights(dim, rng),
        "h.0.attn.c_proj.bias": np.zeros(dim),
    }
    return _checkpoint(
        "openai-gpt", tensors, n_embd=dim, n_head=HEADS, n_layer=1, n_positions=len(table)
    )


def with_formula(length: int, dim: int, rng: np.random.Generator) -> Checkpoint:
    """Return a CTRL, whose table is computed and not stored."""
    tensors = {
        "w.weight": token_rows(dim, rng),
        **_norm("h.0.layernorm1", dim, rng),
        **_linears("h.0.multi_head_attention.", ("Wq", "Wk", "Wv", "dense"), dim, rng),
    }
    return _checkpoint("ctrl", tensors, n_embd=dim, n_head=HEADS, n_layer=1, n_positions=length)


def with_slopes(length: int, dim: int, rng: np.random.Generator) -> Checkpoint:
    """Return a BLOOM, which adds -m·|s - t| to its logits (ALiBi)."""
    attention = "h.0.self_attention."
    tensors = {
        "word_embeddings.weight": token_rows(dim, rng),
        **_norm("word_embeddings_layernorm", dim, rng),
        **_norm("h.0.input_layernorm", dim, rng),
        f"{attention}query_key_value.weight": np.concatenate([weights(dim, rng) for _ in "qkv"]),
        f"{attention}query_key_value.bias": 0.1 * rng.standard_normal(3 * dim),
        f"{attention}dense.weight": weights(dim, rng),
        f"{attention}dense.bias": np.zeros(dim),
    }
    return _checkpoint(
        "bloom", tensors, hidden_size=dim, n_head=HEADS, n_layer=1, seq_length=length
    )


def with_buckets(length: int, dim: int, rng: np.random.Generator) -> Checkpoint:  # noqa: ARG001
    """Return the encoder of a T5, which adds a random number for each bucket of distances."""
    block = "encoder.block.0.layer.0."
    tensors = {
        "shared.weight": token_rows(dim, rng),
        f"{block}layer_norm.weight": 1 + 0.1 * rng.standard_normal(dim),
        **_linears(f"{block}SelfAttention.", tuple("qkvo"), dim, rng, biases=0.0),
        f"{block}SelfAttention.relative_attention_bias.weight": rng.standard_normal((32, HEADS)),
    }
    return _checkpoint("t5", tensors, d_model=dim, d_kv=dim // HEADS, num_heads=HEADS, num_layers=1)


def with_rotation(
    length: int, dim: int, rng: np.random.Generator, *, biases: float = _BIASES
) -> Checkpoint:
    """Return a Llama, which rotates queries and keys (RoPE).

    Normal biases of these have ``biases`` as their standard deviation, and queries and keys without
    them about 1; none are there where it is 0.
    """
    attention = "layers.0.self_attn."
    tensors = {
        "embed_tokens.weight": token_rows(dim, rng),
        "layers.0.input_layernorm.weight": 1 + 0.1 * rng.standard_normal(dim),
        **_linears(attention, ("q_proj", "k_proj", "v_proj", "o_proj"), dim, rng, biases=biases),
    }
    return _checkpoint(
        "llama",
        tensors,
        hidden_size=dim,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        num_hidden_layers=1,
        max_position_embeddings=length,
        attention_bias=biases > 0,
    )


def _linears(
    prefix: str,
    names: tuple[str, ...],
    dim: int,
    rng: np.random.Generator,
    *,
    biases: float = _BIASES,
) -> dict[str, np.ndarray]:
    found = {f"{prefix}{name}.weight": weights(dim, rng) for name in names}
    if biases:
        found |= {f"{prefix}{name}.bias": biases * rng.standard_normal(dim) for name in names}
    return found


def _norm(name: str, dim: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    scale, shift = 0.1 * rng.standard_normal((2, dim))
    return {f"{name}.weight": 1 + scale, f"{name}.bias": shift}


def _checkpoint(family: str, tensors: Mapping[str, np.ndarray], **values: Any) -> Checkpoint:
    config = Config({"model_type": family, "vocab_size": VOCABULARY, **values}, "the config")
    return Checkpoint(PythonTensors(tensors, f"a {family}"), config, family)
