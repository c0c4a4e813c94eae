"""What people do without an edit: to cut a long text, or to slide a window along it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from poslens.axes import Tokens
from poslens.checkpoints.remote.meter import Progress
from poslens.edit.models import LanguageModel
from poslens.edit.questions import (
    MASKED,
    Questions,
    check_tokens,
    drawn_positions,
    mask_of,
    masked_tokens,
    next_tokens,
)
from poslens.edit.scores import Positions, Scores
from poslens.edit.scoring import Answers, answers
from poslens.errors import SettingError

Starts = Int[np.ndarray, "window"]


def cut(
    model: LanguageModel,
    tokens: Tokens,
    window: int,
    seed: int = 0,
    *,
    masked: int = MASKED,
    progress: Progress | None = None,
) -> Scores:
    """Score what a model predicts if it reads each window of a text by itself.

    Windows follow one another and do not overlap; the last may be shorter. The special tokens
    around a text are around each. A token that would be predicted from nothing is not scored.

    Parameters
    ----------
    tokens
        Contexts of token ids, shape (context, position), of any length.
    window
        Tokens that are read at once, the special ones included.
    seed, masked
        As `scoring.score` has them: the same positions are masked.
    progress
        Called with (words, batches read, batches in all).

    Raises
    ------
    SettingError
        If the window has no room for text or is longer than what the model reads, or as `score`.
    SourceError
        If the model cannot read the tokens, or its loss is no number.
    """
    text = _Text(model, tokens, window)
    starts = np.arange(0, text.length, text.room)
    if model.kind == "causal":
        return _causal(text, starts, starts, progress)
    positions = drawn_positions(model, tokens, masked, seed)
    return _masked(text, positions, (positions - text.before) // text.room * text.room, progress)


def sliding(
    model: LanguageModel,
    tokens: Tokens,
    window: int,
    stride: int,
    seed: int = 0,
    *,
    masked: int = MASKED,
    progress: Progress | None = None,
) -> Scores:
    """Score what a model predicts if a window slides along a text.

    It moves by ``stride`` tokens, the last time by as many as are left. A causal model's tokens
    are scored in the first window that holds them: all of the first, and of each other those that
    are new. A masked model's are scored in the window whose middle is nearest to them. The special
    tokens around a text are around each window.

    Parameters
    ----------
    tokens
        Contexts of token ids, shape (context, position), of any length.
    window
        Tokens that are read at once, the special ones included.
    stride
        At most as many as the window has of the text.
    seed, masked
        As `scoring.score` has them: the same positions are masked.
    progress
        Called with (words, batches read, batches in all).

    Raises
    ------
    SettingError
        If the stride or the window cannot be used, or as `score`.
    SourceError
        If the model cannot read the tokens, or its loss is no number.
    """
    text = _Text(model, tokens, window)
    if type(stride) is not int or not 1 <= stride <= text.room:
        raise SettingError(
            "the stride of the window cannot be used",
            expected=f"from 1 to the {text.room} tokens of the text that a window holds",
            got=f"{stride}",
        )
    last = max(text.length - text.room, 0)
    starts = np.append(np.arange(0, last, stride), last)
    if model.kind == "causal":
        new = np.append(0, starts[:-1] + text.room)
        return _causal(text, starts, new, progress)
    positions = drawn_positions(model, tokens, masked, seed)
    middles = starts + (min(text.room, text.length) - 1) / 2
    away = np.abs((positions - text.before)[..., None] - middles)
    return _masked(text, positions, starts[np.argmin(away, axis=-1)], progress)


class _Text:
    """Contexts, and what a window holds of the text between their special tokens."""

    def __init__(self, model: LanguageModel, tokens: Tokens, window: int) -> None:
        check_tokens(model, tokens)
        if model.kind != "causal":
            mask_of(model)
        self.model, self.tokens = model, tokens
        self.before, after = model.special.around(tokens)
        # What a causal model reads after a text is no help to it.
        self.after = 0 if model.kind == "causal" else after
        self.length = tokens.shape[1] - self.before - self.after
        self.room = window - self.before - self.after
        most = model.positions(model.original()())
        least = 2 if model.kind == "causal" and not self.before else 1
        if type(window) is not int or self.room < least or (most is not None and window > most):
            raise SettingError(
                "the window cannot be used",
                expected=f"at least {window - self.room + least} tokens"
                + ("" if most is None else f" and at most {most}, which the model reads"),
                got=f"{window}",
            )

    def lengths(self, starts: Int[np.ndarray, "*window"]) -> Int[np.ndarray, "*window"]:
        """Return how many tokens of the text windows hold that begin there."""
        return np.asarray(np.minimum(self.room, self.length - starts))

    def windows(self, contexts: Starts, starts: Starts, length: int) -> Tokens:
        """Return windows of the contexts' texts, with the special tokens around each."""
        inner = self.before + starts[:, None] + np.arange(length)
        before = np.arange(self.before)
        after = self.tokens.shape[1] - self.after + np.arange(self.after)
        around = [np.tile(some, (len(starts), 1)) for some in (before, after)]
        columns = np.hstack([around[0], inner, around[1]])
        return np.asarray(self.tokens[contexts[:, None], columns])

    def losses(self, questions: Questions, progress: Progress | None) -> Answers:
        """Return the model's own."""
        as_it_is = {"the model as it is": self.model.original()}
        (found,) = answers(self.model, as_it_is, questions, progress=progress).values()
        losses, _ = found
        return losses


def _causal(text: _Text, starts: Starts, new: Starts, progress: Progress | None) -> Scores:
    """Score the tokens of each window from ``new`` on, in positions of the text."""
    count, lengths = len(text.tokens), text.lengths(starts)
    unread = 0 if text.before else 1  # the first token of a window is predicted from nothing
    positions: list[np.ndarray] = []
    losses: list[np.ndarray] = []
    for length in sorted({*lengths.tolist()}, reverse=True):
        some = np.flatnonzero(lengths == length)
        if length <= unread:
            continue
        contexts, which = np.divmod(np.arange(count * len(some)), len(some))
        read = text.windows(contexts, starts[some][which], length)
        found = text.losses(next_tokens(read), progress).reshape(count, len(some), -1)
        for number, window in enumerate(some):
            first = max(int(new[window] - starts[window]), unread)
            losses.append(found[:, number, found.shape[2] - (length - first) :])
            positions.append(text.before + starts[window] + np.arange(first, length))
    return Scores(np.tile(np.concatenate(positions), (count, 1)), np.hstack(losses))


def _masked(
    text: _Text,
    positions: Positions,
    starts: Int[np.ndarray, "context scored"],
    progress: Progress | None,
) -> Scores:
    """Score each masked token in the window that begins at its start, in positions of the text."""
    losses = np.empty(positions.shape)
    lengths = text.lengths(starts)
    for length in sorted({*lengths.reshape(-1).tolist()}, reverse=True):
        contexts, which = np.nonzero(lengths == length)
        begin = starts[contexts, which]
        read = text.windows(contexts, begin, length)
        places = positions[contexts, which] - begin
        questions = masked_tokens(read, places, mask_of(text.model))
        losses[contexts, which] = text.losses(questions, progress)[:, 0]
    return Scores(positions, losses)
