"""`load_table`: any source that names a position table, to that table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from poslens.checkpoints.candidates import only_candidate
from poslens.checkpoints.config import Config
from poslens.checkpoints.describe import described
from poslens.checkpoints.finding import check_part, choose_table, find_tables
from poslens.checkpoints.model import load_found
from poslens.checkpoints.numpy_files import NpyFile, stored_from_array
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.python_objects import ModelSource
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.remote.meter import Meter, Progress
from poslens.checkpoints.rows import check_entry, position_rows
from poslens.checkpoints.schemes import ACTS
from poslens.checkpoints.sources import GivenArray, NamedEncoding, Opened, open_any
from poslens.checkpoints.table import FEWEST_POSITIONS, PositionTable, Source
from poslens.checkpoints.tensors import StoredTensor, require_named
from poslens.encodings.learned import Learned
from poslens.encodings.protocol import AddsTable
from poslens.encodings.spec import usage
from poslens.errors import SourceError, quoted


def load_table(
    source: ModelSource,
    *,
    part: str | None = None,
    tokens: bool = True,
    allow_full_download: bool = False,
    progress: Progress | None = None,
) -> PositionTable:
    """Load the position table that a source names; only the bytes that are needed are read.

    Parameters
    ----------
    source
        A model folder with a ``config.json`` and weights (one file, or shards with an index), or
        a folder with one ``.gguf`` file alone; a ``.safetensors``, ``.safetensors.index.json``,
        ``.gguf``, ``.bin``, ``.bin.index.json``, ``.pt``, ``.pth``, ``.npy`` or ``.npz`` file; a
        model on the hub, ``org/name[@revision]``; an http(s) address of a weights file;
        ``SOURCE::TENSOR`` for one tensor of any of these; an encoding such as
        ``sinusoidal:length=L,dim=d``. A weights file with a ``config.json`` beside it is read as
        that model; a ``.gguf`` file as what its own metadata say. From Python also a NumPy array,
        a torch tensor, a state dict, or a ``torch.nn.Module``; models of transformers and
        TransformerLens are read as such.
    part
        Which table, where a model has several: ``"text"`` or ``"vision"``, ``"encoder"`` or
        ``"decoder"``.
    tokens
        Whether to read the token table as well; it is the larger one.
    allow_full_download
        Whether to fetch a remote file whole where it cannot be read in part.
    progress
        Called with (words, bytes that have come, bytes in all) while a remote file is read.

    Returns
    -------
    PositionTable
        The rows in float64, shape (position, dim), without the rows that a model stores before
        position 0; and what the model's config and neighbouring tensors add.

    Raises
    ------
    SourceError
        If the source cannot be found, read or understood, or names several tables.
    TableError
        If the tensor is no position table: its shape, dtype or values forbid it.
    """
    opened = open_any(source, Access(allow_full_download, Meter(progress)))
    description = described(opened)
    table = table_of(opened, part, with_tokens=tokens)
    line = "" if description is None else description.line()
    return replace(table, recognised=line, origin=opened)


def table_of(
    opened: Opened, part: str | None, *, with_tokens: bool, zeros: bool = False
) -> PositionTable:
    """Load the position table of an opened source.

    Parameters
    ----------
    opened, part
        As in `load_table`.
    with_tokens
        Whether to read the token table as well.
    zeros
        Whether a model's own table may be zero throughout.

    Raises
    ------
    SourceError, TableError
        As `load_table`.
    """
    if isinstance(opened, Checkpoint) and opened.config is not None:
        return _from_model(opened, opened.config, part, with_tokens=with_tokens, zeros=zeros)
    check_part(part, [], opened.uri)
    if isinstance(opened, GivenArray):
        return _bare(stored_from_array(opened.array), opened.uri, "the array")
    if isinstance(opened, NamedEncoding):
        return _generated(opened)
    return _from_tensors(opened, opened.tensor)


def _from_model(
    checkpoint: Checkpoint, config: Config, part: str | None, *, with_tokens: bool, zeros: bool
) -> PositionTable:
    """Load a family's own table; or, if another tensor is named, that one as it is."""
    tensors, tensor, uri = checkpoint.tensors, checkpoint.tensor, checkpoint.uri
    if tensor is None:
        found = choose_table(tensors, config, part, uri)
        return load_found(
            tensors, found, uri, checkpoint.revision, with_tokens=with_tokens, zeros=zeros
        )
    require_named(tensor, tensors)
    for found in find_tables(tensors, config):
        if found.tensor == tensor:
            check_part(part, [found.part.name] if found.part.name else [], uri)
            return load_found(tensors, found, uri, checkpoint.revision, with_tokens=with_tokens)
    check_part(part, [], uri)
    return _from_tensors(checkpoint, tensor)


def _from_tensors(checkpoint: Checkpoint, tensor: str | None) -> PositionTable:
    """Load a tensor of which nothing but its name is known."""
    tensors, uri = checkpoint.tensors, checkpoint.uri
    if isinstance(tensors, NpyFile) and tensor is not None:
        raise SourceError(
            f"no tensor {quoted(tensor)} in {tensors.shown}",
            expected="a path alone, because an .npy file holds one unnamed array",
            remedy="leave '::' and what follows it out",
        )
    if tensor is None:
        tensor = only_candidate(tensors, uri)
    require_named(tensor, tensors)
    check_entry(tensors.entry(tensor), 0, tensors.shown)
    return _bare(tensors.read(tensor), uri, tensors.shown, checkpoint.revision)


def _bare(stored: StoredTensor, uri: str, shown: str, revision: str | None = None) -> PositionTable:
    return PositionTable(
        rows=position_rows(stored, 0, shown),
        source=_source(stored, uri, "unknown", stored.nbytes, revision),
        missing={
            "tokens": "no config says which tensor is the token table",
            "norm_scales": "no config says which normalisations follow the embedding",
            "init_std": "no config says how the table was initialised",
        },
    )


def _generated(named: NamedEncoding) -> PositionTable:
    encoding, length = named.spec.encoding, named.spec.length
    if not isinstance(encoding, AddsTable):
        raise SourceError(
            f"{quoted(named.uri)} adds no position table",
            expected="an encoding that adds one: sinusoidal, concatenated, whisper or learned",
            got=f"{encoding.name}, which {ACTS[encoding.acts]}",
            remedy="compare it with others by `poslens compare`",
        )
    if length is None:
        raise SourceError(
            f"{quoted(named.uri)} does not say how many positions",
            expected=f"length=L with at least {FEWEST_POSITIONS} positions",
            remedy=f"write {usage(encoding.name)}",
        )
    rows = encoding.table(np.arange(length))
    learned = isinstance(encoding, Learned)
    missing = {
        "tokens": "a generated table has no token table beside it",
        "norm_scales": "a generated table has no normalisation after it",
    }
    if not learned:
        missing["init_std"] = "the table is a formula and was not drawn from a distribution"
    return PositionTable(
        rows,
        _source(
            stored_from_array(rows),
            named.uri,
            "learned" if learned else "sinusoidal",
            bytes_read=0,
        ),
        init_std=encoding.init_std if isinstance(encoding, Learned) else None,
        missing=missing,
    )


def _source(
    stored: StoredTensor, uri: str, scheme: str, bytes_read: int, revision: str | None = None
) -> Source:
    return Source(
        uri=uri,
        revision=revision,
        tensor=stored.entry.name,
        family=None,
        scheme=scheme,
        row_offset=0,
        dtype=stored.entry.dtype,
        sha256=stored.sha256(),
        bytes_read=bytes_read,
    )
