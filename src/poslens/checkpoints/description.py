"""`describe`: what a checkpoint does with positions, known without reading a tensor."""

from __future__ import annotations

from dataclasses import dataclass

from poslens.checkpoints.config import Config
from poslens.checkpoints.families import FAMILIES, Family, Part
from poslens.checkpoints.finding import (
    Found,
    added_parts,
    find_mechanisms,
    find_tables,
    models_inside,
)
from poslens.checkpoints.schemes import Acting, AddedTable, BareTable, Encoded, NoPosition
from poslens.checkpoints.tensors import Tensors
from poslens.errors import quoted


@dataclass(frozen=True)
class Description:
    """How a model knows where a token is, as far as its config and tensor names tell.

    Attributes
    ----------
    family
        The ``model_type``; None without a config.
    schemes
        Every way in which it acts on positions.
    context
        The longest sequence that the config names, in tokens; None where it names none.
    opening_bytes
        Bytes that were read to know it.
    """

    family: str | None
    schemes: tuple[Acting, ...]
    context: int | None
    opening_bytes: int

    @property
    def adds_table(self) -> bool:
        """Whether there is a table to measure, or what may be one."""
        return any(
            isinstance(scheme, AddedTable | BareTable)
            or (isinstance(scheme, Encoded) and scheme.adds)
            for scheme in self.schemes
        )

    def line(self) -> str:
        """Return what was recognised as one line."""
        what = "; ".join(scheme.line() for scheme in self.schemes) or "nothing recognised"
        context = f"; context {self.context}" if self.context is not None else ""
        name = f"{quoted(self.family)[1:-1]}: " if self.family else ""
        return f"{name}{what}{context}{self._read()}"

    def __str__(self) -> str:
        return self.line()

    def _read(self) -> str:
        if not self.opening_bytes:
            return ""
        return f"; read {self.opening_bytes:,} bytes of header"


def describe_model(tensors: Tensors, config: Config) -> Description | None:
    """Return what a known architecture does with positions; None where it is not known.

    Raises
    ------
    SourceError
        If a value of the config has the wrong type.
    """
    name = config.text("model_type")
    if name not in FAMILIES or len(models_inside(config)) < len(FAMILIES[name].composed):
        return None
    tables = [_added(tensors, found) for found in find_tables(tensors, config)]
    absent = [] if tables else [_absent(part, config) for part in added_parts(config)]
    return Description(
        family=name,
        schemes=(*tables, *absent, *find_mechanisms(tensors, config)) or (NoPosition(),),
        context=_context(FAMILIES[name], config),
        opening_bytes=tensors.opening_bytes,
    )


def _added(tensors: Tensors, found: Found) -> AddedTable:
    part, config = found.part, found.config
    formula = found.formula()
    if formula is not None:
        offset, length, dim = 0, formula.length, formula.dim
    else:
        offset = part.offset(config)
        shape = tensors.entry(str(found.tensor)).shape
        # A tensor that is no table is refused when it is read; here it has no positions.
        rows, dim = shape[-2:] if len(shape) >= 2 else (0, 0)
        length = max(rows - offset, 0)
    factor = part.token_factor(config, dim)
    kind = part.scheme(config)
    return AddedTable(kind, length, dim, offset, found.tensor, part.name, factor)


def _absent(part: Part, config: Config) -> AddedTable:
    section = config.section(*part.sections) if part.sections else config
    return AddedTable(part.scheme(section), None, None, part=part.name)


def _context(family: Family, config: Config) -> int | None:
    section = config.section(*family.context_sections) if family.context_sections else config
    for key in family.context:
        if section.values.get(key) is not None:
            return section.integer(key, 0)
    return None
