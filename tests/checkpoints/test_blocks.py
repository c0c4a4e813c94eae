"""Every entry of the table of blocks against queries, keys, values and output of the model itself.

Each model is tiny, with every weight drawn anew. Positions are all 0 in models that rotate, so that
nothing acts on queries and keys after their norms; `test_block_attention` has real positions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from block_models import (
    ATTN,
    EPSILONS,
    RESHAPE,
    SPLIT_HEADS,
    TOKENS,
    Case,
    Seen,
    block_of,
    build,
    by_projections,
    gathered,
    in_deberta,
    observe,
    saved,
    vectors_of,
)
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

from poslens.checkpoints.blocks import BLOCKS, AttentionBlock
from poslens.checkpoints.families import FAMILIES

SPECIAL = {"bos_token_id": 3, "eos_token_id": 4, "pad_token_id": 0}
BASIC = SPECIAL | {
    "vocab_size": 37,
    "hidden_size": 42,
    "intermediate_size": 10,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": 71,
}
LLAMA = BASIC | {"hidden_size": 60, "num_key_value_heads": 3}
APART = LLAMA | {"head_dim": 14}
EXPERTS = {
    "num_experts": 2,
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
    "intermediate_size": 12,  # 16 bytes, which torch requires
}
SHORT = BASIC | {"pad_token_id": 1}
GPT = SPECIAL | {"vocab_size": 37, "n_embd": 42, "n_layer": 3, "n_head": 6, "n_positions": 71}
VISION = {
    "hidden_size": 42,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "intermediate_size": 10,
    "image_size": 9,
    "patch_size": 3,
}
BART = SPECIAL | {
    "vocab_size": 37,
    "d_model": 42,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 10,
    "decoder_ffn_dim": 10,
    "max_position_embeddings": 71,
    "decoder_start_token_id": 3,
}
WHISPER = BART | {"num_mel_bins": 5, "max_source_positions": 7, "max_target_positions": 71}
T5 = SPECIAL | {
    "vocab_size": 37,
    "d_model": 18,
    "d_kv": 5,
    "d_ff": 10,
    "num_heads": 6,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "decoder_start_token_id": 0,
    "num_experts": 2,
    "num_sparse_encoder_layers": 1,
    "num_sparse_decoder_layers": 1,
}
WAV2VEC2 = BASIC | {
    "conv_dim": [6, 6],
    "conv_stride": [2, 2],
    "conv_kernel": [3, 3],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 5,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer",
}
SELF = {
    "attention": "encoder.layer.{layer}.attention.self",
    "output": "encoder.layer.{layer}.attention.output.dense",
    "first": "embeddings.LayerNorm",
}
LLAMA_LIKE = {
    "attention": "layers.{layer}.self_attn",
    "output": "layers.{layer}.self_attn.o_proj",
    "first": "layers.{layer}.input_layernorm",
    "unrotated": True,
}
DENSE = LLAMA_LIKE | {"output": "layers.{layer}.self_attn.dense"}
GPT_LIKE = {
    "attention": "h.{layer}.attn",
    "output": "h.{layer}.attn.c_proj",
    "first": "h.{layer}.ln_1",
}
VIT_LIKE = {
    "attention": "layers.{layer}.attention",
    "output": "layers.{layer}.attention.o_proj",
    "first": "layers.{layer}.layernorm_before",
    "inputs": "pixels",
}
CLIP_TEXT = {
    "attention": "text_model.encoder.layers.{layer}.self_attn",
    "output": "text_model.encoder.layers.{layer}.self_attn.out_proj",
    "first": "text_model.encoder.layers.{layer}.layer_norm1",
    "part": "text",
    "inputs": "both",
}
CLIP_VISION = {key: value.replace("text", "vision") for key, value in CLIP_TEXT.items()}


def bert(family: str, head: str, values: dict[str, Any] = BASIC, **more: Any) -> Case:
    return Case(family, values, head=head, **SELF | more)


def llama(family: str, head: str, values: dict[str, Any] = LLAMA, **more: Any) -> Case:
    return Case(family, values, head=head, **LLAMA_LIKE | more)


def stacks(
    family: str, head: str, values: dict[str, Any], first: str | None, **more: Any
) -> list[Case]:
    return [
        Case(
            family,
            values,
            f"{part}.layers.{{layer}}.self_attn",
            f"{part}.layers.{{layer}}.self_attn.out_proj",
            None if first is None else f"{part}.{first}",
            head=head,
            part=part,
            **{"inputs": "pair"} | more,
        )
        for part in ("encoder", "decoder")
    ]


def t5(family: str, head: str, encoder: str = "SelfAttention", **more: Any) -> list[Case]:
    return [
        Case(
            family,
            T5,
            f"{part}.block.{{layer}}.layer.0.{attention}",
            f"{part}.block.{{layer}}.layer.0.{attention}.o",
            f"{part}.block.{{layer}}.layer.0.layer_norm",
            head=head,
            inputs="pair",
            part=part,
            prepared=unbiased,
            # LongT5's encoder attends within windows, by code of its own.
            watched=by_projections("q", "k", "v") if attention.startswith("Local") else None,
            **more,
        )
        for part, attention in (("encoder", encoder), ("decoder", "SelfAttention"))
    ]


def unbiased(model: torch.nn.Module) -> None:
    for name, weight in model.named_parameters():
        if "relative_attention_bias" in name:
            torch.nn.init.zeros_(weight)


def without_sinks(model: torch.nn.Module) -> None:
    for name, weight in model.named_parameters():
        if name.endswith("sinks"):
            torch.nn.init.constant_(weight, -1e4)


def without_turns(model: torch.nn.Module) -> None:
    # RoFormer stores sines, then cosines, of positions that it cannot be told.
    table = next(w for name, w in model.named_parameters() if "embed_positions" in name)
    sines, cosines = table.detach().chunk(2, dim=1)
    sines.zero_()
    cosines.fill_(1)


BIAS = {"attention_bias": True}
# YaRN, which is its default, rotates position 0 by nothing, but lengthens it.
PLAIN_ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
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
    *(
        Case("gpt2", GPT, head="GPT2LMHeadModel", more=more, layer=layer, **GPT_LIKE)
        for more, layer in (
            ({}, 0),
            ({"scale_attn_weights": False}, 0),
            ({"scale_attn_by_inverse_layer_idx": True}, 2),
        )
    ),
    Case(
        "openai-gpt",
        GPT,
        head="OpenAIGPTLMHeadModel",
        watched=by_projections("c_attn"),
        **GPT_LIKE | {"first": None},
    ),
    *(
        Case("gpt_bigcode", GPT, head="GPTBigCodeForCausalLM", more=more, **GPT_LIKE)
        for more in ({}, {"multi_query": False}, {"scale_attn_weights": False})
    ),
    Case(
        "gpt_neo",
        SPECIAL
        | {
            "vocab_size": 37,
            "hidden_size": 42,
            "num_layers": 2,
            "num_heads": 6,
            "attention_types": [[["global", "local"], 1]],
            "max_position_embeddings": 71,
        },
        "h.{layer}.attn.attention",
        "h.{layer}.attn.attention.out_proj",
        "h.{layer}.ln_1",
        watched=ATTN,
        head="GPTNeoForCausalLM",
    ),
    *(
        Case(
            family,
            GPT | {"n_embd": 72, "n_head": heads, "rotary_dim": 4},
            "h.{layer}.attn",
            "h.{layer}.attn.out_proj",
            "h.{layer}.ln_1",
            watched=ATTN,
            unrotated=True,
            head=head,
        )
        for family, heads, head in (
            ("gptj", 6, "GPTJForCausalLM"),
            ("codegen", 12, "CodeGenForCausalLM"),
        )
    ),
    Case(
        "ctrl",
        GPT | {"dff": 10},
        "h.{layer}.multi_head_attention",
        "h.{layer}.multi_head_attention.dense",
        "h.{layer}.layernorm1",
        head="CTRLLMHeadModel",
    ),
    *(
        Case(
            "opt",
            BASIC | {"ffn_dim": 10},
            "layers.{layer}.self_attn",
            "layers.{layer}.self_attn.out_proj",
            None
            if more.get("do_layer_norm_before") is False
            else "layers.{layer}.self_attn_layer_norm",
            head="OPTForCausalLM",
            more=more,
        )
        for more in (
            {},
            {"do_layer_norm_before": False, "word_embed_proj_dim": 17},
            {"layer_norm_elementwise_affine": False, "enable_bias": False},
        )
    ),
    Case(
        "biogpt",
        BASIC,
        "layers.{layer}.self_attn",
        "layers.{layer}.self_attn.out_proj",
        "layers.{layer}.self_attn_layer_norm",
        head="BioGptForCausalLM",
    ),
    Case(
        "xglm",
        SPECIAL
        | {"vocab_size": 37, "d_model": 42, "num_layers": 3, "attention_heads": 6, "ffn_dim": 10},
        "layers.{layer}.self_attn",
        "layers.{layer}.self_attn.out_proj",
        "layers.{layer}.self_attn_layer_norm",
        watched=by_projections("q_proj", "k_proj", "v_proj"),
        head="XGLMForCausalLM",
    ),
    Case(
        "bloom",
        GPT | {"hidden_size": 42},
        "h.{layer}.self_attention",
        "h.{layer}.self_attention.dense",
        "word_embeddings_layernorm",
        watched=RESHAPE,
        head="BloomForCausalLM",
    ),
    *(
        Case(
            "mpt",
            SPECIAL
            | {"vocab_size": 37, "d_model": 42, "n_layers": 3, "n_heads": 6}
            | {"max_seq_len": 71},
            "blocks.{layer}.attn",
            "blocks.{layer}.attn.out_proj",
            "blocks.{layer}.norm_1",
            watched=by_projections("Wqkv"),
            head="MptForCausalLM",
            more=more,
        )
        for more in ({}, {"attn_config": {"softmax_scale": 0.7}})
    ),
    *(
        Case(
            "falcon",
            BASIC | {"hidden_size": 60},
            "h.{layer}.self_attention",
            "h.{layer}.self_attention.dense",
            f"h.{{layer}}.{norm}",
            watched=SPLIT_HEADS,
            unrotated=True,
            head="FalconForCausalLM",
            more=more,
        )
        for norm, more in (
            ("input_layernorm", {"bias": True}),
            ("input_layernorm", {"multi_query": False, "parallel_attn": False}),
            ("ln_attn", {"new_decoder_architecture": True, "num_kv_heads": 3}),
            (
                "input_layernorm",
                {
                    "new_decoder_architecture": True,
                    "num_kv_heads": 2,
                    "num_ln_in_parallel_attn": 1,
                },
            ),
        )
    ),
    llama("llama", "LlamaForCausalLM"),
    llama("llama", "LlamaForCausalLM", APART, more=BIAS, layer=1),
    llama("mistral", "MistralForCausalLM", APART),
    llama("mixtral", "MixtralForCausalLM", more=EXPERTS),
    llama("qwen2", "Qwen2ForCausalLM"),
    llama("qwen2_moe", "Qwen2MoeForCausalLM", more=EXPERTS),
    llama("qwen2_moe", "Qwen2MoeForCausalLM", more=EXPERTS | {"qkv_bias": False}),
    llama("qwen3", "Qwen3ForCausalLM", APART),
    llama("qwen3", "Qwen3ForCausalLM", APART, more=BIAS),
    llama("qwen3_moe", "Qwen3MoeForCausalLM", APART, more=EXPERTS),
    llama("smollm3", "SmolLM3ForCausalLM"),
    llama("gpt_oss", "GptOssForCausalLM", APART, more=EXPERTS | PLAIN_ROPE, prepared=without_sinks),
    llama("glm", "GlmForCausalLM", APART),
    llama(
        "granite",
        "GraniteForCausalLM",
        more={"attention_multiplier": 0.4, "embedding_multiplier": 3.5},
    ),
    llama("granite", "GraniteForCausalLM"),
    llama("olmo", "OlmoForCausalLM"),
    llama("olmo", "OlmoForCausalLM", more={"clip_qkv": 0.5}),
    llama("olmo2", "Olmo2ForCausalLM", first=None),
    llama("gemma", "GemmaForCausalLM", APART),
    llama("gemma2", "Gemma2ForCausalLM", APART),
    llama(
        "gemma2",
        "Gemma2ForCausalLM",
        APART,
        more={"query_pre_attn_scalar": 29, "attn_logit_softcapping": 0.7},
    ),
    llama("gemma2", "Gemma2ForCausalLM", APART, more={"attn_logit_softcapping": None}),
    llama("gemma3_text", "Gemma3ForCausalLM", APART),
    llama(
        "gemma3_text",
        "Gemma3ForCausalLM",
        APART,
        more={"use_bidirectional_attention": True, "attn_logit_softcapping": 0.7},
    ),
    llama("llama4_text", "Llama4ForCausalLM", APART, more=EXPERTS | {"intermediate_size_mlp": 10}),
    llama(
        "llama4_text",
        "Llama4ForCausalLM",
        APART,
        more=EXPERTS | {"intermediate_size_mlp": 10, "no_rope_layers": [0, 1, 1]},
    ),
    llama("nemotron", "NemotronForCausalLM", more={"head_dim": 10}),
    llama("starcoder2", "Starcoder2ForCausalLM"),
    llama("starcoder2", "Starcoder2ForCausalLM", more={"use_bias": False}),
    llama("cohere", "CohereForCausalLM"),
    llama("cohere", "CohereForCausalLM", more={"use_qk_norm": True}),
    llama("cohere2", "Cohere2ForCausalLM"),
    llama("stablelm", "StableLmForCausalLM"),
    llama("stablelm", "StableLmForCausalLM", more={"use_qkv_bias": True, "qk_layernorm": True}),
    llama("phi3", "Phi3ForCausalLM"),
    *(
        Case("phi", LLAMA | {"hidden_size": 72}, head="PhiForCausalLM", more=more, **DENSE)
        for more in ({}, {"qk_layernorm": True})
    ),
    *(
        Case(
            "persimmon",
            LLAMA | {"hidden_size": 72},
            head="PersimmonForCausalLM",
            more=more,
            **DENSE,
        )
        for more in ({}, {"qk_layernorm": False})
    ),
    *(
        Case(
            "gpt_neox",
            LLAMA,
            "layers.{layer}.attention",
            "layers.{layer}.attention.dense",
            "layers.{layer}.input_layernorm",
            head="GPTNeoXForCausalLM",
            unrotated=True,
            more=more,
        )
        for more in ({}, {"attention_bias": False})
    ),
    Case(
        "gpt_neox_japanese",
        LLAMA | {"intermediate_multiple_size": 1},
        "layers.{layer}.attention",
        "layers.{layer}.attention.dense",
        "layers.{layer}.input_layernorm",
        watched=ATTN,
        head="GPTNeoXJapaneseForCausalLM",
        unrotated=True,
    ),
    *stacks("bart", "BartForConditionalGeneration", BART, "layernorm_embedding"),
    *stacks("plbart", "PLBartForConditionalGeneration", BART, "layernorm_embedding"),
    *stacks("mbart", "MBartForConditionalGeneration", BART, "layernorm_embedding"),
    *stacks("marian", "MarianMTModel", BART, None, more={"scale_embedding": True}),
    *stacks(
        "pegasus",
        "PegasusForConditionalGeneration",
        BART,
        "layers.{layer}.self_attn_layer_norm",
    ),
    *stacks(
        "m2m_100",
        "M2M100ForConditionalGeneration",
        BART,
        "layers.{layer}.self_attn_layer_norm",
    ),
    *stacks(
        "blenderbot",
        "BlenderbotForConditionalGeneration",
        BART,
        "layers.{layer}.self_attn_layer_norm",
        layer=1,
    ),
    *stacks(
        "whisper",
        "WhisperForConditionalGeneration",
        WHISPER,
        "layers.{layer}.self_attn_layer_norm",
        inputs="speech",
        more={"scale_embedding": True},
    ),
    *t5("t5", "T5ForConditionalGeneration"),
    *t5("mt5", "MT5ForConditionalGeneration"),
    *t5("umt5", "UMT5ForConditionalGeneration", layer=1),
    *t5("switch_transformers", "SwitchTransformersForConditionalGeneration"),
    *t5("longt5", "LongT5ForConditionalGeneration", "LocalSelfAttention"),
    Case("vit", VISION, head="ViTForImageClassification", **VIT_LIKE),
    Case("vit", VISION, head="ViTForImageClassification", more={"qkv_bias": False}, **VIT_LIKE),
    Case("deit", VISION, head="DeiTForImageClassification", **VIT_LIKE),
    Case("beit", VISION, head="BeitForImageClassification", **VIT_LIKE),
    Case(
        "dinov2",
        VISION,
        "encoder.layer.{layer}.attention",
        "encoder.layer.{layer}.attention.o_proj",
        "encoder.layer.{layer}.norm1",
        head="Dinov2ForImageClassification",
        inputs="pixels",
    ),
]


def pair(family: str, head: str, pre: str | None) -> list[Case]:
    values = {"text_config": BASIC, "vision_config": VISION}
    alone = family.split("_")[0].capitalize() if family == "siglip" else "CLIP"
    vision = CLIP_VISION | ({"first": f"vision_model.{pre}"} if pre else {})
    return [
        Case(family, values, **CLIP_TEXT),
        Case(family, values, **vision),
        *(
            Case(
                f"{family}_{part}_model",
                own,
                base=f"{alone}{part.capitalize()}Model",
                head=f"{alone}{part.capitalize()}Model{'WithProjection' if alone == 'CLIP' else ''}",
                **{key: value.removeprefix(f"{part}_model.") for key, value in like.items()}
                | {"inputs": inputs},
            )
            for part, own, like, inputs in (
                ("text", BASIC, CLIP_TEXT, "text"),
                ("vision", VISION, vision, "pixels"),
            )
        ),
    ]


CASES += pair("clip", "CLIPModel", "pre_layrnorm")
CASES += pair("siglip", "SiglipModel", None)
CASES += [
    Case(
        family,
        WAV2VEC2,
        "encoder.layers.{layer}.attention",
        "encoder.layers.{layer}.attention.out_proj",
        first,
        head=f"{name}ForCTC",
        inputs="sound",
        more=more,
    )
    for family, name in (("wav2vec2", "Wav2Vec2"), ("hubert", "Hubert"))
    for first, more in (
        ("encoder.layer_norm", {}),
        ("encoder.layers.{layer}.layer_norm", {"do_stable_layer_norm": True}),
    )
]


def biases_of(block: AttentionBlock, model: torch.nn.Module, tokens: int) -> np.ndarray | float:
    """What the model adds to its logits by position."""
    heads = block.queries.shape[0]
    if block.family == "bloom":
        mask = torch.ones(1, tokens)
        return build_alibi_tensor(mask, heads, torch.float32).double().numpy()
    if block.family == "mpt":
        return build_mpt_alibi_tensor(heads, tokens).double().numpy()
    return 0.0


def agrees(block: AttentionBlock, seen: Seen, case: Case, model: torch.nn.Module) -> None:
    queries, keys, values = vectors_of(block, seen.rows)
    scale = block.scale if case.watched is None else 1.0
    for got, want in ((queries * scale, seen.queries), (keys, seen.keys), (values, seen.values)):
        if want.shape[0] != got.shape[0]:  # already repeated for the heads that share them
            got = np.repeat(got, block.shared_by, axis=0)
        close(got, want)
    bias = biases_of(block, model, seen.rows.shape[0])
    close(gathered(block, queries, keys, values, bias), seen.output)


def close(got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape
    # The model computes in float32.
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_bare_model_whose_config_says_no_default(case: Case, tmp_path: Path) -> None:
    model = build(case, head=False)
    block = block_of(saved(model, tmp_path, silent=True), case.part, case.layer)
    assert (block.family, block.part, block.layer) == (case.family, case.part, case.layer)
    agrees(block, observe(model, case), case, model)


@pytest.mark.parametrize("case", [case for case in CASES if case.head], ids=str)
def test_a_model_with_a_head_and_a_larger_epsilon(case: Case, tmp_path: Path) -> None:
    known = hf.AutoConfig.for_model(case.family).to_dict()
    changed = {key: 0.03 for key in EPSILONS if key in known}
    model = build(case, head=True, **changed)
    block = block_of(saved(model, tmp_path, silent=False), case.part, case.layer)
    agrees(block, observe(model, case), case, model)


def test_every_entry_is_tested() -> None:
    entries = {(family, entry.name) for family, known in BLOCKS.items() for entry in known}
    tested = {(case.family, case.part) for case in CASES}
    assert tested == entries - {("gemma3", None), ("llama4", None)}
