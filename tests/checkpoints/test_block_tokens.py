"""What acts on token vectors alone, before positions are added, against the model itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from block_files import BASIC, GPT2, GROUPED, block_of, saved
from block_models import Case, build, close

TOKENS = 7
BART = {
    "vocab_size": 37,
    "d_model": 42,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 10,
    "decoder_ffn_dim": 10,
    "decoder_start_token_id": 3,
    "pad_token_id": 1,
}


def nothing(_: torch.nn.Module) -> torch.Tensor:
    return torch.zeros(())


@dataclass(frozen=True)
class Embedding:
    """A model whose embedding can be taken apart.

    ``first`` is the module that is given the sum, ``tokens`` the one that holds token vectors;
    ``beside`` is all that is added to them.
    """

    family: str
    values: dict[str, Any]
    first: str
    tokens: str
    beside: Callable[[torch.nn.Module], torch.Tensor] = nothing
    part: str | None = None


def gemma(family: str, width: int) -> Embedding:
    values = GROUPED | {"head_dim": 14, "hidden_size": width}
    return Embedding(family, values, "layers.0.input_layernorm", "embed_tokens")


def bart(family: str, **more: Any) -> Embedding:
    return Embedding(
        family,
        BART | more,
        "decoder.layernorm_embedding",
        "decoder.embed_tokens",
        lambda model: model.decoder.embed_positions.weight[2 : 2 + TOKENS],
        "decoder",
    )


EMBEDDINGS = [
    Embedding(
        "opt",
        BASIC | {"do_layer_norm_before": False, "word_embed_proj_dim": 17, "ffn_dim": 10},
        "decoder.layers.0.self_attn",
        "decoder.embed_tokens",
        lambda model: model.decoder.embed_positions.weight[2 : 2 + TOKENS],
    ),
    Embedding(
        "ctrl",
        GPT2 | {"dff": 10},
        "h.0.layernorm1",
        "w",
        lambda model: model.pos_encoding[:TOKENS],
    ),
    Embedding(
        "granite",
        GROUPED | {"embedding_multiplier": 3.5},
        "layers.0.input_layernorm",
        "embed_tokens",
    ),
    gemma("gemma", 42),
    gemma("gemma2", 60),
    gemma("gemma3_text", 42),
    Embedding(
        "esm",
        BASIC
        | {
            "token_dropout": True,
            "mask_token_id": 2,
            "pad_token_id": 1,
            "emb_layer_norm_before": True,
        },
        "embeddings.layer_norm",
        "embeddings.word_embeddings",
        lambda model: model.embeddings.position_embeddings.weight[2 : 2 + TOKENS],
    ),
    Embedding(
        "biogpt",
        BASIC,
        "layers.0.self_attn_layer_norm",
        "embed_tokens",
        lambda model: model.embed_positions.weight[2 : 2 + TOKENS],
    ),
    Embedding(
        "xglm",
        {"vocab_size": 37, "d_model": 42, "num_layers": 2, "attention_heads": 6, "ffn_dim": 10},
        "layers.0.self_attn_layer_norm",
        "embed_tokens",
        lambda model: model.embed_positions.weights[2 : 2 + TOKENS],
    ),
    Embedding(
        "big_bird",
        BASIC | {"attention_type": "original_full", "rescale_embeddings": True},
        "embeddings.LayerNorm",
        "embeddings.word_embeddings",
        lambda model: (
            model.embeddings.position_embeddings.weight[:TOKENS]
            + model.embeddings.token_type_embeddings.weight[0]
        ),
    ),
    bart("bart", scale_embedding=True),
    bart("mbart"),
    bart("plbart"),
    Embedding(
        "marian",
        BART | {"scale_embedding": True},
        "decoder.layers.0.self_attn",
        "decoder.embed_tokens",
        lambda model: model.decoder.embed_positions.weight[:TOKENS],
        "decoder",
    ),
    Embedding(
        "m2m_100",
        BART,
        "decoder.layers.0.self_attn_layer_norm",
        "decoder.embed_tokens",
        lambda model: model.decoder.embed_positions.weights[2 : 2 + TOKENS],
        "decoder",
    ),
]


@pytest.mark.parametrize("case", EMBEDDINGS, ids=lambda case: case.family)
def test_token_vectors_are_multiplied_and_projected(case: Embedding, tmp_path: Path) -> None:
    model = build(Case(case.family, case.values, "", ""), head=False)
    ids = 5 + torch.arange(TOKENS)[None]
    sums: list[torch.Tensor] = []

    def keep(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sums.append(args[0] if args else kwargs["hidden_states"])

    model.get_submodule(case.first).register_forward_pre_hook(keep, with_kwargs=True)
    with torch.no_grad():
        model(**{"input_ids": ids} | ({"decoder_input_ids": ids} if case.part else {}))
        vectors = model.get_submodule(case.tokens).weight[ids[0]].double().numpy()
        beside = case.beside(model).double().numpy()
    block = block_of(saved(model, tmp_path, silent=True), case.part)
    if block.token_projection is not None:
        vectors = block.token_projection(vectors)
    close(vectors * block.token_factor + beside, sums[0][0].double().numpy())
