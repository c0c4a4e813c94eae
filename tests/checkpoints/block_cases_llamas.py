"""Decoders that rotate: GPT-NeoX, Llama and their kin."""

from __future__ import annotations

import torch
from block_models import ATTN, LLAMA, LLAMA_LIKE, VISION, Case, llama

APART = LLAMA | {"head_dim": 14}

EXPERTS = {
    "num_experts": 2,
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
    "intermediate_size": 12,  # 16 bytes, which torch requires
}

DENSE = LLAMA_LIKE | {"output": "layers.{layer}.self_attn.dense"}

BIAS = {"attention_bias": True}

# YaRN, which is its default, rotates position 0 by nothing, but lengthens it.
PLAIN_ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}


def without_sinks(model: torch.nn.Module) -> None:
    for name, weight in model.named_parameters():
        if name.endswith("sinks"):
            torch.nn.init.constant_(weight, -1e4)


CASES = [
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
]
CASES += [
    Case(
        family,
        {"text_config": APART | more, "vision_config": VISION | vision},
        f"language_model.{within}layers.{{layer}}.self_attn",
        f"language_model.{within}layers.{{layer}}.self_attn.o_proj",
        f"language_model.{within}layers.{{layer}}.input_layernorm",
        head=f"{family.capitalize()}ForConditionalGeneration",
        unrotated=True,
    )
    for family, within, more, vision in (
        ("gemma3", "", {"query_pre_attn_scalar": 29}, {}),
        (
            "llama4",
            "model.",
            EXPERTS | {"intermediate_size_mlp": 12},
            {
                "vision_output_dim": 42,
                "projector_input_dim": 42,
                "projector_output_dim": 42,
                "pixel_shuffle_ratio": 1.0,
            },
        ),
    )
]
