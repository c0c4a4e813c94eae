"""Decoders: GPT-2 and what followed it."""

from __future__ import annotations

from block_models import ATTN, BASIC, RESHAPE, SPECIAL, SPLIT_HEADS, Case, by_projections

GPT = SPECIAL | {"vocab_size": 37, "n_embd": 42, "n_layer": 3, "n_head": 6, "n_positions": 71}

GPT_LIKE = {
    "attention": "h.{layer}.attn",
    "output": "h.{layer}.attn.c_proj",
    "first": "h.{layer}.ln_1",
}

CASES = [
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
]
