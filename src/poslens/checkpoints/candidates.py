"""Which tensors look like position tables, by name and shape, where no family entry says it."""

from __future__ import annotations

import re

from poslens.checkpoints.names import TENSOR_MARK
from poslens.checkpoints.rows import is_table_shape
from poslens.checkpoints.tensors import Entry, Tensors, listed
from poslens.errors import SourceError, quoted

# wpe, W_pos, pe, pos_embed, position_embeddings, positional_embedding, positions_embed,
# embed_positions, pos_encoding; each perhaps followed by ".weight".
_NAMED = re.compile(
    r"(?:^|[._/])(?:wpe|w_pos|pe|pos(?:ition(?:al|s)?)?_?(?:emb|enc)\w*|emb\w*_pos(?:ition)?s?)"
    r"(?:[._/]weight)?$",
    re.IGNORECASE,
)
LONGEST_END = 128
# Tables of distances between positions have one row a distance, not one a position.
_RELATIVE = re.compile(r"(?:^|[._/])rel(?:ative)?_", re.IGNORECASE)


def looks_like_positions(name: str) -> bool:
    """Whether a tensor's name is one that position tables go by."""
    # Only the end counts, and the search through all of a name takes the square of its length.
    end = max(0, len(name) - LONGEST_END)
    return bool(_NAMED.search(name, end)) and not _RELATIVE.search(name)


def position_candidates(tensors: Tensors) -> list[Entry]:
    """Return the tensors that look like position tables: name, shape and a readable dtype."""
    named = [tensors.entry(name) for name in tensors.names() if looks_like_positions(name)]
    return [entry for entry in named if entry.floating and is_table_shape(entry.shape)]


def only_candidate(tensors: Tensors, uri: str) -> str:
    """Return the name of the one tensor of a file without a config that can be the table.

    That is the one that looks like a position table; if none does, the one readable matrix; if
    the file holds a single tensor, that one.

    Raises
    ------
    SourceError
        If there are several or none; the message lists them, and shows how to name one.
    """
    names = list(tensors.names())
    if len(names) == 1:
        return names[0]
    found = position_candidates(tensors)
    if not found:
        entries = [tensors.entry(name) for name in names]
        found = [entry for entry in entries if entry.floating and len(entry.shape) == 2]
        if len(found) != 1:
            raise SourceError(
                f"no tensor in {tensors.shown} looks like a position table",
                expected="one that is named like one, or a single matrix of floats",
                got=listed(map(str, entries)) or "no tensors",
                remedy=how_to_name(tensors, uri),
            )
    if len(found) > 1:
        raise SourceError(
            f"several tensors in {tensors.shown} look like position tables",
            expected="one",
            got=listed(map(str, found)),
            remedy=how_to_name(tensors, uri),
        )
    return str(found[0].name)


def how_to_name(tensors: Tensors, uri: str) -> str:
    """Return the remedy that shows how to name a tensor of this source."""
    if not tensors.named_by_string:
        return "pass one of its tensors"
    # The mark matters more than a long path, so the path is cut, not the end.
    return f"name one as {quoted(uri.partition(TENSOR_MARK)[0])}::TENSOR"


def describe_candidates(tensors: Tensors) -> str:
    """Return the tensors that look like position tables, or else some of those that are there."""
    found = position_candidates(tensors)
    if found:
        return "these look like position tables: " + listed(map(str, found))
    return "none looks like a position table among " + listed(quoted(n) for n in tensors.names())
