"""Where a config says how many positions a table has, and what else is as long as the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from poslens.checkpoints.config import Config
from poslens.checkpoints.families import FAMILIES
from poslens.checkpoints.finding import Found, find_tables
from poslens.checkpoints.tensors import Entry, Tensors

Path = tuple[str, ...]  # of keys, from the config's outermost object on

# Beside the key of the family's context: the keys of one stack of two, and older spellings.
_OF_STACK = {
    "encoder": ("max_encoder_position_embeddings", "max_source_positions"),
    "decoder": ("max_decoder_position_embeddings", "max_target_positions"),
}
_COMMON = ("max_position_embeddings", "n_positions", "n_ctx")
# transformers' DeBERTa counts distances up to this, and up to the table's length where it is below
# 1: a longer table alone would make another relative attention.
_SPAN = "max_relative_positions"
_WITH_A_SPAN = ("deberta", "deberta-v2")


@dataclass(frozen=True)
class Length:
    """The config's number for a table.

    Attributes
    ----------
    paths
        Where it is, in all its spellings; the first one counts.
    beyond
        How many more than positions it counts: RoBERTa's counts stored rows, OPT's does not.
    kept
        What else was derived from the number, and has to be said for it to stay: DeBERTa's
        relative attention.
    """

    paths: tuple[Path, ...]
    beyond: int
    kept: Mapping[Path, object] = field(default_factory=dict)

    def values(self, positions: int) -> dict[Path, object]:
        """Return what the config says of a table of so many positions."""
        return dict.fromkeys(self.paths, positions + self.beyond) | dict(self.kept)


def length_of(found: Found, rows: int, config: Config) -> Length | None:
    """Return the number that a config has for a table.

    Which key it is, and what it counts, follows from the entry of the family and from the value
    that stands there now.

    Parameters
    ----------
    found
        The table.
    rows
        Its stored rows, those before position 0 included.
    config
        Of the whole model.

    Returns
    -------
    Length or None
        None where the length is no number of the config, as in a grid of patches, or where the
        number that stands there is neither that of rows nor that of positions.

    Raises
    ------
    SourceError
        If a value of the config has the wrong type.
    """
    offset = found.part.offset(found.config)
    family = FAMILIES.get(found.config.text("model_type"), FAMILIES[found.family])
    if found.part.name == "vision" or not family.context:
        return None
    stack = found.part.name or ""
    others = [keys for name, keys in _OF_STACK.items() if stack in _OF_STACK and name != stack]
    foreign = {key for keys in others for key in keys}
    known = dict.fromkeys((*_OF_STACK.get(stack, ()), *family.context, *_COMMON))
    keys = [key for key in known if key not in foreign]
    sections = list(_sections(found, config))
    for beyond in dict.fromkeys((0, offset)):
        paths = tuple(
            (*above, key)
            for key in keys
            for above, values in sections
            if values.get(key) == rows - offset + beyond
        )
        if paths:
            return Length(paths, beyond, _kept(found, sections, rows - offset + beyond))
    silent = not any(values.get(key) is not None for key in keys for _, values in sections)
    # With rows before position 0, only a number that stands there says what it counts.
    if silent and offset == 0 and sections:
        return Length(((*sections[0][0], keys[0]),), 0, _kept(found, sections, rows))
    return None


def _kept(
    found: Found, sections: Sequence[tuple[Path, Mapping[str, object]]], length: int
) -> dict[Path, object]:
    """Return what a longer table would change in a model's relative attention, as it is now."""
    config = found.config
    if found.family not in _WITH_A_SPAN or not config.switch("relative_attention", False):
        return {}
    if config.signed(_SPAN, -1) > 0:
        return {}
    return {(*above, _SPAN): length for above, _ in sections}


def _sections(found: Found, config: Config) -> Iterator[tuple[Path, Mapping[str, object]]]:
    """Give the objects of the config that speak of a table's model, with the way to them."""
    above: Path = ()
    values: object = config.values
    if found.part.name in FAMILIES[found.family].composed:
        above = (str(found.part.name),)
        values = config.values.get(above[0])
    if not isinstance(values, dict | Mapping):
        return
    if not found.part.sections:
        yield above, values
    for key in found.part.sections:
        inner = values.get(key)
        if isinstance(inner, dict):
            yield (*above, key), inner


def stored_rows(entry: Entry) -> int:
    """Return how many rows a table stores, whose shape is (row, dim) or (1, row, dim)."""
    return entry.shape[-2] if len(entry.shape) >= 2 else 0


def tables_with_lengths(tensors: Tensors, config: Config) -> list[tuple[Found, Length]]:
    """Return every stored table of a model whose length the config says.

    Raises
    ------
    SourceError
        If a value of the config has the wrong type, or the container is damaged.
    """
    held = [found for found in find_tables(tensors, config) if found.tensor is not None]
    with_lengths = [
        (found, length_of(found, stored_rows(tensors.entry(str(found.tensor))), config))
        for found in held
    ]
    return [(found, length) for found, length in with_lengths if length is not None]


def parts_with(length: Length, tensors: Tensors, config: Config) -> tuple[str | None, ...]:
    """Return the parts whose tables are as long as this number of the config.

    Raises
    ------
    SourceError
        As `tables_with_lengths`.
    """
    paths = set(length.paths)
    return tuple(
        dict.fromkeys(
            found.part.name
            for found, other in tables_with_lengths(tensors, config)
            if paths & set(other.paths)
        )
    )


def index_buffer(found: Found, tensors: Tensors) -> str | None:
    """Return the buffer beside a table that counts its rows, shape (1, row); None without one."""
    above = str(found.tensor).split(".")
    above = above[: -2 if above[-1] in ("weight", "weights") else -1]
    name = ".".join([*above, "position_ids"])
    return name if name in set(tensors.names()) else None


def causal_masks(tensors: Tensors, positions: int) -> tuple[str, ...]:
    """Return the buffers that say which key each query may see, shape (1, 1, query, key).

    transformers makes them anew for every length, and older checkpoints hold them still.
    """
    return tuple(
        name
        for name in tensors.names()
        if name.endswith((".bias", "mask"))
        and tensors.entry(name).shape == (1, 1, positions, positions)
    )
