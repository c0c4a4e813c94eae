"""Models of BERT's kin, and encoders that rotate."""

from __future__ import annotations

from typing import Any

import torch
from block_models import BASIC, SPECIAL, TOKENS, Case, by_projections, in_deberta, llama, unbiased

SHORT = BASIC | {"pad_token_id": 1}

SELF = {
    "attention": "encoder.layer.{layer}.attention.self",
    "output": "encoder.layer.{layer}.attention.output.dense",
    "first": "embeddings.LayerNorm",
}


def bert(family: str, head: str, values: dict[str, Any] = BASIC, **more: Any) -> Case:
    return Case(family, values, head=head, **SELF | more)


def without_turns(model: torch.nn.Module) -> None:
    # RoFormer stores sines, then cosines, of positions that it cannot be told.
    table = next(w for name, w in model.named_parameters() if "embed_positions" in name)
    sines, cosines = table.detach().chunk(2, dim=1)
    sines.zero_()
    cosines.fill_(1)


CASES = [
    bert("bert", "BertForMaskedLM"),
    bert("bert", "BertLMHeadModel", more={"is_decoder": True}),
    bert("roberta", "RobertaForMaskedLM"),
    bert("camembert", "CamembertForMaskedLM"),
    bert("xlm-roberta", "XLMRobertaForMaskedLM"),
    bert("data2vec-text", "Data2VecTextForMaskedLM"),
    bert("ernie", "ErnieForMaskedLM"),
    bert("bert-generation", "BertGenerationDecoder"),
    bert(
        "roberta-prelayernorm",
        "RobertaPreLayerNormForMaskedLM",
        attention="encoder.layer.{layer}.attention.self",
    ),
    bert(
        "xlm-roberta-xl",
        "XLMRobertaXLForMaskedLM",
        first="encoder.layer.{layer}.attention.self_attn_layer_norm",
    ),
    bert("electra", "ElectraForMaskedLM", more={"embedding_size": 17}),
    bert("electra", "ElectraForMaskedLM", more={"embedding_size": 42}),
    bert(
        "roformer",
        "RoFormerForMaskedLM",
        more={"hidden_size": 48, "embedding_size": 17},
        watched=by_projections("query", "key", "value"),
        prepared=without_turns,
    ),
    bert(
        "longformer",
        "LongformerForMaskedLM",
        more={"attention_window": 16},
        tokens=TOKENS,  # which the window covers; it pads them to 16
        watched=by_projections("query", "key", "value"),
    ),
    *(
        bert(
            "big_bird",
            "BigBirdForMaskedLM",
            more={"attention_type": "original_full"} | more,
            watched=by_projections("query", "key", "value"),
        )
        for more in ({}, {"use_bias": False, "rescale_embeddings": True})
    ),
    bert(
        "mpnet",
        "MPNetForMaskedLM",
        attention="encoder.layer.{layer}.attention.attn",
        output="encoder.layer.{layer}.attention.attn.o",
        watched=by_projections("q", "k", "v"),
        prepared=unbiased,
    ),
    bert(
        "albert",
        "AlbertForMaskedLM",
        attention="encoder.albert_layer_groups.{layer}.albert_layers.0.attention",
        output="encoder.albert_layer_groups.{layer}.albert_layers.0.attention.dense",
        more={"embedding_size": 17},
    ),
    *(
        bert("deberta", "DebertaForMaskedLM", more=more, watched=in_deberta, first=first)
        for more, first in (
            ({"pos_att_type": "c2p|p2c"}, "embeddings.LayerNorm"),
            ({"embedding_size": 17}, "embeddings.embed_proj"),
        )
    ),
    *(
        bert(
            "deberta-v2",
            "DebertaV2ForMaskedLM",
            more=more,
            watched=by_projections("query_proj", "key_proj", "value_proj"),
            first=first,
        )
        for more, first in (
            ({"pos_att_type": ["p2c"]}, "embeddings.LayerNorm"),
            ({"embedding_size": 17}, "embeddings.embed_proj"),
        )
    ),
    *(
        bert("esm", "EsmForMaskedLM", SHORT | {"mask_token_id": 2}, more=more, first=first)
        for more, first in (
            ({"token_dropout": True}, "encoder.layer.{layer}.attention.LayerNorm"),
            (
                {"emb_layer_norm_before": True, "is_decoder": True},
                "embeddings.layer_norm",
            ),
        )
    ),
    Case(
        "distilbert",
        {"vocab_size": 37, "dim": 42, "n_layers": 3, "n_heads": 6, "hidden_dim": 10},
        "transformer.layer.{layer}.attention",
        "transformer.layer.{layer}.attention.out_lin",
        "embeddings.LayerNorm",
        head="DistilBertForMaskedLM",
    ),
    *(
        Case(
            "xlm",
            SPECIAL | {"vocab_size": 37, "emb_dim": 42, "n_layers": 3, "n_heads": 6, "n_langs": 1},
            "attentions.{layer}",
            "attentions.{layer}.out_lin",
            "layer_norm_emb",
            watched=by_projections("q_lin", "k_lin", "v_lin"),
            head="XLMWithLMHeadModel",
            more=more,
        )
        for more in ({}, {"causal": True})
    ),
    *(
        Case(
            "modernbert",
            BASIC | {"hidden_size": 72, "cls_token_id": 1, "sep_token_id": 2},
            "layers.{layer}.attn",
            "layers.{layer}.attn.Wo",
            first,
            head="ModernBertForMaskedLM",
            unrotated=True,
            layer=layer,
            more=more,
        )
        for layer, first, more in (
            (0, "embeddings.norm", {}),
            (1, "layers.1.attn_norm", {"norm_bias": True, "attention_bias": True}),
        )
    ),
    llama(
        "nomic_bert",
        "NomicBertForMaskedLM",
        BASIC | {"hidden_size": 72},
        first="embeddings.LayerNorm",
    ),
]
