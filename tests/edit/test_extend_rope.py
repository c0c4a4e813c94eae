"""RoPE in a config: what is written, and that transformers and PosLens turn alike by it."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.testing import assert_allclose, assert_array_equal
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from poslens.checkpoints.config import Config
from poslens.checkpoints.families import FAMILIES
from poslens.checkpoints.families.rotation import RotaryEntry
from poslens.checkpoints.in_attention import rope_of
from poslens.edit.rope import ROPE_METHODS, TAKES
from poslens.encodings import Rope, Yarn, scaling_from
from poslens.errors import SettingError, SourceError

transformers.utils.logging.set_verbosity_error()

TRAINED = 128
FACTORS = (2, 4, 3.5)
ORIGINAL = "original_max_position_embeddings"
SMALL = {
    "hidden_size": 6 * 48,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "num_hidden_layers": 6,
    "max_position_embeddings": TRAINED,
}
# As config.json has them: in the words of transformers 4 and of 5, or silent.
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "rope_theta": 500_000.0, "rope_scaling": None},
    "llama, silent": {"model_type": "llama"},
    "llama, of today": {
        "model_type": "llama",
        "rope_parameters": {"rope_type": "default", "rope_theta": 20_000.0},
    },
    "llama, default said twice": {
        "model_type": "llama",
        "rope_theta": 20_000.0,
        "rope_scaling": {"type": "default"},
    },
    "gpt_neox": {"model_type": "gpt_neox", "rotary_emb_base": 25_000, "rotary_pct": 0.25},
    "gpt_neox, silent": {"model_type": "gpt_neox"},
    "phi": {"model_type": "phi", "rope_theta": 10_000.0, "partial_rotary_factor": 0.75},
    "phi, of today": {
        "model_type": "phi",
        "rope_parameters": {"rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
    },
    "qwen2": {"model_type": "qwen2", "rope_theta": 1_000_000.0, "sliding_window": 99},
    "gemma3_text": {
        "model_type": "gemma3_text",
        "head_dim": 48,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 9_000.0,
    },
    "gemma3_text, of today": {
        "model_type": "gemma3_text",
        "head_dim": 48,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 700_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 9_000.0},
        },
    },
    "modernbert": {"model_type": "modernbert", "global_rope_theta": 80_000.0},
}
YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10_000.0}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0] * 24,
    "long_factor": [4.0] * 24,
    ORIGINAL: 64,
}


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have transformers compute its own formulas in float64 where it asks for float32."""
    monkeypatch.setattr(torch, "float", torch.float64)
    monkeypatch.setattr(torch, "float32", torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    monkeypatch.undo()
    torch.set_default_dtype(torch.float32)


def config(name: str, **more: Any) -> dict[str, Any]:
    return copy.deepcopy({**SMALL, **CONFIGS[name], **more})


def changed(values: dict[str, Any], method: str, to: int, trained: int = TRAINED) -> dict[str, Any]:
    """The config as it would be written to a file, and read from it again."""
    before = copy.deepcopy(values)
    changes = ROPE_METHODS[method].parameters(values, trained, to)
    assert values == before, "the config that was passed has changed"
    return dict(json.loads(json.dumps({**values, **changes})))


def entries(values: dict[str, Any]) -> list[RotaryEntry]:
    mechanisms = FAMILIES[values["model_type"]].mechanisms
    return [one for one in mechanisms if isinstance(one, RotaryEntry)]


def ours(values: dict[str, Any]) -> dict[str | None, Rope]:
    """By type of layer, what `poslens.checkpoints` reads from a config."""
    found = {one.layer_type: one.read(Config(values, "the config")) for one in entries(values)}
    context = values["max_position_embeddings"]
    return {name: rope_of(record, context) for name, record in found.items() if record}


def theirs(values: dict[str, Any], positions: np.ndarray) -> dict[str | None, Any]:
    """By type of layer, cosines and sines of transformers' own module, made anew."""
    word = values["model_type"]
    name = CONFIG_MAPPING[word].__name__.removesuffix("Config").removesuffix("Text")
    modeling = importlib.import_module(
        CONFIG_MAPPING[word].__module__.replace("configuration", "modeling")
    )
    module = getattr(modeling, f"{name}RotaryEmbedding")(CONFIG_MAPPING[word].from_dict(values))
    x, at = torch.zeros(1, dtype=torch.float64), torch.as_tensor(positions)[None]
    types = [one.layer_type for one in entries(values)]
    return {one: module(x, at) if one is None else module(x, at, one) for one in types}


def assert_alike(values: dict[str, Any], length: int) -> None:
    positions = np.arange(length)
    peers, ropes = theirs(values, positions), ours(values)
    assert peers.keys() == ropes.keys()
    for layer_type, rope in ropes.items():
        for got, wanted in zip(rope.rotation(positions, length), peers[layer_type], strict=True):
            assert wanted.dtype == torch.float64
            # The two halves of what rotates turn by the same angles.
            assert_allclose(np.tile(got, 2), wanted[0], rtol=0, atol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("method", ROPE_METHODS)
def test_transformers_turns_as_poslens(name: str, method: str) -> None:
    for factor in FACTORS:
        to = int(factor * TRAINED)
        values = changed(config(name), method, to)
        for length in (TRAINED, to, to + 77):
            assert_alike(values, length)


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "phi", "qwen2"])
@pytest.mark.parametrize("method", ROPE_METHODS)
def test_configs_of_transformers_itself(name: str, method: str) -> None:
    whole = CONFIG_MAPPING[CONFIGS[name]["model_type"]].from_dict(config(name)).to_dict()
    from_whole, from_file = (changed(one, method, 448) for one in (whole, config(name)))
    (one,), (other,) = ours(from_whole).values(), ours(from_file).values()
    assert one == other
    assert from_whole["max_position_embeddings"] == (128 if method == "dynamic" else 448)


def frequencies(method: str, to: int, length: int | None = None) -> np.ndarray:
    rope = ours(changed(config("llama"), method, to))[None]
    return np.asarray(rope.frequencies(length))


def test_what_the_methods_mean() -> None:
    before = ours(config("llama"))[None].frequencies()
    assert_array_equal(frequencies("unchanged", 448), before)
    assert_allclose(frequencies("linear", 448), before / 3.5, rtol=1e-15)
    ratio = before / frequencies("ntk", 448)
    assert_allclose(ratio[[0, -1]], [1, 3.5], rtol=1e-13)
    assert (np.diff(ratio) > 0).all()
    # Up to the trained length dynamic scaling changes nothing, and from there on it does.
    assert_array_equal(frequencies("dynamic", 448, 128), before)
    assert_allclose((before / frequencies("dynamic", 448, 448))[-1], 3.5 * 3.5 - 2.5, rtol=1e-13)
    (yarn,) = ours(changed(config("llama"), "yarn", 448)).values()
    assert yarn.scaling == Yarn(3.5, 128)
    assert yarn.base == 500_000.0
    # The exponent is that of what rotates: 12 dimensions of 48 here.
    part = ours(changed(config("gpt_neox"), "ntk", 256))[None]
    assert part.rotated == 12
    assert part.base == pytest.approx(25_000 * 2 ** (12 / 10), rel=1e-15)


def test_what_is_written() -> None:
    def changes(name: str, method: str, **more: Any) -> dict[str, Any]:
        return ROPE_METHODS[method].parameters(config(name, **more), TRAINED, 256)

    assert changes("llama", "unchanged") == {"max_position_embeddings": 256}
    linear = {"rope_theta": 500_000.0, "rope_type": "linear", "factor": 2.0}
    assert changes("llama", "linear") == {"rope_parameters": linear, "max_position_embeddings": 256}
    # The base of an older key must not contradict the new one.
    ntk = changes("gpt_neox", "ntk")
    assert ntk["rotary_emb_base"] == ntk["rope_parameters"]["rope_theta"] > 25_000
    assert "rope_theta" not in ntk
    twice = changes("llama, default said twice", "yarn")
    assert twice["rope_scaling"] is None
    assert twice["rope_parameters"] == YARN | {"factor": 2.0, "rope_theta": 20_000.0, ORIGINAL: 128}
    assert scaling_from(twice["rope_parameters"], 256) == Yarn(2.0, 128)
    # Only layers that attend to everything see longer distances.
    local = {"rope_theta": 9_000.0, "rope_type": "default"}
    for name in ("gemma3_text", "gemma3_text, of today"):
        written = changes(name, "linear")["rope_parameters"]
        assert written["sliding_attention"] == local
        assert written["full_attention"]["rope_type"] == "linear"
    # At the top of the config, as Phi-3 has it, the length of pretraining outranks the new key.
    assert changes("llama", "yarn", **{ORIGINAL: 9})[ORIGINAL] == TRAINED


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "scaled",
    [
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}},
        {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10_000.0}},
        {"rope_parameters": YARN},
        {"rope_parameters": YARN | {ORIGINAL: 32}},
        {"rope_parameters": YARN | {"factor": None, ORIGINAL: 32}},
        {"rope_parameters": LONGROPE | {ORIGINAL: 32}},
        {"rope_parameters": LONGROPE},
        {"rope_scaling": {"type": "linear", "factor": 4.0}, "rope_theta": 20_000.0},
        {"rope_scaling": {"type": "yarn", "factor": 2.0}, "rope_theta": 20_000.0},
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10_000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                ORIGINAL: 64,
            }
        },
    ],
)
def test_unchanged_leaves_every_angle_as_it_is(scaled: dict[str, Any]) -> None:
    before = config("llama, silent", **scaled)
    after = changed(before, "unchanged", 512)
    for length in (TRAINED, 300):
        positions = np.arange(length)
        assert_alike(after, length)
        for got, wanted in zip(
            theirs(after, positions)[None], theirs(before, positions)[None], strict=True
        ):
            assert_array_equal(got, wanted)
    for method in ROPE_METHODS.keys() - {"unchanged"}:
        with pytest.raises(SettingError, match=r"scaled already, .*; choose unchanged"):
            ROPE_METHODS[method].parameters(before, TRAINED, 512)


def test_what_each_architecture_takes() -> None:
    compared = 0
    for word, family in FAMILIES.items():
        rotating = [one for one in family.mechanisms if isinstance(one, RotaryEntry)]
        if not rotating or rotating[0].sections or word not in CONFIG_MAPPING:
            continue
        made = CONFIG_MAPPING[word]
        more = {"position_embedding_type": "rotary"} if word == "esm" else {}
        values = {**made().to_dict(), **more}
        modeling = importlib.util.find_spec(made.__module__.replace("configuration", "modeling"))
        assert modeling is not None
        assert modeling.origin is not None
        reads = "ROPE_INIT_FUNCTIONS" in Path(modeling.origin).read_text()
        assert reads == (TAKES.get(word) != ()), word
        for name, method in ROPE_METHODS.items():
            try:
                changes = method.parameters(values, 2048, 7168)
            except SettingError as error:
                scaled = "scaled already" in str(error)
                assert name != "unchanged", word
                assert scaled or word in TAKES, word
            else:
                made.from_dict({**values, **changes})  # Phi-3's refuses words it does not take
                compared += 1
    assert compared > 100


@pytest.mark.parametrize(
    ("values", "method", "message"),
    [
        ({"model_type": "gptj"}, "linear", "no rope_type: .* in code, got linear; choose unch"),
        (
            {"model_type": "phi3", "pad_token_id": 0},
            "yarn",
            "expected default or longrope, got yarn; choose ntk or unchanged",
        ),
        ({"model_type": "gpt2"}, "ntk", "cannot tell how this model rotates: .* got model_type 'g"),
        ({"model_type": "new\n"}, "ntk", r"got model_type 'new\\n'"),
        ({}, "unchanged", "got model_type ''"),
        ({"model_type": "gemma3", "text_config": {}}, "linear", "expected the section of the part"),
        ({"model_type": "llama", "head_dim": 2}, "ntk", "one plane: .* got 2; choose linear or ya"),
        ({"model_type": "llama", "head_dim": 2}, "dynamic", "one plane: .* got 2"),
    ],
)
def test_models_that_cannot_be(values: dict[str, Any], method: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        ROPE_METHODS[method].parameters(values, 512, 1024)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(
        SettingError, match=r"to fewer positions: expected at least 512, .* got 511"
    ):
        ROPE_METHODS["linear"].parameters(config("llama"), 512, 511)
    unsaid = config("llama", max_position_embeddings=None)
    assert ROPE_METHODS["dynamic"].parameters(unsaid, 512, 600)["max_position_embeddings"] == 512
    broken = config("llama", rope_parameters=["linear"])
    with pytest.raises(SourceError, match="cannot use rope_parameters in the config: expected an"):
        ROPE_METHODS["linear"].parameters(broken, TRAINED, 256)


def test_every_method_says_what_it_does() -> None:
    assert list(ROPE_METHODS) == ["unchanged", "linear", "ntk", "dynamic", "yarn"]
    for name, method in ROPE_METHODS.items():
        assert method.name == name
        assert method.about
        assert "\n" not in method.about
