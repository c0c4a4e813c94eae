"""Where a checkpoint keeps a position table, and which others are as long as it must be."""

from __future__ import annotations

from dataclasses import dataclass

from poslens.checkpoints.config import Config
from poslens.checkpoints.finding import Found, check_part, choose_table, find_tables
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.rows import check_entry
from poslens.checkpoints.tensors import Entry, Tensors, listed, require_named
from poslens.edit.config_edit import own_config
from poslens.edit.lengths import Length, length_of, stored_rows, tables_with_lengths
from poslens.errors import SettingError, quoted


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
