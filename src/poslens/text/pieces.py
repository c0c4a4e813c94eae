"""A text of any size as token ids, from pieces that overlap so that cuts leave no trace."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from poslens.text.tokenizer import Tokenizer

PIECE = 65_536  # characters
MARGIN = 1_024  # characters before and after a piece that its tokenizer sees as well

_LAST_WORD = re.compile(r"(?s).*\S(?=\s)")


def token_ids(
    text: Iterable[str], tokenizer: Tokenizer, piece: int = PIECE, margin: int = MARGIN
) -> Iterator[list[int]]:
    """Tokenise a text piece by piece, without the special tokens around it.

    Each piece is tokenised with ``margin`` characters before and after it, and gives the tokens
    that begin in it. The ids are therefore those of the whole text wherever a token depends on at
    most ``margin`` characters on either side; how the text itself is cut makes no difference to
    any. They may differ within a run longer than that which the tokenizer takes for one word,
    such as a blob in base64, of which WordPiece would have made one unknown token.

    Parameters
    ----------
    text
        In any pieces; it is read at most one of these and ``piece + margin`` characters ahead.
    tokenizer
        Of the model.
    piece, margin
        In characters, each at least 1.

    Raises
    ------
    SourceError
        If the tokenizer fails, or the text does.
    """
    for before, middle, after in _windows(text, piece, margin):
        start = len(before)
        stop = start + len(middle) if after else None
        yield tokenizer.ids(before + middle + after, start, stop)


def _windows(text: Iterable[str], piece: int, margin: int) -> Iterator[tuple[str, str, str]]:
    """Cut a text into pieces; give each with what is before it and after it."""
    before, ahead = "", ""
    for some in _bounded(text, piece):
        ahead += some
        while len(ahead) >= piece + margin:
            stop = _cut(ahead, piece)
            yield before, ahead[:stop], ahead[stop : stop + margin]
            before, ahead = (before + ahead[:stop])[-margin:], ahead[stop:]
    while ahead:
        stop = _cut(ahead, piece)
        yield before, ahead[:stop], ahead[stop : stop + margin]
        before, ahead = (before + ahead[:stop])[-margin:], ahead[stop:]


def _bounded(text: Iterable[str], most: int) -> Iterator[str]:
    for some in text:
        for at in range(0, len(some), most):
            yield some[at : at + most]


def _cut(text: str, most: int) -> int:
    """Return where a piece of at most ``most`` characters ends: before white space, if it can."""
    if len(text) <= most:
        return len(text)
    found = _LAST_WORD.match(text, most // 2, most + 1)
    return found.end() if found else most
