"""MiniLM and SmolLM2: sums of terms against their own logits at every layer, in float32."""

from __future__ import annotations

import pydoc_data.topics
from collections.abc import Callable
from pathlib import Path

import brute_attention as brute
import gguf
import numpy as np
import pytest
import transformers as hf
from tokenizers import Tokenizer

from poslens.hidden import HiddenStates, follow


def texts(tokenizer: Tokenizer, count: int, length: int) -> np.ndarray:
    """Token ids of a text that comes with Python, shape (context, position)."""
    whole = "\n".join(text for _, text in sorted(pydoc_data.topics.topics.items()))
    ids = tokenizer.encode(whole[:20_000], add_special_tokens=False).ids
    return np.array(ids[: count * length]).reshape(count, length)


@pytest.fixture(scope="module")
def minilm_tokens(minilm: Path) -> np.ndarray:
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return texts(tokenizer, 4, 67)


@pytest.fixture(scope="module")
def minilm_states(minilm: Path, minilm_tokens: np.ndarray) -> HiddenStates:
    return follow(minilm, minilm_tokens)


def test_minilm_at_every_layer(minilm_states: HiddenStates) -> None:
    errors = [error for error in minilm_states.reconstruction if error is not None]
    assert len(errors) == 6
    assert max(errors) <= 1e-4


def test_minilm_against_logits_written_out(
    minilm: Path, minilm_tokens: np.ndarray, minilm_states: HiddenStates
) -> None:
    model = hf.AutoModel.from_pretrained(minilm, attn_implementation="eager").double().eval()
    states = brute.hidden_states(model, minilm_tokens)
    entering = brute.entering(model, minilm_tokens, states)
    for sums, (layer, parts) in zip(minilm_states.terms, entering, strict=True):
        assert sums is not None
        want = brute.shares([brute.terms(layer, one) for one in parts], causal=False)
        np.testing.assert_allclose(sums.shares(), want, rtol=0, atol=1e-5)
        np.testing.assert_allclose(sums.shares().sum(axis=0), 1, rtol=0, atol=1e-9)
    own = brute.own_logits(model, minilm_tokens[0])
    for logits, (layer, parts) in zip(own, entering, strict=True):
        whole = brute.terms(layer, parts[0]).sum(axis=0)
        np.testing.assert_allclose(whole, logits, rtol=0, atol=1e-9 * logits.std())


@pytest.fixture(scope="module")
def smollm2_states(smollm2_path: Path, read_gguf: Callable[[str], gguf.GGUFReader]) -> HiddenStates:
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patched:
        # transformers reads the file once for its config and once more for its weights.
        patched.setattr(gguf, "GGUFReader", read_gguf)
        return follow(smollm2_path, rng.integers(3, 49_000, size=(3, 48)))


def test_smollm2_from_its_gguf_at_every_layer(smollm2_states: HiddenStates) -> None:
    assert smollm2_states.reasons == {}
    errors = [error for error in smollm2_states.reconstruction if error is not None]
    assert len(errors) == 30
    assert max(errors) <= 1e-4


def test_smollm2_shares(smollm2_states: HiddenStates) -> None:
    assert smollm2_states.positions.shape == (31, 48, 576)
    np.testing.assert_allclose(smollm2_states.shares.sum(axis=1), 1, rtol=0, atol=1e-9)
    for sums in smollm2_states.terms:
        assert sums is not None
        assert sums.shares().shape == (5, 9)
        np.testing.assert_allclose(sums.shares().sum(axis=0), 1, rtol=0, atol=1e-9)
