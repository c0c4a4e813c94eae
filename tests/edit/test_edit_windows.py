"""Cut texts and sliding windows beside the same windows read one by one by transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from edited_models import MASK, POSITIONS, drawn, own_masked_loss, tiny

from poslens.edit.models import LanguageModel, language_model
from poslens.edit.questions import drawn_positions
from poslens.edit.scoring import score
from poslens.edit.special import Special
from poslens.edit.windows import cut, sliding
from poslens.errors import SettingError

LENGTH, WINDOW = 101, 24  # the last window of a cut text is shorter
TOKENS = drawn(2, LENGTH)


def losses(model: Any, ids: np.ndarray) -> np.ndarray:
    """Of every token but the first, written out."""
    with torch.no_grad():
        logits = model(torch.as_tensor(ids)[None]).logits[0]
    shares = torch.log_softmax(logits, -1).numpy()
    return -shares[np.arange(len(ids) - 1), ids[1:]]


def surrounded(language: LanguageModel, before: tuple[int, ...], after: tuple[int, ...]) -> None:
    language.special = Special(MASK, before, after)


def test_a_cut_causal_text() -> None:
    model = tiny("gpt2").double()
    with language_model(model) as language:
        found = cut(language, TOKENS, WINDOW)
    want = [at for at in range(LENGTH) if at % WINDOW]
    assert np.array_equal(found.positions, [want, want])
    for context, ids in enumerate(TOKENS):
        parts = [losses(model, ids[at : at + WINDOW]) for at in range(0, LENGTH, WINDOW)]
        np.testing.assert_allclose(found.losses[context], np.concatenate(parts), rtol=1e-10)
    assert found.divergences is None


@pytest.mark.parametrize(("window", "stride"), [(24, 24), (24, 7), (24, 1), (43, 20), (43, 42)])
def test_a_window_slides_along_a_causal_text(window: int, stride: int) -> None:
    model = tiny("llama").double()
    with language_model(model) as language:
        found = sliding(language, TOKENS, window, stride)
    want = np.full(LENGTH, np.nan)
    end = window
    want[1:window] = losses(model, TOKENS[1, :window])
    while end < LENGTH:
        new = min(stride, LENGTH - end)
        end += new
        # A token whose window begins with it is predicted from nothing.
        scored = losses(model, TOKENS[1, end - window : end])
        at = np.arange(end - window + 1, end)
        fresh = at >= end - new
        want[at[fresh]] = scored[fresh]
    kept = np.flatnonzero(np.isfinite(want))
    assert np.array_equal(found.positions, [kept, kept])
    np.testing.assert_allclose(found.losses[1], want[kept], rtol=1e-10)


def test_special_tokens_are_around_every_window_of_a_causal_text() -> None:
    model, tokens = tiny("gpt2").double(), TOKENS.copy()
    tokens[:, :2], tokens[:, -1] = (1, 3), 2
    with language_model(model) as language:
        surrounded(language, (1, 3), (2,))
        found, slid = cut(language, tokens, WINDOW), sliding(language, tokens, WINDOW, 5)
    room = WINDOW - 2
    assert np.array_equal(found.positions, np.tile(np.arange(2, LENGTH), (2, 1)))
    assert np.array_equal(slid.positions, found.positions)
    parts = []
    for at in range(2, LENGTH, room):
        ids = np.concatenate(([1, 3], tokens[0, at : at + room]))
        parts.append(losses(model, ids)[1:])
    np.testing.assert_allclose(found.losses[0], np.concatenate(parts), rtol=1e-10)
    ids = np.concatenate(([1, 3], tokens[0, LENGTH - room :]))
    assert slid.losses[0, -1] == pytest.approx(losses(model, ids)[-1], rel=1e-10)


@pytest.mark.parametrize("around", [((), ()), ((1,), (2,))])
def test_a_cut_masked_text(around: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    model, tokens = tiny("bert").double(), TOKENS.copy()
    tokens[:, 0], tokens[:, -1] = 1, 2
    before, after = (len(one) for one in around)
    room = WINDOW - before - after
    with language_model(model) as language:
        surrounded(language, *around)
        found = cut(language, tokens, WINDOW, seed=2, masked=9)
        positions = drawn_positions(language, tokens, 9, 2)
    assert np.array_equal(found.positions, positions)
    for context, place in ((0, 0), (0, 4), (1, 8)):
        at = int(positions[context, place])
        start = before + (at - before) // room * room
        stop = min(start + room, LENGTH - after)
        ids = np.concatenate((around[0], tokens[context, start:stop], around[1])).astype(np.int64)
        want = own_masked_loss(model, ids, before + at - start)
        assert found.losses[context, place] == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("around", [((), ()), ((1,), (2,))])
@pytest.mark.parametrize("stride", [1, 6])
def test_a_masked_token_is_in_the_middle_of_its_window(
    around: tuple[tuple[int, ...], tuple[int, ...]], stride: int
) -> None:
    model, tokens = tiny("roberta").double(), TOKENS.copy()
    tokens[:, 0], tokens[:, -1] = 1, 2
    before, after = (len(one) for one in around)
    room = WINDOW - before - after
    with language_model(model) as language:
        surrounded(language, *around)
        found = sliding(language, tokens, WINDOW, stride, masked=7)
    last = LENGTH - before - after - room
    starts = [*range(0, last, stride), last]
    for context, place in ((0, 0), (0, 3), (1, 6)):
        at = int(found.positions[context, place])
        away = [abs((at - before) - (start + (room - 1) / 2)) for start in starts]
        start = before + starts[int(np.argmin(away))]
        inner = tokens[context, start : start + room]
        ids = np.concatenate((around[0], inner, around[1])).astype(np.int64)
        want = own_masked_loss(model, ids, before + at - start)
        assert found.losses[context, place] == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_a_window_of_the_whole_text_is_the_model_as_it_is(family: str) -> None:
    tokens = TOKENS[:, :37]
    with language_model(tiny(family), mask=MASK) as language:
        want = score(language, {"own": language.original()}, tokens, masked=9)["own"]
        for found in (
            cut(language, tokens, POSITIONS, masked=9),
            sliding(language, tokens, POSITIONS, 10, masked=9),
            sliding(language, tokens, 37, 37, masked=9),
        ):
            assert np.array_equal(found.positions, want.positions)
            np.testing.assert_allclose(found.losses, want.losses, rtol=0, atol=1e-5)


def test_of_a_window_of_two_tokens_one_is_scored() -> None:
    with language_model(tiny("gpt2")) as language:
        found = cut(language, TOKENS, 2)
    assert np.array_equal(found.positions[0], np.arange(1, LENGTH, 2))


@pytest.mark.parametrize(
    ("window", "stride", "message"),
    [
        (1, 1, "expected at least 2 tokens and at most 43"),
        (44, 1, "at most 43, which the model reads, got 44"),
        (20, 0, "from 1 to the 20 tokens"),
        (20, 21, "from 1 to the 20 tokens"),
    ],
)
def test_windows_that_cannot_be(window: int, stride: int, message: str) -> None:
    with (
        language_model(tiny("gpt2")) as language,
        pytest.raises(SettingError, match=message),
    ):
        sliding(language, TOKENS, window, stride)


def test_windows_need_a_head_and_a_mask() -> None:
    with (
        language_model(tiny("bert", "AutoModel")) as language,
        pytest.raises(SettingError, match="predicts no tokens"),
    ):
        cut(language, TOKENS, WINDOW)
    with (
        language_model(tiny("bert")) as language,
        pytest.raises(SettingError, match="which token stands for"),
    ):
        sliding(language, TOKENS, WINDOW, 3)
    with language_model(tiny("bert"), mask=MASK) as language:
        surrounded(language, (int(TOKENS[0, 0]),), ())
        with pytest.raises(SettingError, match="expected at least 2 tokens"):
            cut(language, TOKENS[:1], 1)
