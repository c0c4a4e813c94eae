"""What a model is asked: contexts, and the tokens of these that it is to predict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from poslens.axes import Tokens
from poslens.edit.models import LanguageModel
from poslens.edit.scores import Positions
from poslens.errors import SettingError, quoted

Places = Int[np.ndarray, "context"]

MASKED = 32  # positions of a context that are masked, each by itself


@dataclass(frozen=True, eq=False)
class Questions:
    """Contexts that a model reads, each by itself.

    Attributes
    ----------
    ids
        What it reads, shape (context, position).
    places
        The masked position in each; None where every token is predicted from those before it.
    targets
        The tokens that are to be predicted, shape (context, scored): the masked one; or all but
        the first.
    """

    ids: Tokens
    places: Places | None
    targets: Int[np.ndarray, "context scored"]

    def some(self, rows: slice) -> Questions:
        """Return those of some contexts."""
        places = None if self.places is None else self.places[rows]
        return Questions(self.ids[rows], places, self.targets[rows])


def next_tokens(tokens: Tokens) -> Questions:
    """Ask for every token but the first from those before it."""
    return Questions(tokens, None, tokens[:, 1:])


def masked_tokens(tokens: Tokens, places: Places, mask: int) -> Questions:
    """Ask for one token of each context from all others."""
    rows = np.arange(len(tokens))
    ids = tokens.copy()
    ids[rows, places] = mask
    return Questions(ids, places, tokens[rows, places][:, None])


def drawn_positions(model: LanguageModel, tokens: Tokens, count: int, seed: int) -> Positions:
    """Draw positions that are to be masked: one in each of ``count`` equal stretches of the text.

    The special tokens around a text are left out.

    Returns
    -------
    Positions
        Ascending, shape (context, scored): ``count`` of each context, or all where it has fewer.

    Raises
    ------
    SettingError
        If a number cannot be used, or a context holds special tokens alone.
    """
    for name, value, least in (("positions", count, 1), ("seed", seed, 0)):
        if type(value) is not int or value < least:
            raise SettingError(
                f"the {'number of masked positions' if name == 'positions' else name} cannot be "
                "used",
                expected=f"a whole number from {least}",
                got=f"{value}",
            )
    before, after = model.special.around(tokens)
    length = tokens.shape[1] - before - after
    edges = np.linspace(0, length, min(count, length) + 1).astype(np.int64)
    size = (len(tokens), len(edges) - 1)
    drawn = np.random.default_rng(seed).integers(edges[:-1], edges[1:], size=size)
    return before + drawn


def asked(
    model: LanguageModel, tokens: Tokens, count: int, seed: int
) -> tuple[Questions, Positions]:
    """Return what a model is asked on contexts, and where in these it is asked.

    Of a masked model the contexts are repeated, once for each position: those of the first
    context come first.

    Raises
    ------
    SettingError
        If the tokens do not fit the model, it has no head or no mask, or a number cannot be used.
    """
    check_tokens(model, tokens)
    if model.kind == "causal":
        ascending = np.arange(1, tokens.shape[1])
        return next_tokens(tokens), np.tile(ascending, (len(tokens), 1))
    mask = mask_of(model)
    positions = drawn_positions(model, tokens, count, seed)
    repeated = np.repeat(tokens, positions.shape[1], axis=0)
    return masked_tokens(repeated, positions.reshape(-1), mask), positions


def mask_of(model: LanguageModel) -> int:
    """Return the id that stands for a token that is to be predicted.

    Raises
    ------
    SettingError
        If the model predicts no tokens, or the id is not known or not in its vocabulary.
    """
    if model.kind == "headless":
        raise SettingError(
            f"the {quoted(model.checkpoint.uri)} predicts no tokens",
            expected="the weights of a head",
            got="none",
            remedy="measure how far its hidden states move",
        )
    mask = model.special.mask
    if mask is None or not 0 <= mask < model.vocabulary:
        raise SettingError(
            "it is not known which token stands for one that is to be predicted",
            expected="a tokenizer with a mask beside the weights",
            got="none" if mask is None else f"the id {mask}",
            remedy="give its id (mask=...)",
        )
    return mask


def check_tokens(model: LanguageModel, tokens: Tokens, least: int = 2) -> None:
    """Require contexts that a model can read.

    Raises
    ------
    SettingError
        If there are none, they have fewer than ``least`` tokens, or an id is outside the
        vocabulary.
    """
    contexts, length = tokens.shape
    if contexts < 1 or length < least:
        raise SettingError(
            "there is nothing to predict in these contexts",
            expected=f"at least one context of at least {least} tokens",
            got=f"{contexts} of {length}",
            remedy="give a longer text",
        )
    outside = tokens[(tokens < 0) | (tokens >= model.vocabulary)]
    if outside.size:
        raise SettingError(
            "these tokens are not all in the model's vocabulary",
            expected=f"ids from 0 to {model.vocabulary - 1}",
            got=f"{outside.size} others, the first of them {outside[0]}",
            remedy="take the tokenizer that belongs to this model",
        )
