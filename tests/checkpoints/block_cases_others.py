"""Models with an encoder and a decoder; models of images, of images and text, and of speech."""

from __future__ import annotations

from typing import Any

from block_models import BASIC, SPECIAL, VISION, Case, by_projections, unbiased

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


def pair(family: str, pre: str | None) -> list[Case]:
    values = {"text_config": BASIC, "vision_config": VISION}
    alone, head = ("CLIP", "ModelWithProjection") if family == "clip" else ("Siglip", "Model")
    vision = CLIP_VISION | ({"first": f"vision_model.{pre}"} if pre else {})
    return [
        Case(family, values, **CLIP_TEXT),
        Case(family, values, **vision),
        *(
            Case(
                f"{family}_{part}_model",
                own,
                base=f"{alone}{part.capitalize()}Model",
                head=f"{alone}{part.capitalize()}{head}",
                **{key: value.removeprefix(f"{part}_model.") for key, value in like.items()}
                | {"inputs": inputs},
            )
            for part, own, like, inputs in (
                ("text", BASIC, CLIP_TEXT, "text"),
                ("vision", VISION, vision, "pixels"),
            )
        ),
    ]


CASES = [
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
    *pair("clip", "pre_layrnorm"),
    *pair("siglip", None),
    *(
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
    ),
]
