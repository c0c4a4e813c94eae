"""`extend` and `compress` of T5 and BART, end to end, beside transformers on the same folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from denoising_models import (
    POSITIONS,
    TRAINED,
    bart,
    own_infilling_loss,
    own_span_loss,
    saved_with_tokenizer,
    spans,
)
from edit_sources import refused, run, text_file

import poslens
from poslens.edit.questions import MASKED
from poslens.edit.results import Extension
from poslens.edit.scores import Scores
from poslens.edit.written import write_compressed, write_extended
from poslens.errors import SettingError

LONG = 86  # twice the positions of the tiny BART
BYTES, SENTINEL, MASK = 256, 257, 257
SMALL = {"num_layers": 1, "num_decoder_layers": 1, "num_heads": 2, "vocab_size": 258}


def scores_of(found: Extension, method: str) -> Scores:
    scores = next(one.scores for one in found.tried if one.method == method)
    assert scores is not None
    return scores


def drawn(contexts: int, length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(BYTES, size=(contexts, length))


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5") / "model"
    return saved_with_tokenizer(spans(vocab_size=258), folder, "<extra_id_0>")


@pytest.fixture(scope="module")
def infilling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bart") / "model"
    return saved_with_tokenizer(bart(vocab_size=258), folder, "<mask>")


def ended(tokens: np.ndarray) -> np.ndarray:
    """Contexts that end as the tokenizer ends them."""
    return np.concatenate([tokens[:, :-1], np.full((len(tokens), 1), 256)], axis=1)


@pytest.mark.parametrize("to", [1024, 2048])
def test_t5_beyond_the_length_that_it_was_trained_with(to: int, tmp_path: Path) -> None:
    model = spans(n_positions=512, **SMALL)
    source = saved_with_tokenizer(model, tmp_path / "t5", "<extra_id_0>")
    tokens = ended(drawn(1, to))
    found = poslens.extend(source, to, tokens=tokens)
    assert (found.scheme, found.trained, found.to) == ("t5", 512, to)
    assert [one.method for one in found.tried] == ["unchanged", "cut", "sliding"]
    whole, pieces, slid = (scores_of(found, one.method) for one in found.tried)
    for one in (whole, pieces, slid):
        assert np.array_equal(one.positions, whole.positions)
        assert one.positions.shape == (1, MASKED)
    first, last = int(whole.positions[0, 0]), int(whole.positions[0, -1])
    assert first < 512 < to - to // MASKED - 1 <= last < to - 1
    room, end = 511, 256
    assert whole.losses[0, -1] == pytest.approx(
        own_span_loss(model, tokens[0], last, SENTINEL), abs=1e-5
    )
    start = last // room * room
    window = np.append(tokens[0, start : min(start + room, to - 1)], end)
    assert pieces.losses[0, -1] == pytest.approx(
        own_span_loss(model, window, last - start, SENTINEL), abs=1e-5
    )
    window = np.append(tokens[0, to - 1 - room : to - 1], end)
    assert slid.losses[0, -1] == pytest.approx(
        own_span_loss(model, window, last - (to - 1 - room), SENTINEL), abs=1e-5
    )
    assert (found.rows, dict(found.changes)) == (None, {})
    with pytest.raises(SettingError, match=r"nothing to write for a longer context.* got t5"):
        write_extended(found, tmp_path / "out")


def test_t5_on_the_command_line(t5: Path, tmp_path: Path) -> None:
    text, page = text_file(tmp_path), tmp_path / "page.html"
    done = run(
        "extend", t5, "--to", 129, "--text", text, "--contexts", 3, "--json", "-", "--html", page
    )
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert (record["source"]["scheme"], record["trained"], record["to"]) == ("t5", TRAINED, 129)
    found = poslens.extend(t5, 129, text=text, contexts=3)
    model = hf.T5ForConditionalGeneration.from_pretrained(t5).eval()
    tokenizer = hf.AutoTokenizer.from_pretrained(t5)
    read = tokenizer(text.read_text(), add_special_tokens=False).input_ids[:128]
    ids = np.array([*read, tokenizer.convert_tokens_to_ids("</s>")])
    scores = scores_of(found, "unchanged")
    want = [own_span_loss(model, ids, int(at), SENTINEL) for at in scores.positions[0]]
    np.testing.assert_allclose(scores.losses[0], want, rtol=1e-5, atol=1e-5)
    for one in record["tried"]:
        scores = scores_of(found, one["method"])
        beyond = scores.positions >= TRAINED
        assert one["tokens"] == 3 * MASKED
        assert one["beyond"]["loss"] == pytest.approx(scores.by_context(TRAINED).mean(), rel=1e-12)
        assert one["within"]["loss"] == pytest.approx(
            scores.by_context(0, TRAINED).mean(), rel=1e-12
        )
        assert 0 < beyond.mean() < 1
        assert len(one["by_position"]["loss"]) > 1
    html = page.read_text()
    assert "129 positions" in html
    assert "unchanged" in html


def test_t5_without_a_text_and_what_cannot_be_written(t5: Path, tmp_path: Path) -> None:
    done = run("extend", t5, "--to", 129)
    assert done.exit_code == 0, done.output
    assert "no text was read" in done.stdout
    line = refused("extend", t5, "--to", 129, "--method", "unchanged", "--out", tmp_path / "out")
    assert "nothing to write for a longer context" in line
    assert "t5, which has no values that run out" in line
    assert not (tmp_path / "out").exists()
    line = refused("compress", t5)
    assert all(one in line for one in ("no table to compress", "bucketed bias", "`poslens extend`"))


def test_a_config_that_does_not_say_how_long_texts_were(tmp_path: Path) -> None:
    model = spans("umt5", vocab_size=258, n_positions=None)
    source = saved_with_tokenizer(model, tmp_path / "umt5", "<extra_id_0>")
    assert "give --trained" in refused("extend", source, "--to", 64)
    text = text_file(tmp_path)
    asked = ("--to", 64, "--trained", 32, "--text", text, "--contexts", 1, "--json", "-")
    done = run("extend", source, *asked)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["trained"] == 32


def test_a_model_of_t5_that_is_passed(t5: Path) -> None:
    model = hf.T5ForConditionalGeneration.from_pretrained(t5)
    tokens = ended(drawn(2, 129))
    with pytest.raises(SettingError, match=r"with <extra_id_0> beside .*give its id \(mask"):
        poslens.extend(model, 129, tokens=tokens)
    model.config.eos_token_id = 256  # which its tokenizer says of the folder
    passed = poslens.extend(model, 129, tokens=tokens, mask=SENTINEL)
    named = poslens.extend(t5, 129, tokens=tokens)
    assert passed.trained == named.trained == TRAINED
    for one in named.tried:
        ours = scores_of(passed, one.method)
        assert one.scores is not None
        assert np.array_equal(ours.positions, one.scores.positions)
        np.testing.assert_allclose(ours.losses, one.scores.losses, rtol=0, atol=1e-6)


def _loaded(folder: Path) -> Any:
    return hf.BartForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("method", ["linear", "cubic_keep_first", "tile"])
def test_bart_is_written_as_it_was_measured(
    infilling: Path, tmp_path: Path, part: str, method: str
) -> None:
    tokens = drawn(1, LONG)
    found = poslens.extend(infilling, LONG, tokens=tokens, method=method, part=part)
    assert found.trained == POSITIONS
    write_extended(found, tmp_path / "out")
    model, scores = _loaded(tmp_path / "out"), scores_of(found, method)
    assert model.config.max_position_embeddings == LONG
    want = [own_infilling_loss(model, tokens[0], int(at), MASK) for at in scores.positions[0]]
    np.testing.assert_allclose(scores.losses[0], want, rtol=1e-5, atol=1e-5)
    original, cut = _loaded(infilling), scores_of(found, "cut")
    at = int(cut.positions[0, -1])
    start = at // POSITIONS * POSITIONS
    want = own_infilling_loss(original, tokens[0, start : start + POSITIONS], at - start, MASK)
    assert cut.losses[0, -1] == pytest.approx(want, abs=1e-5)


def test_both_parts_of_bart_are_the_same_edit(infilling: Path) -> None:
    tokens = drawn(1, LONG)
    one, other = (
        poslens.extend(infilling, LONG, tokens=tokens, part=part) for part in ("encoder", "decoder")
    )
    assert [each.method for each in one.tried] == [each.method for each in other.tried]
    for each in one.tried:
        found = scores_of(one, each.method), scores_of(other, each.method)
        np.testing.assert_allclose(found[0].losses, found[1].losses, rtol=0, atol=1e-6)


def test_bart_on_the_command_line(infilling: Path, tmp_path: Path) -> None:
    text = text_file(tmp_path)
    read = ("--text", text, "--contexts", 2)
    line = refused("extend", infilling, "--to", LONG, *read)
    assert "--part encoder" in line
    assert "--part decoder" in line
    done = run(
        "extend", infilling, "--to", LONG, *read, "--part", "decoder", "--json", "-",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert all(one["within"] and one["beyond"] for one in record["tried"])
    for part in ("encoder", "decoder"):
        assert poslens.load_table(tmp_path / "out", part=part).length == LONG


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_bart_is_compressed_one_table_at_a_time(infilling: Path, tmp_path: Path, part: str) -> None:
    tokens = drawn(2, POSITIONS)
    found = poslens.compress(infilling, tokens=tokens, rank=7, part=part)
    write_compressed(found, tmp_path / "out")
    assert found.original is not None
    assert found.chosen.scores is not None
    for folder, scores in ((infilling, found.original), (tmp_path / "out", found.chosen.scores)):
        model = _loaded(folder)
        want = [own_infilling_loss(model, tokens[1], int(at), MASK) for at in scores.positions[1]]
        np.testing.assert_allclose(scores.losses[1], want, rtol=1e-5, atol=1e-5)
    assert found.chosen.scores.divergences is not None
    assert found.chosen.scores.divergences.mean() > 0
    full = poslens.compress(infilling, tokens=tokens, rank=POSITIONS, part=part)
    assert full.chosen.scores is not None
    np.testing.assert_allclose(full.chosen.scores.losses, found.original.losses, atol=1e-6)


def test_a_model_of_bart_that_is_passed(infilling: Path) -> None:
    tokens = drawn(1, LONG)
    asked: dict[str, Any] = {"tokens": tokens, "part": "encoder"}
    passed = poslens.extend(_loaded(infilling), LONG, mask=MASK, **asked)
    named = poslens.extend(infilling, LONG, **asked)
    for one in named.tried:
        assert one.scores is not None
        ours = scores_of(passed, one.method)
        np.testing.assert_allclose(ours.losses, one.scores.losses, rtol=0, atol=1e-6)
