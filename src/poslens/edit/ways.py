"""What can be done to a model for a longer context: by its scheme, one edit for each method."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from poslens.axes import NewRows, Rows
from poslens.checkpoints import Description, PositionTable
from poslens.checkpoints.config import Config
from poslens.checkpoints.load import table_of
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.schemes import AddedTable, Rotary
from poslens.edit.asked import Asked
from poslens.edit.config_edit import text_section
from poslens.edit.extension import METHODS, Method, extended
from poslens.edit.lengths import parts_with, tables_with_lengths
from poslens.edit.rope import ROPE_METHODS, RopeMethod
from poslens.errors import PosLensError, SettingError, quoted
from poslens.geometry.validate import check_rows

if TYPE_CHECKING:
    from poslens.edit.models import LanguageModel, Variant

M = TypeVar("M", Method, RopeMethod)

UNCHANGED = "unchanged"
# Where transformers makes biases for as many positions as this key says, and none beyond.
_LIMITS = {"mpt": "max_seq_len"}


@dataclass(frozen=True, eq=False)
class Way:
    """One edit.

    Attributes
    ----------
    about
        What it does, in one line.
    rows
        A longer table, shape (position, dim); None for a scheme without one.
    others
        The tables of other parts, which become longer with it, by part.
    changes
        Of the config as it stands in its file, by key; none where nothing is to be written.
    rescaled
        From a config to its changes: a model that runs has one in newer words than many a file.
    """

    about: str
    rows: Rows | None = None
    others: Mapping[str | None, NewRows] = field(default_factory=dict)
    changes: Mapping[str, object] = field(default_factory=dict)
    rescaled: Callable[[Config], Mapping[str, object]] | None = None

    def variant(self, model: LanguageModel) -> Variant:
        """Return the model with this edit."""
        if self.rows is not None:
            return model.with_rows(self.rows, self.others)
        config = model.checkpoint.config
        if self.rescaled is None or config is None:
            return model.original()
        return model.with_config(self.rescaled(config))


@dataclass(frozen=True, eq=False)
class Ways:
    """Every edit that fits a model.

    Attributes
    ----------
    scheme
        What the model does with positions, in one word.
    fitting
        By method.
    refused
        Why another method does not fit, by its name.
    """

    scheme: str
    fitting: Mapping[str, Way]
    refused: Mapping[str, PosLensError] = field(default_factory=dict)

    def check(self, method: str | None) -> None:
        """Require that a method fits, where one is asked for.

        Raises
        ------
        PosLensError
            Why it does not; or that there is none of this name.
        """
        if method is None or method in self.fitting:
            return
        if method in self.refused:
            raise self.refused[method]
        near = difflib.get_close_matches(method, self.fitting, n=1)
        raise SettingError(
            f"no method {quoted(method)} for positions of the kind {self.scheme}",
            expected=" or ".join(self.fitting),
            got=quoted(method),
            remedy=f"did you mean {near[0]}?" if near else "",
        )


def ways_of(given: Asked, table: PositionTable | None, trained: int, to: int) -> Ways:
    """Return what fits a model: a table is made longer, a rotation is scaled in the config.

    Parameters
    ----------
    given
        The model.
    table
        Its own; None for a scheme without one.
    trained, to
        Positions that it was made for, of which the table's rows are taken; and those wanted.

    Raises
    ------
    PosLensError
        If no method fits.
    """
    scheme = scheme_of(given.description)
    if table is not None:
        rows = {part: check_rows(one.rows[:trained]) for part, one in _together(given, table)}
        return _that_fit(scheme, METHODS, partial(_longer, rows, to))
    config = given.opened.config if isinstance(given.opened, Checkpoint) else None
    if rotates(given.description) and config is not None:
        return _that_fit(scheme, ROPE_METHODS, partial(_rotation, config, given.part, trained, to))
    limit = None if config is None else limit_of(config, given.part)
    if limit is None:
        way = Way(f"nothing is changed: {scheme} has no values that run out")
    else:
        changes = {limit: to}
        about = f"only {limit} of the config, up to which transformers computes {scheme}"
        way = Way(about, changes=changes, rescaled=lambda _: changes)
    return Ways(scheme, {UNCHANGED: way})


def _together(given: Asked, table: PositionTable) -> Iterator[tuple[str | None, PositionTable]]:
    """Give the table, and those of other parts whose length is the same number of the config."""
    yield given.part, table
    opened, schemes = given.opened, () if given.description is None else given.description.schemes
    if not isinstance(opened, Checkpoint) or opened.config is None or opened.tensor is not None:
        return
    if len({one.part for one in schemes if isinstance(one, AddedTable)}) < 2:
        return
    tensors, config = opened.tensors, opened.config
    for found, length in tables_with_lengths(tensors, config):
        if found.tensor == table.source.tensor:
            for part in parts_with(length, tensors, config):
                if part != found.part.name:
                    yield part, table_of(opened, part, with_tokens=False)


def _longer(rows: Mapping[str | None, Rows], to: int, method: Method) -> Way:
    (_, own), *others = ((part, extended(some, to, method.name)) for part, some in rows.items())
    return Way(method.about, own, others=dict(others))


def _rotation(config: Config, part: str | None, trained: int, to: int, method: RopeMethod) -> Way:
    def rescaled(some: Config) -> Mapping[str, object]:
        _, values = text_section(some, part)
        return method.parameters(values, trained, to)

    return Way(method.about, changes=rescaled(config), rescaled=rescaled)


def scheme_of(description: Description | None) -> str:
    """Return what a model does with positions, in one word; of a bare table, that it is one."""
    if description is None or not description.schemes:
        return "table"
    return description.schemes[0].word


def rotates(description: Description | None) -> bool:
    """Return whether a model turns queries and keys by position."""
    schemes = () if description is None else description.schemes
    return any(isinstance(one, Rotary) for one in schemes)


def limit_of(config: Config, part: str | None) -> str | None:
    """Return the config's key that alone bounds what a model reads; None where nothing does.

    MPT's ALiBi has a value for every distance, and transformers computes it for ``max_seq_len``.

    Raises
    ------
    SettingError
        If there is no such part.
    """
    _, values = text_section(config, part)
    return _LIMITS.get(str(values.get("model_type")))


def _that_fit(scheme: str, methods: Mapping[str, M], way: Callable[[M], Way]) -> Ways:
    found: dict[str, Way] = {}
    refused: dict[str, PosLensError] = {}
    for name, one in methods.items():
        try:
            found[name] = way(one)
        except PosLensError as error:
            refused[name] = error
    if not found:
        raise next(iter(refused.values()))
    return Ways(scheme, found, refused)
