"""`Edit`: what is to change in a checkpoint, made from new rows or new rotary parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from poslens.axes import Rows
from poslens.checkpoints.config import Config
from poslens.checkpoints.finding import Found, check_part, choose_table, find_tables
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.rows import check_entry
from poslens.checkpoints.tensors import Entry, Tensors, listed, require_named
from poslens.edit.config_edit import own_config, rotary_paths
from poslens.edit.lengths import (
    Length,
    Path,
    causal_masks,
    index_buffer,
    length_of,
    stored_rows,
    tables_with_lengths,
)
from poslens.edit.raw import read_any
from poslens.edit.stored import is_whole
from poslens.errors import SettingError, quoted

_NOTHING: Mapping[str, np.ndarray] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Edit:
    """What changes in a checkpoint; all else of it stays as it is.

    Attributes
    ----------
    tensors
        New values by the names in the checkpoint, rows before position 0 included. They are
        rounded to the stored dtype when they are written.
    config
        New values in ``config.json``, by the way of keys to them.
    length
        Tokens that the tokenizer may pass on from now; None where that stays as it is.
    card
        A section of the model card, in Markdown.
    factors
        What the new rows are made of, by name, written beside the weights where there are any.
    left_out
        Tensors that are not written, because transformers makes them anew.
    """

    tensors: Mapping[str, np.ndarray]
    config: Mapping[Path, object]
    length: int | None
    card: str
    factors: Mapping[str, np.ndarray] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a checkpoint keeps a position table.

    Attributes
    ----------
    tensors
        Its names: several where the checkpoint holds it more than once.
    entry
        What the container says of the first.
    offset
        Stored rows before position 0.
    found
        What the model's family says of it; None for a tensor of which nothing but its name is
        known.
    length
        The config's number for it; None where it has none.
    """

    tensors: tuple[str, ...]
    entry: Entry
    offset: int
    found: Found | None
    length: Length | None

    @property
    def positions(self) -> int:
        """Positions that it has rows for."""
        return stored_rows(self.entry) - self.offset


def place_of(checkpoint: Checkpoint, part: str | None) -> Place:
    """Find the table that `load_table` loads, and the config's number for its length.

    Raises
    ------
    SourceError
        If there is none, or are several and none was chosen.
    TableError
        If the tensor is no position table.
    SettingError
        If the table is computed and not stored, or the source has no ``config.json``.
    """
    config = own_config(checkpoint)
    tensors = checkpoint.tensors
    found = _found(checkpoint, config, part)
    if found is None:
        entry = tensors.entry(str(checkpoint.tensor))
        check_entry(entry, 0, tensors.shown)
        return Place((str(entry.name),), entry, 0, None, None)
    if found.tensor is None:
        raise SettingError(
            f"cannot edit the position table of {quoted(checkpoint.uri)}",
            expected="one that the checkpoint stores",
            got="one that the model computes from its config",
            remedy="to read further, raise the length in its config.json",
        )
    entry, offset = tensors.entry(found.tensor), found.part.offset(found.config)
    check_entry(entry, offset, tensors.shown)
    length = length_of(found, stored_rows(entry), config)
    return Place(_copies(tensors, config, found), entry, offset, found, length)


def _found(checkpoint: Checkpoint, config: Config, part: str | None) -> Found | None:
    tensors, uri = checkpoint.tensors, checkpoint.uri
    if checkpoint.tensor is None:
        return choose_table(tensors, config, part, uri)
    require_named(checkpoint.tensor, tensors)
    tables = find_tables(tensors, config)
    found = next((one for one in tables if one.tensor == checkpoint.tensor), None)
    known = found.part.name if found is not None else None
    check_part(part, [known] if known else [], uri)
    return found


def _copies(tensors: Tensors, config: Config, found: Found) -> tuple[str, ...]:
    """Return the names under which a table is stored, of which a loader may take any."""
    names = [
        str(one.tensor)
        for one in find_tables(tensors, config)
        if one.part.name == found.part.name and one.tensor is not None
    ]
    first = str(found.tensor)
    if len(names) == 1:
        return (first,)
    original = tensors.read(first).sha256()
    different = [name for name in names if tensors.read(name).sha256() != original]
    if different:
        raise SettingError(
            f"cannot edit {quoted(first)} of {tensors.shown} alone",
            expected="a checkpoint that stores a table once, or twice the same",
            got=f"another one in {listed(map(quoted, different))}",
            remedy="save the model anew with the table that is meant",
        )
    return (first, *(name for name in names if name != first))


def parts_together(checkpoint: Checkpoint, part: str | None) -> tuple[str | None, ...]:
    """Return the parts whose tables must become longer together, the one that is asked for first.

    BART has one number in its config for the tables of its encoder and decoder: an edit of both is
    `together` of the edits of each.

    Raises
    ------
    SourceError, TableError, SettingError
        As `place_of`.
    """
    place = place_of(checkpoint, part)
    if place.found is None or place.length is None:
        return (part,)
    paths = set(place.length.paths)
    others = [
        found.part.name
        for found, length in tables_with_lengths(checkpoint.tensors, own_config(checkpoint))
        if paths & set(length.paths)
    ]
    return tuple(dict.fromkeys((place.found.part.name, *others)))


def table_edit(
    checkpoint: Checkpoint,
    part: str | None,
    rows: Rows,
    card: str,
    factors: Mapping[str, np.ndarray] = _NOTHING,
) -> Edit:
    """Put new rows in a table's place; where they are more, all that goes with its length too.

    Parameters
    ----------
    checkpoint
        An opened source.
    part
        Which table, where the model has several.
    rows
        From position 0 on, shape (position, dim); the stored rows before it stay.
    card
        A section of the model card.
    factors
        What the rows are made of, by name.

    Raises
    ------
    SourceError, TableError
        As `place_of`.
    SettingError
        As `place_of`; if the rows are fewer or of another width than the table's, or not finite;
        or if they are more and the model's length is no number of its config.
    """
    place = place_of(checkpoint, part)
    _check_rows(rows, place, checkpoint.tensors.shown)
    tensors = checkpoint.tensors
    before = tensors.read(place.tensors[0]).values().reshape(-1, rows.shape[1])[: place.offset]
    values = np.concatenate([before.astype(np.float64), rows])
    values = values.reshape(*place.entry.shape[:-2], *values.shape)
    edited: dict[str, np.ndarray] = dict.fromkeys(place.tensors, values)
    longer = len(rows) - place.positions
    if longer == 0:
        return Edit(edited, {}, None, card, factors)
    if place.length is None or place.found is None:
        raise _fixed_length(place, tensors)
    buffer = index_buffer(place.found, tensors)
    if buffer is not None and is_whole(entry := tensors.entry(buffer)) and len(entry.shape) == 2:
        first = read_any(tensors, buffer).reshape(-1)[0]
        edited[buffer] = first + np.arange(entry.shape[1] + longer)[None]
    return Edit(
        edited,
        place.length.values(len(rows)),
        len(rows),
        card,
        factors,
        causal_masks(tensors, place.positions),
    )


def _check_rows(rows: Rows, place: Place, shown: str) -> None:
    dim = place.entry.shape[-1]
    problem = ""
    if rows.ndim != 2 or rows.shape[1] != dim:
        problem = f"shape {rows.shape}"
    elif len(rows) < place.positions:
        problem = f"{len(rows)} rows"
    elif not np.isfinite(rows).all():
        problem = "NaN or infinite values"
    if problem:
        raise SettingError(
            f"cannot put these rows in place of {place.entry} of {shown}",
            expected=f"finite numbers of shape (position, {dim}), at least {place.positions} rows",
            got=problem,
            remedy="a model keeps its width, and is not made shorter",
        )


def _fixed_length(place: Place, tensors: Tensors) -> SettingError:
    what = f"{place.entry} of {tensors.shown}"
    if place.found is None:
        return SettingError(
            f"cannot make {what} longer",
            expected="a table that the entry of a known model_type names",
            got="a tensor of which nothing says what else depends on its length",
            remedy="give the source without '::'",
        )
    return SettingError(
        f"cannot make {what} longer",
        expected="a model whose config.json has a number for its positions",
        got=f"{place.positions} positions for which {quoted(place.found.family)} has none there",
        remedy="a grid of patches grows with the image, and is left to transformers; "
        "of a text model, restore the config from where it came from",
    )


def rope_edit(
    checkpoint: Checkpoint, part: str | None, changes: Mapping[str, object], to: int, card: str
) -> Edit:
    """Put rotary parameters into the config, in the words that its file has for them.

    Parameters
    ----------
    checkpoint
        An opened source.
    part
        Of a model that is made of others, the one that rotates.
    changes
        New values by key, of the config (or the section of it for text) as transformers 5 has it.
    to
        Tokens that the tokenizer may pass on from now.
    card
        A section of the model card.

    Raises
    ------
    SettingError
        If the source has no ``config.json``, or no such part.
    """
    return Edit({}, rotary_paths(own_config(checkpoint), part, changes), to, card)


def together(*edits: Edit) -> Edit:
    """Return one edit of several, of different tables; cards follow one another.

    Raises
    ------
    SettingError
        If two of them contradict each other.
    """
    tensors: dict[str, np.ndarray] = {}
    config: dict[Path, object] = {}
    factors: dict[str, np.ndarray] = {}
    for edit in edits:
        shared = config.keys() & edit.config.keys()
        differ = [".".join(key) for key in shared if edit.config[key] != config[key]]
        differ += [name for name in tensors if name in edit.tensors]
        differ += [name for name in factors if name in edit.factors]
        if differ:
            raise SettingError(
                "cannot put these edits together",
                expected="edits of different tables, to one length where they share its number",
                got=f"two of {listed(map(quoted, differ))}",
            )
        tensors |= edit.tensors
        config |= edit.config
        factors |= edit.factors
    lengths = [edit.length for edit in edits if edit.length is not None]
    return Edit(
        tensors,
        config,
        max(lengths, default=None),
        "\n\n".join(dict.fromkeys(edit.card for edit in edits if edit.card)),
        factors,
        tuple(dict.fromkeys(name for edit in edits for name in edit.left_out)),
    )
