"""Contexts: texts of the same length in token ids, read from a text or drawn."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from poslens.axes import Tokens
from poslens.checkpoints.remote.meter import Progress
from poslens.errors import SettingError, quoted
from poslens.text.pieces import token_ids
from poslens.text.reading import DEFAULT_NAME, default_text, read_text
from poslens.text.tokenizer import Tokenizer, token_words


@dataclass(frozen=True, eq=False)
class Contexts:
    """What a model is given to read.

    Attributes
    ----------
    tokens
        Ids, int64, shape (context, position).
    origin
        Where they are from, for people: ``32 contexts of 256 tokens from 'FILE'``.
    words
        The tokens of the first context as people read them; empty without a tokenizer.
    """

    tokens: Tokens
    origin: str
    words: tuple[str, ...] = ()


def text_contexts(
    tokenizer: Tokenizer,
    count: int,
    length: int,
    path: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Contexts:
    """Read contexts from a text file, or from the text that every Python has.

    Parameters
    ----------
    tokenizer
        Of the model.
    count, length
        How many contexts, and how many tokens each has, the special ones included.
    path
        Of a file in UTF-8; None for `default_text`.
    progress
        Called with (words, contexts read, contexts asked for).

    Raises
    ------
    SourceError
        If the text cannot be read, or not be tokenised.
    SettingError
        If it is shorter than one context, or a number cannot be used.
    """
    text, name = (default_text(), DEFAULT_NAME) if path is None else (read_text(path), quoted(path))
    tokens = contexts_of_text(text, tokenizer, count, length, progress)
    origin = f"{_counted(tokens)} from {name}"
    if len(tokens) < count:
        origin += ", which holds no more"
    return Contexts(tokens, origin, tuple(token_words(tokens[0], tokenizer)))


def drawn_contexts(
    vocabulary: int, count: int, length: int, seed: int, tokenizer: Tokenizer | None = None
) -> Contexts:
    """Draw contexts as `drawn_tokens` does, and say so.

    Raises
    ------
    SettingError
        If a number cannot be used.
    """
    tokens = drawn_tokens(vocabulary, count, length, seed)
    origin = (
        f"{_counted(tokens)} drawn uniformly from the vocabulary of {vocabulary} with seed {seed}"
    )
    words = () if tokenizer is None else tuple(token_words(tokens[0], tokenizer))
    return Contexts(tokens, origin, words)


def contexts_of_text(
    text: Iterable[str],
    tokenizer: Tokenizer,
    count: int,
    length: int,
    progress: Progress | None = None,
) -> Tokens:
    """Cut a text into contexts that follow one another and do not overlap.

    Each begins and ends with the special tokens that the tokenizer puts around a text. What is
    between them, joined, is the beginning of the whole text's ids, as `pieces.token_ids` gives
    them: how ``text`` is cut makes no difference. It is read no further than a piece beyond the
    last context, and is never in memory whole.

    Parameters
    ----------
    text
        In any pieces.
    tokenizer
        Of the model.
    count, length
        How many contexts, and how many tokens each has, the special ones included.
    progress
        Called with (words, contexts read, contexts asked for).

    Returns
    -------
    Tokens
        Ids, int64, shape (context, position): ``count`` contexts, or as many as the text holds,
        at least one.

    Raises
    ------
    SourceError
        If the text cannot be read, or not be tokenised.
    SettingError
        If the text is shorter than one context, a context has no room for any of it, or a number
        cannot be used.
    """
    _require_whole("number of contexts", count, 1)
    _require_whole("length of a context", length, 1)
    specials = len(tokenizer.before) + len(tokenizer.after)
    room = length - specials
    if room < 1:
        raise SettingError(
            "a context has no room for text",
            expected=f"more than the {specials} special tokens that {tokenizer.shown} puts "
            "around every text",
            got=f"a length of {length}",
            remedy="ask for longer contexts",
        )
    report = progress or (lambda _what, _done, _total: None)
    report("contexts of text", 0, count)
    rows: list[np.ndarray] = []
    left: list[int] = []  # of a context that is not yet full
    for ids in token_ids(text, tokenizer):
        left += ids
        full = min(len(left) // room, count - len(rows))
        found = np.array(left[: full * room], np.int64).reshape(full, room)
        rows += list(found)
        del left[: full * room]
        report("contexts of text", len(rows), count)
        if len(rows) == count:
            break
    if not rows:
        raise _too_short(len(left), room, specials)
    before, after = (np.array(ids, np.int64) for ids in (tokenizer.before, tokenizer.after))
    return np.stack([np.concatenate((before, row, after)) for row in rows])


def drawn_tokens(vocabulary: int, count: int, length: int, seed: int) -> Tokens:
    """Draw every token of every context uniformly from all ids 0 … ``vocabulary`` - 1.

    The first contexts are the same however many are drawn.

    Returns
    -------
    Tokens
        Ids, int64, shape (context, position).

    Raises
    ------
    SettingError
        If a number cannot be used.
    """
    _require_whole("size of the vocabulary", vocabulary, 1)
    _require_whole("number of contexts", count, 1)
    _require_whole("length of a context", length, 1)
    _require_whole("seed", seed, 0)
    return np.random.default_rng(seed).integers(vocabulary, size=(count, length), dtype=np.int64)


def _require_whole(what: str, value: int, least: int) -> None:
    """Require a whole number of at least ``least``.

    Raises
    ------
    SettingError
        If it is none.
    """
    if type(value) is not int or value < least:
        raise SettingError(
            f"the {what} cannot be used",
            expected=f"a whole number from {least}",
            got=quoted(value),
        )


def _too_short(tokens: int, room: int, specials: int) -> SettingError:
    beside = f" beside the {specials} special ones" if specials else ""
    shorter = f", or contexts of at most {tokens + specials} tokens" if tokens else ""
    return SettingError(
        "the text is shorter than one context",
        expected=f"at least {room} tokens{beside}",
        got=str(tokens),
        remedy=f"give a longer text{shorter}",
    )


def _counted(tokens: Tokens) -> str:
    count, length = tokens.shape
    return f"{count} context{'s' if count > 1 else ''} of {length} token{'s' if length > 1 else ''}"
