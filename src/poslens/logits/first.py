"""The first block's logits on texts, split into content and position, from weights alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from poslens.attention import (
    TERMS,
    HeadMeans,
    LogitParts,
    Split,
    TermSums,
    at_pairs,
    term_logits,
    term_sums,
)
from poslens.attention.terms import TermLogits
from poslens.axes import HeadVector, Tokens
from poslens.checkpoints import Description, PositionTable
from poslens.checkpoints.blocks import (
    MOST_READ,
    AttentionBlock,
    Embedding,
    read_block,
    read_embedding,
    require_small,
)
from poslens.checkpoints.in_attention import part_meant
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.schemes import AddedTable
from poslens.errors import SettingError, SourceError
from poslens.logits.acting import acting
from poslens.logits.embedded import Embedded, Progress, embedded
from poslens.logits.parts import Acting, Stream, acted, first_positions, query_key_parts

Matrix = Float[np.ndarray, "query_pos key_pos"]

SHOWN = 64  # tokens of a picture
# Positions of the first text on which terms are compared with logits, and the picture is taken:
# its matrices would be large where a text is very long.
COMPARED = 1024

# The terms in which position takes part.
_OF_POSITION = [index for index, term in enumerate(TERMS) if "position" in term]


@dataclass(frozen=True, eq=False)
class FirstLogits:
    """What the first block's logits are made of, over texts.

    Logits are those before a soft cap, where a model has one (Gemma 2).

    Attributes
    ----------
    sums
        Of every head, over all texts: `TermSums.shares` are ``attention.share.<term>``.
    reconstruction_error
        max |Σ terms - logits| ÷ the standard deviation of the logits, both with rows centred, over
        all heads on the first text, its first 1,024 positions if it is longer.
    head
        The head of the picture.
    picture
        Its terms on the first text, up to 64 tokens of it, shape (term, query_pos, key_pos); rows
        centred over the keys they may attend to, the first 1,024 of them; NaN where there are none.
    means
        Mean queries and keys over texts and positions, before rotation.
    note
        What the position part is.
    """

    sums: TermSums
    reconstruction_error: float
    head: int
    picture: TermLogits
    means: HeadMeans
    note: str


def first_block_logits(
    checkpoint: Checkpoint,
    description: Description,
    table: PositionTable | None,
    tokens: Tokens,
    part: str | None = None,
    *,
    head: int | None = None,
    asked: bool = True,
    progress: Progress | None = None,
) -> FirstLogits:
    """Split the logits of a model's first attention block (docs/measures.md, attention logits).

    Parameters
    ----------
    checkpoint
        The opened source, with a config.
    description
        What it does with positions.
    table
        Its position table, row 0 for the first token of each text; None where it adds none.
    tokens
        Ids in the model's vocabulary, shape (context, position).
    part
        Which stack, where a model has several.
    head
        The head of the picture; if None, the one in whose logits position has the largest share.
    asked
        Whether this was asked for: if not, the block of a large model is not read, and of one
        without a table no large token table either, unless its rows are read one by one.
    progress
        Called with (what is being done, steps done, steps in all).

    Raises
    ------
    SourceError
        If the block or the embedding cannot be read, or the block is large and nobody asked.
    SettingError
        If the tokens cannot be used, are more than a window of attention lets all see, or there is
        no such head.
    TableError
        If the table does not fit the model.
    UndefinedMeasureError
        If the logits are no sum of such parts: `acting`, `logit_parts`.
    """
    part = _part(description, table, part)
    if not asked:
        require_small(checkpoint, part)
    report = progress or (lambda _what, _done, _total: None)
    embedding = read_embedding(checkpoint, part)
    if not asked and table is None:  # beside a table the tokens are read in any case
        _require_small_vocabulary(embedding)
    entering = embedded(embedding, table, tokens, report)
    block = read_block(checkpoint, part)
    heads, length = block.queries.shape[0], tokens.shape[1]
    if head is not None and not 0 <= head < heads:
        raise SettingError("no such head", expected=f"a head from 0 to {heads - 1}", got=f"{head}")
    _require_within_window(block, length)
    inside = acting(checkpoint, description.schemes, part, 0, length, block)
    first, sums, means = _summed(block, inside, entering, report)
    shown = _position_bearing(sums) if head is None else head
    return FirstLogits(
        sums=sums,
        reconstruction_error=reconstruction_error(first, block, inside, entering.stream(0)),
        head=shown,
        picture=term_logits(first, shown)[:, :SHOWN, :SHOWN],
        means=means,
        note=_note(table, inside, len(tokens)),
    )


def _part(description: Description, table: PositionTable | None, part: str | None) -> str | None:
    """Return the stack that is meant.

    Raises
    ------
    SourceError
        If the table is not one that the model adds, or none is given though it adds one.
    """
    added = {one.tensor: one for one in description.schemes if isinstance(one, AddedTable)}
    if table is None and not added:
        return part_meant(description.schemes, part)
    if table is None or table.source.tensor not in added:
        raise SourceError(
            "cannot split the logits of the first block",
            expected="the position table that the model adds",
            got="another tensor" if table else "none",
            remedy="leave '::' and what follows it out",
        )
    return part or added[table.source.tensor].part


def _require_within_window(block: AttentionBlock, length: int) -> None:
    if block.window is not None and length > block.window:
        raise SettingError(
            "these contexts are longer than the window of the first layer's attention",
            expected=f"at most {block.window} tokens in each",
            got=f"{length}",
            remedy=f"give --length {block.window} or less",
        )


def _require_small_vocabulary(embedding: Embedding) -> None:
    """Require a token table that is not too much to read, perhaps from afar, unasked.

    Raises
    ------
    SourceError
        If it is larger than `MOST_READ`, and rows of it are not read alone.
    """
    if embedding.numbers > MOST_READ and not embedding.by_rows:
        raise SourceError(
            "the token table is not read for this",
            expected=f"at most {MOST_READ:,} numbers",
            got=f"{embedding.numbers:,}",
            remedy="ask for it with --contexts, --text or --layers",
        )


def _summed(
    block: AttentionBlock, inside: Acting, entering: Embedded, progress: Progress
) -> tuple[LogitParts, TermSums, HeadMeans]:
    """Return the parts on the first text, and sums and means over all."""
    contexts, length = entering.places.shape
    queries, keys = query_key_parts(block, entering.stream(0))
    first = acted(block, queries, keys, inside)
    sums, means = term_sums(first), (_mean(queries), _mean(keys))
    progress("attention logits", 1, contexts)
    for context in range(1, contexts):
        queries, keys = query_key_parts(block, entering.stream(context))
        sums = sums + term_sums(acted(block, queries, keys, inside))
        means = (means[0] + _mean(queries), means[1] + _mean(keys))
        progress("attention logits", context + 1, contexts)
    return (
        first_positions(first, COMPARED),
        sums,
        HeadMeans(
            layer=block.layer,
            queries=means[0] / contexts,
            keys=np.repeat(means[1] / contexts, block.shared_by, axis=0),
            scale=block.scale,
            causal=block.causal,
            origin=f"mean queries and keys over {contexts} contexts of {length} tokens",
        ),
    )


def _mean(vectors: Split) -> HeadVector:
    return np.asarray(vectors.total.mean(axis=1))


def _position_bearing(sums: TermSums) -> int:
    shares = sums.shares()[_OF_POSITION].sum(axis=0)
    return int(np.argmax(np.nan_to_num(shares, nan=-np.inf)))


def reconstruction_error(
    parts: LogitParts, block: AttentionBlock, inside: Acting, stream: Stream
) -> float:
    """Return how far the terms' sum is from logits that were never taken apart.

    Parameters
    ----------
    parts
        Of the logits on one text, perhaps its first positions alone.
    block, inside
        The block, and what its scheme does.
    stream
        What enters it on the whole text.
    """
    queries, keys, _ = block.vectors(stream.content + stream.position + stream.constant)
    if inside.rope is not None:
        at = np.arange(queries.shape[1])
        queries, keys = (inside.rope.rotate(one, at, at.size) for one in (queries, keys))
    count = parts.queries.content.shape[1]
    largest, squares, pairs = 0.0, 0.0, 0
    for head in range(queries.shape[0]):
        logits = queries[head, :count] @ keys[head // block.shared_by, :count].T * block.scale
        if parts.bias is not None:
            logits = logits + at_pairs(parts.bias[head], count, causal=parts.causal)
        centred = _row_centred(logits, causal=parts.causal)
        found = term_logits(parts, head).sum(axis=0)
        largest = max(largest, float(np.nanmax(np.abs(found - centred))))
        squares += float(np.nansum(centred**2))
        pairs += int(np.count_nonzero(np.isfinite(centred)))
    spread = (squares / pairs) ** 0.5
    return largest / spread if spread else largest


def _row_centred(logits: Matrix, *, causal: bool) -> Matrix:
    if causal:
        logits = np.where(np.tri(len(logits), dtype=bool), logits, np.nan)
    return np.asarray(logits - np.nanmean(logits, axis=1, keepdims=True))


def _note(table: PositionTable | None, inside: Acting, contexts: int) -> str:
    if table is not None:
        return "position is the table that is added to the tokens"
    turned = "; what is constant before the rotation counts as position after it"
    return (
        f"position is the mean over {contexts} contexts at each position, less that over positions"
        + (turned if inside.rope is not None else "")
    )
