"""Every RoPE entry against what the transformers model itself does to queries and keys.

One token attends to itself alone, so that nothing in the model depends on its position but the
rotation: each layer's queries and keys at position t must be those at position 0, rotated as the
record says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import transformers as hf
from containers import acting, saved_config
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.deepseek_v2 import modeling_deepseek_v2
from transformers.models.deepseek_v3 import modeling_deepseek_v3
from transformers.models.roformer.modeling_roformer import RoFormerSelfAttention

from poslens.checkpoints.families import FAMILIES
from poslens.checkpoints.schemes import Rotary
from poslens.errors import SourceError

hf.utils.logging.set_verbosity_error()

POSITION = 7
SPECIAL = {"bos_token_id": 3, "eos_token_id": 4, "pad_token_id": 0}
BASIC = SPECIAL | {
    "vocab_size": 37,
    "hidden_size": 72,
    "intermediate_size": 10,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": 71,
}
GROUPED = BASIC | {"num_key_value_heads": 3}
APART = GROUPED | {"head_dim": 14}
EXPERTS = {"num_experts": 2, "num_local_experts": 2, "num_experts_per_tok": 1}
GPTJ = SPECIAL | {
    "vocab_size": 37,
    "n_embd": 72,
    "n_layer": 3,
    "n_head": 6,
    "n_positions": 71,
    "n_ctx": 72,
}
DEEPSEEK = BASIC | {
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 10,
    "v_head_dim": 6,
    "n_routed_experts": 2,
    "num_experts_per_tok": 1,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 6,
    "first_k_dense_replace": 3,
}


@dataclass(frozen=True)
class Case:
    """A family, what its config says, and the width, heads and rotated dimensions to be found."""

    family: str
    values: dict[str, Any]
    head_dim: int = 12
    keys: int = 3
    rotated: int = 0
    bases: tuple[float, ...] = (10_000.0,)
    rotating: tuple[tuple[int, ...], ...] = ((0, 1, 2),)
    pairing: str = "half"
    more: dict[str, Any] = field(default_factory=dict)

    def config(self) -> Any:
        values = deepcopy(self.values | self.more)  # transformers writes into it
        return hf.AutoConfig.for_model(self.family, **values)


SIX = {"num_hidden_layers": 6}
CASES = [
    Case("llama", GROUPED, more={"rope_theta": 12_345.0}, bases=(12_345.0,)),
    Case("llama", APART, head_dim=14),
    Case("llama", BASIC, keys=6),
    Case("mistral", APART, head_dim=14),
    Case("mixtral", GROUPED, more=EXPERTS, bases=(1e6,)),
    Case("qwen2", GROUPED),
    Case("qwen2_moe", GROUPED, more=EXPERTS),
    Case("qwen3", APART, head_dim=14),
    Case("qwen3", GROUPED, head_dim=128),
    Case("qwen3_moe", GROUPED, more=EXPERTS),
    Case("gemma", APART, head_dim=14),
    Case("gemma", GROUPED, head_dim=256),
    Case("gemma2", APART, head_dim=14),
    Case(
        "gemma3_text",
        APART | SIX,
        head_dim=14,
        bases=(1e6, 10_000.0),
        rotating=((5,), (0, 1, 2, 3, 4)),
    ),
    Case(
        "gemma3_text",
        APART | SIX,
        head_dim=14,
        bases=(5e5, 777.0),
        rotating=((2, 5), (0, 1, 3, 4)),
        more={"sliding_window_pattern": 3, "rope_theta": 5e5, "rope_local_base_freq": 777.0},
    ),
    Case("phi", GROUPED, rotated=6),
    Case("phi3", GROUPED, more={"partial_rotary_factor": 0.7}, rotated=8),
    Case("gpt_neox", BASIC | {"hidden_size": 96}, head_dim=16, keys=6, rotated=4),
    Case(
        "gpt_neox",
        BASIC,
        keys=6,
        rotated=8,
        bases=(1234.0,),
        more={"rotary_pct": 0.67, "rotary_emb_base": 1234},
    ),
    Case("gpt_neox_japanese", BASIC, keys=6),
    Case("gptj", GPTJ, keys=6, rotated=10, more={"rotary_dim": 10}, pairing="interleaved"),
    Case(
        "codegen",
        GPTJ | {"n_embd": 96, "n_head": 4},
        head_dim=24,
        keys=4,
        rotated=10,
        more={"rotary_dim": 10},
        pairing="interleaved",
    ),
    Case("falcon", BASIC, keys=1),
    Case("falcon", BASIC, keys=6, more={"multi_query": False}),
    Case("falcon", BASIC, more={"new_decoder_architecture": True, "num_kv_heads": 3}),
    Case("stablelm", GROUPED, rotated=4, more={"partial_rotary_factor": 0.4}),
    Case(
        "smollm3",
        GROUPED | SIX,
        bases=(2e6,),
        rotating=((0, 1, 2, 4, 5),),
    ),
    Case("smollm3", GROUPED, bases=(2e6,), rotating=((1,),), more={"no_rope_layers": [0, 1, 0]}),
    Case(
        "modernbert",
        BASIC | SIX,
        keys=6,
        bases=(160_000.0, 10_000.0),
        rotating=((0, 3), (1, 2, 4, 5)),
    ),
    Case(
        "modernbert",
        BASIC,
        keys=6,
        bases=(999.0, 99.0),
        rotating=((0, 2), (1,)),
        more={
            "global_attn_every_n_layers": 2,
            "global_rope_theta": 999.0,
            "local_rope_theta": 99.0,
        },
    ),
    Case("olmo", GROUPED),
    Case("olmo2", GROUPED),
    Case("granite", GROUPED),
    Case("cohere", GROUPED, bases=(500_000.0,), pairing="interleaved"),
    Case(
        "cohere2",
        GROUPED,
        rotating=((0, 2),),
        more={"sliding_window_pattern": 2},
        pairing="interleaved",
    ),
    Case("starcoder2", GROUPED),
    Case("glm", APART | {"head_dim": 20}, head_dim=20, rotated=10, pairing="interleaved"),
    Case("nemotron", GROUPED, rotated=6),
    Case("persimmon", BASIC, keys=6, rotated=6),
    Case(
        "gpt_oss",
        APART,
        head_dim=14,
        bases=(150_000.0,),
        more=EXPERTS | {"rope_parameters": {"rope_type": "default"}},
    ),
    Case(
        "llama4_text",
        APART | SIX,
        head_dim=14,
        bases=(500_000.0,),
        rotating=((0, 1, 2, 4, 5),),
        more=EXPERTS | {"intermediate_size_mlp": 10, "moe_layers": []},
        pairing="interleaved",
    ),
    Case("esm", BASIC, keys=6, more={"position_embedding_type": "rotary"}),
    Case("nomic_bert", BASIC, keys=6, bases=(1000.0,)),
]

Heads = tuple[np.ndarray, np.ndarray]


@contextmanager
def recorded(model: torch.nn.Module) -> Iterator[list[Heads]]:
    """The queries and keys of each layer, shape (head, dim), as they enter attention."""
    seen: list[Heads] = []

    def see(query: torch.Tensor, key: torch.Tensor) -> None:
        assert query.shape[2] == key.shape[2] == 1
        seen.append((query[0, :, 0].numpy(), key[0, :, 0].numpy()))

    def interface(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: object,
        **_: object,
    ) -> tuple[torch.Tensor, None]:
        see(query, key)
        value = value.repeat_interleave(query.shape[1] // value.shape[1], dim=1)
        return value.transpose(1, 2).contiguous(), None

    sdpa = torch.nn.functional.scaled_dot_product_attention

    def falcon(query: torch.Tensor, key: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        see(query, key)
        return sdpa(query, key, *rest, **more)

    if model.config.model_type == "falcon":
        with mock.patch("torch.nn.functional.scaled_dot_product_attention", falcon):
            yield seen
    elif inner := [module for module in model.modules() if hasattr(module, "_attn")]:
        for module in inner:

            def attn(
                query: torch.Tensor,
                key: torch.Tensor,
                *rest: Any,
                plain: Any = module._attn,
                **more: Any,
            ) -> Any:
                see(query, key)
                return plain(query, key, *rest, **more)

            module._attn = attn
        yield seen
    else:
        hf.AttentionInterface.register("recorded", interface)
        model.set_attn_implementation("recorded")
        yield seen


def queries_and_keys(model: torch.nn.Module, *positions: int) -> list[list[Heads]]:
    """For each position of the one token, what `recorded` sees."""
    with recorded(model) as seen, torch.no_grad():
        for position in positions:
            model.eval()(input_ids=torch.tensor([[11]]), position_ids=torch.tensor([[position]]))
    layers = len(seen) // len(positions)
    return [seen[at * layers : (at + 1) * layers] for at in range(len(positions))]


def rotated(heads: np.ndarray, record: Rotary, position: int) -> np.ndarray:
    """The first r dimensions of each head turned by position · base^(-2i/r), in float64."""
    r = record.rotary_dim
    angle = position * record.base ** (-np.arange(0, r, 2) / r)
    first, second = (
        (slice(0, r // 2), slice(r // 2, r))
        if record.pairing == "half"
        else (slice(0, r, 2), slice(1, r, 2))
    )
    x, y = heads[:, first], heads[:, second]
    out = heads.astype(np.float64)
    out[:, first] = x * np.cos(angle) - y * np.sin(angle)
    out[:, second] = x * np.sin(angle) + y * np.cos(angle)
    return out


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}-{case.head_dim}")
def test_the_record_says_what_the_model_rotates(case: Case, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = case.config()
    records = acting(saved_config(config, tmp_path))
    config._experts_implementation = "eager"  # tiny experts are too narrow for the fused kernel
    model = hf.AutoModel.from_config(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, 0.0, 0.3)
    start, moved = queries_and_keys(model, 0, POSITION)

    assert tuple(one.base for one in records) == case.bases
    assert tuple(one.layers for one in records) == case.rotating
    assert {one.pairing for one in records} == {case.pairing}
    assert {one.query_heads for one in records} == {config.num_attention_heads}
    assert {one.key_heads for one in records} == {case.keys}
    assert len(start) == len(moved) == config.num_hidden_layers
    by_layer = {layer: one for one in records for layer in one.layers}
    for layer, (before, after) in enumerate(zip(start, moved, strict=True)):
        for kind, (old, new) in enumerate(zip(before, after, strict=True)):
            record = by_layer.get(layer)
            if record is None:
                np.testing.assert_array_equal(new, old)
                continue
            assert record.layer_count == len(start)
            assert record.head_dim == case.head_dim == old.shape[1]
            assert record.rotary_dim == (case.rotated or case.head_dim)
            repeats = case.family == "falcon" and config.new_decoder_architecture
            count = record.key_heads if kind == 1 and not repeats else record.query_heads
            assert old.shape[0] == count
            np.testing.assert_allclose(
                new, rotated(old, record, POSITION), rtol=0, atol=3e-6 * np.abs(old).max()
            )
            assert not np.allclose(new, old)


def plane_partners(rotate: Any, dim: int) -> np.ndarray:
    """For each coordinate of a query the one of a key that it turns into, by dot products."""
    t = torch.eye(dim)[:, None, None]  # one unit vector a batch entry
    moved, still = rotate(t, 1), rotate(t, 0)
    products = torch.einsum("axyd,bxyd->ab", moved, still).abs()
    products.fill_diagonal_(0)
    assert (products > 1e-3).sum(1).tolist() == [1] * dim
    return products.argmax(1).numpy()


def expected_partners(pairing: str, dim: int) -> np.ndarray:
    i = np.arange(dim)
    return (i + dim // 2) % dim if pairing == "half" else i ^ 1


@pytest.mark.parametrize("flag", [True, False])
def test_the_pairs_of_deepseek_v3(flag: bool) -> None:
    (record,) = acting({"model_type": "deepseek_v3", "rope_interleave": flag})
    apply = (
        modeling_deepseek_v3.apply_rotary_pos_emb_interleave
        if flag
        else modeling_deepseek_v3.apply_rotary_pos_emb
    )
    angle = 0.9 ** torch.arange(5).repeat(2)[None, None]

    def rotate(x: torch.Tensor, t: int) -> torch.Tensor:
        return apply(x, x, torch.cos(t * angle), torch.sin(t * angle))[0]

    np.testing.assert_array_equal(plane_partners(rotate, 10), expected_partners(record.pairing, 10))


def test_the_pairs_of_deepseek_v2() -> None:
    (record,) = acting({"model_type": "deepseek_v2"})
    angle = 0.9 ** torch.arange(5)[None, None]

    def rotate(x: torch.Tensor, t: int) -> torch.Tensor:
        turn = torch.polar(torch.ones(1, 1, 5), t * angle)
        return modeling_deepseek_v2.apply_rotary_emb(x, x, turn)[0]

    np.testing.assert_array_equal(plane_partners(rotate, 10), expected_partners(record.pairing, 10))


@pytest.mark.parametrize("family", ["deepseek_v2", "deepseek_v3"])
def test_the_decoupled_part_of_deepseek(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = hf.AutoConfig.for_model(family, **DEEPSEEK)
    (record,) = acting(saved_config(config, tmp_path))
    model = hf.AutoModel.from_config(config)
    start, moved = queries_and_keys(model, 0, POSITION)

    still = record.head_dim - record.rotary_dim
    assert (record.head_dim, record.rotary_dim, record.layer_count) == (16, 10, len(start))
    assert (record.query_heads, record.key_heads) == (6, 1)
    assert record.note.startswith("the rotated dimensions of each head stand last")
    for (q0, k0), (q7, k7) in zip(start, moved, strict=True):
        assert q0.shape == k0.shape == (6, 16)
        np.testing.assert_array_equal(q0[:, :still], q7[:, :still])
        np.testing.assert_array_equal(k0[:, :still], k7[:, :still])
        assert not np.isclose(q0[:, still:], q7[:, still:]).all()
        # All heads have one rotated key, of which the record's one key head speaks.
        np.testing.assert_array_equal(k7[:, still:], np.repeat(k7[:1, still:], 6, axis=0))
        # In every plane the length stays and the angle moves by the record's frequency.
        half = record.rotary_dim // 2
        layout = slice(still, still + half) if family == "deepseek_v3" else slice(still, None, 2)
        other = slice(still + half, None) if family == "deepseek_v3" else slice(still + 1, None, 2)
        turned = (q7[:, layout] + 1j * q7[:, other]) / (q0[:, layout] + 1j * q0[:, other])
        angle = POSITION * record.base ** (-2 * np.arange(half) / record.rotary_dim)
        np.testing.assert_allclose(
            turned, np.broadcast_to(np.exp(1j * angle), turned.shape), atol=1e-4
        )


def test_roformer_rotates_by_its_stored_table(tmp_path: Path) -> None:
    config = hf.RoFormerConfig(**BASIC)
    (record,) = acting(saved_config(config, tmp_path))
    model = hf.RoFormerModel(config)
    angles = model.encoder.embed_positions.weight[None, None]
    query = torch.randn(1, 6, 71, 12)
    turned, _ = RoFormerSelfAttention.apply_rotary_position_embeddings(angles, query, query)

    assert (record.head_dim, record.rotary_dim, record.query_heads) == (12, 12, 6)
    for t in (0, 1, 70):
        want = rotated(query[0, :, t].numpy(), record, t)
        np.testing.assert_allclose(turned[0, :, t], want, rtol=0, atol=2e-5)
    assert record.line().endswith(
        "in all 3 layers (by a stored table of sines and cosines that is not added)"
    )
    (values_too,) = acting(saved_config(hf.RoFormerConfig(**BASIC, rotary_value=True), tmp_path))
    assert values_too.note.endswith(", values as well")


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LONG = {"short_factor": [1.0] * 6, "long_factor": [2.0] * 6}
OLD = [
    ("llama", BASIC | {"rope_theta": 5000.0}, {}),
    ("llama", BASIC | {"rope_scaling": None}, {}),
    (
        "llama",
        BASIC | {"rope_theta": 5000.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_type": "linear", "factor": 2.0},
    ),
    ("llama", BASIC | {"rope_theta": 5000.0, "rope_scaling": LLAMA3}, LLAMA3),
    (
        "qwen2",
        GROUPED | {"rope_scaling": {"type": "yarn", "factor": 4.0}},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 71},
    ),
    (
        "phi3",
        BASIC
        | {"original_max_position_embeddings": 40, "rope_scaling": {"type": "longrope"} | LONG},
        {"rope_type": "longrope", "original_max_position_embeddings": 40} | LONG,
    ),
    ("phi", BASIC | {"partial_rotary_factor": 0.34}, {}),
    ("gpt_neox", BASIC | {"rotary_pct": 0.34, "rotary_emb_base": 77}, {}),
    ("stablelm", GROUPED | {"partial_rotary_factor": 0.34, "rope_theta": 77}, {}),
    ("gemma3_text", APART | SIX | {"rope_theta": 77.0, "rope_local_base_freq": 66.0}, {}),
    (
        "gemma3_text",
        APART | SIX | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        {"rope_type": "linear", "factor": 8.0},
    ),
    ("modernbert", BASIC | {"global_rope_theta": 88.0, "local_rope_theta": 55.0}, {}),
    ("smollm3", GROUPED | SIX | {"no_rope_layer_interval": 3}, {}),
    (
        "gpt_oss",
        APART,
        {
            "rope_type": "yarn",
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        },
    ),
]


@pytest.mark.parametrize(("family", "old", "scaling"), OLD)
def test_old_and_new_spellings_give_one_record(
    family: str, old: dict[str, Any], scaling: dict[str, Any], tmp_path: Path
) -> None:
    config = hf.AutoConfig.for_model(family, **deepcopy(old))  # it writes into what it gets
    new = saved_config(config, tmp_path)
    assert "rope_parameters" in new
    assert "rope_scaling" not in new
    assert acting(new) == acting(old | {"model_type": family})
    record = acting(new)[0]
    assert record.scaling == scaling
    parameters = config.rope_parameters
    assert record.base == parameters.get("full_attention", parameters)["rope_theta"]


def test_the_older_word_for_longrope() -> None:
    old = BASIC | {"model_type": "phi3", "rope_scaling": {"type": "su"} | LONG}
    (record,) = acting(old | {"original_max_position_embeddings": 40})
    assert record.scaling["rope_type"] == "longrope"
    assert ", longrope scaling, " in record.line()


# What a config may leave out, all of it: the record of the class's own defaults.
DEFAULT_FAMILIES = sorted({case.family for case in CASES} - {"gptj", "codegen", "falcon", "esm"})


@pytest.mark.parametrize("family", DEFAULT_FAMILIES)
def test_an_empty_config_takes_the_defaults_of_transformers(family: str, tmp_path: Path) -> None:
    config = hf.AutoConfig.for_model(family)
    assert acting({"model_type": family}) == acting(saved_config(config, tmp_path))


def test_sections_of_models_with_images(tmp_path: Path) -> None:
    for whole, part in (("gemma3", "gemma3_text"), ("llama4", "llama4_text")):
        text = saved_config(hf.AutoConfig.for_model(part, **APART | SIX), tmp_path)
        assert acting({"model_type": whole, "text_config": text}) == acting(text)
        assert len(acting(text)[0].layers) < 6


def test_nomics_own_spelling() -> None:
    own = {
        "model_type": "nomic_bert",
        "n_embd": 72,
        "n_head": 6,
        "n_layer": 3,
        "rotary_emb_base": 1000,
        "rotary_emb_fraction": 0.5,
        "rotary_emb_interleaved": True,
    }
    (record,) = acting(own)
    assert (record.base, record.head_dim, record.rotary_dim) == (1000, 12, 6)
    assert (record.pairing, record.query_heads, record.layer_count) == ("interleaved", 6, 3)


def test_models_that_do_not_rotate() -> None:
    assert acting({"model_type": "esm"}) == []
    assert [type(one).__name__ for one in acting({"model_type": "falcon", "alibi": True})] == [
        "Alibi"
    ]
    nope = {"model_type": "smollm3", "num_hidden_layers": 2, "no_rope_layers": [0, 0]}
    assert acting(nope) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_attention_heads": 5}, "heads cannot share the embedding evenly.*72 and 5 heads"),
        ({"num_attention_heads": 0}, "cannot use num_attention_heads.*at least 1, got '0'"),
        ({"num_key_value_heads": 4}, "6 query and 4 key heads"),
        ({"rope_theta": -1.0}, "cannot use rope_theta.*finite number of at least 0"),
        ({"rope_theta": 0}, "cannot rotate by base 0"),
        ({"rope_theta": float("nan")}, "cannot use rope_theta"),
        ({"rope_parameters": {"rope_theta": "x"}}, "rope_theta in 'config.json', rope_parameters"),
        ({"rope_parameters": [1]}, "cannot use rope_parameters.*expected an object"),
        ({"rope_parameters": {"full_attention": {}}}, "one set of values for all layers"),
        ({"head_dim": 7}, "an even number of rotated dimensions, .* head dimension 7, got 7"),
        ({"num_hidden_layers": 2_000_000_000}, "too many layers"),
        ({"rope_scaling": {"type": 3}}, "cannot use type"),
    ],
)
def test_configs_that_contradict_themselves(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        acting(BASIC | {"model_type": "llama"} | values)
    assert "'config.json'" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"partial_rotary_factor": 0.25}, "got 3; correct the config"),
        ({"partial_rotary_factor": 1.5}, "a part from 0 to 1, got 1.5"),
        ({"partial_rotary_factor": 0.0}, "got 0; correct"),
    ],
)
def test_parts_of_a_head_that_cannot_rotate(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        acting(BASIC | {"model_type": "phi"} | values)


@pytest.mark.parametrize(
    "values", [{"layer_types": ["full_attention"]}, {"layer_types": [1] * 6}, {"layer_types": "x"}]
)
def test_layer_types_that_do_not_fit(values: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="cannot use layer_types"):
        acting(APART | SIX | {"model_type": "gemma3_text"} | values)


def test_a_word_that_nobody_knows_is_kept() -> None:
    values = BASIC | {"model_type": "llama", "rope_scaling": {"type": "new\nword"}}
    (record,) = acting(values)
    assert record.scaling == {"rope_type": "new\nword"}
    assert r"scaled in a way unknown here, rope_type 'new\nword', head" in record.line()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 400)
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["full_attention", "sliding_attention", "yarn", "alibi", "relative_key"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "rope_theta",
                    "rope_type",
                    "type",
                    "full_attention",
                    "factor",
                    "",
                    "alibi",
                    "alibi_bias_max",
                    "partial_rotary_factor",
                    "sliding_attention",
                    "num_hidden_layers",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)
KEYS = sorted(
    set(BASIC)
    | set(GPTJ)
    | set(DEEPSEEK)
    | {key for case in CASES for key in case.more}
    | {
        "rope_parameters",
        "rope_scaling",
        "layer_types",
        "text_config",
        "head_dim",
        "alibi",
        "num_key_value_heads",
        "n_embed",
        "attn_config",
        "n_heads",
        "n_layers",
        "pos_att_type",
        "relative_attention",
        "position_buckets",
        "max_relative_positions",
        "share_att_key",
        "norm_rel_ebd",
        "relative_attention_num_buckets",
        "relative_attention_max_distance",
        "num_heads",
        "rope_interleave",
        "rotary_value",
        "rotary_emb_fraction",
    }
)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(name for name, one in FAMILIES.items() if one.mechanisms)),
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6),
)
def test_junk_gives_a_record_or_a_source_error(family: str, junk: dict[str, Any]) -> None:
    said = []
    try:
        said = [record.line() for record in acting(junk | {"model_type": family})]
    except SourceError as error:
        said = [str(error)]
    assert all(line.isprintable() for line in said)
