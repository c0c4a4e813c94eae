"""Every entry that biases attention against the transformers model's own slopes and weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import transformers as hf
from containers import Shapes, acting, config_of, described, saved_config
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.falcon import modeling_falcon
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

from poslens.checkpoints import load_table
from poslens.checkpoints.description import describe_model
from poslens.checkpoints.families.biased import matching
from poslens.checkpoints.schemes import Alibi, BucketedBias
from poslens.errors import SourceError

hf.utils.logging.disable_progress_bar()
hf.utils.logging.set_verbosity_error()

SPECIAL = {"bos_token_id": 3, "eos_token_id": 4, "pad_token_id": 0}
BERT_LIKE = {
    "vocab_size": 37,
    "hidden_size": 42,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "intermediate_size": 10,
    "max_position_embeddings": 71,
}


def slopes(record: Alibi) -> np.ndarray:
    """The slopes that a record implies, one a head."""
    n = 1 << (record.heads - 1).bit_length()
    exponents = record.max_bias * np.arange(1, n + 1) / n
    if n != record.heads:
        exponents = np.concatenate([exponents[1::2], exponents[::2]])[: record.heads]
    return 2.0**-exponents


@pytest.mark.parametrize("heads", [6, 8, 12, 25])
class TestSlopes:
    def test_blooms(self, heads: int, tmp_path: Path) -> None:
        config = hf.BloomConfig(hidden_size=heads * 2, n_head=heads, n_layer=3, **SPECIAL)
        (record,) = acting(saved_config(config, tmp_path))
        assert record == Alibi(heads, 3)
        bias = build_alibi_tensor(torch.ones(1, 9), heads, torch.float32)[:, 0]
        # The model counts from the first key; softmax sees differences alone.
        np.testing.assert_allclose(bias, slopes(record)[:, None] * np.arange(9), rtol=1e-6)

    def test_mpts(self, heads: int, tmp_path: Path) -> None:
        config = hf.MptConfig(d_model=heads * 2, n_heads=heads, n_layers=3, **SPECIAL)
        (record,) = acting(saved_config(config, tmp_path))
        assert record == Alibi(heads, 3)
        for max_bias in (8, 5):
            (record,) = acting(
                {"model_type": "mpt", "n_heads": heads, "attn_config": {"alibi_bias_max": max_bias}}
            )
            bias = build_mpt_alibi_tensor(heads, 9, max_bias)[:, 0]
            distance = np.arange(8, -1, -1)
            np.testing.assert_allclose(bias, -slopes(record)[:, None] * distance, rtol=1e-6)

    def test_falcons(self, heads: int, tmp_path: Path) -> None:
        config = hf.FalconConfig(
            hidden_size=heads * 2, num_attention_heads=heads, num_hidden_layers=3, alibi=True
        )
        (record,) = acting(saved_config(config, tmp_path))
        assert record == Alibi(heads, 3, scaled=True)
        bias = modeling_falcon.build_alibi_tensor(torch.ones(1, 9), heads, torch.float32)[:, 0, 1]
        # Falcon rounds slopes to bfloat16, of 8 significant bits.
        np.testing.assert_allclose(bias, slopes(record), rtol=2.0**-8)


def test_falcon_divides_its_bias_with_the_logits() -> None:
    config = hf.FalconConfig(
        vocab_size=37, hidden_size=60, num_attention_heads=6, num_hidden_layers=1, alibi=True,
        **SPECIAL,
    )  # fmt: skip
    plain, seen = torch.nn.functional.scaled_dot_product_attention, []

    def see(*inputs: torch.Tensor, attn_mask: torch.Tensor, **more: Any) -> torch.Tensor:
        seen.append(attn_mask)
        return plain(*inputs, attn_mask=attn_mask, **more)

    # Not through the eager path: in transformers 5.23 it adds the bias twice.
    with mock.patch("torch.nn.functional.scaled_dot_product_attention", see), torch.no_grad():
        hf.FalconModel(config).eval()(torch.full((1, 5), 11))
    (record,) = acting({"model_type": "falcon", "alibi": True, "num_attention_heads": 6})
    assert record.scaled
    want = slopes(record)[:, None] * np.arange(5) / np.sqrt(10)
    np.testing.assert_allclose(seen[0][0, :, -1], want, rtol=2.0**-7)  # rounded to bfloat16 twice


def test_bloom_does_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = hf.BloomConfig(
        vocab_size=37, hidden_size=54, n_head=6, n_layer=1, attn_implementation="eager", **SPECIAL
    )
    model = hf.BloomModel(config).eval()
    torch.nn.init.zeros_(model.h[0].self_attention.query_key_value.weight)
    with torch.no_grad():
        got = model(torch.full((1, 5), 11), output_attentions=True).attentions[0][0, :, -1]
    (record,) = described(model, tmp_path)
    assert isinstance(record, Alibi)
    assert not record.scaled
    logits = slopes(record)[:, None] * np.arange(5)
    want = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_configs_that_turn_alibi_off() -> None:
    assert acting({"model_type": "mpt", "attn_config": {"alibi": False}}) == []
    assert acting({"model_type": "mpt", "attn_config": None}) == [Alibi(16, 24)]
    assert acting({"model_type": "bert"}) == []


def test_jina_is_known_by_its_config_alone() -> None:
    values = BERT_LIKE | {"model_type": "bert", "position_embedding_type": "alibi"}
    tensors = Shapes(**{"embeddings.position_embeddings.weight": (71, 42)})
    description = describe_model(tensors, config_of(values))
    assert description is not None
    assert description.schemes == (Alibi(6, 3, symmetric=True),)
    assert description.context == 71


T5 = SPECIAL | {
    "vocab_size": 37,
    "d_model": 18,
    "d_kv": 5,
    "d_ff": 10,
    "num_heads": 6,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "relative_attention_num_buckets": 14,
    "relative_attention_max_distance": 40,
    "decoder_start_token_id": 0,
}
SPARSE = {"num_experts": 2, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1}
MODELS: dict[str, Callable[[], hf.PreTrainedModel]] = {
    "t5": lambda: hf.T5Model(hf.T5Config(**T5)),
    "t5-head": lambda: hf.T5ForConditionalGeneration(hf.T5Config(**T5)),
    "t5-tokens": lambda: hf.T5ForTokenClassification(hf.T5Config(**T5)),
    "t5-sequence": lambda: hf.T5ForSequenceClassification(hf.T5Config(**T5)),
    "t5-encoder": lambda: hf.T5EncoderModel(hf.T5Config(**T5)),
    "mt5": lambda: hf.MT5Model(hf.MT5Config(**T5)),
    "umt5": lambda: hf.UMT5ForConditionalGeneration(hf.UMT5Config(**T5)),
    "longt5": lambda: hf.LongT5Model(hf.LongT5Config(**T5)),
    "longt5-global": lambda: hf.LongT5Model(
        hf.LongT5Config(**T5, encoder_attention_type="transient-global")
    ),
    "switch": lambda: hf.SwitchTransformersModel(hf.SwitchTransformersConfig(**T5, **SPARSE)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_buckets_of_t5_and_its_kin(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    records = described(model, tmp_path)
    found = {
        f"{where}.{kind}.weight": (module, getattr(module, kind).weight)
        for where, module in model.named_modules()
        for kind in ("relative_attention_bias", "global_relative_attention_bias")
        if hasattr(module, kind)
    }
    assert {tensor for one in records for tensor in one.tensors} == found.keys()
    assert len(records) == (
        1 if name in ("t5-encoder", "t5-tokens") else 3 if name == "longt5-global" else 2
    )
    for record in records:
        assert isinstance(record, BucketedBias)
        layers = {"encoder": 3, "decoder": 2}.get(str(record.part), 1)
        assert len(record.tensors) == (layers if name == "umt5" else 1)
        assert list(record.tensors) == sorted(record.tensors)
        for tensor in record.tensors:
            module, weight = found[tensor]
            assert weight.shape == (record.buckets, record.heads) == (14, 6)
            assert module.relative_attention_num_buckets == record.buckets
            assert module.relative_attention_max_distance == record.max_distance == 40
            assert record.bidirectional is not module.is_decoder
            assert tensor.split(".block")[0].endswith(str(record.part)[:7])


def test_what_t5_says_of_itself(tmp_path: Path) -> None:
    encoder, decoder = described(MODELS["t5"](), tmp_path)
    assert encoder.line() == (
        "bucketed bias, 14 buckets up to distance 40 (both directions), 6 heads, shared by all "
        "layers, added to the logits of the encoder"
    )
    assert decoder.line().endswith(
        "(causal), 6 heads, shared by all layers, added to the logits of the decoder"
    )
    umt5, _ = described(MODELS["umt5"](), tmp_path / "umt5")
    assert ", one in each layer, " in umt5.line()


def test_layers_are_counted_not_spelled() -> None:
    name = "encoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight"
    tensors = Shapes(**{name.format(layer): (32, 6) for layer in (10, 9, 2, 11)})
    (record,) = acting({"model_type": "umt5"}, tensors)
    assert record.tensors == tuple(name.format(layer) for layer in (2, 9, 10, 11))


def test_the_names_of_gguf() -> None:
    tensors = Shapes(
        **{"enc.blk.0.attn_rel_b.weight": (32, 8), "dec.blk.0.attn_rel_b.weight": (32, 8)}
    )
    encoder, decoder = acting({"model_type": "t5"}, tensors)
    assert encoder.tensors == ("enc.blk.0.attn_rel_b.weight",)
    assert (encoder.part, encoder.bidirectional) == ("encoder", True)
    assert decoder.tensors == ("dec.blk.0.attn_rel_b.weight",)
    assert (decoder.part, decoder.bidirectional) == ("decoder", False)


def test_a_t5_without_its_tensors() -> None:
    for family in ("t5", "longt5"):
        encoder, decoder = acting({"model_type": family})
        assert (encoder.part, decoder.part) == ("encoder", "decoder")
        assert ", its numbers not in this container, " in encoder.line()


def test_a_tensor_that_contradicts_the_config() -> None:
    name = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    with pytest.raises(SourceError, match=r"expected shape \(32, 8\), .* got shape \(32, 6\)"):
        acting({"model_type": "t5"}, Shapes(**{name: (32, 6)}))


@pytest.mark.parametrize("head", [False, True])
def test_mpnet_adds_a_table_and_a_bias(head: bool, tmp_path: Path) -> None:
    config = hf.MPNetConfig(**BERT_LIKE, relative_attention_num_buckets=14)
    model = hf.MPNetForMaskedLM(config) if head else hf.MPNetModel(config)
    table, bias = described(model, tmp_path)
    assert table.line().startswith("learned table of 69 positions × 42 dimensions")
    prefix = "mpnet." if head else ""
    assert bias == BucketedBias(
        14, 128, 6, True, (f"{prefix}encoder.relative_attention_bias.weight",)
    )
    distance = torch.arange(-200, 201)
    default = MPNetEncoder.relative_position_bucket(distance, num_buckets=14)
    fixed = MPNetEncoder.relative_position_bucket(
        distance, num_buckets=bias.buckets, max_distance=bias.max_distance
    )
    assert torch.equal(default, fixed)
    assert default.max() == bias.buckets - 1


DEBERTA = BERT_LIKE | {"relative_attention": True, "pos_att_type": "c2p|p2c", "pad_token_id": 0}
DEBERTAS: list[tuple[str, dict[str, Any], int, str]] = [
    ("deberta", {}, 142, "content against positions and positions against content"),
    ("deberta", {"max_relative_positions": 33, "pos_att_type": ["p2c"]}, 66,
     "positions against content"),
    ("deberta-v2", {"pos_att_type": ["c2p"]}, 142, "content against positions"),
    (
        "deberta-v2",
        {"position_buckets": 16, "share_att_key": True, "norm_rel_ebd": "layer_norm"},
        32,
        "content against positions and positions against content, by the projections of the "
        "content, after a LayerNorm",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("family", "more", "distances", "acts_on"), DEBERTAS)
@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("absolute", [False, True])
def test_debertas(
    family: str,
    more: dict[str, Any],
    distances: int,
    acts_on: str,
    head: bool,
    absolute: bool,
    tmp_path: Path,
) -> None:
    config = hf.AutoConfig.for_model(family, **DEBERTA | more | {"position_biased_input": absolute})
    model = (hf.AutoModelForMaskedLM if head else hf.AutoModel).from_config(config)
    *added, table = described(model, tmp_path)
    base = model.deberta if head else model
    prefix = "deberta." if head else ""
    assert table.tensors == (f"{prefix}encoder.rel_embeddings.weight",)
    assert table.distances == distances == base.encoder.rel_embeddings.weight.shape[0]
    assert table.acts_on == acts_on
    attention = base.encoder.layer[0].attention.self
    projections = {
        "content against": ("pos_proj", "pos_key_proj"),
        "positions against": ("pos_q_proj", "pos_query_proj"),
    }
    for phrase, names in projections.items():
        own = any(hasattr(attention, name) for name in names)
        assert own is (phrase in acts_on and "by the projections" not in acts_on)
    assert ("after a LayerNorm" in acts_on) is (
        "layer_norm" in getattr(base.encoder, "norm_rel_ebd", [])
    )
    assert bool(added) is absolute
    if absolute:
        rows = load_table(str(tmp_path)).rows
        np.testing.assert_array_equal(
            rows, base.embeddings.position_embeddings.weight.detach().numpy()
        )


def test_a_deberta_that_carries_an_unused_table(tmp_path: Path) -> None:
    values = DEBERTA | {"model_type": "deberta-v2", "position_biased_input": False}
    name = "deberta.embeddings.position_embeddings.weight"
    description = describe_model(Shapes(**{name: (71, 42)}), config_of(values))
    assert description is not None
    (only,) = description.schemes
    assert only.line().startswith("disentangled attention, 142 distances in tensors not in this")


def test_a_deberta_without_relative_attention() -> None:
    assert acting(DEBERTA | {"model_type": "deberta", "relative_attention": False}) == []
    assert acting(DEBERTA | {"model_type": "deberta-v2", "pos_att_type": None}) == []


@pytest.mark.parametrize("family", ["bert", "roberta", "albert"])
@pytest.mark.parametrize(
    ("kind", "acts_on"),
    [
        ("relative_key", "queries against distances"),
        ("relative_key_query", "queries and keys against distances"),
    ],
)
def test_shaws_keys(family: str, kind: str, acts_on: str) -> None:
    values = BERT_LIKE | {"model_type": family, "position_embedding_type": kind}
    name = f"{family}.encoder.layer.{{}}.attention.self.distance_embedding.weight"
    unused = {f"{family}.embeddings.position_embeddings.weight": (71, 42)}
    tensors = Shapes(**unused, **{name.format(layer): (141, 7) for layer in (10, 2)})
    description = describe_model(tensors, config_of(values))
    assert description is not None
    (record,) = description.schemes
    assert record.tensors == (name.format(2), name.format(10))
    assert record.line() == f"Shaw relative keys, 141 distances in 2 tensors, {acts_on}"


def test_shaws_keys_of_another_length() -> None:
    values = BERT_LIKE | {"model_type": "bert", "position_embedding_type": "relative_key"}
    tensors = Shapes(**{"encoder.layer.0.attention.self.distance_embedding.weight": (99, 7)})
    with pytest.raises(SourceError, match=r"expected 141 rows, one a distance, got shape \(99, 7"):
        acting(values, tensors)


@pytest.mark.parametrize("family", ["mamba", "mamba2", "rwkv"])
def test_recurrence_has_no_position_encoding(family: str) -> None:
    description = describe_model(Shapes(), config_of({"model_type": family}))
    assert description is not None
    assert [one.line() for one in description.schemes] == ["no position encoding"]
    assert description.context is None


def test_layers_are_in_the_order_of_their_numbers() -> None:
    """Even of thousands of digits, which int() refuses."""
    numbers = ("0", "2", "09", "10", "9" * 4999, "1" + "0" * 4999)
    names = [f"x.block.{number}.bias" for number in numbers]
    tensors = Shapes(**dict.fromkeys(sorted(names, reverse=True), (1,)))
    assert matching(tensors, r"block\.[0-9]+\.bias") == tuple(names)
