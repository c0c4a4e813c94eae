"""Which position tables a known architecture adds, and what else it does with positions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from poslens.checkpoints.candidates import describe_candidates, how_to_name
from poslens.checkpoints.config import Config
from poslens.checkpoints.families import FAMILIES, Formula, Part
from poslens.checkpoints.schemes import (
    Acting,
    BucketedBias,
    ContinuousBias,
    NoPosition,
    RelativeTable,
)
from poslens.checkpoints.tensors import Entry, StoredTensor, Tensors, listed
from poslens.errors import SourceError, quoted


class Beneath(Tensors):
    """The tensors of one model inside another: those with a prefix, named without it."""

    def __init__(self, tensors: Tensors, prefix: str) -> None:
        self.shown = f"{tensors.shown}, beneath {quoted(prefix)}"
        self._tensors, self._prefix = tensors, prefix

    def names(self) -> Iterable[str]:
        """Return the names that have the prefix, without it."""
        start = len(self._prefix)
        return [name[start:] for name in self._tensors.names() if name.startswith(self._prefix)]

    def entry(self, name: str) -> Entry:
        """Return what the header says about the tensor, its full name included."""
        return self._tensors.entry(self._prefix + name)

    def read(self, name: str) -> StoredTensor:
        """Read the tensor."""
        return self._tensors.read(self._prefix + name)


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
    name = config.text("model_type")
    if name not in FAMILIES:
        return []
    names = set(tensors.names())
    found = [
        _inside(one, name, section)
        for section, inner in models_inside(config)
        for one in find_tables(Beneath(tensors, f"{section}."), inner)
    ]
    for part in FAMILIES[name].parts:
        if _unmet(part, config):
            continue
        section = config.section(*part.sections) if part.sections else config
        held = [
            Found(name, part, prefix, section, prefix + spelling)
            for prefix in part.prefixes
            for spelling in part.position
            if prefix + spelling in names
        ]
        if not held and part.formula is not None:
            prefixes = _prefixes_in_use(part, section, names)
            held = [Found(name, part, prefix, section, None) for prefix in prefixes[:1]]
        found += held
    return found


def models_inside(config: Config) -> list[tuple[str, Config]]:
    """Return the models that a model is made of: their sections of the config, with the names.

    Those of an unknown family are left out, and those that are themselves made of others.

    Raises
    ------
    SourceError
        If a value of the config has the wrong type.
    """
    sections = FAMILIES[config.text("model_type")].composed
    inner = [(section, config.section(section)) for section in sections]
    return [
        (section, one)
        for section, one in inner
        if (family := FAMILIES.get(one.text("model_type"))) is not None and not family.composed
    ]


def _inside(found: Found, family: str, section: str) -> Found:
    """Return what was found in a section of a model, as a part of the whole model."""
    prefix = f"{section}."
    return replace(
        found,
        family=family,
        part=replace(found.part, name=section),
        prefix=prefix + found.prefix,
        tensor=None if found.tensor is None else prefix + found.tensor,
    )


def _prefixes_in_use(part: Part, config: Config, names: set[str]) -> list[str]:
    """Return the prefixes under which something of a part stands that is there with its table."""
    spellings = [*part.tokens, *(one for norm in part.norms(config) for one in norm)]
    return [
        prefix
        for prefix in part.prefixes
        if any(prefix + spelling in names for spelling in spellings)
    ]


def find_mechanisms(tensors: Tensors, config: Config) -> list[Acting]:
    """Return what the config's architecture does with positions other than by adding tables.

    Raises
    ------
    SourceError
        If a value of the config has the wrong type, or contradicts another or a tensor's shape.
    """
    name = config.text("model_type")
    if name not in FAMILIES:
        return []
    records = [
        _named_in_full(one, f"{section}.")
        for section, inner in models_inside(config)
        for one in find_mechanisms(Beneath(tensors, f"{section}."), inner)
    ]
    for mechanism in FAMILIES[name].mechanisms:
        records += mechanism.acting(config, tensors)
    return records


def _named_in_full(record: Acting, prefix: str) -> Acting:
    if isinstance(record, BucketedBias | RelativeTable | ContinuousBias):
        return replace(record, tensors=tuple(prefix + name for name in record.tensors))
    return record


def added_parts(config: Config) -> list[Part]:
    """Return the tables that a model of this config adds, wherever its weights are.

    Raises
    ------
    SourceError
        If a value of the config has the wrong type.
    """
    family = FAMILIES.get(config.text("model_type"))
    return [part for part in family.parts if not _unmet(part, config)] if family else []


def choose_table(tensors: Tensors, config: Config, part: str | None, uri: str) -> Found:
    """Return the one position table that was asked for.

    Raises
    ------
    SourceError
        If the family is unknown, has no such part or several, or its tensor is not there.
    """
    name = config.text("model_type")
    if name not in FAMILIES:
        raise _unknown(tensors, config, uri)
    family = FAMILIES[name]
    check_part(part, [*family.composed, *(one.name for one in family.parts if one.name)], uri)
    found = [one for one in find_tables(tensors, config) if part in (None, one.part.name)]
    if not found:
        raise _absent(tensors, config, part, uri)
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


def _unmet(part: Part, config: Config) -> str:
    """Return the first requirement of a part that the config does not meet, or ''."""
    for key, value in part.requires.items():
        if isinstance(value, bool):
            given: object = config.switch(key, value if part.assumed else not value)
        else:
            given = config.text(key, value if part.assumed else "")
        if given != value:
            return f"{key} {quoted(given)}"
    return ""


def _unknown(tensors: Tensors, config: Config, uri: str) -> SourceError:
    family = config.text("model_type")
    near = difflib.get_close_matches(family[:60], FAMILIES, n=3)
    return SourceError(
        f"unknown model_type {quoted(family)} in {config.shown}",
        expected=f"one of the {len(FAMILIES)} in docs/families.md"
        + (f", such as {' or '.join(near)}" if near else ""),
        got=describe_candidates(tensors),
        remedy=how_to_name(tensors, uri),
    )


def _absent(tensors: Tensors, config: Config, part: str | None, uri: str) -> SourceError:
    """Return the error that says which tensor is lacking, or what the model does instead."""
    family = FAMILIES[config.text("model_type")]
    for section in family.composed:
        inner = config.section(section)
        if part in (None, section) and inner.text("model_type") not in FAMILIES:
            return _unknown(tensors, inner, uri)
        if part == section:
            return _absent(Beneath(tensors, f"{section}."), inner, None, uri)
    wanted = [one for one in family.parts if part in (None, one.name)]
    unmet = [reason for one in wanted if (reason := _unmet(one, config))]
    if len(unmet) == len(wanted):
        acting = find_mechanisms(tensors, config) or [NoPosition()]
        instead = "; ".join(record.line() for record in acting)
        return SourceError(
            f"no position table to measure in {tensors.shown}",
            expected="a model that adds one to its embedding",
            got=f"{' with '.join([quoted(config.text('model_type')), *unmet[:1]])}: {instead}",
            remedy=f"to read some tensor as a table all the same, {how_to_name(tensors, uri)}",
        )
    spelled = [
        quoted(prefix + spelling)
        for one in added_parts(config)
        if one in wanted
        for prefix in one.prefixes
        for spelling in one.position[:1]
    ]
    return SourceError(
        f"no position table for model_type {quoted(config.text('model_type'))} in {tensors.shown}",
        expected=" or ".join(spelled),
        got=describe_candidates(tensors),
        remedy=how_to_name(tensors, uri),
    )
