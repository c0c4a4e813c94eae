"""What enters a model's first block on a text, as content, position and constant.

Where a model adds a table, the position part is the table, the constant the token type, and the
content the token. Elsewhere the constant is μ, the mean over texts and positions, the position part
the mean over texts at each position less μ, and the content the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from poslens.axes import Rows, TokenRows, Tokens
from poslens.checkpoints import PositionTable
from poslens.checkpoints.blocks import Embedding
from poslens.errors import SettingError, TableError
from poslens.logits.parts import Stream

FEWEST_POSITIONS = 3  # with two, what varies along a row is one number
FEWEST_CONTEXTS = 2  # the mean over one text is that text

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Embedded:
    """The parts of the first block's input, made one text at a time.

    Attributes
    ----------
    vectors
        What each token of the texts gives.
    places
        Which of these stands where.
    position
        The position part, the same in all texts.
    constant
        The constant part.
    taken
        What of the tokens is counted as position and constant.
    """

    vectors: TokenRows
    places: Int[np.ndarray, "context position"]
    position: Rows
    constant: Float[np.ndarray, "1 dim"]
    taken: Float[np.ndarray, "position_or_one dim"]

    def stream(self, context: int) -> Stream:
        """Return the parts on one text."""
        content = self.vectors[self.places[context]] - self.taken
        return Stream(content, self.position, self.constant)


def embedded(
    embedding: Embedding, table: PositionTable | None, tokens: Tokens, progress: Progress
) -> Embedded:
    """Return what enters the first block.

    Parameters
    ----------
    embedding
        What the model adds up beside its table.
    table
        The position table, its row 0 for position 0 of the texts; None where the model adds none.
    tokens
        The texts.
    progress
        Called with (what is being done, steps done, steps in all).

    Raises
    ------
    SettingError
        If there are too few texts or positions, more positions than the table has rows, or ids
        that the vocabulary does not hold.
    TableError
        If table and token vectors do not fit each other.
    SourceError
        If token vectors cannot be read.
    """
    check_tokens(tokens, embedding.vocabulary, table)
    ids, places = np.unique(tokens, return_inverse=True)
    places = places.reshape(tokens.shape)
    vectors, constant = embedding.tokens(ids), embedding.constant[None]
    if table is None:
        return _by_means(vectors, places, constant, progress)
    position = table.rows[: tokens.shape[1]]
    if position.shape[1] != vectors.shape[1]:
        raise TableError(
            "the position table does not fit the token vectors",
            expected=f"rows of {vectors.shape[1]} dimensions",
            got=f"{position.shape[1]}",
            remedy="check that the config describes these weights",
        )
    return Embedded(vectors, places, position, constant, np.zeros_like(constant))


def _by_means(
    vectors: TokenRows,
    places: Int[np.ndarray, "context position"],
    constant: Float[np.ndarray, "1 dim"],
    progress: Progress,
) -> Embedded:
    means = np.zeros((places.shape[1], vectors.shape[1]))
    for context, at in enumerate(places):
        means += (vectors[at] - means) / (context + 1)
        progress("mean token vectors", context + 1, len(places))
    mean = means.mean(axis=0, keepdims=True)
    return Embedded(vectors, places, means - mean, mean + constant, means)


def check_tokens(tokens: Tokens, vocabulary: int, table: PositionTable | None) -> None:
    """Require texts that a model can read.

    Raises
    ------
    SettingError
        As `embedded`.
    """
    contexts, length = tokens.shape
    fewest = 1 if table is not None else FEWEST_CONTEXTS
    if contexts < fewest:
        raise SettingError(
            "too few contexts to split logits on",
            expected=f"at least {fewest}"
            + ("" if table is not None else ", as the position part is a mean over them"),
            got=f"{contexts}",
            remedy="give more contexts (--contexts), or a longer text",
        )
    if length < FEWEST_POSITIONS:
        raise SettingError(
            "these contexts are too short",
            expected=f"at least {FEWEST_POSITIONS} tokens in each",
            got=f"{length}",
            remedy="give a larger --length",
        )
    if table is not None and length > table.length:
        raise SettingError(
            "these contexts are longer than the position table",
            expected=f"at most {table.length} tokens in each",
            got=f"{length}",
            remedy=f"give --length {table.length} or less",
        )
    outside = tokens[(tokens < 0) | (tokens >= vocabulary)]
    if outside.size:
        raise SettingError(
            "these tokens are not all in the model's vocabulary",
            expected=f"ids from 0 to {vocabulary - 1}",
            got=f"{outside.size} others, the first of them {outside[0]}",
            remedy="take the tokenizer that belongs to this model",
        )
