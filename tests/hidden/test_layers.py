"""Shares and sums of terms at every layer against brute force on tiny models of six families."""

from __future__ import annotations

import brute_attention as brute
import numpy as np
import pytest
import transformers as hf
from hidden_models import drawn, tiny

from poslens.hidden import HiddenStates, follow

FAMILIES = {
    "gpt2": {},
    "bert": {},
    "mpnet": {},
    "llama": {},
    "gpt_neox": {"rotary_pct": 0.5},
    "opt": {"ffn_dim": 10, "word_embed_proj_dim": 48},
}
TOKENS = drawn()

# Models in float64 normalise (Llama) and turn (Llama, GPT-NeoX) in float32.
ROUNDING = 1e-7


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> hf.PreTrainedModel:
    return tiny(request.param, **FAMILIES[request.param])


@pytest.fixture(scope="module")
def exact(model: hf.PreTrainedModel) -> hf.PreTrainedModel:
    """The same model in float64."""
    family = model.config.model_type
    twin = tiny(family, **FAMILIES[family]).double()
    twin.load_state_dict(model.state_dict())
    return twin


@pytest.fixture(scope="module")
def found(model: hf.PreTrainedModel) -> HiddenStates:
    return follow(model, TOKENS)


def test_shares_are_those_of_the_logits_written_out(exact: hf.PreTrainedModel) -> None:
    found = follow(exact, TOKENS)
    entering = brute.entering(exact, TOKENS, brute.hidden_states(exact, TOKENS))
    assert found.reasons == {}
    assert len(found.terms) == len(entering) == 3
    for sums, (layer, parts) in zip(found.terms, entering, strict=True):
        assert sums is not None
        want = brute.shares([brute.terms(layer, one) for one in parts], causal=layer.causal)
        np.testing.assert_allclose(sums.shares(), want, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(sums.shares().sum(axis=0), 1, rtol=0, atol=1e-9)
    assert found.reconstruction_error is not None
    assert found.reconstruction_error < 10 * ROUNDING


def test_shares_in_float32(model: hf.PreTrainedModel, exact: hf.PreTrainedModel) -> None:
    got, want = follow(model, TOKENS), follow(exact, TOKENS)
    for one, other in zip(got.terms, want.terms, strict=True):
        assert one is not None
        assert other is not None
        np.testing.assert_allclose(one.shares(), other.shares(), rtol=0, atol=1e-5)


def test_terms_sum_to_the_models_own_logits(found: HiddenStates) -> None:
    assert found.reconstruction_error is not None
    assert found.reconstruction_error <= 1e-4
    assert all(error is not None for error in found.reconstruction)


def test_the_picture_is_of_the_models_own_logits(
    model: hf.PreTrainedModel, exact: hf.PreTrainedModel
) -> None:
    entering = brute.entering(exact, TOKENS, brute.hidden_states(exact, TOKENS))
    for place in ((0, 3), (2, 5)):
        found = follow(exact, TOKENS, head=place)
        layer, parts = entering[place[0]]
        want = brute.terms(layer, parts[0])[:, place[1]]
        if layer.causal:
            want[:, ~np.tri(want.shape[1], dtype=bool)] = np.nan
        want -= np.nanmean(want, axis=2, keepdims=True)
        assert found.place == place
        assert found.picture is not None
        np.testing.assert_allclose(found.picture, want, rtol=0, atol=1e-5)


def test_hidden_states_against_all_at_once(exact: hf.PreTrainedModel) -> None:
    states, found = brute.hidden_states(exact, TOKENS), follow(exact, TOKENS)
    assert found.undefined == {}
    for layer, rows in enumerate(states):
        mean = rows.mean(axis=(0, 1))
        pos, ctx = rows.mean(axis=0) - mean, rows.mean(axis=1) - mean
        resid = rows - mean - pos - ctx[:, None]
        squares = np.array(
            [
                len(rows) * np.sum(pos**2),
                rows.shape[1] * np.sum(ctx**2),
                np.sum(resid**2),
            ]
        )
        np.testing.assert_allclose(found.shares[layer], squares / squares.sum(), rtol=1e-8)
        np.testing.assert_allclose(found.positions[layer], pos, rtol=0, atol=1e-9)
        spectral = np.linalg.norm(pos, 2)
        assert found.stable_rank[layer] == pytest.approx(np.sum(pos**2) / spectral**2, rel=1e-8)
        whole = (mean + pos + ctx[:, None]).reshape(-1, mean.size)
        want = np.sqrt(len(rows)) * spectral / np.linalg.norm(whole, 2)
        assert found.relative_norm[layer] == pytest.approx(want, rel=1e-8)
        unit_pos, unit_ctx = (
            one / np.linalg.norm(one, axis=1, keepdims=True) for one in (pos, ctx)
        )
        want = np.abs(unit_pos @ unit_ctx.T).max()
        assert found.incoherence[layer] == pytest.approx(want, rel=1e-7)


def test_components_are_aligned_from_layer_to_layer(found: HiddenStates) -> None:
    before = None
    for layer, pos in enumerate(found.positions):
        scores, values = found.scores[layer], np.linalg.svd(pos, compute_uv=False) ** 2
        np.testing.assert_allclose(found.explained[layer], (values / values.sum())[:3], rtol=1e-9)
        np.testing.assert_allclose(np.sum(scores**2, axis=0), values[:3], rtol=1e-9)
        np.testing.assert_allclose(pos @ (pos.T @ scores), scores * values[:3], rtol=0, atol=1e-6)
        if before is not None:
            assert np.all(np.einsum("tc,tc->c", before, scores) >= 0)
        before = scores


def test_the_shown_head_has_the_largest_position_share(found: HiddenStates) -> None:
    bearing = np.array([sums.shares()[1:4].sum(axis=0) for sums in found.terms if sums])
    assert found.place == np.unravel_index(bearing.argmax(), bearing.shape)
