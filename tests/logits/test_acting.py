"""What a scheme does inside each layer's attention, against the models' own modules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anatomies import BASIC, GPT2, GROUPED, T5
from float64_models import build, in_float64, saved
from numpy.testing import assert_allclose
from split_models import opened

from poslens.attention import at_pairs
from poslens.checkpoints.blocks import read_block
from poslens.checkpoints.describe import described
from poslens.errors import SettingError, UndefinedMeasureError
from poslens.logits import Acting, acting

LENGTH = 43


def of(folder: Path, layer: int = 0, part: str | None = None, length: int = LENGTH) -> Acting:
    checkpoint = opened(folder)
    block = read_block(checkpoint, part, layer)
    return acting(checkpoint, described(checkpoint).schemes, part, layer, length, block)


def test_the_layers_that_rotate_and_those_that_do_not(tmp_path: Path) -> None:
    values = GROUPED | {"num_hidden_layers": 3, "no_rope_layers": [1, 0, 1]}
    folder = saved(build("smollm3", values), tmp_path)
    found = [of(folder, layer) for layer in range(3)]
    assert [one.rope is not None for one in found] == [True, False, True]
    assert [one.bias for one in found] == [None] * 3


def test_each_layer_has_its_base(tmp_path: Path) -> None:
    values = GROUPED | {"num_hidden_layers": 7}
    model = build("gemma3_text", values)
    folder = saved(model, tmp_path)
    kinds = model.config.layer_types
    assert set(kinds) == {"sliding_attention", "full_attention"}
    for layer, kind in enumerate(kinds):
        want = getattr(model.rotary_emb, f"{kind}_inv_freq").numpy()
        assert_allclose(of(folder, layer).rope.frequencies(), want, rtol=1e-12)


def test_a_scaling_knows_the_context(tmp_path: Path) -> None:
    """YaRN's original length, and from it the frequencies, is the config's where it is silent."""
    yarn = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0}
    model = build("qwen2", GROUPED | {"rope_parameters": yarn})
    rope = of(saved(model, tmp_path)).rope
    assert_allclose(rope.frequencies(), model.rotary_emb.inv_freq.numpy(), rtol=1e-12)
    assert rope.scaling.amplitude == pytest.approx(model.rotary_emb.attention_scaling, rel=1e-12)


@pytest.mark.parametrize("family", ["t5", "umt5"])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("layer", [0, 1])
def test_buckets_of_a_part_and_a_layer(family: str, part: str, layer: int, tmp_path: Path) -> None:
    model = build(family, T5 | {"num_layers": 2, "num_decoder_layers": 2})
    # The layers of T5 share the numbers of the first one; those of UMT5 have their own.
    owner = getattr(model, part).block[layer if family == "umt5" else 0].layer[0].SelfAttention
    with in_float64():
        want = owner.compute_bias(LENGTH, LENGTH)[0].numpy()
    folder = saved(model, tmp_path)
    found, causal = of(folder, layer, part), part == "decoder"
    pairs = np.tri(LENGTH, dtype=bool) if causal else np.ones((LENGTH, LENGTH), dtype=bool)
    got = at_pairs(found.bias, LENGTH, causal=causal)
    assert_allclose(got[:, pairs], want[:, pairs], rtol=0, atol=1e-12)
    assert np.array_equal(at_pairs(found.bias, 11, causal=causal), got[:, :11, :11])


def test_slopes_of_falcon_are_divided_with_the_logits(tmp_path: Path) -> None:
    folder = saved(build("falcon", BASIC | {"alibi": True}, "sdpa"), tmp_path)
    slopes = 2.0 ** -np.array([2, 4, 6, 8, 1, 3])  # of six heads, as for four and eight
    found = of(folder)
    assert found.rope is None
    assert_allclose(found.bias, slopes[:, None] * np.arange(1 - LENGTH, 1) / 8**0.5, rtol=1e-12)


@pytest.mark.parametrize(("family", "values"), [("gpt2", GPT2), ("bert", BASIC)])
def test_inside_attention_a_table_does_nothing(
    family: str, values: dict[str, Any], tmp_path: Path
) -> None:
    found = of(saved(build(family, values), tmp_path))
    assert (found.rope, found.bias) == (None, None)


DEBERTA = BASIC | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}


@pytest.mark.parametrize(
    ("family", "values", "kind"),
    [
        ("deberta-v2", DEBERTA, "disentangled attention"),
        ("bert", BASIC | {"position_embedding_type": "relative_key"}, "Shaw relative keys"),
    ],
)
def test_what_depends_on_what_tokens_are(
    family: str, values: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    folder = saved(build(family, values), tmp_path)
    with pytest.raises(UndefinedMeasureError, match=f"depends on what the tokens are: {kind}"):
        of(folder)


def test_a_convolution_is_no_function_of_distance(tmp_path: Path) -> None:
    values = {
        "hidden_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 6,
        "intermediate_size": 10,
        "conv_dim": [8],
        "conv_kernel": [3],
        "conv_stride": [2],
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
    }
    folder = saved(build("wav2vec2", values), tmp_path)
    with pytest.raises(UndefinedMeasureError, match="what the tokens are: convolutional positions"):
        of(folder)


def test_a_scaling_that_is_unknown(tmp_path: Path) -> None:
    folder = saved(build("qwen2", GROUPED), tmp_path)
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"rope_type": "default"', '"rope_type": "spiral"'))
    with pytest.raises(SettingError, match="cannot scale RoPE by rope_type 'spiral'") as raised:
        of(folder)
    assert raised.value.problem.endswith(f" in '{path}', rope_parameters")


@pytest.mark.parametrize(
    ("section", "parameters", "problem", "expected", "got"),
    [
        ("rope_parameters", {"factor": -2.0}, "a setting is out of range", "for factor", "-2.0"),
        ("rope_scaling", {"factor": "two"}, "scale RoPE by linear", "number for factor", "'two'"),
        ("rope_scaling", {}, "cannot scale RoPE by linear", "a value for factor", "none"),
        ("rope_parameters", {"factor": 2.0, "bent": 1}, "by linear", "factor", "'bent'"),
    ],
)
def test_a_scaling_that_cannot_be_used_names_its_config(
    section: str,
    parameters: dict[str, Any],
    problem: str,
    expected: str,
    got: str,
    tmp_path: Path,
) -> None:
    folder = saved(build("qwen2", GROUPED), tmp_path)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["rope_parameters"]
    config[section] = {"rope_type": "linear", "rope_theta": 10_000.0} | parameters
    path.write_text(json.dumps(config))
    with pytest.raises(SettingError) as raised:
        of(folder)
    found = raised.value
    assert found.problem.endswith(f"{problem} in '{path}', {section}")
    assert found.expected.endswith(expected)
    assert found.got == got


def test_buckets_that_are_not_there(tmp_path: Path) -> None:
    model = build("mpnet", BASIC)
    with torch.no_grad():
        state = {k: v for k, v in model.state_dict().items() if "relative_attention" not in k}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(UndefinedMeasureError, match="its numbers not in this container"):
        of(tmp_path)
