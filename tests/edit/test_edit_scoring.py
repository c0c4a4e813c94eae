"""Losses beside those of transformers itself, and the divergence between variants."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from edited_models import (
    BASE,
    CAUSAL,
    DECODERS,
    ENCODERS,
    LENGTH,
    MASK,
    VOCABULARY,
    drawn,
    longer,
    own_loss,
    own_masked_loss,
    rows_of,
    tiny,
)

from poslens.edit import scoring
from poslens.edit.models import language_model
from poslens.edit.questions import drawn_positions
from poslens.edit.scoring import batches, drift, score
from poslens.errors import SettingError, SourceError, UndefinedMeasureError

TOKENS = drawn()


@pytest.mark.parametrize("family", DECODERS)
def test_causal_losses_are_those_of_transformers(family: str) -> None:
    model = tiny(family).double()
    with language_model(model) as language:
        assert language.kind == "causal"
        found = score(language, {"one": language.original()}, TOKENS)["one"]
    assert found.divergences is None
    assert np.array_equal(found.positions, np.tile(np.arange(1, LENGTH), (3, 1)))
    want = [own_loss(model, ids) for ids in TOKENS]
    np.testing.assert_allclose(found.by_context(), want, rtol=1e-6)  # theirs are in float32


def test_a_loss_is_that_of_the_token_at_its_position() -> None:
    model = tiny("llama").double()
    with language_model(model) as language:
        found = score(language, {"one": language.original()}, TOKENS)["one"]
    with torch.no_grad():
        logits = model(torch.as_tensor(TOKENS)).logits
    shares = torch.log_softmax(logits, -1).numpy()
    for context, position in ((0, 1), (1, 17), (2, LENGTH - 1)):
        want = -shares[context, position - 1, TOKENS[context, position]]
        assert found.losses[context, position - 1] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("family", ENCODERS)
def test_pseudo_perplexity_by_hand(family: str) -> None:
    model = tiny(family).double()
    with language_model(model, mask=MASK) as language:
        assert language.kind == "masked"
        found = score(language, {"one": language.original()}, TOKENS, seed=3, masked=6)["one"]
    assert found.positions.shape == found.losses.shape == (3, 6)
    for context, place in ((0, 0), (1, 3), (2, 5)):
        at = int(found.positions[context, place])
        want = own_masked_loss(model, TOKENS[context], at)
        assert found.losses[context, place] == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "bert", "llama"])
def test_in_float32_and_in_batches(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(family)
    whole = _scores(tiny(family).double())
    for tokens, chunk in ((2**14, 2**22), (3 * LENGTH, 5 * VOCABULARY), (1, 1)):
        monkeypatch.setattr(scoring, "TOKENS", tokens)
        monkeypatch.setattr(scoring, "CHUNK", chunk)
        part = _scores(model)
        for name, found in part.items():
            np.testing.assert_allclose(found.losses, whole[name].losses, rtol=0, atol=1e-5)
            np.testing.assert_allclose(
                found.divergences, whole[name].divergences, rtol=0, atol=1e-5
            )


def _scores(model: Any) -> dict[str, Any]:
    other = tiny(model.config.model_type, seed=1).to(model.dtype)
    with language_model(model, mask=MASK) as language:
        variants = {"other": lambda: other, "own": language.original()}
        return score(language, variants, drawn(7), against="own", masked=5)


def test_the_divergence_written_out() -> None:
    found = _scores(tiny("gpt2").double())
    both = []
    for seed in (0, 1):
        with torch.no_grad():
            logits = tiny("gpt2", seed=seed).double()(torch.as_tensor(drawn(7))).logits
        both.append(torch.log_softmax(logits, -1).numpy()[:, :-1])
    want = (np.exp(both[0]) * (both[0] - both[1])).sum(-1)
    np.testing.assert_allclose(found["other"].divergences, want, rtol=1e-9)
    assert (found["other"].divergences > 0).all()
    assert (found["own"].divergences == 0).all()
    assert list(found) == ["other", "own"]


def test_a_small_change_diverges_by_little_and_not_by_less_than_nothing() -> None:
    model = tiny("gpt2")
    rows = rows_of(model)
    near = rows + 1e-3 * np.random.default_rng(0).standard_normal(rows.shape)
    with language_model(model) as language:
        variants = {"own": language.original(), "near": language.with_rows(near)}
        found = score(language, variants, TOKENS, against="own")["near"].divergences
    assert found is not None
    assert found.min() > -1e-6
    assert 0 < found.mean() < 1e-4


def test_the_same_model_does_not_diverge_from_itself() -> None:
    for family in ("gpt2", "bert"):
        with language_model(tiny(family), mask=MASK) as language:
            variants = {"one": language.original(), "two": language.original()}
            found = score(language, variants, TOKENS, against="one")
        assert np.array_equal(found["one"].losses, found["two"].losses)
        assert not found["two"].divergences.any()


def test_a_token_that_is_never_given_does_not_matter() -> None:
    """Its logit is minus infinity in both: 0 · log 0 is 0."""
    model = tiny("gpt2", tie_word_embeddings=False)

    def forbid(_: Any, __: Any, out: torch.Tensor) -> torch.Tensor:
        return out.index_fill(-1, torch.tensor([60]), -torch.inf)

    handle = model.lm_head.register_forward_hook(forbid)
    tokens = TOKENS % 60
    with language_model(model) as language:
        variants = {"one": language.original(), "two": language.with_rows(rows_of(model)[::-1])}
        language.with_rows(rows_of(model)[::-1])().lm_head.register_forward_hook(forbid)
        found = score(language, variants, tokens, against="one")
    handle.remove()
    assert np.isfinite(found["two"].divergences).all()
    assert found["two"].divergences.mean() > 0.01


def test_padding_in_the_text_is_a_token() -> None:
    """RoBERTa numbers the positions of what is not padding, unless it is told them."""
    model = tiny("roberta").double()
    tokens = TOKENS.copy()
    tokens[:, 5] = model.config.pad_token_id
    with language_model(model, mask=MASK) as language:
        found = score(language, {"one": language.original()}, tokens, masked=100)["one"]
    for at in (5, 20):
        (place,) = np.flatnonzero(found.positions[0] == at)
        want = own_masked_loss(model, tokens[0], at)
        assert found.losses[0, place] == pytest.approx(want, rel=1e-6)


def test_masked_positions_are_drawn_in_stretches() -> None:
    tokens = drawn(5, 43)
    with language_model(tiny("bert"), mask=MASK) as language:
        found = drawn_positions(language, tokens, 8, 0)
        again = drawn_positions(language, tokens, 8, 0)
        other = drawn_positions(language, tokens, 8, 1)
        every = drawn_positions(language, tokens, 100, 0)
    edges = np.linspace(0, 43, 9).astype(int)
    assert ((edges[:-1] <= found) & (found < edges[1:])).all()
    assert np.array_equal(found, again)
    assert not np.array_equal(found, other)
    assert np.array_equal(every, np.tile(np.arange(43), (5, 1)))


@pytest.mark.parametrize(
    ("contexts", "length", "vocabulary"), [(9, 37, 61), (64, 512, 30_522), (3, 2048, 50_257)]
)
def test_batches_hold_no_more_than_they_may(contexts: int, length: int, vocabulary: int) -> None:
    found = list(batches(contexts, length, length * vocabulary))
    assert [row for some in found for row in range(contexts)[some]] == list(range(contexts))
    for some in found:
        rows = some.stop - some.start
        assert rows == 1 or rows * length * vocabulary <= scoring.LOGITS
        assert rows == 1 or rows * length <= scoring.TOKENS
    largest = max(some.stop - some.start for some in found)
    assert 4 * largest * length * vocabulary <= 2**29  # bytes: what is kept of the original


def test_of_a_masked_token_alone_the_head_sees_one_position(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, seen = tiny("bert"), []
    handle = model.get_output_embeddings().register_forward_hook(
        lambda _, __, out: seen.append(tuple(out.shape))
    )
    with language_model(model, mask=MASK) as language:
        score(language, {"one": language.original()}, TOKENS, masked=5)
    handle.remove()
    assert seen == [(15, 1, VOCABULARY)]


@pytest.mark.parametrize("against", [None, "one"])
def test_logits_are_kept_of_one_batch_and_one_variant(
    against: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "LOGITS", LENGTH * VOCABULARY)
    model, made, alive = tiny("gpt2"), [], []
    model.register_forward_pre_hook(lambda *_: alive.append(sum(one() is not None for one in made)))
    model.register_forward_hook(lambda _, __, out: made.append(weakref.ref(out.logits)))
    with language_model(model) as language:
        variants = dict.fromkeys(("one", "two", "three"), language.original())
        score(language, variants, TOKENS, against=against)
    assert len(made) == 9
    assert max(alive) == (0 if against is None else 1)


def test_progress_counts_batches_of_all_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "TOKENS", 2 * LENGTH)
    calls = []
    with language_model(tiny("gpt2")) as language:
        variants = {"one": language.original(), "two": language.original()}
        score(language, variants, TOKENS, progress=lambda *one: calls.append(one))
    assert calls == [("tokens predicted", done, 4) for done in range(5)]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (TOKENS[:0], "at least one context"),
        (TOKENS[:, :1], "at least 2 tokens"),
        (np.full((1, 5), VOCABULARY), f"ids from 0 to {VOCABULARY - 1}"),
        (np.full((1, 5), -1), "ids from 0"),
        (drawn(1, 44), "at most 43 tokens in each, got 44"),
    ],
)
def test_tokens_that_cannot_be_read(tokens: np.ndarray, message: str) -> None:
    with (
        language_model(tiny("gpt2")) as language,
        pytest.raises(SettingError, match=message),
    ):
        score(language, {"one": language.original()}, tokens)


def test_a_variant_that_is_too_short_is_known_before_any_is_run() -> None:
    model, ran = tiny("gpt2"), []
    handle = model.register_forward_hook(lambda *_: ran.append(1))
    with language_model(model) as language:
        variants = {"o": language.original(), "short": language.with_rows(rows_of(model)[:20])}
        with pytest.raises(SettingError, match="than what 'short' reads: expected at most 20"):
            score(language, variants, TOKENS)
    handle.remove()
    assert not ran


def test_what_cannot_be_asked() -> None:
    with language_model(tiny("bert")) as language:
        one = {"one": language.original()}
        with pytest.raises(SettingError, match="which token stands for"):
            score(language, one, TOKENS)
    with language_model(tiny("bert"), mask=MASK) as language:
        one = {"one": language.original()}
        with pytest.raises(SettingError, match="number of masked positions cannot be used"):
            score(language, one, TOKENS, masked=0)
        with pytest.raises(SettingError, match="the seed cannot be used"):
            score(language, one, TOKENS, seed=-1)
        with pytest.raises(SettingError, match="expected one of 'one', got 'two'"):
            score(language, one, TOKENS, against="two")
    with language_model(tiny("bert", BASE)) as language:
        assert language.kind == "headless"
        with pytest.raises(SettingError, match="predicts no tokens"):
            score(language, {"one": language.original()}, TOKENS)


def test_a_loss_that_is_no_number() -> None:
    model = tiny("gpt2")
    torch.nn.init.constant_(model.transformer.h[1].mlp.c_fc.weight, torch.nan)
    with (
        language_model(model) as language,
        pytest.raises(SourceError, match="the loss of 'one' is no number"),
    ):
        score(language, {"one": language.original()}, TOKENS)


@pytest.mark.parametrize("family", ["bert", "mpnet", "roberta", "gpt2"])
def test_drift_written_out(family: str) -> None:
    text = 8 + TOKENS % 40  # without padding, of which MPNet has its own
    models = [tiny(family, BASE, seed=seed) for seed in (0, 1)]
    states = []
    for model in models:
        tokens = torch.as_tensor(text)
        with torch.no_grad():
            states.append(model.double()(tokens).last_hidden_state)
    with language_model(models[0]) as language:
        variants = {"own": language.original(), "other": lambda: models[1]}
        found = drift(language, variants, text, against="own")
    want = torch.cosine_similarity(*states, dim=-1).numpy()
    np.testing.assert_allclose(found["other"].cosines, want, rtol=0, atol=1e-12)
    want = torch.cosine_similarity(*(one.mean(1) for one in states), dim=-1).numpy()
    np.testing.assert_allclose(found["other"].pooled, want, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["own"].cosines, 1, rtol=0, atol=1e-12)


def test_drift_of_one_position_and_of_none() -> None:
    model = tiny("bert", BASE)
    rows = rows_of(model)
    with language_model(model) as language:
        variants = {"own": language.original(), "long": language.with_rows(longer(rows, 99))}
        found = drift(language, variants, TOKENS[:, :1], against="own")
        np.testing.assert_allclose(found["long"].cosines, 1, rtol=0, atol=1e-9)
        for name, _ in model.named_parameters():
            if "LayerNorm" in name:
                torch.nn.init.zeros_(model.get_parameter(name))
        with pytest.raises(UndefinedMeasureError, match="states of 'own' have no direction"):
            drift(language, variants, TOKENS, against="own")


def test_attention_as_it_comes_makes_no_difference() -> None:
    found = []
    for implementation in ("eager", "sdpa"):
        model = tiny("gpt2", CAUSAL)
        model.set_attn_implementation(implementation)
        with language_model(model) as language:
            found.append(score(language, {"one": language.original()}, TOKENS)["one"].losses)
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-5)
