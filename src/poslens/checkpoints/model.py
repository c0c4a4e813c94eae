"""The position table of a known architecture, with the tensors that act beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from poslens.axes import PerDim, TokenRows
from poslens.checkpoints.candidates import describe_candidates, how_to_name
from poslens.checkpoints.config import Config
from poslens.checkpoints.families import FAMILIES, Formula, Part, Spellings
from poslens.checkpoints.numpy_files import stored_from_array
from poslens.checkpoints.rows import check_entry, position_rows
from poslens.checkpoints.table import PositionTable, Source
from poslens.checkpoints.tensors import StoredTensor, Tensors, listed
from poslens.errors import SourceError, quoted


@dataclass(frozen=True)
class Found:
    """A family's position table: one that a container really holds, or one that is computed.

    Attributes
    ----------
    family
        The ``model_type``.
    part
        The family's entry.
    prefix
        What stands before the entry's names in this container.
    config
        The part's own section of the config.
    tensor
        The position table's full name; None where it is computed.
    """

    family: str
    part: Part
    prefix: str
    config: Config
    tensor: str | None

    def formula(self) -> Formula | None:
        """Return how the table is computed; None where a tensor holds it."""
        if self.tensor is not None or self.part.formula is None:
            return None
        return self.part.formula(self.config)


def find_tables(tensors: Tensors, config: Config) -> list[Found]:
    """Return the position tables that the config's architecture adds.

    Each is held by the container, or is computed where the family's entry says how.

    Raises
    ------
    SourceError
        If a value of the config has the wrong type.
    """
    family = config.text("model_type")
    if family not in FAMILIES:
        return []
    names = set(tensors.names())
    found: list[Found] = []
    for part in FAMILIES[family].parts:
        if _unmet(part, config):
            continue
        section = config.section(*part.sections) if part.sections else config
        held = [
            Found(family, part, prefix, section, prefix + spelling)
            for prefix in part.prefixes
            for spelling in part.position
            if prefix + spelling in names
        ]
        if not held and part.formula is not None:
            held = [Found(family, part, _prefix_in_use(part, names), section, None)]
        found += held
    return found


def _prefix_in_use(part: Part, names: set[str]) -> str:
    """Return the prefix under which the token table stands; the first one if none does."""
    for prefix in part.prefixes:
        if any(prefix + spelling in names for spelling in part.tokens):
            return prefix
    return part.prefixes[0]


def choose_table(tensors: Tensors, config: Config, part: str | None, uri: str) -> Found:
    """Return the one position table that was asked for.

    Raises
    ------
    SourceError
        If the family is unknown, has no such part or several, or its tensor is not there.
    """
    family = config.text("model_type")
    if family not in FAMILIES:
        raise SourceError(
            f"unknown model_type {quoted(family)} in {config.shown}",
            expected=f"one of {', '.join(sorted(FAMILIES))}",
            got=describe_candidates(tensors),
            remedy=how_to_name(tensors, uri),
        )
    parts = FAMILIES[family].parts
    check_part(part, [one.name for one in parts if one.name], uri)
    wanted = [one for one in parts if part in (None, one.name)]
    found = [one for one in find_tables(tensors, config) if one.part in wanted]
    if not found:
        _raise_absent(tensors, config, wanted, uri)
    if len(found) > 1:
        names = {one.part.name for one in found}
        by_part = [f"--part {one.part.name}: {_what(tensors, one)}" for one in found]
        by_name = [_what(tensors, one) for one in found]
        raise SourceError(
            f"{quoted(uri)} holds {len(found)} position tables",
            expected="one to be chosen",
            got=listed(by_part if len(names) > 1 else by_name),
            remedy=" or ".join(f"add --part {name}" for name in sorted(map(str, names)))
            if len(names) > 1
            else how_to_name(tensors, uri),
        )
    return found[0]


def _what(tensors: Tensors, found: Found) -> str:
    return str(tensors.entry(found.tensor)) if found.tensor else "a table that is computed"


def check_part(part: str | None, known: list[str], uri: str) -> None:
    """Require that ``part``, if one was asked for, is one of those known.

    Raises
    ------
    SourceError
        If it is not.
    """
    if part is not None and part not in known:
        raise SourceError(
            f"no part {quoted(part)} in {quoted(uri)}",
            expected=f"one of {', '.join(known)}" if known else "a source that has parts",
            got=quoted(part),
            remedy="choose one of these" if known else "leave --part out",
        )


def load_found(
    tensors: Tensors, found: Found, uri: str, revision: str | None = None, *, with_tokens: bool
) -> PositionTable:
    """Read a family's position table, and what its model has beside it.

    A token table or normalisation that is absent or unusable is left out, and the reason kept:
    the position table can be studied without.

    Raises
    ------
    TableError
        If the position table is unusable.
    SourceError
        If the container is damaged, or a value of the config has the wrong type.
    """
    part, config = found.part, found.config
    offset = part.offset(config) if found.tensor else 0
    formula = found.formula()
    if formula is None:
        check_entry(tensors.entry(str(found.tensor)), offset, tensors.shown)
    tensors.prefetch(_needed(tensors, found, with_tokens=with_tokens))
    stored, bytes_read = _stored(tensors, found, formula)
    rows = position_rows(stored, offset, tensors.shown)
    beside = _Beside(tensors, found.prefix, dim=rows.shape[1], bytes_read=bytes_read)
    tokens = beside.tokens(part.tokens, wanted=with_tokens)
    norm_scales = beside.norm_scales(part.norms(config))
    scheme = part.scheme(config)
    init_std = beside.init_std(0.0 if scheme == "sinusoidal" else part.init_std(config), scheme)
    source = Source(
        uri=uri,
        revision=revision,
        tensor=found.tensor,
        family=found.family,
        scheme=scheme,
        row_offset=offset,
        dtype=stored.entry.dtype,
        sha256=stored.sha256(),
        bytes_read=beside.bytes_read,
    )
    return PositionTable(
        rows,
        source,
        tokens=tokens,
        norm_scales=norm_scales,
        norms_centre=part.norms_centre(config),
        init_std=init_std,
        missing=beside.missing,
    )


def _needed(tensors: Tensors, found: Found, *, with_tokens: bool) -> list[str]:
    """Return the names of all tensors that will be read, so that they can be fetched together."""
    wanted = [*found.part.norms(found.config)]
    if with_tokens:
        wanted.append(found.part.tokens)
    names = set(tensors.names())
    beside = [_spelled(spellings, found.prefix, names) for spellings in wanted]
    return [name for name in (found.tensor, *beside) if name is not None]


def _spelled(spellings: Spellings, prefix: str, names: set[str]) -> str | None:
    return next((prefix + one for one in spellings if prefix + one in names), None)


def _stored(tensors: Tensors, found: Found, formula: Formula | None) -> tuple[StoredTensor, int]:
    """Return the table as it is stored or computed, and how many bytes were read for it."""
    if formula is not None:
        return stored_from_array(formula.table(formula.length, formula.dim)), 0
    stored = tensors.read(str(found.tensor))
    return stored, stored.nbytes


@dataclass
class _Beside:
    """Reads what stands beside a position table; counts bytes and keeps reasons."""

    tensors: Tensors
    prefix: str
    dim: int
    bytes_read: int
    missing: dict[str, str] = field(default_factory=dict)

    def tokens(self, spellings: Spellings, *, wanted: bool) -> TokenRows | None:
        if not spellings or not wanted:
            self.missing["tokens"] = (
                "the token table was not asked for"
                if spellings
                else "this model part reads no tokens"
            )
            return None
        return self._read(spellings, "tokens", ndim=2)

    def norm_scales(self, norms: tuple[Spellings, ...]) -> tuple[PerDim, ...]:
        if not norms:
            self.missing["norm_scales"] = (
                "no normalisation acts between the embedding and the first attention block"
            )
        scales = [
            self._read(spellings, "norm_scales", ndim=1) if spellings else np.ones(self.dim)
            for spellings in norms
        ]
        read = tuple(scale.astype(np.float64) for scale in scales if scale is not None)
        return read if len(read) == len(norms) else ()

    def init_std(self, std: float, scheme: str) -> float | None:
        if std > 0:
            return std
        self.missing["init_std"] = (
            "the table is a formula and was not drawn from a distribution"
            if scheme == "sinusoidal"
            else "the config gives 0 for the initial σ"
        )
        return None

    def _read(self, spellings: Spellings, key: str, ndim: int) -> np.ndarray | None:
        """Read one tensor whose last axis is ``dim``; None, and the reason kept, if it is unfit."""
        name = _spelled(spellings, self.prefix, set(self.tensors.names()))
        if name is None:
            self.missing[key] = f"no tensor {quoted(self.prefix + spellings[0])}"
            return None
        entry = self.tensors.entry(name)
        if not entry.floating:
            self.missing[key] = f"tensor {entry} has a dtype that cannot be used"
            return None
        if len(entry.shape) != ndim or entry.shape[-1] != self.dim:
            self.missing[key] = f"tensor {entry} is not as wide as the position table, {self.dim}"
            return None
        stored = self.tensors.read(name)
        self.bytes_read += stored.nbytes
        values = stored.values()
        if not np.isfinite(values).all():
            self.missing[key] = f"tensor {entry} holds NaN or infinite values"
            return None
        return values


def _unmet(part: Part, config: Config) -> str:
    """Return the first requirement of a part that the config contradicts, or ''."""
    for key, value in part.requires.items():
        given = config.switch(key, value) if isinstance(value, bool) else config.text(key, value)
        if given != value:
            return f"{key} {quoted(given)}, which adds no position table"
    return ""


def _raise_absent(tensors: Tensors, config: Config, wanted: list[Part], uri: str) -> None:
    unmet = next((reason for part in wanted if (reason := _unmet(part, config))), "")
    spelled = [
        quoted(prefix + spelling)
        for part in wanted
        for prefix in part.prefixes
        for spelling in part.position[:1]
    ]
    raise SourceError(
        f"no position table for model_type {quoted(config.text('model_type'))} in {tensors.shown}",
        expected="a model that adds its table" if unmet else " or ".join(spelled),
        got=unmet or describe_candidates(tensors),
        remedy=how_to_name(tensors, uri),
    )
