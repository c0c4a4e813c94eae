"""How `read_block` refuses what is wrong, in one line that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers as hf
from block_files import GPT2, GROUPED, block_of, configure, edit, saved, written
from safetensors.numpy import save_file

from poslens.checkpoints.blocks import read_block
from poslens.checkpoints.names import parse_source
from poslens.checkpoints.opening import open_located
from poslens.errors import SourceError


def test_weights_without_a_config(tmp_path: Path) -> None:
    save_file({"w": np.ones((3, 3), np.float32)}, tmp_path / "w.safetensors")
    path = str(tmp_path / "w.safetensors")
    with pytest.raises(SourceError, match=r"expected a config .*, got weights without one"):
        read_block(open_located(parse_source(path), path))


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("deepseek_v2", r"got low-rank projections \(multi-head latent attention\)"),
        ("deepseek_v3", "got low-rank"),
        ("mamba", "got a model without attention"),
        ("rwkv", "got a model without attention"),
        ("none_such", "got no entry says where its projections are"),
    ],
)
def test_families_that_are_not_read(family: str, reason: str, tmp_path: Path) -> None:
    folder = configure(written("bert", tmp_path), model_type=family)
    with pytest.raises(
        SourceError, match=rf"{family}.*{reason}.*; kernel\.\* and attention\.\* need"
    ):
        block_of(folder)


def test_where_there_is_a_table_it_is_what_can_be_measured(tmp_path: Path) -> None:
    folder = configure(written("bert", tmp_path), model_type="rembert")
    with pytest.raises(SourceError, match=r"; measure the table alone: kernel\.\* and att"):
        block_of(folder)


def test_parts(tmp_path: Path) -> None:
    folder = written("bert", tmp_path)
    with pytest.raises(SourceError, match=r"no part 'encoder'.*leave --part out"):
        block_of(folder, "encoder")
    t5 = {"vocab_size": 37, "d_model": 18, "d_kv": 5, "d_ff": 10, "num_heads": 6}
    folder = written("t5", tmp_path / "t5", t5)
    with pytest.raises(SourceError, match=r"no part 'text'.*expected one of encoder, decoder"):
        block_of(folder, "text")
    with pytest.raises(
        SourceError, match=r"2 stacks.*encoder, decoder; add --part encoder or add --part dec"
    ):
        block_of(folder)


def test_one_stack_of_two_needs_no_choice(tmp_path: Path) -> None:
    t5 = {"vocab_size": 37, "d_model": 18, "d_kv": 5, "d_ff": 10, "num_heads": 6}
    config = hf.T5Config(**t5)
    folder = saved(hf.T5EncoderModel(config), tmp_path, silent=False)
    assert block_of(folder).part == "encoder"
    with pytest.raises(
        SourceError, match=r"no attention block.*a tensor such as 'transformer\.decoder\.block"
    ):
        block_of(folder, "decoder")


def test_another_models_tensors(tmp_path: Path) -> None:
    folder = configure(written("bert", tmp_path), model_type="gpt2")
    with pytest.raises(
        SourceError,
        match=r"no attention block for model_type 'gpt2'.*'transformer\.h\.0\.attn\.c_attn\.we",
    ):
        block_of(folder)


@pytest.mark.parametrize("layer", [-1, 3])
def test_layers_that_are_not_there(layer: int, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"no layer {layer} .* a layer from 0 to 2"):
        block_of(written("bert", tmp_path), layer=layer)


def test_a_layer_that_the_file_lacks(tmp_path: Path) -> None:
    folder = configure(written("bert", tmp_path), num_hidden_layers=4)
    with pytest.raises(SourceError, match=r"no tensor 'encoder\.layer\.3\.attention\.self\.que"):
        block_of(folder, layer=3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"num_key_value_heads": 6}, r"k_proj.*expected shape \(60, 60\), got shape \(30, 60"),
        ({"head_dim": 14}, r"q_proj.*expected shape \(84, 60\), got shape \(60, 60\)"),
        ({"hidden_size": 48}, r"q_proj.*expected shape \(48, 48\), got shape \(60, 60\)"),
        ({"hidden_size": 41}, "expected a number of heads that divides the hidden size"),
        ({"num_key_value_heads": 4}, "got 6 query and 4 key heads"),
        ({"attention_bias": True}, r"no tensor 'layers\.0\.self_attn\.q_proj\.bias'"),
        ({"rms_norm_eps": "small"}, r"cannot use rms_norm_eps.*got 'small'"),
    ],
)
def test_a_config_that_contradicts(values: dict[str, Any], expected: str, tmp_path: Path) -> None:
    folder = written("llama", tmp_path, GROUPED)
    with pytest.raises(SourceError, match=expected):
        block_of(configure(folder, **{"head_dim": None} | values))


@pytest.mark.parametrize(
    ("family", "more", "values", "expected"),
    [
        (
            "llama",
            {"attention_bias": True},
            {"attention_bias": False},
            r"q_proj\.bias.*no such",
        ),
        ("qwen3", {}, {"model_type": "phi3"}, r"no attention block.*qkv_proj\.weight"),
        ("gemma2", {}, {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar.*above 0, got 0"),
        ("gemma2", {}, {"attn_logit_softcapping": 0}, "attn_logit_softcapping.*above 0"),
        ("olmo", {}, {"clip_qkv": 0}, "cannot use clip_qkv"),
        ("deberta", {}, {"talking_head": True}, "got heads whose logits are mixed"),
        (
            "cohere",
            {"use_qk_norm": True},
            {"num_key_value_heads": 6},
            r"k_proj.*got shape \(30",
        ),
        ("stablelm", {}, {"qk_layernorm": True}, r"no tensor .*q_layernorm\.norms\.0\.weight'"),
        (
            "stablelm",
            {"qk_layernorm": True},
            {"qk_layernorm": False, "use_qkv_bias": True},
            r"no tensor 'layers\.0\.self_attn\.q_proj\.bias'",
        ),
        ("electra", {"embedding_size": 17}, {"embedding_size": 18}, r"LayerNorm.*\(18,\), got"),
    ],
)
def test_values_that_cannot_be(
    family: str,
    more: dict[str, Any],
    values: dict[str, Any],
    expected: str,
    tmp_path: Path,
) -> None:
    folder = written(family, tmp_path, GROUPED, **more)
    with pytest.raises(SourceError, match=expected):
        block_of(configure(folder, **values))


def test_codegen_in_other_than_four_parts(tmp_path: Path) -> None:
    values = GPT2 | {"n_embd": 72, "n_head": 12, "rotary_dim": 4}
    folder = configure(written("codegen", tmp_path, values), n_head=6)
    with pytest.raises(SourceError, match="got 6 heads, not a multiple of 4"):
        block_of(folder)


def test_mpt_with_norms_of_its_own(tmp_path: Path) -> None:
    values = {"vocab_size": 37, "d_model": 42, "n_layers": 2, "n_heads": 6}
    folder = configure(written("mpt", tmp_path, values), attn_config={"qk_ln": True})
    with pytest.raises(SourceError, match="got norms of queries and keys that transformers do"):
        block_of(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda one: one.astype(np.int8),
            r"cannot use tensor.*k_proj\.weight'.*got dtype 'I8",
        ),
        (
            lambda one: np.where(one == one.max(), np.nan, one),
            r"NaN or infinite.*got 1 that are",
        ),
    ],
)
def test_tensors_that_cannot_be_used(
    change: Callable[[np.ndarray], np.ndarray], expected: str, tmp_path: Path
) -> None:
    name = "layers.1.self_attn.k_proj.weight"
    folder = written("llama", tmp_path)

    def spoil(tensors: dict[str, np.ndarray]) -> None:
        tensors[name] = change(tensors[name])

    edit(folder, spoil)
    with pytest.raises(SourceError, match=expected):
        block_of(folder, layer=1)
    assert block_of(folder).layer == 0


def test_a_norm_that_is_not_there(tmp_path: Path) -> None:
    folder = edit(written("gpt2", tmp_path, GPT2), lambda tensors: tensors.pop("h.0.ln_1.bias"))
    with pytest.raises(SourceError, match=r"no tensor 'h\.0\.ln_1\.bias' in .*restore the che"):
        block_of(folder)


def test_a_norm_that_should_not_be_there(tmp_path: Path) -> None:
    def add(tensors: dict[str, np.ndarray]) -> None:
        tensors["layers.0.self_attn.q_norm.bias"] = np.zeros(14, np.float32)

    folder = edit(written("qwen3", tmp_path, GROUPED, head_dim=14), add)
    with pytest.raises(SourceError, match=r"q_norm\.bias.*expected no such tensor, got one"):
        block_of(folder)
