"""The models of the parity tests, and where each keeps what its first attention is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from brute_logits import Anatomy, Array, array
from float64_models import in_float64
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

LENGTH = 43
SPECIAL = {"bos_token_id": 3, "eos_token_id": 4, "pad_token_id": 1}
BASIC = SPECIAL | {
    "vocab_size": 61,
    "hidden_size": 48,
    "intermediate_size": 10,
    "num_hidden_layers": 1,
    "num_attention_heads": 6,
    "max_position_embeddings": 71,
}
GROUPED = BASIC | {"num_key_value_heads": 2, "head_dim": 10}
T5 = SPECIAL | {
    "vocab_size": 61,
    "d_model": 18,
    "d_kv": 5,
    "d_ff": 10,
    "num_heads": 6,
    "num_layers": 1,
    "num_decoder_layers": 1,
    "decoder_start_token_id": 0,
    "relative_attention_num_buckets": 14,
    "relative_attention_max_distance": 30,
}


@dataclass(frozen=True)
class Case:
    """A model, and its anatomy from its modules."""

    family: str
    values: dict[str, Any]
    anatomy: Callable[[Any], Anatomy]
    part: str | None = None
    implementation: str = "eager"

    def stack(self, model: torch.nn.Module) -> torch.nn.Module:
        """What reads the text."""
        return model if self.part is None else model.get_submodule(self.part)

    def __str__(self) -> str:
        return "-".join(filter(None, (self.family, self.part, self.implementation)))


Pair = tuple[Array, Array]


def linear(module: torch.nn.Module) -> Pair:
    """Matrix and bias, zeros for none."""
    weight = array(module.weight)
    none = module.bias is None
    return weight, np.zeros(len(weight)) if none else array(module.bias)


def norm(module: torch.nn.Module, *, less_one: bool = False) -> tuple[Array, Array, float, bool]:
    """γ, β, ε, and whether it is a LayerNorm."""
    centre = isinstance(module, torch.nn.LayerNorm)
    names = ("eps", "variance_epsilon")
    epsilon = next(getattr(module, name) for name in names if hasattr(module, name))
    gamma = array(module.weight) + less_one
    bias = getattr(module, "bias", None)
    return gamma, np.zeros_like(gamma) if bias is None else array(bias), epsilon, centre


def parted(weight: Array, bias: Array, heads: int) -> tuple[Pair, Pair]:
    """Queries and keys of a map that holds query, key and value of head after head."""
    three = weight.reshape(heads, 3, -1, weight.shape[1])
    biases = bias.reshape(heads, 3, -1)
    query, key = (
        (three[:, which].reshape(-1, weight.shape[1]), biases[:, which].ravel())
        for which in range(2)
    )
    return query, key


def rotation(model: Any, interleaved: bool = False) -> dict[str, Any]:
    """The rotation that the model's own module computes, of halves."""
    at = torch.arange(LENGTH)[None]
    with in_float64():
        cosines, sines = (one[0].numpy() for one in model.rotary_emb(torch.zeros(1), at))
    turned = cosines.shape[1]

    def turn(vectors: Array) -> Array:
        first, second, rest = np.split(vectors, [turned // 2, turned], axis=-1)
        cos, sin = cosines[:, : turned // 2], sines[:, : turned // 2]
        return np.concatenate(
            [first * cos - second * sin, second * cos + first * sin, rest], axis=-1
        )

    return {"turn": turn, "turned": turned}


def none(dim: int) -> Array:
    return np.zeros(dim)


def gpt2(model: Any) -> Anatomy:
    attention = model.h[0].attn
    width = attention.embed_dim
    weight, bias = array(attention.c_attn.weight).T, array(attention.c_attn.bias)
    return Anatomy(
        tokens=array(model.wte.weight),
        table=array(model.wpe.weight),
        types=none(width),
        norms=[norm(model.h[0].ln_1)],
        query=(weight[:width], bias[:width]),
        key=(weight[width : 2 * width], bias[width : 2 * width]),
        heads=6,
        key_heads=6,
        scale=(width // 6) ** -0.5,
        causal=True,
    )


def bert(model: Any) -> Anatomy:
    attention = model.encoder.layer[0].attention.self
    return Anatomy(
        tokens=array(model.embeddings.word_embeddings.weight),
        table=array(model.embeddings.position_embeddings.weight),
        types=array(model.embeddings.token_type_embeddings.weight)[0],
        norms=[norm(model.embeddings.LayerNorm)],
        query=linear(attention.query),
        key=linear(attention.key),
        heads=6,
        key_heads=6,
        scale=8**-0.5,
        causal=False,
    )


def mpnet(model: Any) -> Anatomy:
    attention = model.encoder.layer[0].attention.attn
    with in_float64():
        bias = model.encoder.compute_position_bias(torch.zeros(1, LENGTH, 1))[0]
    return Anatomy(
        tokens=array(model.embeddings.word_embeddings.weight),
        table=array(model.embeddings.position_embeddings.weight)[2:],
        types=none(48),
        norms=[norm(model.embeddings.LayerNorm)],
        query=linear(attention.q),
        key=linear(attention.k),
        heads=6,
        key_heads=6,
        scale=8**-0.5,
        causal=False,
        bias=array(bias),
    )


def opt(model: Any) -> Anatomy:
    decoder = model.decoder
    attention = decoder.layers[0].self_attn
    tokens = array(decoder.embed_tokens.weight)
    if decoder.project_in is not None:
        tokens = tokens @ array(decoder.project_in.weight).T
    before = decoder.layers[0].do_layer_norm_before
    return Anatomy(
        tokens=tokens,
        table=array(decoder.embed_positions.weight)[2:],
        types=none(48),
        norms=[norm(decoder.layers[0].self_attn_layer_norm)] if before else [],
        query=linear(attention.q_proj),
        key=linear(attention.k_proj),
        heads=6,
        key_heads=6,
        scale=8**-0.5,
        causal=True,
    )


def llama(model: Any) -> Anatomy:
    layer = model.layers[0]
    return Anatomy(
        tokens=array(model.embed_tokens.weight),
        table=None,
        types=none(48),
        norms=[norm(layer.input_layernorm)],
        query=linear(layer.self_attn.q_proj),
        key=linear(layer.self_attn.k_proj),
        heads=6,
        key_heads=2,
        scale=layer.self_attn.scaling,
        causal=True,
        **rotation(model),
    )


def qwen3(model: Any) -> Anatomy:
    attention = model.layers[0].self_attn
    norms = tuple(
        (array(one.weight), one.variance_epsilon) for one in (attention.q_norm, attention.k_norm)
    )
    return replace(llama(model), head_norms=norms)


def gemma2(model: Any) -> Anatomy:
    first = norm(model.layers[0].input_layernorm, less_one=True)
    tokens = array(model.embed_tokens.weight) * 36**0.5
    return replace(llama(model), tokens=tokens, types=none(36), norms=[first])


def gpt_neox(model: Any) -> Anatomy:
    attention = model.layers[0].attention
    query, key = parted(*linear(attention.query_key_value), 6)
    return Anatomy(
        tokens=array(model.embed_in.weight),
        table=None,
        types=none(48),
        norms=[norm(model.layers[0].input_layernorm)],
        query=query,
        key=key,
        heads=6,
        key_heads=6,
        scale=8**-0.5,
        causal=True,
        **rotation(model),
    )


def falcon(model: Any) -> Anatomy:
    attention = model.h[0].self_attention
    weight, _ = linear(attention.query_key_value)
    return Anatomy(
        tokens=array(model.word_embeddings.weight),
        table=None,
        types=none(48),
        norms=[norm(model.h[0].input_layernorm)],
        query=(weight[:48], none(48)),
        key=(weight[48:56], none(8)),
        heads=6,
        key_heads=1,
        scale=8**-0.5,
        causal=True,
        **rotation(model),
    )


def falcon_with_slopes(model: Any) -> Anatomy:
    bias = bloom_slopes() * 8**-0.5  # added before the logits are divided
    return replace(falcon(model), turn=None, turned=0, bias=bias)


def bloom_slopes() -> Array:
    """m_h·s: softmax does not see that distances are counted from the first key."""
    with in_float64():
        slopes = build_alibi_tensor(torch.ones(1, LENGTH), 6, torch.float64)[:, None, 0]
    return np.tile(slopes.numpy(), (1, LENGTH, 1))


def bloom(model: Any) -> Anatomy:
    attention = model.h[0].self_attention
    query, key = parted(*linear(attention.query_key_value), 6)
    return Anatomy(
        tokens=array(model.word_embeddings.weight),
        table=None,
        types=none(48),
        norms=[norm(model.word_embeddings_layernorm), norm(model.h[0].input_layernorm)],
        query=query,
        key=key,
        heads=6,
        key_heads=6,
        scale=8**-0.5,
        causal=True,
        bias=bloom_slopes(),
    )


def mpt(model: Any) -> Anatomy:
    weight = array(model.blocks[0].attn.Wqkv.weight)
    with in_float64():
        slopes = build_mpt_alibi_tensor(6, LENGTH).numpy()
    return Anatomy(
        tokens=array(model.wte.weight),
        table=None,
        types=none(48),
        norms=[norm(model.blocks[0].norm_1)],
        query=(weight[:48], none(48)),
        key=(weight[48:96], none(48)),
        heads=6,
        key_heads=6,
        scale=8**-0.5,
        causal=True,
        bias=np.tile(slopes, (1, LENGTH, 1)),
    )


def t5(part: str) -> Callable[[Any], Anatomy]:
    def anatomy(model: Any) -> Anatomy:
        layer = getattr(model, part).block[0].layer[0]
        with in_float64():
            bias = layer.SelfAttention.compute_bias(LENGTH, LENGTH)[0]
        return Anatomy(
            tokens=array(model.shared.weight),
            table=None,
            types=none(18),
            norms=[norm(layer.layer_norm)],
            query=linear(layer.SelfAttention.q),
            key=linear(layer.SelfAttention.k),
            heads=6,
            key_heads=6,
            scale=1.0,
            causal=part == "decoder",
            bias=array(bias),
        )

    return anatomy


BLOOM = SPECIAL | {"vocab_size": 61, "hidden_size": 48, "n_layer": 1, "n_head": 6}
GPT2 = SPECIAL | {"vocab_size": 61, "n_embd": 42, "n_layer": 1, "n_head": 6, "n_positions": 71}
NARROW = {"do_layer_norm_before": False, "word_embed_proj_dim": 17}
CASES = [
    Case("gpt2", GPT2, gpt2),
    Case("bert", BASIC, bert),
    Case("mpnet", BASIC, mpnet),
    Case("opt", BASIC | {"ffn_dim": 10}, opt),
    Case("opt", BASIC | {"ffn_dim": 10} | NARROW, opt),
    Case("llama", GROUPED, llama),
    Case("qwen3", GROUPED, qwen3),
    Case(
        "gemma2",
        GROUPED | {"hidden_size": 36, "query_pre_attn_scalar": 29, "attn_logit_softcapping": 3.0},
        gemma2,
    ),
    Case("gpt_neox", BASIC | {"rotary_pct": 0.5}, gpt_neox),
    Case("falcon", BASIC, falcon),
    Case("falcon", BASIC | {"alibi": True}, falcon_with_slopes, implementation="sdpa"),
    Case(
        "bloom", SPECIAL | {"vocab_size": 61, "hidden_size": 48, "n_layer": 1, "n_head": 6}, bloom
    ),
    Case(
        "mpt",
        SPECIAL | {"vocab_size": 61, "d_model": 48, "n_layers": 1, "n_heads": 6, "max_seq_len": 71},
        mpt,
    ),
    Case("t5", T5, t5("encoder"), part="encoder"),
    Case("t5", T5, t5("decoder"), part="decoder"),
]
