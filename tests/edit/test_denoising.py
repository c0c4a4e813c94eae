"""An encoder and a decoder that fill gaps: losses beside those of transformers itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from denoising_models import (
    EVERY,
    MASK,
    POSITIONS,
    SENTINEL,
    SPANS,
    TRAINED,
    VOCABULARY,
    bart,
    drawn,
    longer_bart,
    own_infilling_loss,
    own_span_loss,
    saved_with_tokenizer,
    spans,
    tables_of,
)
from safetensors.torch import load_file, save_file

from poslens.edit import scoring
from poslens.edit.models import language_model
from poslens.edit.questions import drawn_positions
from poslens.edit.scores import Scores
from poslens.edit.scoring import score
from poslens.edit.windows import cut, sliding
from poslens.errors import SettingError, SourceError, TableError

BEYOND = 301  # past the last bucket's edge, 128, and past T5's trained length
WINDOW = 24
OwnLoss = Callable[[Any, np.ndarray, int], float]
KINDS = [
    pytest.param(spans, own_span_loss, SENTINEL, id="t5"),
    pytest.param(bart, own_infilling_loss, MASK, id="bart"),
]


def scored(model: Any, tokens: np.ndarray, mask: int, masked: int = EVERY) -> Scores:
    with language_model(model, mask=mask) as language:
        assert language.kind == "denoising"
        return score(language, {"one": language.original()}, tokens, masked=masked)["one"]


def assert_own(found: Scores, tokens: np.ndarray, own: Callable[[np.ndarray, int], float]) -> None:
    want = [
        [own(ids, int(at)) for at in places]
        for ids, places in zip(tokens, found.positions, strict=True)
    ]
    np.testing.assert_allclose(found.losses, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SPANS)
def test_every_token_of_a_text_by_t5s_kin(name: str) -> None:
    model, tokens = spans(name), drawn(2, 37)
    found = scored(model, tokens, SENTINEL)
    assert np.array_equal(found.positions, np.tile(np.arange(37), (2, 1)))
    assert_own(found, tokens, lambda ids, at: own_span_loss(model, ids, at))
    assert found.losses.std() > 0.1


@pytest.mark.parametrize("name", SPANS)
def test_beyond_the_trained_length_and_the_last_bucket(name: str) -> None:
    model, tokens = spans(name).double(), drawn(1, BEYOND)
    found = scored(model, tokens, SENTINEL, masked=9)
    assert found.positions.max() > 128 > TRAINED > found.positions.min()
    assert_own(found, tokens, lambda ids, at: own_span_loss(model, ids, at))


def test_every_token_of_a_text_by_bart() -> None:
    model, tokens = bart(), drawn(2, POSITIONS)
    found = scored(model, tokens, MASK)
    assert np.array_equal(found.positions, np.tile(np.arange(POSITIONS), (2, 1)))
    assert_own(found, tokens, lambda ids, at: own_infilling_loss(model, ids, at))


def test_bart_does_not_see_what_it_is_to_predict() -> None:
    model, tokens = bart(), drawn(1, 37)
    other = tokens.copy()
    other[0, 20] = (tokens[0, 20] + 1) % (VOCABULARY - 1)
    both = np.vstack([tokens, other])
    with language_model(model, mask=MASK) as language:
        variants = {"one": language.original()}
        found = score(language, variants, both, masked=EVERY)["one"].losses
    with torch.no_grad():
        ids = torch.tensor(both)
        ids[:, 20] = MASK
        shifted = model.prepare_decoder_input_ids_from_labels(torch.as_tensor(both))
        shares = torch.log_softmax(model(ids, decoder_input_ids=shifted).logits, -1)[:, 20]
    assert torch.allclose(shares[0], shares[1], atol=1e-6)
    want = -shares[[0, 1], both[:, 20]].numpy()
    np.testing.assert_allclose(found[:, 20], want, atol=1e-5)


@pytest.mark.parametrize(("build", "own", "mask"), KINDS)
def test_the_special_tokens_around_a_text_are_not_hidden(
    build: Callable[[], Any], own: OwnLoss, mask: int
) -> None:
    model, tokens = build(), drawn(2, 31)
    first = getattr(model.config, "bos_token_id", None)
    before = [] if first is None else [first]
    tokens[:, : len(before)], tokens[:, -1] = before, model.config.eos_token_id
    found = scored(model, tokens, mask)
    assert np.array_equal(found.positions[0], np.arange(len(before), 30))
    assert_own(found, tokens, lambda ids, at: own(model, ids, at))


@pytest.mark.parametrize("name", ["t5", "switch", "bart"])
def test_in_batches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, mask = (bart(), MASK) if name == "bart" else (spans(name), SENTINEL)
    tokens = drawn(3, 37)
    whole = scored(model, tokens, mask, 5).losses
    read: list[int] = []
    model.get_encoder().register_forward_pre_hook(
        lambda _, __, inputs: read.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    given = 37 if name == "bart" else 2
    for contexts in (1, 4):
        read.clear()
        monkeypatch.setattr(scoring, "TOKENS", contexts * (37 + given))
        part = scored(model, tokens, mask, 5).losses
        np.testing.assert_allclose(part, whole, rtol=0, atol=1e-5)
        assert max(read) == contexts * 37
        assert sum(read) == 15 * 37


@pytest.mark.parametrize(("build", "own", "mask"), KINDS)
def test_the_head_sees_one_position(build: Callable[[], Any], own: OwnLoss, mask: int) -> None:
    model, tokens = build(), drawn(3, 37)
    seen: list[tuple[int, ...]] = []
    handle = model.get_output_embeddings().register_forward_hook(
        lambda _, __, out: seen.append(tuple(out.shape))
    )
    found = scored(model, tokens, mask, 5)
    handle.remove()
    assert seen == [(15, 1, VOCABULARY)]
    assert_own(found, tokens, lambda ids, at: own(model, ids, at))


@pytest.mark.parametrize(("build", "own", "mask"), KINDS)
def test_a_cut_text(build: Callable[[], Any], own: OwnLoss, mask: int) -> None:
    model, tokens = build(), drawn(2, 101)
    with language_model(model, mask=mask) as language:
        found = cut(language, tokens, WINDOW, seed=2, masked=9)
        positions = drawn_positions(language, tokens, 9, 2)
    assert np.array_equal(found.positions, positions)

    def by_hand(ids: np.ndarray, at: int) -> float:
        start = at // WINDOW * WINDOW
        return own(model, ids[start : start + WINDOW], at - start)

    assert_own(found, tokens, by_hand)


@pytest.mark.parametrize(("build", "own", "mask"), KINDS)
def test_a_window_that_slides(build: Callable[[], Any], own: OwnLoss, mask: int) -> None:
    model, tokens = build(), drawn(2, 101)
    end = model.config.eos_token_id
    tokens[:, -1] = end
    room = WINDOW - 1
    with language_model(model, mask=mask) as language:
        found = sliding(language, tokens, WINDOW, 5, masked=9)
    starts = [*range(0, 100 - room, 5), 100 - room]

    def by_hand(ids: np.ndarray, at: int) -> float:
        start = min(starts, key=lambda one: abs(at - one - (room - 1) / 2))
        return own(model, np.append(ids[start : start + room], end), at - start)

    assert_own(found, tokens, by_hand)


@pytest.mark.parametrize(("build", "own", "mask"), KINDS)
def test_a_window_of_the_whole_text_is_the_model_as_it_is(
    build: Callable[[], Any], own: OwnLoss, mask: int
) -> None:
    model, tokens = build(), drawn(2, 37)
    want = scored(model, tokens, mask, 7)
    with language_model(model, mask=mask) as language:
        for found in (
            cut(language, tokens, POSITIONS, masked=7),
            sliding(language, tokens, 37, 37, masked=7),
        ):
            assert np.array_equal(found.positions, want.positions)
            np.testing.assert_allclose(found.losses, want.losses, rtol=0, atol=1e-5)
    assert_own(want, tokens, lambda ids, at: own(model, ids, at))


@pytest.mark.parametrize("name", ["t5", "t5 1.1", "mt5"])
@pytest.mark.parametrize("sentinel", ["<extra_id_0>", "▁<extra_id_0>"])
def test_a_folder_of_t5_has_its_sentinel(name: str, sentinel: str, tmp_path: Path) -> None:
    model = spans(name, vocab_size=300)
    folder = saved_with_tokenizer(model, tmp_path / "model", sentinel)
    tokens = drawn(1, 37)
    tokens[0, -1] = end = 256
    with language_model(folder) as language:
        assert language.kind == "denoising"
        assert (language.special.mask, language.special.after) == (257, (end,))
        found = score(language, {"one": language.original()}, tokens, masked=5)["one"]
    assert found.positions.max() < 36
    assert_own(found, tokens, lambda ids, at: own_span_loss(model, ids, at, 257))


def test_a_folder_of_bart_has_its_mask(tmp_path: Path) -> None:
    model = bart(vocab_size=300)
    folder = saved_with_tokenizer(model, tmp_path / "model", "<mask>")
    model.model.save_pretrained(tmp_path / "base")  # as the first BARTs are on the hub
    tokens = drawn(1, 37)
    with language_model(folder) as language:
        assert language.special.mask == 257
        found = score(language, {"one": language.original()}, tokens, masked=5)["one"]
    assert_own(found, tokens, lambda ids, at: own_infilling_loss(model, ids, at, 257))
    model.final_logits_bias.zero_()
    found = scored(tmp_path / "base", tokens, 257, 5)
    assert_own(found, tokens, lambda ids, at: own_infilling_loss(model, ids, at, 257))


def test_a_sentinel_is_no_mask_and_a_mask_is_no_sentinel(tmp_path: Path) -> None:
    folder = saved_with_tokenizer(spans(vocab_size=300), tmp_path / "model", "<mask>")
    with language_model(folder) as language:
        assert language.special.mask is None
        with pytest.raises(SettingError, match="a tokenizer with <extra_id_0> beside the weights"):
            score(language, {"one": language.original()}, drawn(1, 9))


@pytest.mark.parametrize(("build", "called"), [(spans, "<extra_id_0>"), (bart, "a mask")])
def test_no_mask_and_a_wrong_one(build: Callable[[], Any], called: str) -> None:
    model, tokens = build(), drawn(1, 37)
    with language_model(model) as language:
        for ask in (
            lambda: score(language, {"one": language.original()}, tokens),
            lambda: cut(language, tokens, WINDOW),
            lambda: sliding(language, tokens, WINDOW, 3),
        ):
            with pytest.raises(
                SettingError, match=rf"with {called} beside .*got none; give its id \(mask"
            ):
                ask()
    for mask in (-1, VOCABULARY):
        with pytest.raises(SettingError, match=f"got the id {mask}; give its id"):
            scored(model, tokens, mask)


def test_the_model_is_as_it_was() -> None:
    model = spans().train()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    scored(model, drawn(1, 37), SENTINEL, 3)
    assert model.training
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_longer_tables_of_bart() -> None:
    model, length = bart().double(), 90
    new = np.random.default_rng(1).normal(0, 0.3, (2, length, 48))
    tables = dict(zip(("encoder", "decoder"), new, strict=True))
    tokens = drawn(2, 85)
    twin = longer_bart(model, tables)
    for part, other in (("encoder", "decoder"), ("decoder", "encoder")):
        with language_model(model, part, mask=MASK) as language:
            variant = language.with_rows(tables[part], {other: tables[other]})
            assert language.positions(variant()) == length
            found = score(language, {"long": variant}, tokens, masked=6)["long"]
        assert_own(found, tokens, lambda ids, at: own_infilling_loss(twin, ids, at))
    assert all(len(rows) == POSITIONS for rows in tables_of(model).values())


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_one_table_of_bart_in_its_own_length(part: str) -> None:
    model, tokens = bart().double(), drawn(2, 37)
    tables = tables_of(model)
    rows = np.ascontiguousarray(tables[part][::-1])
    twin = longer_bart(model, tables | {part: rows})
    with language_model(model, part, mask=MASK) as language:
        variants = {"own": language.original(), "new": language.with_rows(rows)}
        both = score(language, variants, tokens, against="own", masked=6)
    assert both["new"].divergences is not None
    assert both["new"].divergences.min() > 0
    assert_own(both["new"], tokens, lambda ids, at: own_infilling_loss(twin, ids, at))
    assert_own(both["own"], tokens, lambda ids, at: own_infilling_loss(model, ids, at))


def test_one_table_of_bart_alone_does_not_become_longer() -> None:
    with (
        language_model(bart(), mask=MASK) as language,
        pytest.raises(
            TableError, match=r"90 rows for each of 'encoder'.*'decoder'.*none for 'decoder'"
        ),
    ):
        language.with_rows(np.ones((90, 48)))
    with (
        language_model(bart(), mask=MASK) as language,
        pytest.raises(TableError, match="as many as of the other part: 90, got shape"),
    ):
        language.with_rows(np.ones((90, 48)), {"decoder": np.ones((91, 48))})


def test_a_text_that_one_of_barts_tables_does_not_reach() -> None:
    with pytest.raises(SettingError, match=f"at most {POSITIONS} tokens in each, got 44"):
        scored(bart(), drawn(1, 44), MASK)


def _refusals(source: Any, tmp_path: Path) -> list[str]:
    """What is said of the model, and of the folder that it is saved to."""
    source.save_pretrained(tmp_path / "model")
    said = []
    for one in (source, tmp_path / "model"):
        with pytest.raises(SourceError) as error, language_model(one):
            pass
        said.append(str(error.value))
    return said


def _all_say(message: str, refusals: list[str]) -> bool:
    return len(refusals) == 2 and all(re.search(message, said) for said in refusals)


_SIZES = {"d_model": 48, "encoder_layers": 1, "decoder_layers": 1}
_HEADS = {"encoder_attention_heads": 6, "decoder_attention_heads": 6}
_IDS = {"pad_token_id": 1, "decoder_start_token_id": 2, "eos_token_id": 3}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (hf.MarianConfig, "'marian': it translates, and has no way to fill a gap"),
        (hf.M2M100Config, "'m2m_100': it translates, and has no way to fill a gap"),
        (hf.MBartConfig, "'mbart': its decoder begins with a language"),
        (hf.PegasusConfig, "'pegasus': its gaps are whole sentences"),
        (hf.BlenderbotConfig, "'blenderbot': it was not trained to fill a gap of one token"),
    ],
)
def test_others_are_refused(config: Any, reason: str, tmp_path: Path) -> None:
    sizes = _SIZES | _HEADS | _IDS | {"vocab_size": VOCABULARY, "max_position_embeddings": 40}
    model = hf.AutoModelForSeq2SeqLM.from_config(config(**sizes))
    message = f"that fills gaps: bart, .*t5, umt5, got .* {reason}.*; load one of"
    assert _all_say(message, _refusals(model, tmp_path))


def test_whisper_is_refused(tmp_path: Path) -> None:
    sizes = _SIZES | _HEADS | _IDS | {"vocab_size": VOCABULARY, "suppress_tokens": None}
    model = hf.WhisperForConditionalGeneration(hf.WhisperConfig(**sizes))
    assert _all_say(
        "'whisper': it writes speech down, and reads no text; load one", _refusals(model, tmp_path)
    )


def test_longt5_is_refused(tmp_path: Path) -> None:
    config = hf.LongT5Config(vocab_size=VOCABULARY, d_model=48, d_kv=7, d_ff=10, num_layers=1)
    model = hf.LongT5ForConditionalGeneration(config)
    assert _all_say("'longt5': its gaps are whole sentences", _refusals(model, tmp_path))


def test_a_pair_of_models_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 6}
    one = hf.BertConfig(**sizes, vocab_size=VOCABULARY, intermediate_size=9)
    pair = hf.EncoderDecoderConfig.from_encoder_decoder_configs(one, one)
    assert _all_say(
        "'encoder-decoder': it was not trained", _refusals(hf.EncoderDecoderModel(pair), tmp_path)
    )


@pytest.mark.parametrize("name", ["t5", "mt5", "switch"])
def test_a_base_model_has_no_head(name: str, tmp_path: Path) -> None:
    assert _all_say(
        "the class .*Model', which has none; load it with",
        _refusals(spans(name, "AutoModel"), tmp_path),
    )


def test_a_base_bart_that_is_passed_has_no_head() -> None:
    with pytest.raises(SourceError, match="the class 'BartModel'"), language_model(bart().model):
        pass


def test_a_decoder_that_begins_with_nothing(tmp_path: Path) -> None:
    model = spans()
    model.config.decoder_start_token_id = None
    model.generation_config.decoder_start_token_id = None
    assert _all_say(
        "got decoder_start_token_id 'None'; set it; of T5 it is that of pad",
        _refusals(model, tmp_path),
    )


def test_weights_that_are_missing(tmp_path: Path) -> None:
    spans().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: one for name, one in weights.items() if "decoder.block.2.layer.0" not in name}
    assert len(kept) < len(weights)
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    with (
        pytest.raises(SourceError, match=r"does not hold the whole model.*'decoder\.block\.2"),
        language_model(tmp_path),
    ):
        pass
