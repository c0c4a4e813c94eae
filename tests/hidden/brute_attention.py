"""Logits as sums of terms from transformers' own modules, written out in float64.

Nothing of PosLens is used: weights, norms, rotations and buckets are the model's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch
import transformers as hf

RMS = "RMSNorm"


@dataclass
class Layer:
    """How one layer makes its logits.

    ``queries`` and ``keys`` have shape (dim, head, d_head), their biases (head, d_head); heads of
    keys are repeated.
    """

    norms: list[torch.nn.Module]
    queries: np.ndarray
    query_bias: np.ndarray
    keys: np.ndarray
    key_bias: np.ndarray
    causal: bool
    turns: tuple[np.ndarray, np.ndarray] | None = None  # cosines and sines, (position, rotated)
    bias: np.ndarray | None = None  # (head, position, position)


@dataclass
class Embedding:
    """What is added up before the first layer, and the norms that follow."""

    tokens: np.ndarray
    table: np.ndarray | None
    constant: np.ndarray
    norms: list[torch.nn.Module]


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def linear(module: torch.nn.Linear, heads: int) -> tuple[np.ndarray, np.ndarray]:
    weight = array(module.weight).T
    bias = np.zeros(weight.shape[1]) if module.bias is None else array(module.bias)
    return weight.reshape(len(weight), heads, -1), bias.reshape(heads, -1)


def _gpt2(model: hf.PreTrainedModel, layer: int, length: int) -> Layer:
    block, heads = model.h[layer], model.config.n_head
    weight, bias = array(block.attn.c_attn.weight), array(block.attn.c_attn.bias)
    q, k, _ = (one.reshape(len(weight), heads, -1) for one in np.split(weight, 3, axis=1))
    bq, bk, _ = (one.reshape(heads, -1) for one in np.split(bias, 3))
    return Layer([block.ln_1], q, bq, k, bk, causal=True)


def _bert(model: hf.PreTrainedModel, layer: int, length: int) -> Layer:
    attention = model.encoder.layer[layer].attention.self
    heads = model.config.num_attention_heads
    return Layer([], *linear(attention.query, heads), *linear(attention.key, heads), causal=False)


def _mpnet(model: hf.PreTrainedModel, layer: int, length: int) -> Layer:
    attention = model.encoder.layer[layer].attention.attn
    heads = model.config.num_attention_heads
    bias = model.encoder.compute_position_bias(torch.zeros(1, length, 1))[0]
    return Layer(
        [], *linear(attention.q, heads), *linear(attention.k, heads), causal=False, bias=array(bias)
    )


def _turns(model: hf.PreTrainedModel, length: int) -> tuple[np.ndarray, np.ndarray]:
    like = torch.zeros(1, length, 1, dtype=torch.float64)
    cosines, sines = model.rotary_emb(like, torch.arange(length)[None])
    return array(cosines[0]), array(sines[0])


def _llama(model: hf.PreTrainedModel, layer: int, length: int) -> Layer:
    block, config = model.layers[layer], model.config
    q, bq = linear(block.self_attn.q_proj, config.num_attention_heads)
    k, bk = linear(block.self_attn.k_proj, config.num_key_value_heads)
    times = config.num_attention_heads // config.num_key_value_heads
    k, bk = np.repeat(k, times, axis=1), np.repeat(bk, times, axis=0)
    turns = _turns(model, length)
    return Layer([block.input_layernorm], q, bq, k, bk, causal=True, turns=turns)


def _gpt_neox(model: hf.PreTrainedModel, layer: int, length: int) -> Layer:
    block, heads = model.layers[layer], model.config.num_attention_heads
    weight, bias = linear(block.attention.query_key_value, heads)
    q, k, _ = np.split(weight, 3, axis=2)
    bq, bk, _ = np.split(bias, 3, axis=1)
    turns = _turns(model, length)
    return Layer([block.input_layernorm], q, bq, k, bk, causal=True, turns=turns)


def _opt(model: hf.PreTrainedModel, layer: int, length: int) -> Layer:
    block, heads = model.decoder.layers[layer], model.config.num_attention_heads
    return Layer(
        [block.self_attn_layer_norm],
        *linear(block.self_attn.q_proj, heads),
        *linear(block.self_attn.k_proj, heads),
        causal=True,
    )


LAYERS: dict[str, Callable[[hf.PreTrainedModel, int, int], Layer]] = {
    "gpt2": _gpt2,
    "bert": _bert,
    "mpnet": _mpnet,
    "llama": _llama,
    "gpt_neox": _gpt_neox,
    "opt": _opt,
}


def embedding_of(model: hf.PreTrainedModel) -> Embedding:
    family, none = model.config.model_type, np.zeros(1)
    if family == "gpt2":
        return Embedding(array(model.wte.weight), array(model.wpe.weight), none, [])
    if family == "opt":
        decoder = model.decoder
        table = array(decoder.embed_positions.weight)[2:]
        return Embedding(array(decoder.embed_tokens.weight), table, none, [])
    if family in ("bert", "mpnet"):
        inner = model.embeddings
        table = array(inner.position_embeddings.weight)[2 if family == "mpnet" else 0 :]
        types = array(inner.token_type_embeddings.weight)[0] if family == "bert" else none
        return Embedding(array(inner.word_embeddings.weight), table, types, [inner.LayerNorm])
    return Embedding(array(model.get_input_embeddings().weight), None, none, [])


def entering(
    model: hf.PreTrainedModel, tokens: np.ndarray, states: np.ndarray
) -> list[tuple[Layer, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]]:
    """For each layer, how it works, and content, position and constant of each context.

    ``states`` has shape (layer, context, position, dim).
    """
    found, length = [], tokens.shape[1]
    for number in range(model.config.num_hidden_layers):
        layer = LAYERS[model.config.model_type](model, number, length)
        rows, embedding = states[number], embedding_of(model)
        if number == 0:
            layer.norms = embedding.norms + layer.norms
            rows = embedding.tokens[tokens]
        if number == 0 and embedding.table is not None:
            position, constant = embedding.table[:length], embedding.constant
            parts = [(one, position, np.broadcast_to(constant, one.shape)) for one in rows]
        else:
            constant = rows.mean(axis=(0, 1))
            position = rows.mean(axis=0) - constant
            parts = [
                (one - position - constant, position, np.broadcast_to(constant, one.shape))
                for one in rows
            ]
        found.append((layer, parts))
    return found


def terms(layer: Layer, parts: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Shape (term, head, query_pos, key_pos), not centred."""
    content, position, constant = parts
    for norm in layer.norms:
        centre = RMS not in type(norm).__name__
        whole = content + position + constant
        mean = whole.mean(axis=1, keepdims=True) if centre else 0.0
        epsilon = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon
        scale = np.sqrt(np.mean((whole - mean) ** 2, axis=1, keepdims=True) + epsilon)
        gamma = array(norm.weight)
        three = []
        for one in (content, position, constant):
            own = one.mean(axis=1, keepdims=True) if centre else 0.0
            three.append((one - own) / scale * gamma)
        content, position, constant = three
        if centre:
            constant = constant + array(norm.bias)
    heads, d_head = layer.query_bias.shape
    found = np.zeros((5, heads, len(content), len(content)))
    for head in range(heads):
        q = [one @ layer.queries[:, head] for one in (content, position, constant)]
        k = [one @ layer.keys[:, head] for one in (content, position, constant)]
        q[2], k[2] = q[2] + layer.query_bias[head], k[2] + layer.key_bias[head]
        if layer.turns is not None:
            q, k = _turned(q, layer.turns), _turned(k, layer.turns)
        scale = d_head**-0.5
        found[0, head] = scale * q[0] @ k[0].T
        found[1, head] = scale * q[1] @ k[1].T
        found[2, head] = scale * q[0] @ k[1].T
        found[3, head] = scale * q[1] @ k[0].T
        for one, other in ((0, 2), (1, 2), (2, 0), (2, 1), (2, 2)):
            found[4, head] += scale * q[one] @ k[other].T
        if layer.bias is not None:
            found[1, head] += layer.bias[head]
    return found


def _turned(three: list[np.ndarray], turns: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """Rotated; what was constant is position then, in the dimensions that turn."""
    cosines, sines = turns
    size = cosines.shape[1]
    out = []
    for one in three:
        first, second = one[:, : size // 2], one[:, size // 2 : size]
        quarter = np.concatenate([-second, first], axis=1)
        turning = one[:, :size] * cosines + quarter * sines
        out.append(np.concatenate([turning, one[:, size:]], axis=1))
    content, position, constant = out
    position, constant = position.copy(), constant.copy()
    position[:, :size] += constant[:, :size]
    constant[:, :size] = 0
    return [content, position, constant]


def shares(over_contexts: list[np.ndarray], *, causal: bool) -> np.ndarray:
    """Shape (term, head), from terms of each context, row by row."""
    _, heads, length, _ = over_contexts[0].shape
    covariance, variance = np.zeros((5, heads)), np.zeros(heads)
    for found in over_contexts:
        for head in range(heads):
            for t in range(length):
                rows = found[:, head, t, : t + 1 if causal else length]
                rows = rows - rows.mean(axis=1, keepdims=True)
                whole = rows.sum(axis=0)
                covariance[:, head] += rows @ whole
                variance[head] += whole @ whole
    return covariance / variance


def own_logits(model: hf.PreTrainedModel, ids: np.ndarray) -> list[np.ndarray]:
    """What each layer hands to softmax, shape (head, query_pos, key_pos)."""
    found: list[np.ndarray] = []
    plain = torch.nn.functional.softmax

    def seen(logits: torch.Tensor, *args: object, **more: object) -> torch.Tensor:
        found.append(array(logits[0]))
        return plain(logits, *args, **more)

    with mock.patch.object(torch.nn.functional, "softmax", seen), torch.no_grad():
        model(torch.as_tensor(ids)[None])
    return found


def hidden_states(model: hf.PreTrainedModel, tokens: np.ndarray) -> np.ndarray:
    """Shape (layer, context, position, dim), all contexts at once."""
    with torch.no_grad():
        found = model(torch.as_tensor(tokens), output_hidden_states=True).hidden_states
    return np.stack([array(one) for one in found])
