"""Attention blocks from GGUF against transformers' own loading of the file, and its source."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers as hf
from block_models import LLAMA, RESHAPE, TOKENS, Case, build, close, llama, observe
from block_numpy import gathered, vectors_of
from gguf_files import as_float, description
from gguf_models import interleaved, write_model
from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

import poslens
from poslens.attention import at_pairs, offsets
from poslens.checkpoints.blocks import (
    AttentionBlock,
    read_biases,
    read_block,
    read_embedding,
)
from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.gguf_file import GgufFile
from poslens.checkpoints.in_attention import InAttention, in_attention
from poslens.checkpoints.names import parse_source
from poslens.checkpoints.opening import Checkpoint, open_located
from poslens.errors import SourceError

GROUPED = LLAMA | {"num_key_value_heads": 2, "rms_norm_eps": 0.25}
HEAD_DIM = 128  # transformers' default for Qwen 3, as it does not read it from the file
GPT2 = {
    "vocab_size": 37,
    "n_embd": 42,
    "n_layer": 3,
    "n_head": 6,
    "n_positions": 1024,  # transformers' default, as it does not read it from the file
    "layer_norm_epsilon": 0.25,
}
BERT = LLAMA | {"layer_norm_eps": 0.25}
BLOOM = {
    "vocab_size": 37,
    "hidden_size": 42,
    "n_layer": 3,
    "n_head": 6,
    "layer_norm_epsilon": 0.25,
}


@dataclass(frozen=True)
class Model:
    """A model, GGUF's name of its architecture, and whether transformers reads that."""

    arch: str
    case: Case
    read: bool = True
    more: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.arch}{'-biased' if self.case.more else ''}"

    @property
    def reordered(self) -> bool:
        return self.arch == "llama"


LLAMAS = [
    Model("llama", llama("llama", "LlamaForCausalLM", GROUPED)),
    Model("qwen2", llama("qwen2", "Qwen2ForCausalLM", GROUPED)),
    Model("qwen3", llama("qwen3", "Qwen3ForCausalLM", GROUPED | {"head_dim": HEAD_DIM})),
]
BIASED = Model(
    "llama",
    llama("llama", "LlamaForCausalLM", GROUPED, more={"attention_bias": True}),
    read=False,  # transformers keeps its default, a model without biases
)
OTHERS = [
    Model("gpt2", Case("gpt2", GPT2, "h.{layer}.attn", "h.{layer}.attn.c_proj", "h.{layer}.ln_1")),
    Model(
        "bloom",
        Case(
            "bloom",
            BLOOM,
            "h.{layer}.self_attention",
            "h.{layer}.self_attention.dense",
            "word_embeddings_layernorm",
            watched=RESHAPE,
        ),
    ),
    Model(
        "bert",
        Case(
            "bert",
            BERT,
            "encoder.layer.{layer}.attention.self",
            "encoder.layer.{layer}.attention.output.dense",
            "embeddings.LayerNorm",
        ),
        read=False,
    ),
]
MODELS = [*LLAMAS, BIASED, *OTHERS]


def opened(path: Path) -> Checkpoint:
    return open_located(parse_source(str(path)), str(path))


def written(model: Model, folder: Path, **changed: Any) -> Path:
    """The path of a model's file; the model lies beside it in a folder of its own."""
    built = build(model.case, head=False)
    built.save_pretrained(folder / "model")
    return write_model(built, model.arch, folder / "model.gguf", **changed)


def acting(path: Path) -> InAttention:
    """What acts by position inside the first block."""
    file = GgufFile(LocalFile(path))
    return in_attention(file, description(file).schemes, None, 0, None)


def loaded(path: Path) -> hf.PreTrainedModel:
    """The file as transformers loads it, in its own order of rows."""
    return hf.AutoModel.from_pretrained(
        path.parent, gguf_file=path.name, attn_implementation="eager", dtype=torch.float32
    ).eval()


def as_in_transformers(block: AttentionBlock, vectors: np.ndarray) -> np.ndarray:
    """Queries or keys of Llama in transformers' order: the even rows of a head come first."""
    assert block.family == "llama"
    return np.concatenate([vectors[..., ::2], vectors[..., 1::2]], axis=-1)


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("layer", [0, 2])
def test_the_block_is_that_of_the_model_it_was_converted_from(
    model: Model, layer: int, tmp_path: Path
) -> None:
    path = written(model, tmp_path)
    got = read_block(opened(path), layer=layer)
    want = read_block(opened(tmp_path / "model"), layer=layer)
    for name in ("queries", "keys", "query_bias", "key_bias"):
        one = getattr(got, name)
        one = as_in_transformers(got, one) if model.reordered else one
        np.testing.assert_array_equal(one, getattr(want, name))
    for name in ("values", "output", "value_bias", "output_bias"):
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
    for name in ("family", "biased", "scale", "causal", "token_factor", "window", "bytes_read"):
        assert getattr(got, name) == getattr(want, name)
    assert [step.epsilon for step in got.norms] == pytest.approx(
        [step.epsilon for step in want.norms], rel=1e-7
    )
    rows = np.random.default_rng(0).normal(size=(5, want.queries.shape[1]))
    np.testing.assert_allclose(got.block_input(rows), want.block_input(rows), rtol=1e-6)
    biases = read_biases(opened(path), layer=layer)
    np.testing.assert_array_equal(biases.queries, got.query_bias)


@pytest.mark.parametrize("model", [one for one in MODELS if one.read], ids=str)
def test_parity_with_transformers(model: Model, tmp_path: Path) -> None:
    path = written(model, tmp_path)
    theirs = loaded(path)
    seen, block = observe(theirs, model.case), read_block(opened(path))
    queries, keys, values = vectors_of(block, seen.rows)
    profile = acting(path).profile(offsets(TOKENS, causal=True), block.scale)
    bias = 0.0 if profile is None else at_pairs(profile, TOKENS, causal=True)
    close(gathered(block, queries, keys, values, bias), seen.output)
    if model.reordered:
        queries, keys = (as_in_transformers(block, one) for one in (queries, keys))
    close((1 if model.case.watched else block.scale) * queries, seen.queries)
    count = seen.keys.shape[0] // keys.shape[0]  # transformers may hand on one key for each query
    close(np.repeat(keys, count, axis=0), seen.keys)
    close(np.repeat(values, count, axis=0), seen.values)


@pytest.mark.parametrize("model", LLAMAS, ids=str)
def test_rotated_as_the_file_says_logits_are_those_of_transformers(
    model: Model, tmp_path: Path
) -> None:
    path = written(model, tmp_path)
    at = torch.arange(TOKENS)
    seen = observe(loaded(path), model.case, position_ids=at[None])
    block, rope = read_block(opened(path)), acting(path).rope
    assert rope is not None
    assert rope.pairing == ("interleaved" if model.reordered else "half")
    queries, keys, values = vectors_of(block, seen.rows)
    queries, keys = (rope.rotate(one, at.numpy()) for one in (queries, keys))
    close(gathered(block, queries, keys, values), seen.output)
    shared = np.repeat(keys, block.shared_by, axis=0)
    theirs = np.repeat(seen.keys, 6 // seen.keys.shape[0], axis=0)
    close(block.scale * queries @ shared.swapaxes(1, 2), seen.queries @ theirs.swapaxes(1, 2))


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_analysis_is_that_of_the_model_it_was_converted_from(model: Model, tmp_path: Path) -> None:
    path = written(model, tmp_path)
    got, want = (poslens.analyze(one, nulls=0) for one in (path, tmp_path / "model"))
    assert got.measures.keys() == want.measures.keys()
    for name, value in want.measures.items():
        of_block = name.startswith(("kernel.", "attention."))
        if of_block and not name.endswith("reconstruction_error"):  # of the size of rounding
            one, other = (np.array(each, float) for each in (got.measures[name], value))
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)
    for name in ("order.blind_without_position", "attention.four_terms"):
        assert got.claim(name).verdict == want.claim(name).verdict == "supported"


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_tokens(model: Model, tmp_path: Path) -> None:
    path = written(model, tmp_path)
    ids = np.array([0, 3, 4, 5, 11, 36])
    got, want = (read_embedding(opened(one)) for one in (path, tmp_path / "model"))
    assert (got.vocabulary, got.factor) == (want.vocabulary, want.factor)
    np.testing.assert_array_equal(got.tokens(ids), want.tokens(ids))
    np.testing.assert_array_equal(got.constant, want.constant)


class TestSmolLM2:
    @pytest.mark.parametrize("layer", [0, 17])
    def test_projections_are_those_of_the_reference(self, layer: int, smollm2_path: Path) -> None:
        block = read_block(opened(smollm2_path), layer=layer)
        stored = {one.name: one for one in gguf.GGUFReader(smollm2_path).tensors}
        config = {"num_attention_heads": 9, "num_key_value_heads": 3}
        rows = np.random.default_rng(layer).normal(size=(TOKENS, 576))
        seen = block.block_input(rows)
        vectors = block.vectors(rows)
        for letter, heads, found in zip("qkv", (9, 3, 3), vectors, strict=True):
            name = f"blk.{layer}.attn_{letter}.weight"
            weight = gguf.dequantize(stored[name].data, stored[name].tensor_type)
            weight = LlamaTensorProcessor(config=config).process(weight, name).weights
            want = (seen @ weight.T.astype(np.float64)).reshape(TOKENS, heads, 64).swapaxes(0, 1)
            got = found if letter == "v" else as_in_transformers(block, found)
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max())
        assert block.bytes_read < 600_000  # 884,736 numbers in five bits each, and a norm

    def test_the_first_block_of_transformers(self, smollm2_path: Path) -> None:
        config = hf.AutoConfig.from_pretrained(smollm2_path.parent, gguf_file=smollm2_path.name)
        assert config.rms_norm_eps == pytest.approx(1e-5)
        checkpoint = opened(smollm2_path)
        block = read_block(checkpoint)
        assert [norm.epsilon for norm in block.norms] == [config.rms_norm_eps]
        assert (block.shared_by, block.scale, block.biased) == (3, 1 / 8, frozenset())

    def test_some_rows_of_the_token_table(self, smollm2_path: Path) -> None:
        tensors = opened(smollm2_path).tensors
        rows = np.array([0, 1, 2, 977, 40_000, 40_001, 49_151])
        assert tensors.reads_rows_alone("token_embd.weight")
        got = tensors.read_rows("token_embd.weight", rows)
        np.testing.assert_array_equal(got, tensors.read("token_embd.weight").values()[rows])
        none = tensors.read_rows("token_embd.weight", rows[:0])
        assert none.shape == (0, 576)

    def test_the_first_block_is_taken_apart(self, smollm2_path: Path) -> None:
        study = poslens.analyze(smollm2_path, nulls=0)
        for name in (
            "order.blind_without_position",
            "attention.four_terms",
            "attention.position_contributes",
        ):
            assert study.claim(name).verdict == "supported"


class TestRefusals:
    def test_another_architecture(self, tmp_path: Path) -> None:
        path = write_model(build(LLAMAS[0].case, head=False), "internlm2", tmp_path / "m.gguf")
        with pytest.raises(SourceError, match=r"no entry says where its projections are"):
            read_block(opened(path))
        path = write_model(build(LLAMAS[0].case, head=False), "granite", tmp_path / "g.gguf")
        with pytest.raises(
            SourceError,
            match=r"not read from GGUF: .*expected one of bert, .*, got 'granite'; give the model "
            r"that it was converted from",
        ):
            read_block(opened(path))

    def test_projections_of_other_names(self, tmp_path: Path) -> None:
        path = write_model(build(OTHERS[0].case, head=False), "gpt2", tmp_path / "m.gguf")
        content = path.read_bytes().replace(b"attn_qkv", b"attn_kvq")
        path.write_bytes(content)
        with pytest.raises(
            SourceError, match=r"such as 'blk\.0\.attn_qkv\.weight'.*give the model that it was"
        ):
            read_block(opened(path))

    @pytest.mark.parametrize(
        ("model", "key", "said"),
        [
            (LLAMAS[0], "attention.layer_norm_rms_epsilon", "rms_norm_eps"),
            (OTHERS[2], "attention.layer_norm_epsilon", "layer_norm_eps"),
        ],
        ids=str,
    )
    def test_no_epsilon_is_guessed(self, model: Model, key: str, said: str, tmp_path: Path) -> None:
        path = written(model, tmp_path, **{key: None})
        with pytest.raises(SourceError, match=rf"cannot use {said} in the metadata.*got nothing"):
            read_block(opened(path))


def test_reordering_is_undone_by_taking_even_rows_first() -> None:
    """The tests' own converter against transformers' inverse of llama.cpp's."""
    weight = as_float(np.random.default_rng(0), (30, 7))
    config = {"num_attention_heads": 3, "num_key_value_heads": 3}
    stored = interleaved(weight, 3)
    back = LlamaTensorProcessor(config=config).process(stored, "blk.0.attn_q.weight").weights
    np.testing.assert_array_equal(back, weight)
    assert not np.array_equal(stored, weight)
