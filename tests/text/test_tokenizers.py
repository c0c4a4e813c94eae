"""Tokenizers of sources: the ids of transformers, the words shown, and files that are none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from made_tokenizers import (
    EVERY_KIND,
    byte_pairs,
    changed,
    framed,
    metaspace,
    opened,
    unsplit,
    word_pieces,
    words,
)
from safetensors.numpy import save_file
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.sources import open_any
from poslens.errors import SourceError
from poslens.text import Tokenizer, token_words, tokenizer_of

MIXED = (
    "The cat's naïve; its ﬁn is  42\u00a0cm\t(Ångström)!\r\n\n中文字 and \U0001f600 [SEP] don't "
) * 30


@pytest.fixture(scope="module")
def bert(minilm: Path) -> Tokenizer:
    return tokenizer_of(open_any(minilm, Access()))


def test_the_ids_are_those_of_transformers(minilm: Path, bert: Tokenizer) -> None:
    """On a text past the 128 tokens at which this tokenizer.json truncates, and pads."""
    theirs = AutoTokenizer.from_pretrained(minilm)
    assert bert.ids(MIXED) == theirs(MIXED, add_special_tokens=False)["input_ids"]
    assert len(bert.ids(MIXED)) > 600
    assert [*bert.before, *bert.ids("a cat"), *bert.after] == theirs("a cat")["input_ids"]
    assert (bert.before, bert.after) == ((101,), (102,))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_is_as_in_transformers(kind: str) -> None:
    made = EVERY_KIND[kind]()
    ours, theirs = opened(made), PreTrainedTokenizerFast(tokenizer_object=made)
    text = "The cat sat;\n the  hat has [it]."
    assert [*ours.before, *ours.ids(text), *ours.after] == theirs(text)["input_ids"]


@pytest.mark.parametrize(("before", "after"), [("<s>", "</s>"), ("a", "b")])
def test_special_tokens_around_a_text(before: str, after: str) -> None:
    """Also where they are words of the text."""
    made = framed(words("a", "b", "c"), before, after)
    ours = opened(made)
    assert (ours.before, ours.after) == (
        (made.token_to_id(before),),
        (made.token_to_id(after),),
    )
    assert ours.ids("c b a") == [3, 2, 1]
    assert (opened(words("a")).before, opened(words("a")).after) == ((), ())


def test_special_tokens_of_a_tokenizer_that_fails_at_words_it_lacks() -> None:
    made = framed(words("cat"))
    vocabulary = {"cat": 0, "[CLS]": 1, "[SEP]": 2}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
    ours = Tokenizer(changed(made, model=model), "'made'")
    assert (ours.before, ours.after) == (
        (made.token_to_id("[CLS]"),),
        (made.token_to_id("[SEP]"),),
    )
    assert ours.ids("cat cat") == [0, 0]
    with pytest.raises(SourceError, match=r"'made' cannot tokenise the text: .*Missing \[UNK\]"):
        ours.ids("a cat and a dog")


def test_truncation_padding_and_dropout_are_off() -> None:
    made = byte_pairs()
    expected = made.encode("the cat sat on the mat").ids
    made.enable_truncation(3)
    made.enable_padding(length=50)
    document = json.loads(made.to_str())
    document["model"]["dropout"] = 0.9
    ours = Tokenizer(json.dumps(document).encode(), "'made'")
    assert [ours.ids("the cat sat on the mat") for _ in range(20)] == [expected] * 20
    assert (ours.before, ours.after) == ((), ())


def test_words_of_pieces(bert: Tokenizer) -> None:
    ids = [101, *bert.ids("unhappily, the café"), 102]
    expected = ["[CLS]", "un", "##ha", "##pp", "##ily", ",", "the", "cafe", "[SEP]"]
    assert token_words(ids, bert) == expected


def test_words_of_bytes() -> None:
    """A part of a character is no text; a line's end and a long token are shown on a line."""
    made = byte_pairs()
    made.add_tokens(["<b>" * 100])
    ours = opened(made)
    emoji = ours.ids("\U0001f600")
    assert token_words(ours.ids("the cat\n") + emoji, ours) == [
        *("the", " cat", "\\n"),
        *map(str, emoji),
    ]
    (long,) = token_words(ours.ids("<b>" * 100), ours)
    assert long == ("<b>" * 20)[:59] + "…"


@pytest.mark.parametrize("made", [unsplit(prepends=True), metaspace()])
def test_words_with_the_space_that_a_decoder_drops(made: object) -> None:
    ours = opened(made)
    shown = token_words(ours.ids("the cat the"), ours)
    assert "".join(shown) == " the cat the"
    assert shown[0].startswith(" ")


@pytest.mark.parametrize("number", [-1, 10**6, 2**40])
def test_an_id_that_the_tokenizer_lacks_is_shown_as_it_is(bert: Tokenizer, number: int) -> None:
    assert token_words([number], bert) == [str(number)]


def test_beside_a_file_and_in_a_folder(tmp_path: Path) -> None:
    made = word_pieces()
    (tmp_path / "tokenizer.json").write_text(made.to_str())
    save_file({"wpe": np.eye(4)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    expected = made.encode("the cat", add_special_tokens=False).ids
    for source in (tmp_path, tmp_path / "model.safetensors", f"{tmp_path}::wpe"):
        assert tokenizer_of(open_any(source, Access())).ids("the cat") == expected


def test_sources_without_a_tokenizer(tmp_path: Path) -> None:
    save_file({"wpe": np.eye(4)}, tmp_path / "a.safetensors")
    np.save(tmp_path / "a.npy", np.eye(4))
    sources = [
        tmp_path / "a.safetensors",
        tmp_path / "a.npy",
        np.eye(4),
        {"wpe": np.eye(4)},
        "sinusoidal:length=8,dim=4",
    ]
    for source in sources:
        with pytest.raises(SourceError, match=r"no tokenizer for .*beside the weights.*tokens="):
            tokenizer_of(open_any(source, Access()))
    with pytest.raises(SourceError, match=r"AutoTokenizer\.from_pretrained\(MODEL\)\.save_pre"):
        tokenizer_of(open_any(sources[0], Access()))


def test_a_gguf_file_without_one_says_how_to_save_its_own(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "gpt2")
    writer.add_tensor("position_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(SourceError, match=r"from_pretrained\(FOLDER, gguf_file=FILE\)\.save"):
        tokenizer_of(open_any(tmp_path / "m.gguf", Access()))


def _hostile() -> dict[str, bytes]:
    made = framed(words("cat"))
    post = json.loads(made.to_str())["post_processor"]
    model = json.loads(byte_pairs().to_str())["model"]
    split = {"type": "Split", "behavior": "Isolated", "invert": False}
    whole = word_pieces().to_str().encode()
    nested: object = {"type": "Lowercase"}
    for _ in range(200):
        nested = {"type": "Sequence", "normalizers": [nested]}
    return {
        "no JSON": b"\x00\xff\x1b[31m",
        "no object": b"[]",
        "an empty object": b"{}",
        "nested": b"[" * 100_000,
        "normalizers in one another": changed(made, normalizer=nested),
        "an unknown model": changed(made, model={"type": "\n\x1b[31m", "vocab": {}}),
        "a negative id": changed(made, model={"type": "WordLevel", "vocab": {"a": -1}}),
        "no pattern": changed(made, pre_tokenizer=split | {"pattern": {"Regex": "("}}),
        "no tokens": changed(words(), model={"type": "WordLevel", "vocab": {}, "unk_token": "x"}),
        # At both of these Rust panics, and pyo3's error for that is no Exception.
        "a special token that is not there": changed(
            made, post_processor=post | {"special_tokens": {}}
        ),
        "a merge shorter than the prefix": changed(
            made, model=model | {"continuing_subword_prefix": "x" * 9}
        ),
        **{f"cut at {at}": whole[:at] for at in range(1, len(whole), len(whole) // 23)},
    }


@pytest.mark.parametrize("what", _hostile())
def test_what_is_no_tokenizer_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    (tmp_path / "tokenizer.json").write_bytes(_hostile()[what])
    save_file({"wpe": np.eye(4)}, tmp_path / "a.safetensors")
    opened = open_any(tmp_path / "a.safetensors", Access())
    with pytest.raises(SourceError, match=r"'.*tokenizer\.json'.* expected .* got ") as caught:
        tokenizer_of(opened)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


def test_a_tokenizer_that_is_too_large_or_no_file(tmp_path: Path) -> None:
    save_file({"wpe": np.eye(4)}, tmp_path / "a.safetensors")
    opened = open_any(tmp_path / "a.safetensors", Access())
    path = tmp_path / "tokenizer.json"
    path.touch()
    with pytest.raises(SourceError, match=r"tokenizer\.json'.*an empty file"):
        tokenizer_of(opened)
    os.truncate(path, 64_000_001)
    with pytest.raises(SourceError, match=r"at most 64 MB, got 64000001 bytes"):
        tokenizer_of(opened)
    path.unlink()
    path.mkdir()
    with pytest.raises(SourceError, match=r"tokenizer\.json'.*a regular file"):
        tokenizer_of(opened)


def test_the_library_is_imported_when_a_tokenizer_is_opened() -> None:
    script = "import sys, poslens.text; print('tokenizers' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False False\n"
