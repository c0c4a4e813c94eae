"""`tokenizer_of`: the tokenizer that lies beside a model's weights, made exact and steady.

What a ``tokenizer.json`` asks for beside tokenising (truncation, padding, dropout of merges) is
switched off. The file is from strangers: whatever the library says of it, panics of its Rust code
included, becomes one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from poslens.checkpoints.gguf_file import GgufFile
from poslens.checkpoints.local_files import not_understood
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.sources import Opened
from poslens.errors import SourceError, quoted

if TYPE_CHECKING:
    import tokenizers

TOKENIZER = "tokenizer.json"
LARGEST = 64_000_000  # bytes
LONGEST_WORD = 60  # characters that are shown of a token
_MOST_PROBES = 100
_SPACE = "▁"  # what SentencePiece writes for a space


class Tokenizer:
    """A model's own tokenizer: text to ids, each text by itself, and ids to words.

    Attributes
    ----------
    shown
        Its file's quoted name, for messages.
    before, after
        The ids of the special tokens that it puts around every text, such as [CLS] and [SEP];
        perhaps none.

    Parameters
    ----------
    content
        Of a ``tokenizer.json``.
    shown
        What to call it.

    Raises
    ------
    SourceError
        If it is no tokenizer, or one that can tokenise nothing.
    """

    def __init__(self, content: bytes, shown: str) -> None:
        import tokenizers

        self.shown = shown
        with _failing_as(f"cannot understand {shown}", "a tokenizer of the library tokenizers"):
            self._backend: tokenizers.Tokenizer = tokenizers.Tokenizer.from_buffer(content)
            self._backend.no_truncation()
            self._backend.no_padding()
            model = self._backend.model
            if getattr(model, "dropout", None) is not None:
                model.dropout = None  # merges are left out at random while a model is trained
        self.before, self.after = self._specials()

    def ids(self, text: str, start: int = 0, stop: int | None = None) -> list[int]:
        """Return the ids of the tokens that begin at the characters ``start`` … ``stop`` - 1.

        Special tokens are those alone that stand in the text itself.

        Raises
        ------
        SourceError
            If the tokenizer fails, as one without an unknown token does at a word it lacks.
        """
        found = self._encoded(text, specials=False)
        last = len(text) if stop is None else stop - 1  # an empty token may begin at the end
        return [
            number
            for number, (begin, _) in zip(found.ids, found.offsets, strict=True)
            if start <= begin <= last
        ]

    def word(self, number: int) -> str:
        """Return how a token is shown to people: its text, the space before it included.

        What cannot be printed is escaped; a token that is no text (a part of a character's bytes,
        an id that the tokenizer lacks) is shown as its id.
        """
        try:
            with _failing_as(f"{self.shown} cannot show a token", "its text"):
                raw = self._backend.id_to_token(number) or ""
                text = self._backend.decode([number], skip_special_tokens=False)
        except SourceError:
            return str(number)
        if raw.startswith(_SPACE) and not text.startswith((" ", _SPACE)):
            text = " " + text  # decoders drop the first space of a text
        return _printable(text) if text and "\ufffd" not in text else str(number)

    def number(self, word: str) -> int | None:
        """Return the id of the token that is written so in the vocabulary; None if there is none.

        Raises
        ------
        SourceError
            If the tokenizer fails.
        """
        with _failing_as(f"{self.shown} cannot look up a token", "its id"):
            return self._backend.token_to_id(word)

    def _encoded(self, text: str, *, specials: bool) -> tokenizers.Encoding:
        with _failing_as(f"{self.shown} cannot tokenise the text", "ids for any text"):
            return self._backend.encode(text, add_special_tokens=specials)

    def _specials(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Find what is put around a text, from one that is tokenised with it and without."""
        for probe in self._probes():
            try:
                bare = self._encoded(probe, specials=False).ids
            except SourceError:  # at a word that it lacks
                continue
            if not bare:
                continue
            whole = self._encoded(probe, specials=True)
            added = whole.special_tokens_mask
            for at in range(len(added) - len(bare) + 1):
                stop = at + len(bare)
                if whole.ids[at:stop] == bare and all(added[:at] + added[stop:]):
                    return tuple(whole.ids[:at]), tuple(whole.ids[stop:])
        raise not_understood(
            self.shown, "a tokenizer with special tokens around a text at most", "another one"
        )

    def _probes(self) -> Iterator[str]:
        words = (word for word in sorted(self._backend.get_vocab()) if word.isalnum())
        return chain("a1", islice(words, _MOST_PROBES))


def _printable(text: str) -> str:
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= LONGEST_WORD else shown[: LONGEST_WORD - 1] + "…"


@contextmanager
def _failing_as(problem: str, expected: str) -> Iterator[None]:
    """Turn whatever the library raises into an error of ours."""
    try:
        yield
    except BaseException as error:
        panicked = type(error).__name__ == "PanicException"  # of pyo3, and no Exception
        if not panicked and not isinstance(error, Exception):
            raise
        raise SourceError(
            problem,
            expected=expected,
            got=quoted(error),
            remedy="restore tokenizer.json from where the model came from",
        ) from error


def tokenizer_of(opened: Opened) -> Tokenizer:
    """Open the tokenizer beside the weights of a source.

    Raises
    ------
    SourceError
        If there is none, it cannot be read, or is no tokenizer.
    """
    source = opened.beside(TOKENIZER) if isinstance(opened, Checkpoint) else None
    if source is None:
        raise _absent(opened)
    if source.size > LARGEST:
        raise not_understood(
            source.shown, f"a tokenizer of at most {LARGEST // 10**6} MB", f"{source.size} bytes"
        )
    return Tokenizer(bytes(source.read(0, source.size)), source.shown)


def _absent(opened: Opened) -> SourceError:
    is_gguf = isinstance(opened, Checkpoint) and isinstance(opened.tensors, GgufFile)
    model = "FOLDER, gguf_file=FILE" if is_gguf else "MODEL"
    return SourceError(
        f"no tokenizer for {quoted(opened.uri)}",
        expected=f"a {TOKENIZER} beside the weights",
        got="none",
        remedy=f"save one there with transformers' AutoTokenizer.from_pretrained({model})"
        ".save_pretrained(FOLDER), or give token ids (tokens=...)",
    )


def token_words(
    ids: Sequence[int] | Int[np.ndarray, "position"], tokenizer: Tokenizer
) -> list[str]:
    """Return how each token of a context is shown to people, as `Tokenizer.word` says."""
    return [tokenizer.word(int(number)) for number in ids]
