"""Contexts: consecutive, of a whole text's ids however it is cut, read no further than needed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tokenizers import EVERY_KIND, byte_pairs, framed, opened, word_pieces, words
from transformers import AutoTokenizer

from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.sources import open_any
from poslens.errors import SettingError, SourceError
from poslens.text import (
    Tokenizer,
    contexts_of_text,
    default_text,
    drawn_contexts,
    drawn_tokens,
    text_contexts,
    tokenizer_of,
)
from poslens.text.pieces import MARGIN, PIECE, token_ids

FINDING = settings(derandomize=True, deadline=None, max_examples=150)
LONGEST = 10  # characters of a word
WORD = st.text("abé.中\U0001f600'", min_size=1, max_size=LONGEST)
SPACES = st.sampled_from([" ", "  ", "\n", "\t \n", "\u00a0", "\u3000"])
TEXT = st.lists(st.tuples(WORD, SPACES), max_size=30).map(
    lambda pairs: "".join(word + space for word, space in pairs)
)
LOCAL = {"words": opened(words("a", "b", "ab")), "WordPiece": opened(word_pieces())}
ENGLISH = (
    "The naïve cat's hat, (that's a fine hat);\n\n  it sat  on the mat:\r\n\t42 ﬁne e\u0301 "
    "\U0001f600\U0001f600 中文字 [SEP] ...\n"
)


def cut(text: str, places: list[int]) -> list[str]:
    """The text in pieces, some perhaps empty."""
    at = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:stop] for start, stop in pairwise(at)]


def joined(pieces: Iterator[list[int]]) -> list[int]:
    return [number for ids in pieces for number in ids]


@FINDING
@given(st.sampled_from(sorted(LOCAL)), TEXT, st.integers(1, 40), st.integers(LONGEST, 30))
def test_pieces_of_any_size_give_the_ids_of_the_whole_text(
    kind: str, text: str, piece: int, margin: int
) -> None:
    tokenizer = LOCAL[kind]
    assert joined(token_ids([text], tokenizer, piece, margin)) == tokenizer.ids(text)


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("piece", [1, 7, 100, 101])
def test_no_kind_of_tokenizer_notices_the_pieces(kind: str, piece: int) -> None:
    """Those that begin every text with a space, and those that join a line's end, included."""
    tokenizer, text = opened(EVERY_KIND[kind]()), ENGLISH * 6
    found = joined(token_ids([text], tokenizer, piece, len(ENGLISH)))
    assert found == tokenizer.ids(text)
    assert len(found) > 100


@FINDING
@given(TEXT, st.lists(st.integers(0, 400), max_size=12), st.integers(1, 40))
def test_how_a_text_is_given_makes_no_difference_to_any_tokenizer(
    text: str, places: list[int], piece: int
) -> None:
    """Also where pieces and margins are too small for the words."""
    for tokenizer in LOCAL.values():
        whole = list(token_ids([text], tokenizer, piece, 3))
        assert list(token_ids(cut(text, places), tokenizer, piece, 3)) == whole
        assert list(token_ids(text, tokenizer, piece, 3)) == whole


@FINDING
@given(TEXT, st.integers(1, 5), st.integers(3, 9), st.lists(st.integers(0, 400), max_size=5))
def test_contexts_follow_one_another(text: str, count: int, length: int, places: list[int]) -> None:
    tokenizer = LOCAL["WordPiece"]
    whole, room = tokenizer.ids(text), length - 2
    if len(whole) < room:
        with pytest.raises(
            SettingError, match=rf"expected at least {room} tokens.*got {len(whole)};"
        ):
            contexts_of_text(cut(text, places), tokenizer, count, length)
        return
    tokens = contexts_of_text(cut(text, places), tokenizer, count, length)
    assert tokens.dtype == np.int64
    assert tokens.shape == (min(count, len(whole) // room), length)
    assert set(tokens[:, 0]) == {1}
    assert set(tokens[:, -1]) == {2}
    inner = tokens[:, 1:-1].ravel()
    np.testing.assert_array_equal(inner, whole[: inner.size])


def test_the_contexts_of_a_real_tokenizer(minilm: Path) -> None:
    """Over several pieces: the ids that transformers gives the whole text."""
    text = "".join(default_text())[: 2 * PIECE + 5_000]
    tokenizer = tokenizer_of(open_any(minilm, Access()))
    theirs = AutoTokenizer.from_pretrained(minilm)(text, add_special_tokens=False)["input_ids"]
    tokens = contexts_of_text(default_text(), tokenizer, 130, 257)
    inner = tokens[:, 1:-1].ravel()
    known = min(inner.size, len(theirs) - 100)  # the last of theirs know no text after them
    assert known > 30_000
    np.testing.assert_array_equal(inner[:known], theirs[:known])
    assert (tokens[:, 0] == 101).all()
    assert (tokens[:, -1] == 102).all()


def test_a_word_longer_than_pieces_and_margins() -> None:
    """It is tokenised in parts: the text stays whole, and the memory bounded."""
    tokenizer = opened(byte_pairs())
    text = "that" * (PIECE // 2)
    ids = joined(token_ids([text], tokenizer))
    made = byte_pairs()
    assert made.decode(ids) == text


def test_only_what_is_needed_is_read() -> None:
    tokenizer = opened(framed(words("cat")))
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 4_000
            yield "cat " * 1_000

    tokens = contexts_of_text(endless(), tokenizer, 3, 10)
    assert tokens.shape == (3, 10)
    assert read <= PIECE + MARGIN + 4_000
    read = 0
    contexts_of_text(endless(), tokenizer, 10, 12_002)
    assert read <= 4 * 120_000 + 2 * PIECE + MARGIN


def test_memory_is_that_of_a_piece_and_the_contexts() -> None:
    """Of a text of 8 MB with few tokens, and of one that is a single string."""
    tokenizer = opened(words("cat"))
    expected = [[1] * 10] * 8

    def peak(text: Iterator[str] | list[str]) -> int:
        tracemalloc.start()
        tokens = contexts_of_text(text, tokenizer, 1_000, 10)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert tokens.tolist() == expected
        return most

    sparse = "cat" + " " * 99_997
    assert peak(sparse for _ in range(80)) < 12 * PIECE
    whole = sparse * 80
    assert peak([whole]) < 12 * PIECE


def test_a_text_with_fewer_contexts_gives_those(tmp_path: Path) -> None:
    tokenizer = opened(framed(words("cat", "sat")))
    path = tmp_path / "a.txt"
    path.write_text("cat sat " * 10)
    found = text_contexts(tokenizer, 9, 8, path)
    assert found.tokens.tolist() == [[3, 1, 2, 1, 2, 1, 2, 4]] * 3
    assert found.origin == f"3 contexts of 8 tokens from '{path}', which holds no more"
    assert found.words == ("[CLS]", "cat", "sat", "cat", "sat", "cat", "sat", "[SEP]")
    assert text_contexts(tokenizer, 1, 8, path).origin == f"1 context of 8 tokens from '{path}'"


def test_the_default_text_names_itself() -> None:
    found = text_contexts(opened(word_pieces()), 4, 16)
    assert found.tokens.shape == (4, 16)
    assert found.origin.startswith("4 contexts of 16 tokens from the help topics of Python 3.")
    assert len(found.words) == 16


@pytest.mark.parametrize("text", ["", " \n", "cat cat", "cat " * 5])
def test_a_text_shorter_than_one_context(text: str) -> None:
    tokenizer = opened(framed(words("cat")))
    count = text.count("cat")
    with pytest.raises(SettingError, match=r"shorter than one context") as caught:
        contexts_of_text([text], tokenizer, 2, 8)
    assert f"at least 6 tokens beside the 2 special ones, got {count}; give" in str(caught.value)
    remedy = f"give a longer text, or contexts of at most {count + 2} tokens"
    assert caught.value.remedy == (remedy if count else "give a longer text")
    if count:
        assert contexts_of_text([text], tokenizer, 2, count + 2).shape == (1, count + 2)


@pytest.mark.parametrize("length", [1, 2])
def test_a_context_without_room(length: int) -> None:
    tokenizer = opened(framed(words("cat")))
    with pytest.raises(SettingError, match=r"more than the 2 special tokens that 'made' puts"):
        contexts_of_text(["cat " * 9], tokenizer, 2, length)
    assert contexts_of_text(["cat " * 9], tokenizer, 2, 3).tolist() == [[2, 1, 3]] * 2


def test_numbers_that_are_none() -> None:
    tokenizer = opened(words("cat"))
    with pytest.raises(SettingError, match=r"number of contexts cannot .* whole number from 1"):
        contexts_of_text(["cat"], tokenizer, 0, 1)
    with pytest.raises(SettingError, match=r"length of a context cannot be used.*got '-1'"):
        contexts_of_text(["cat"], tokenizer, 1, -1)
    with pytest.raises(SettingError, match=r"length of a context cannot be used.*got 'True'"):
        contexts_of_text(["cat"], tokenizer, 1, True)
    with pytest.raises(SettingError, match=r"size of the vocabulary"):
        drawn_tokens(0, 1, 1, 0)
    with pytest.raises(SettingError, match=r"seed cannot be used: .* from 0, got '-1'"):
        drawn_tokens(1, 1, 1, -1)


def test_what_a_tokenizer_or_a_text_raises_comes_through(tmp_path: Path) -> None:
    lone = "a cat \ud800"
    with pytest.raises(SourceError, match=r"'made' cannot tokenise the text"):
        contexts_of_text([lone], opened(words("cat")), 1, 1)
    path = tmp_path / "a.txt"
    path.write_bytes(b"cat " * 40_000 + b"\xff")
    tokenizer = opened(words("cat"))
    assert text_contexts(tokenizer, 2, 8, path).tokens.shape == (2, 8)  # it is not read so far
    with pytest.raises(SourceError, match=r"0xff at byte 160000 "):
        text_contexts(tokenizer, 20_000, 8, path)


def test_progress_counts_contexts() -> None:
    said: list[tuple[str, int, int]] = []
    tokenizer: Tokenizer = opened(words("cat"))
    contexts_of_text(["cat " * 60_000], tokenizer, 30, 1_500, lambda *words: said.append(words))
    assert said[0][1:] == (0, 30)
    assert said[-1][1:] == (30, 30)
    assert len(said) > 3
    assert [done for _, done, _ in said] == sorted(done for _, done, _ in said)
    assert {what for what, _, _ in said} == {"contexts of text"}


def test_drawn_tokens_are_uniform_and_steady() -> None:
    tokens = drawn_tokens(7, 1_000, 70, seed=3)
    assert tokens.dtype == np.int64
    assert tokens.shape == (1_000, 70)
    counts = np.bincount(tokens.ravel(), minlength=7)
    assert counts.size == 7
    np.testing.assert_allclose(counts, 10_000, atol=5 * np.sqrt(10_000 * 6 / 7))
    np.testing.assert_array_equal(tokens, drawn_tokens(7, 1_000, 70, seed=3))
    np.testing.assert_array_equal(tokens[:5], drawn_tokens(7, 5, 70, seed=3))
    assert (tokens != drawn_tokens(7, 1_000, 70, seed=4)).mean() > 0.8
    assert drawn_tokens(1, 2, 3, seed=0).tolist() == [[0, 0, 0]] * 2


def test_drawn_contexts_say_so() -> None:
    drawn = drawn_contexts(30_522, 32, 256, seed=0)
    assert drawn.origin == (
        "32 contexts of 256 tokens drawn uniformly from the vocabulary of 30522 with seed 0"
    )
    assert drawn.words == ()
    np.testing.assert_array_equal(drawn.tokens, drawn_tokens(30_522, 32, 256, seed=0))
    named = drawn_contexts(2, 1, 3, 0, opened(words("cat")))
    assert set(named.words) <= {"[UNK]", "cat"}
    assert len(named.words) == 3
