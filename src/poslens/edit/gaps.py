"""`Gaps`: how a model of an encoder and a decoder was trained to fill a gap in a text.

Both kinds are asked for one token of a text, which the encoder reads with a mask in its place.
They differ in what the decoder is given before it answers. Checked against transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from poslens.axes import Tokens
from poslens.edit.scores import Given, Places
from poslens.errors import SourceError, quoted


@runtime_checkable
class Gaps(Protocol):
    """What a model is given to fill a gap of one token.

    Attributes
    ----------
    masks
        How tokenizers write the token that stands for a gap, in order of preference; none where
        they name it as their mask.
    ties_head
        Whether the head is the token table in every checkpoint, those of the base model included.
    """

    masks: ClassVar[tuple[str, ...]]
    ties_head: ClassVar[bool]

    def given(self, tokens: Tokens, places: Places, mask: int, /) -> tuple[Given, Places]:
        """Return what the decoder is given, and where in it the logits of the answer are.

        Parameters
        ----------
        tokens
            Whole contexts, shape (context, position).
        places
            The position of the gap in each.
        mask
            The id that stands for it in what the encoder reads.
        """
        ...


@dataclass(frozen=True)
class SpanCorruption:
    """T5's (Raffel et al. 2020, arXiv:1910.10683, section 3.1.4), with a span of one token.

    The decoder writes the sentinel that stands for the gap, and then what was there: it is given
    its start and the first sentinel.

    Attributes
    ----------
    start
        The id that every text of the decoder begins with.
    """

    start: int
    # mT5's is a piece of its SentencePiece model, and not a token added to it.
    masks: ClassVar[tuple[str, ...]] = ("<extra_id_0>", "▁<extra_id_0>")
    ties_head: ClassVar[bool] = False

    def given(self, tokens: Tokens, places: Places, mask: int, /) -> tuple[Given, Places]:
        """Return the start and the sentinel, after which the answer comes."""
        return np.tile(np.array([self.start, mask]), (len(tokens), 1)), np.ones_like(places)


@dataclass(frozen=True)
class TextInfilling:
    """BART's (Lewis et al. 2020, arXiv:1910.13461, section 2.2), with a span of one token.

    The decoder writes the whole text anew: it is given the text shifted right by its start, of
    which it sees no more than what comes before the gap.

    Attributes
    ----------
    start
        The id that every text of the decoder begins with.
    """

    start: int
    masks: ClassVar[tuple[str, ...]] = ()
    ties_head: ClassVar[bool] = True

    def given(self, tokens: Tokens, places: Places, _: int, /) -> tuple[Given, Places]:
        """Return the text, shifted right; the answer is where the gap is."""
        start = np.full((len(tokens), 1), self.start)
        return np.hstack([start, tokens[:, :-1]]), places


# By the model_type of config.json.
_FILLING: dict[str, Callable[[int], Gaps]] = {
    "bart": TextInfilling,
    "mt5": SpanCorruption,
    "switch_transformers": SpanCorruption,
    "t5": SpanCorruption,
    "umt5": SpanCorruption,
}
_TRANSLATES = "it translates, and has no way to fill a gap"
_SENTENCES = "its gaps are whole sentences"
_LANGUAGES = "its decoder begins with a language, which its config does not name"
_OTHERS = {
    "bigbird_pegasus": _SENTENCES,
    "fsmt": _TRANSLATES,
    "led": "its decoder reads fewer tokens than its encoder",
    "longt5": _SENTENCES,
    "m2m_100": _TRANSLATES,
    "marian": _TRANSLATES,
    "mbart": _LANGUAGES,
    "nllb-moe": _TRANSLATES,
    "pegasus": _SENTENCES,
    "pegasus_x": _SENTENCES,
    "plbart": _LANGUAGES,
    "speech_to_text": "it writes speech down, and reads no text",
    "whisper": "it writes speech down, and reads no text",
}


def gaps_of(config: Any, shown: str) -> Gaps:
    """Return how a model of this config fills a gap.

    Parameters
    ----------
    config
        Of transformers, of a model of an encoder and a decoder.
    shown
        What to call the model.

    Raises
    ------
    SourceError
        If its kind is not one that does, or the config does not say how its decoder begins.
    """
    family, start = config.model_type, getattr(config, "decoder_start_token_id", None)
    if family not in _FILLING:
        raise SourceError(
            f"cannot measure predictions of {shown}",
            expected=f"a model of one stack, or one that fills gaps: {', '.join(_FILLING)}",
            got=f"an encoder and a decoder of the kind {quoted(family)}: "
            + _OTHERS.get(family, "it was not trained to fill a gap of one token"),
            remedy="load one of the two, and pass it",
        )
    if type(start) is not int:
        raise SourceError(
            f"cannot measure predictions of {shown}",
            expected="a config that says which token its decoder begins with",
            got=f"decoder_start_token_id {quoted(start)}",
            remedy="set it; of T5 it is that of padding",
        )
    return _FILLING[family](start)
