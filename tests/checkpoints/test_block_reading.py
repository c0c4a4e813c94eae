"""What `read_block` accepts, and what it reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from block_files import BASIC, GPT2, GROUPED, VISION, block_of, configure, edit, saved, written
from block_models import Case, build, close, observe
from block_numpy import gathered, vectors_of
from safetensors.numpy import load_file
from safetensors.torch import save_file as save_torch_file

from poslens.checkpoints.blocks import AttentionBlock, Linear, read_block
from poslens.checkpoints.names import parse_source
from poslens.checkpoints.opening import Checkpoint, open_located
from poslens.checkpoints.tensors import Entry, StoredTensor, Tensors


def same(one: AttentionBlock, other: AttentionBlock) -> None:
    for field in fields(AttentionBlock):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if isinstance(first, np.ndarray):
            np.testing.assert_array_equal(first, second)
        elif field.name not in ("path", "query_norm", "key_norm", "token_projection"):
            assert first == second
    rows = np.random.default_rng(0).normal(size=(5, one.queries.shape[1]))
    for first, second in zip(vectors_of(one, rows), vectors_of(other, rows), strict=True):
        np.testing.assert_array_equal(first, second)


class TestNames:
    @pytest.mark.parametrize("family", ["vit", "deit", "beit", "dinov2", "nomic_bert"])
    def test_of_transformers_5_in_memory(self, family: str, tmp_path: Path) -> None:
        model = build(Case(family, BASIC | VISION, "", ""), head=False)
        read = block_of(saved(model, tmp_path, silent=False))
        names = set(load_file(tmp_path / "model.safetensors"))
        save_torch_file(model.state_dict(), tmp_path / "model.safetensors")
        assert names != set(model.state_dict())
        same(read, replace(block_of(tmp_path), bytes_read=read.bytes_read))

    def test_of_norms_that_came_from_tensorflow(self, tmp_path: Path) -> None:
        folder = written("bert", tmp_path)
        read = block_of(folder)

        def rename(tensors: dict[str, np.ndarray]) -> None:
            for suffix, old in (("weight", "gamma"), ("bias", "beta")):
                tensors[f"embeddings.LayerNorm.{old}"] = tensors.pop(
                    f"embeddings.LayerNorm.{suffix}"
                )

        same(read, block_of(edit(folder, rename)))

    def test_of_longt5s_summaries(self, tmp_path: Path) -> None:
        values = {"vocab_size": 37, "d_model": 18, "d_kv": 5, "d_ff": 10, "num_heads": 6}
        model = build(
            Case("longt5", values | {"encoder_attention_type": "transient-global"}, "", ""),
            head=False,
        )
        block = block_of(saved(model, tmp_path, silent=False), "encoder")
        q = model.encoder.block[0].layer[0].TransientGlobalSelfAttention.q.weight
        np.testing.assert_array_equal(
            block.queries, q.detach().reshape(6, 5, 18).transpose(1, 2).numpy()
        )


class TestLayers:
    def test_albert_shares_one_in_a_group(self, tmp_path: Path) -> None:
        more = {"num_hidden_layers": 6, "num_hidden_groups": 2, "embedding_size": 17}
        folder = written("albert", tmp_path, BASIC | more)
        blocks = [block_of(folder, layer=layer) for layer in range(6)]
        for layer in (1, 2):
            np.testing.assert_array_equal(blocks[layer].queries, blocks[0].queries)
            np.testing.assert_array_equal(blocks[layer + 3].queries, blocks[3].queries)
        assert not np.array_equal(blocks[3].queries, blocks[0].queries)
        assert [len(block.path) for block in blocks] == [2, 0, 0, 0, 0, 0]

    def test_above_the_first_the_embedding_is_past(self, tmp_path: Path) -> None:
        folder = written("gemma", tmp_path, GROUPED)
        first, second = block_of(folder), block_of(folder, layer=1)
        assert (first.token_factor, second.token_factor) == (pytest.approx(60**0.5), 1.0)
        assert len(first.path) == len(second.path) == 1

    def test_only_the_last_of_japanese_neox_has_a_bias(self, tmp_path: Path) -> None:
        case = Case(
            "gpt_neox_japanese",
            BASIC | {"hidden_size": 72, "intermediate_multiple_size": 1},
            "layers.{layer}.attention",
            "layers.{layer}.attention.dense",
        )
        model = build(case, head=False)
        folder = saved(model, tmp_path, silent=False)
        assert [block_of(folder, layer=one).biased for one in range(3)] == [
            frozenset(),
            frozenset(),
            {"output"},
        ]
        bias = model.layers[2].attention.dense_bias.detach().numpy()
        assert bias.any()
        np.testing.assert_array_equal(block_of(folder, layer=2).output_bias, bias)


class Recorded(Tensors):
    """A container that remembers what was asked of it."""

    def __init__(self, inner: Tensors) -> None:
        self.inner, self.shown = inner, inner.shown
        self.fetched: list[str] = []
        self.read_names: list[str] = []

    def names(self) -> Iterable[str]:
        return self.inner.names()

    def entry(self, name: str) -> Entry:
        return self.inner.entry(name)

    def prefetch(self, names: Iterable[str]) -> None:
        self.fetched += names

    def read(self, name: str) -> StoredTensor:
        self.read_names.append(name)
        return self.inner.read(name)


@pytest.mark.parametrize(
    ("family", "more"),
    [("qwen3", {"num_key_value_heads": 3}), ("electra", {"embedding_size": 17}), ("bloom", {})],
)
def test_each_tensor_is_fetched_and_read_once(
    family: str, more: dict[str, Any], tmp_path: Path
) -> None:
    folder = str(written(family, tmp_path, **more))
    opened = open_located(parse_source(folder), folder)
    recorded = Recorded(opened.tensors)
    block = read_block(replace(opened, tensors=recorded))
    assert len(recorded.read_names) == len(set(recorded.read_names))
    assert sorted(recorded.fetched) == sorted(recorded.read_names)
    assert block.bytes_read == sum(
        4 * int(np.prod(opened.tensors.entry(name).shape)) for name in recorded.read_names
    )


def test_half_precision_is_read_as_it_is(tmp_path: Path) -> None:
    model = build(Case("gpt2", GPT2, "", ""), head=False).to(torch.bfloat16)
    block = block_of(saved(model, tmp_path, silent=False))
    weight = model.h[0].attn.c_attn.weight.detach().double().numpy()
    np.testing.assert_array_equal(
        np.concatenate([*block.queries, *block.keys, *block.values], axis=1), weight
    )
    assert block.queries.dtype == np.float64
    assert block.bytes_read == 2 * (42 * 42 * 4 + 42 * 6)


def test_clipping_acts(tmp_path: Path) -> None:
    case = Case(
        "mpt",
        {"vocab_size": 37, "d_model": 42, "n_layers": 2, "n_heads": 6}
        | {"attn_config": {"clip_qkv": 0.3}},
        "",
        "",
    )
    block = block_of(saved(build(case, head=False), tmp_path, silent=False))
    assert block.clip == 0.3
    assert block_of(configure(tmp_path, attn_config={"clip_qkv": 0})).clip is None


def test_a_grouped_block_says_so(tmp_path: Path) -> None:
    block = block_of(written("llama", tmp_path, GROUPED))
    assert block.shared_by == 2
    assert [norm.centre for norm in block.norms] == [False]
    assert block.biased == frozenset()
    assert not block.query_bias.any()


def test_the_path_of_electra_ends_in_a_projection(tmp_path: Path) -> None:
    block = block_of(written("electra", tmp_path, BASIC, embedding_size=17))
    norm, projection = block.path
    assert isinstance(projection, Linear)
    assert block.norms == (norm,)
    assert projection.weight.shape == (17, 60)


def test_a_checkpoint_is_not_changed(tmp_path: Path) -> None:
    folder = str(written("gpt2", tmp_path, GPT2))
    opened = open_located(parse_source(folder), folder)
    assert isinstance(opened, Checkpoint)
    first = read_block(opened)
    first.queries[:] = 0
    assert read_block(opened).queries.any()


def test_an_observed_model_and_its_record_agree_after_a_round_trip(tmp_path: Path) -> None:
    case = Case("gpt2", GPT2, "h.{layer}.attn", "h.{layer}.attn.c_proj", "h.{layer}.ln_1")
    model = build(case, head=False)
    folder = saved(model, tmp_path, silent=False)
    again = hf.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    seen, block = observe(again, case), block_of(folder)
    close(gathered(block, *vectors_of(block, seen.rows)), seen.output)
