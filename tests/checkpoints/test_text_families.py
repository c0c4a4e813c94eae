"""Text models with one table against what transformers adds: see `added_tables`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from added_tables import (
    ANGLES,
    BERT_LIKE,
    LENGTH,
    SIGMA,
    SPECIAL,
    VOCAB,
    WIDTH,
    Case,
    check,
    saved,
)

from poslens.checkpoints import load_table
from poslens.encodings.sinusoidal import sinusoidal_table

OPT = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "ffn_dim": 10,
    "max_position_embeddings": LENGTH,
    "init_std": SIGMA,
}
GPT = SPECIAL | {
    "vocab_size": VOCAB,
    "n_embd": WIDTH,
    "n_layer": 2,
    "n_head": 6,
    "n_positions": LENGTH,
    "initializer_range": SIGMA,
}
XLM = {
    "vocab_size": VOCAB,
    "emb_dim": WIDTH,
    "n_layers": 2,
    "n_heads": 6,
    "max_position_embeddings": LENGTH,
    "embed_init_std": SIGMA,
    "init_std": 0.3,
}
GROUPS = ("q_groups", "k_groups", "v_groups", "post_attention_groups", "intermediate_groups",
          "output_groups")  # fmt: skip
XGLM = SPECIAL | {
    "vocab_size": VOCAB,
    "d_model": WIDTH,
    "ffn_dim": 10,
    "num_layers": 2,
    "attention_heads": 6,
    "max_position_embeddings": LENGTH,
}


def gpt_neo() -> hf.GPTNeoConfig:
    return hf.GPTNeoConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        num_layers=2,
        num_heads=6,
        attention_types=[[["global", "local"], 1]],
        max_position_embeddings=LENGTH,
        initializer_range=SIGMA,
        **SPECIAL,
    )


def distilbert(**more: object) -> hf.DistilBertConfig:
    return hf.DistilBertConfig(
        vocab_size=VOCAB,
        dim=WIDTH,
        n_layers=2,
        n_heads=6,
        hidden_dim=10,
        max_position_embeddings=LENGTH,
        initializer_range=SIGMA,
        **more,
    )


def bert_like(config_class: Any, **more: object) -> Callable[[], Any]:
    return lambda: config_class(**BERT_LIKE | more)


def bare_and_headed(
    family: str, config: Callable[[], Any], name: str, head: str = "ForMaskedLM", **facts: Any
) -> list[Case]:
    """A model without and with a task head, whose tensors have a prefix."""
    classes = getattr(hf, f"{name}Model", None) or getattr(hf, f"{name}Encoder")
    bare, headed = classes, getattr(hf, name + head)
    adder = facts.pop("adder", "embeddings.position_embeddings")
    prefix = headed.base_model_prefix
    silenced = facts.pop("silenced", ())
    within = tuple(f"{prefix}.{one}" for one in silenced)
    facts = {"positions": LENGTH} | facts
    return [
        Case(family, lambda: bare(config()), adder, silenced=silenced, **facts),
        Case(family, lambda: headed(config()), f"{prefix}.{adder}", silenced=within, **facts),
    ]


def roberta_like(family: str, name: str, **more: Any) -> list[Case]:
    """Once with the usual padding token, once with another."""
    config_class = getattr(hf, f"{name}Config")
    facts = more.pop("facts", {})
    return [
        *bare_and_headed(
            family, bert_like(config_class, pad_token_id=1, **more), name,
            **{"positions": LENGTH - 2, "offset": 2} | facts,
        ),
        *bare_and_headed(
            family, bert_like(config_class, pad_token_id=3, **more), name,
            **{"positions": LENGTH - 4, "offset": 4} | facts,
        ),
    ]  # fmt: skip


SINES = {"scheme": "sinusoidal", "std": None}
CASES = [
    *bare_and_headed("gpt2", lambda: hf.GPT2Config(**GPT), "GPT2", "LMHeadModel", adder="wpe"),
    *bare_and_headed("gpt_neo", gpt_neo, "GPTNeo", "ForCausalLM", adder="wpe"),
    *bare_and_headed(
        "gpt_bigcode", lambda: hf.GPTBigCodeConfig(**GPT), "GPTBigCode", "ForCausalLM", adder="wpe"
    ),
    *bare_and_headed(
        "openai-gpt",
        lambda: hf.OpenAIGPTConfig(**GPT),
        "OpenAIGPT",
        "LMHeadModel",
        adder="positions_embed",
        norms=0,
        missing={"norm_scales": "no normalisation acts"},
    ),
    *bare_and_headed(
        "ctrl",
        lambda: hf.CTRLConfig(**GPT, dff=10),
        "CTRL",
        "LMHeadModel",
        adder="dropout",
        silenced=("w",),
        stored=False,
        atol=ANGLES,
        **SINES,
    ),
    *bare_and_headed(
        "opt",
        lambda: hf.OPTConfig(**OPT),
        "OPT",
        "ForCausalLM",
        adder="decoder.embed_positions",
        offset=2,
    ),
    Case(
        "opt",
        lambda: hf.OPTForCausalLM(
            hf.OPTConfig(**OPT, do_layer_norm_before=False, word_embed_proj_dim=18)
        ),
        "model.decoder.embed_positions",
        LENGTH,
        offset=2,
        norms=0,
        tokens=False,
        missing={"tokens": "not as wide", "norm_scales": "no normalisation acts"},
    ),
    Case(
        "opt",
        lambda: hf.OPTModel(hf.OPTConfig(**OPT, layer_norm_elementwise_affine=False)),
        "decoder.embed_positions",
        LENGTH,
        offset=2,
    ),
    *(
        case
        for more in ({}, {"scale_embedding": False})
        for case in bare_and_headed(
            "biogpt",
            bert_like(hf.BioGptConfig, **more),
            "BioGpt",
            "ForCausalLM",
            adder="embed_positions",
            offset=2,
        )
    ),
    *(
        case
        # With padding token 7, the row of position 5 is that of padding, and zero.
        for more in ({}, {"scale_embedding": False}, {"pad_token_id": 7})
        for case in bare_and_headed(
            "xglm",
            lambda more=more: hf.XGLMConfig(**XGLM, **more),
            "XGLM",
            "ForCausalLM",
            adder="embed_positions",
            stored=False,
            atol=ANGLES,
            **SINES,
        )
    ),
    *(
        case
        for more, facts in (({}, {}), ({"sinusoidal_embeddings": True}, SINES))
        for case in bare_and_headed(
            "xlm",
            lambda more=more: hf.XLMConfig(**XLM, **more),
            "XLM",
            "WithLMHeadModel",
            adder="position_embeddings",
            **facts,
        )
    ),
    *bare_and_headed(
        "flaubert",
        lambda: hf.FlaubertConfig(**XLM),
        "Flaubert",
        "WithLMHeadModel",
        adder="position_embeddings",
    ),
    *bare_and_headed("bert", bert_like(hf.BertConfig), "Bert"),
    *bare_and_headed("ernie", bert_like(hf.ErnieConfig), "Ernie"),
    *bare_and_headed(
        "splinter",
        bert_like(hf.SplinterConfig, question_token_id=7),
        "Splinter",
        "ForQuestionAnswering",
    ),
    *bare_and_headed("rembert", bert_like(hf.RemBertConfig, input_embedding_size=WIDTH), "RemBert"),
    *bare_and_headed(
        "squeezebert",
        bert_like(hf.SqueezeBertConfig, embedding_size=WIDTH, **dict.fromkeys(GROUPS, 2)),
        "SqueezeBert",
    ),
    *bare_and_headed(
        "electra",
        bert_like(hf.ElectraConfig, hidden_size=12, embedding_size=WIDTH),
        "Electra",
    ),
    *bare_and_headed(
        "convbert", bert_like(hf.ConvBertConfig, embedding_size=WIDTH, hidden_size=12), "ConvBert"
    ),
    *bare_and_headed(
        "bert-generation", bert_like(hf.BertGenerationConfig), "BertGeneration", "Decoder"
    ),
    *(
        case
        for more in ({}, {"rescale_embeddings": True})
        for case in bare_and_headed(
            "big_bird",
            bert_like(hf.BigBirdConfig, attention_type="original_full", **more),
            "BigBird",
        )
    ),
    *bare_and_headed(
        "nystromformer",
        bert_like(hf.NystromformerConfig, num_landmarks=LENGTH, segment_means_seq_len=LENGTH),
        "Nystromformer",
        offset=2,
    ),
    *bare_and_headed("distilbert", distilbert, "DistilBert"),
    *bare_and_headed(
        "distilbert", lambda: distilbert(sinusoidal_pos_embds=True), "DistilBert", **SINES
    ),
    *bare_and_headed(
        "albert",
        bert_like(hf.AlbertConfig, hidden_size=12, embedding_size=WIDTH),
        "Albert",
    ),
    *bare_and_headed("deberta", bert_like(hf.DebertaConfig), "Deberta"),
    *bare_and_headed("deberta-v2", bert_like(hf.DebertaV2Config), "DebertaV2"),
    *bare_and_headed("mpnet", bert_like(hf.MPNetConfig), "MPNet", positions=LENGTH - 2, offset=2),
    *bare_and_headed(
        "mpnet",
        bert_like(hf.MPNetConfig, pad_token_id=3),
        "MPNet",
        positions=LENGTH - 2,
        offset=2,
    ),
    *roberta_like("roberta", "Roberta"),
    *roberta_like("camembert", "Camembert"),
    *roberta_like("xlm-roberta", "XLMRoberta"),
    *roberta_like("xlm-roberta-xl", "XLMRobertaXL"),
    *roberta_like("xmod", "Xmod", languages=["de"], default_language="de"),
    *roberta_like("data2vec-text", "Data2VecText"),
    *roberta_like("roberta-prelayernorm", "RobertaPreLayerNorm", facts={"norms": 2}),
    # Windows of 4 make the model pad its input, to positions that are none.
    *roberta_like("longformer", "Longformer", attention_window=4),
    *roberta_like("esm", "Esm", mask_token_id=2),
    *roberta_like("esm", "Esm", mask_token_id=2, token_dropout=True),
    *roberta_like("esm", "Esm", mask_token_id=2, emb_layer_norm_before=True, facts={"norms": 2}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_table_is_what_the_model_adds(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


def test_a_sinusoidal_distilbert_stores_the_papers_table(tmp_path: Path) -> None:
    model = hf.DistilBertModel(distilbert(sinusoidal_pos_embds=True))
    table = load_table(saved(model, tmp_path))
    np.testing.assert_allclose(table.rows, sinusoidal_table(LENGTH, WIDTH), atol=1e-6)


def test_flaubert_may_normalise_before_attention(tmp_path: Path) -> None:
    """transformers 5.23 cannot run such a model, but names the second LayerNorm as it does."""
    torch.manual_seed(0)
    model = hf.FlaubertModel(hf.FlaubertConfig(**XLM, pre_norm=True))
    table = load_table(saved(model, tmp_path))
    for γ, norm in zip(
        table.norm_scales, (model.layer_norm_emb, model.layer_norm1[0]), strict=True
    ):
        np.testing.assert_array_equal(γ, norm.weight.detach().numpy())
