"""The position table of a known architecture, with the tensors that act beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from poslens.axes import PerDim, TokenRows
from poslens.checkpoints.candidates import describe_candidates, how_to_name
from poslens.checkpoints.config import Config
from poslens.checkpoints.families import FAMILIES, Part, Spellings
from poslens.checkpoints.rows import check_entry, position_rows
from poslens.checkpoints.table import PositionTable, Source
from poslens.checkpoints.tensors import Tensors, listed
from poslens.errors import SourceError, quoted


@dataclass(frozen=True)
class Found:
    """A family's position table that a container really holds.

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
    """

    family: str
    part: Part
    prefix: str
    config: Config

    @property
    def tensor(self) -> str:
        """The position table's full name."""
        return self.prefix + self.part.position


def find_tables(tensors: Tensors, config: Config) -> list[Found]:
    """Return the position tables that the config's architecture adds and the container holds.

    Raises
    ------
    SourceError
        If a value of the config has the wrong type.
    """
    family = config.text("model_type")
    names = set(tensors.names())
    return [
        Found(family, part, prefix, config.section(*part.sections) if part.sections else config)
        for part in FAMILIES.get(family, ())
        if not _unmet(part, config)
        for prefix in part.prefixes
        if prefix + part.position in names
    ]


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
            remedy=how_to_name(uri),
        )
    parts = FAMILIES[family]
    check_part(part, [one.name for one in parts if one.name], uri)
    wanted = [one for one in parts if part in (None, one.name)]
    found = [one for one in find_tables(tensors, config) if one.part in wanted]
    if not found:
        _raise_absent(tensors, config, wanted, uri)
    if len(found) > 1:
        names = {one.part.name for one in found}
        by_part = [f"--part {one.part.name}: {tensors.entry(one.tensor)}" for one in found]
        by_name = [str(tensors.entry(one.tensor)) for one in found]
        raise SourceError(
            f"{quoted(uri)} holds {len(found)} position tables",
            expected="one to be chosen",
            got=listed(by_part if len(names) > 1 else by_name),
            remedy=" or ".join(f"add --part {name}" for name in sorted(map(str, names)))
            if len(names) > 1
            else how_to_name(uri),
        )
    return found[0]


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


def load_found(tensors: Tensors, found: Found, uri: str, *, with_tokens: bool) -> PositionTable:
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
    offset = part.offset(config)
    check_entry(tensors.entry(found.tensor), offset, tensors.shown)
    stored = tensors.read(found.tensor)
    rows = position_rows(stored, offset, tensors.shown)
    beside = _Beside(tensors, found.prefix, dim=rows.shape[1], bytes_read=stored.nbytes)
    tokens = beside.tokens(part.tokens, wanted=with_tokens)
    norm_scales = beside.norm_scales(part.norms(config))
    scheme = part.scheme(config)
    init_std = beside.init_std(0.0 if scheme == "sinusoidal" else part.init_std(config), scheme)
    source = Source(
        uri=uri,
        revision=None,
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
        init_std=init_std,
        missing=beside.missing,
    )


@dataclass
class _Beside:
    """Reads what stands beside a position table; counts bytes and keeps reasons."""

    tensors: Tensors
    prefix: str
    dim: int
    bytes_read: int
    missing: dict[str, str] = field(default_factory=dict)

    def tokens(self, name: str | None, *, wanted: bool) -> TokenRows | None:
        if name is None or not wanted:
            self.missing["tokens"] = (
                "the token table was not asked for" if name else "this model part reads no tokens"
            )
            return None
        return self._read((name,), "tokens", ndim=2)

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
        names = set(self.tensors.names())
        name = next((self.prefix + s for s in spellings if self.prefix + s in names), None)
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
        if config.text(key, value) != value:
            return f"{key} {quoted(config.text(key))}, which adds no position table"
    return ""


def _raise_absent(tensors: Tensors, config: Config, wanted: list[Part], uri: str) -> None:
    unmet = next((reason for part in wanted if (reason := _unmet(part, config))), "")
    spelled = [quoted(prefix + part.position) for part in wanted for prefix in part.prefixes]
    raise SourceError(
        f"no position table for model_type {quoted(config.text('model_type'))} in {tensors.shown}",
        expected="a model that adds its table" if unmet else " or ".join(spelled),
        got=unmet or describe_candidates(tensors),
        remedy=how_to_name(uri),
    )
