"""`Edit`: what is to change in a checkpoint, made from new rows or new values of its config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from poslens.axes import Rows
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.tensors import Tensors, listed
from poslens.edit.config_edit import own_config, rotary_paths
from poslens.edit.lengths import Path, causal_masks, index_buffer
from poslens.edit.places import Place, place_of
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


def values_edit(
    checkpoint: Checkpoint, part: str | None, changes: Mapping[str, object], to: int, card: str
) -> Edit:
    """Put rotary parameters or a limit into the config, in the words that its file has for them.

    Parameters
    ----------
    checkpoint
        An opened source.
    part
        Of a model that is made of others, the one whose values they are.
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
