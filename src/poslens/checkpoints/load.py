"""`load_table`: any source that names a position table, to that table."""

from __future__ import annotations

import os

import numpy as np

from poslens.checkpoints.candidates import only_candidate
from poslens.checkpoints.config import Config
from poslens.checkpoints.model import check_part, choose_table, find_tables, load_found
from poslens.checkpoints.names import Located, Sinusoidal, parse_source
from poslens.checkpoints.numpy_files import read_npy, stored_from_array
from poslens.checkpoints.opening import Checkpoint, open_located
from poslens.checkpoints.python_objects import ModelSource, open_object
from poslens.checkpoints.rows import check_entry, position_rows
from poslens.checkpoints.table import PositionTable, Scheme, Source
from poslens.checkpoints.tensors import StoredTensor, require_named
from poslens.encodings.sinusoidal import sinusoidal_table
from poslens.errors import SourceError, quoted


def load_table(
    source: ModelSource, *, part: str | None = None, tokens: bool = True
) -> PositionTable:
    """Load the position table that a source names; only the bytes that are needed are read.

    Parameters
    ----------
    source
        A model folder with a ``config.json`` and weights (one file, or shards with an index); a
        ``.safetensors``, ``.safetensors.index.json``, ``.bin``, ``.bin.index.json``, ``.pt``,
        ``.pth``, ``.npy`` or ``.npz`` file; ``PATH::TENSOR`` for one tensor of any of these;
        ``sinusoidal:length=L,dim=d[,base=B]``. A weights file with a ``config.json`` beside it is
        read as that model. From Python also a NumPy array, a torch tensor, a state dict, or a
        ``torch.nn.Module``; models of transformers and TransformerLens are read as such.
    part
        Which table, where a model has several: ``"text"`` or ``"vision"``, ``"encoder"`` or
        ``"decoder"``.
    tokens
        Whether to read the token table as well; it is the larger one.

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
    if isinstance(source, np.ndarray):
        check_part(part, [], "array")
        return _bare(stored_from_array(source), "array", "the array")
    given = open_object(source)
    if given is not None:
        return table_of(given, part, with_tokens=tokens)
    if not isinstance(source, str | os.PathLike) or not isinstance(os.fspath(source), str):
        raise SourceError(
            "cannot use this source",
            expected="a string, a path, an array or tensor, a state dict or a model of torch",
            got=type(source).__name__,
            remedy="pass the path of a model folder or a file",
        )
    # A path need not be valid UTF-8, but what is written about it must be.
    uri = os.fspath(source).encode("utf-8", "backslashreplace").decode()
    named = parse_source(source)
    if isinstance(named, Sinusoidal):
        check_part(part, [], uri)
        return _generated(named, uri)
    if named.path.suffix == ".npy" and not named.path.is_dir():
        check_part(part, [], uri)
        return _from_npy(named, uri)
    return table_of(open_located(named, uri), part, with_tokens=tokens)


def table_of(checkpoint: Checkpoint, part: str | None, *, with_tokens: bool) -> PositionTable:
    """Load the position table of an opened checkpoint.

    Raises
    ------
    SourceError, TableError
        As `load_table`.
    """
    if checkpoint.config is not None:
        return _from_model(checkpoint, checkpoint.config, part, with_tokens=with_tokens)
    check_part(part, [], checkpoint.uri)
    return _from_tensors(checkpoint, checkpoint.tensor)


def _from_model(
    checkpoint: Checkpoint, config: Config, part: str | None, *, with_tokens: bool
) -> PositionTable:
    """Load a family's own table; or, if another tensor is named, that one as it is."""
    tensors, tensor, uri = checkpoint.tensors, checkpoint.tensor, checkpoint.uri
    if tensor is None:
        found = choose_table(tensors, config, part, uri)
        return load_found(tensors, found, uri, checkpoint.revision, with_tokens=with_tokens)
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
    if tensor is None:
        tensor = only_candidate(tensors, uri)
    require_named(tensor, tensors)
    check_entry(tensors.entry(tensor), 0, tensors.shown)
    return _bare(tensors.read(tensor), uri, tensors.shown, checkpoint.revision)


def _from_npy(named: Located, uri: str) -> PositionTable:
    if named.tensor is not None:
        raise SourceError(
            f"no tensor {quoted(named.tensor)} in {quoted(named.path)}",
            expected="a path alone, because an .npy file holds one unnamed array",
            remedy="leave '::' and what follows it out",
        )
    return _bare(read_npy(named.path), uri, quoted(named.path))


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


def _generated(named: Sinusoidal, uri: str) -> PositionTable:
    rows = sinusoidal_table(named.length, named.dim, named.base)
    return PositionTable(
        rows,
        _source(stored_from_array(rows), uri, "sinusoidal", bytes_read=0),
        missing={
            "tokens": "a generated table has no token table beside it",
            "norm_scales": "a generated table has no normalisation after it",
            "init_std": "the table is a formula and was not drawn from a distribution",
        },
    )


def _source(
    stored: StoredTensor, uri: str, scheme: Scheme, bytes_read: int, revision: str | None = None
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
