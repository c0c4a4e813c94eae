"""`describe`: in one line, what a source does with positions; no tensor is read for it."""

from __future__ import annotations

from poslens.checkpoints.candidates import only_candidate, position_candidates
from poslens.checkpoints.description import Description, describe_model
from poslens.checkpoints.families import FAMILIES
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.python_objects import ModelSource
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.remote.meter import Meter, Progress
from poslens.checkpoints.schemes import ACTS, Acting, BareTable, Encoded
from poslens.checkpoints.sources import GivenArray, NamedEncoding, Opened, open_any
from poslens.checkpoints.tensors import Entry, Tensors
from poslens.errors import SourceError


def describe(
    source: ModelSource,
    *,
    allow_full_download: bool = False,
    progress: Progress | None = None,
) -> Description:
    """Say what a source does with positions, from its config and its tensors' names and shapes.

    Parameters
    ----------
    source
        Whatever `poslens.load_table` takes.
    allow_full_download
        Whether to fetch a remote file whole where it cannot be read in part.
    progress
        Called with (words, bytes that have come, bytes in all) while a remote file is read.

    Returns
    -------
    Description
        `str` of it is one line: scheme, parameters, where it acts, context length, what was read.

    Raises
    ------
    SourceError
        If the source cannot be found, read or understood.
    """
    return description_of(open_any(source, Access(allow_full_download, Meter(progress))))


def description_of(opened: Opened) -> Description:
    """Describe an opened source.

    Raises
    ------
    SourceError
        If its config cannot be used.
    """
    if isinstance(opened, GivenArray):
        entry = Entry(None, opened.array.dtype.name, opened.array.shape)
        return Description(None, (_bare(entry),), None, 0)
    if isinstance(opened, NamedEncoding):
        encoding = opened.spec.encoding
        acting = Encoded(
            encoding.name,
            repr(encoding),
            ACTS[encoding.acts],
            encoding.parameters,
            encoding.paper,
            adds=encoding.acts == "adds",
        )
        return Description(None, (acting,), opened.spec.length, 0)
    return _of_checkpoint(opened)


def described(opened: Opened) -> Description | None:
    """Describe an opened source; None where nothing is recognised, or its config is unusable.

    Where that matters, reading the table says why.
    """
    try:
        description = description_of(opened)
    except SourceError:
        return None
    return description if description.schemes else None


def unknown_kind(opened: Opened) -> str:
    """Return a model's ``model_type`` where that is none known here; else ''.

    A source of which one tensor was named is no model.
    """
    if not isinstance(opened, Checkpoint) or opened.config is None or opened.tensor is not None:
        return ""
    kind = opened.config.text("model_type")
    return "" if kind in FAMILIES else kind


def _of_checkpoint(checkpoint: Checkpoint) -> Description:
    tensors, config = checkpoint.tensors, checkpoint.config
    if config is not None:
        known = describe_model(tensors, config)
        if known is not None:
            return known
    family = None if config is None else config.text("model_type") or None
    schemes = tuple(_bare(entry) for entry in _unexplained(tensors, checkpoint.uri))
    return Description(family, schemes, None, tensors.opening_bytes)


def _unexplained(tensors: Tensors, uri: str) -> list[Entry]:
    """Return the tensors that look like position tables, or the one that must be it."""
    found = position_candidates(tensors)
    if found:
        return found
    try:
        return [tensors.entry(only_candidate(tensors, uri))]
    except SourceError:
        return []


def _bare(entry: Entry) -> Acting:
    return BareTable(entry.shape, entry.name)
