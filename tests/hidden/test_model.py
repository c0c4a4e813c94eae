"""Models that are given or named: what they become, what they are afterwards, what is refused."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from hidden_models import BASIC, GROUPED, VOCABULARY, drawn, tiny
from safetensors.torch import load_file, save_file

from annotations import unchecked
from poslens.errors import SettingError, SourceError
from poslens.hidden import HiddenStates, follow, text_model

TOKENS = drawn(2, 9)


def saved(model: hf.PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def same(got: HiddenStates, want: HiddenStates) -> bool:
    return all(
        np.array_equal(one.shares(), other.shares())
        for one, other in zip(got.terms, want.terms, strict=True)
        if one is not None and other is not None
    ) and np.array_equal(got.positions, want.positions)


def test_states_are_what_transformers_gives() -> None:
    model = tiny("gpt2")
    with torch.no_grad():
        want = model(torch.as_tensor(TOKENS[:1]), output_hidden_states=True).hidden_states
    with text_model(model) as text:
        got = text.states(TOKENS[0])
    assert len(got) == len(want) == 4
    for one, other in zip(got, want, strict=True):
        assert np.array_equal(one, other[0].numpy())


def test_a_decoder_reads_what_its_encoder_reads() -> None:
    model, ids = tiny("t5"), torch.as_tensor(TOKENS[:1])
    with torch.no_grad():
        want = model(input_ids=ids, decoder_input_ids=ids, output_hidden_states=True)
    for part in ("encoder", "decoder"):
        with text_model(model, part) as text:
            got = text.states(TOKENS[0])
        for one, other in zip(got, want[f"{part}_hidden_states"], strict=True):
            np.testing.assert_allclose(one, other[0].numpy(), rtol=0, atol=1e-6)


def test_a_folder_gives_what_the_model_gives(tmp_path: Path) -> None:
    model = tiny("bert")
    assert same(follow(saved(model, tmp_path), TOKENS), follow(model, TOKENS))
    assert same(follow(str(tmp_path / "model.safetensors"), TOKENS), follow(model, TOKENS))


def test_a_head_changes_nothing() -> None:
    model = tiny("gpt2")
    torch.manual_seed(0)
    headed = hf.GPT2LMHeadModel(model.config)
    headed.transformer.load_state_dict(model.state_dict())
    assert same(follow(headed, TOKENS), follow(model, TOKENS))


def test_a_model_is_afterwards_as_it_was() -> None:
    model = tiny("llama", implementation="sdpa").train()
    model.layers[1].eval()
    training = [module.training for module in model.modules()]
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    found = follow(model, TOKENS)
    assert found.reasons == {}
    assert model.config._attn_implementation == "sdpa"
    assert [module.training for module in model.modules()] == training
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())


def test_also_when_it_is_stopped() -> None:
    model = tiny("gpt2", implementation="sdpa", attn_pdrop=0.5).train()

    def stop(what: str, done: int, _: int) -> None:
        if (what, done) == ("attention logits", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(model, TOKENS, progress=stop)
    assert model.config._attn_implementation == "sdpa"
    assert all(module.training for module in model.modules())


def test_dropout_is_off() -> None:
    model = tiny("bert", hidden_dropout_prob=0.9)
    assert same(follow(model.train(), TOKENS), follow(model.eval(), TOKENS))


def test_no_gradients_are_kept() -> None:
    model = tiny("gpt2")
    model.h[0].attn.c_attn.weight.requires_grad_(True)
    assert follow(model, TOKENS).reasons == {}
    assert model.h[0].attn.c_attn.weight.grad is None


def test_progress_counts_contexts() -> None:
    calls: list[tuple[str, int, int]] = []
    follow(tiny("bert"), TOKENS, progress=lambda *one: calls.append(one))
    assert calls[:2] == [("the model", 0, 1), ("the model", 1, 1)]
    assert calls[2:] == [
        (what, done, 2) for what in ("hidden states", "attention logits") for done in range(3)
    ]


def test_contexts_that_are_not_kept_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("gpt2")
    kept = follow(model, TOKENS)
    monkeypatch.setattr("poslens.hidden.layers.KEPT_BYTES", 0)
    assert same(follow(model, TOKENS), kept)


def test_memory_does_not_grow_with_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what NumPy holds, where no hidden states are kept."""
    monkeypatch.setattr("poslens.hidden.layers.KEPT_BYTES", 0)
    model, tokens, peaks = tiny("gpt2"), drawn(2, 70), []
    follow(model, tokens)
    for times in (1, 5):
        tracemalloc.start()
        with unchecked():
            follow(model, np.tile(tokens, (times, 1)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_a_padding_token_in_the_text_is_a_token() -> None:
    """RoBERTa counts positions of what is not padding, unless it is told them."""
    model, tokens = tiny("roberta", pad_token_id=7), TOKENS.copy()
    tokens[0, 4] = 7
    found = follow(model, tokens)
    assert found.reasons == {}
    assert found.reconstruction_error is not None
    assert found.reconstruction_error <= 1e-4


def test_a_table_of_zeros_has_no_share() -> None:
    for family, name in (("gpt2", "wpe"), ("bert", "embeddings.position_embeddings")):
        model = tiny(family)
        torch.nn.init.zeros_(model.get_submodule(name).weight)
        found = follow(model, TOKENS)
        assert found.reasons == {}
        first = found.terms[0]
        assert first is not None
        assert np.array_equal(first.shares()[1:4], np.zeros((3, 6)))
        np.testing.assert_allclose(first.shares()[[0, 4]].sum(axis=0), 1, rtol=0, atol=1e-9)


def test_windows_within_which_all_contexts_lie_do_not_matter() -> None:
    gemma = GROUPED | {"head_dim": 14}
    wide = follow(tiny("gemma2", **gemma, sliding_window=9), TOKENS)
    assert wide.reasons == {}
    narrow = follow(tiny("gemma2", **gemma, sliding_window=8), TOKENS)
    assert sorted(narrow.reasons) == [0, 2]
    assert "take contexts within it" in narrow.reasons[0]
    assert narrow.terms[0] is None
    assert narrow.reconstruction[0] is None
    assert narrow.terms[1] is not None


def test_hidden_states_without_attention() -> None:
    """Mamba has none; its hidden states are split all the same."""
    values = {"vocab_size": VOCABULARY, "hidden_size": 48, "num_hidden_layers": 2}
    found = follow(tiny("mamba", **values, state_size=4), TOKENS)
    assert sorted(found.reasons) == [0, 1]
    assert found.shares.shape == (3, 3)
    np.testing.assert_allclose(found.shares.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert found.reconstruction_error is None
    assert found.picture is None


def test_attention_that_is_not_seen_is_not_parted() -> None:
    """GPT-OSS puts a sink beside the keys, so that softmax is given one column more."""
    model = tiny(
        "gpt_oss",
        **GROUPED | {"num_local_experts": 2, "num_experts_per_tok": 1, "intermediate_size": 12},
    )
    found = follow(model, TOKENS)
    assert sorted(found.reasons) == [0, 1, 2]
    assert "cannot see the attention logits" in found.reasons[2]
    assert np.isfinite(found.shares).all()


def test_logits_that_a_model_computes_otherwise_are_not_parted() -> None:
    """Falcon with ALiBi, run eagerly, adds it twice in transformers 5.23."""
    found = follow(tiny("falcon", alibi=True), drawn(2))
    assert sorted(found.reasons) == [0, 1, 2]
    assert "differs from the model's own logits" in found.reasons[1]
    assert found.reconstruction == (None, None, None)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (TOKENS[:1], "at least 2"),
        (TOKENS[:, :2], "at least 3 tokens"),
        (np.full((2, 5), VOCABULARY), f"ids from 0 to {VOCABULARY - 1}"),
        (np.full((2, 5), -1), "ids from 0"),
        (drawn(2, 72), "at most 71 tokens in each, got 72"),
    ],
)
def test_tokens_that_cannot_be_read(tokens: np.ndarray, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        follow(tiny("gpt2"), tokens)


@pytest.mark.parametrize(
    ("place", "there"),
    [
        ((3, 0), "a layer from 0 to 2"),
        ((-1, 0), "a layer from 0 to 2"),
        ((1, 6), "a head from 0 to 5 in layer 1"),
    ],
)
def test_a_head_that_is_not_there(place: tuple[int, int], there: str) -> None:
    with pytest.raises(SettingError, match=f"no such head: expected {there}"):
        follow(tiny("gpt2"), TOKENS, head=place)


def test_parts() -> None:
    with pytest.raises(SourceError, match="expected one of encoder, decoder, got 'text'"):
        follow(tiny("t5"), TOKENS, part="text")
    with pytest.raises(SourceError, match="leave --part out"):
        follow(tiny("gpt2"), TOKENS, part="decoder")


def test_the_text_part_of_a_model_that_sees_images_too() -> None:
    text = {"vocab_size": VOCABULARY, "hidden_size": 48, "num_attention_heads": 6}
    small = {"num_hidden_layers": 2, "intermediate_size": 10}
    model = tiny(
        "clip",
        text_config=text | small | {"max_position_embeddings": 71, "eos_token_id": 2},
        vision_config=small
        | {"hidden_size": 48, "num_attention_heads": 6, "image_size": 9, "patch_size": 3},
    )
    found = follow(model, TOKENS)
    assert found.part == "text"
    assert found.reasons == {}
    assert len(found.terms) == 2


class Lookup(torch.nn.Module):
    """Like nanoGPT's, no model of transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(5, 3)


@pytest.mark.parametrize("source", [Lookup(), np.ones((4, 3)), 7, None])
def test_what_is_no_model_of_transformers(source: Any) -> None:
    with pytest.raises(SourceError, match="expected a model of transformers"):
        follow(source, TOKENS)


def test_a_model_that_reads_no_text() -> None:
    vision = {"image_size": 9, "patch_size": 3, "intermediate_size": 10}
    model = tiny("vit", **vision, hidden_size=48, num_attention_heads=6, num_hidden_layers=2)
    with pytest.raises(SourceError, match="reads no text"):
        follow(model, TOKENS)


def test_a_decoder_whose_encoder_reads_sound() -> None:
    size = {"encoder_layers": 1, "decoder_layers": 1, "d_model": 48, "num_mel_bins": 8}
    heads = {"encoder_attention_heads": 6, "decoder_attention_heads": 6}
    ffn = {"encoder_ffn_dim": 10, "decoder_ffn_dim": 10, "pad_token_id": 0}
    model = tiny("whisper", vocab_size=VOCABULARY, **size, **heads, **ffn)
    with pytest.raises(SourceError, match="a model that reads token ids"):
        follow(model, TOKENS, part="decoder")


def test_a_model_whose_weights_are_not_there() -> None:
    with torch.device("meta"):
        model = hf.GPT2Model(hf.GPT2Config(**BASIC))
    with pytest.raises(SourceError, match="load its weights"):
        follow(model, TOKENS)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("rope:head_dim=8", "an encoding or an address"),
        ("https://example.org/model.safetensors", "an encoding or an address"),
        ("no/such/folder", "nothing found at"),
    ],
)
def test_strings_that_name_no_model(source: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        follow(source, TOKENS)


def test_a_folder_that_transformers_cannot_load(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(SourceError, match="transformers cannot load"):
        follow(tmp_path, TOKENS)


def test_nothing_is_written_while_a_model_is_loaded(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    follow(saved(tiny("bert"), tmp_path), TOKENS)
    capfd.readouterr()
    follow(tmp_path, TOKENS)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_not_the_models(tmp_path: Path) -> None:
    folder = saved(tiny("gpt2"), tmp_path)
    other = folder / "other.safetensors"
    other.write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(SourceError, match="give the model's folder"):
        follow(other, TOKENS)


def test_weights_that_are_missing_are_not_drawn(tmp_path: Path) -> None:
    file = saved(tiny("gpt2"), tmp_path) / "model.safetensors"
    weights = load_file(file)
    del weights["h.1.attn.c_attn.weight"]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(SourceError, match=r"none for 'h\.1\.attn\.c_attn\.weight'"):
        follow(tmp_path, TOKENS)


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else plain(name)
    )
    with pytest.raises(SettingError, match=r'got no torch; pip install "poslens\[torch\]"'):
        follow("anything", TOKENS)


def test_gguf_without_accelerate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "accelerate" else plain(name)
    )
    with pytest.raises(SettingError, match=r"got no accelerate; pip install .*\[torch,gguf\]"):
        follow(tmp_path / "model.gguf", TOKENS)


def test_torch_is_not_imported_before_a_model_is_asked_for() -> None:
    code = "import sys, poslens.hidden; print(sorted({'torch', 'transformers'} & {*sys.modules}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"
