"""`open_source`: any source that holds tensors, to these tensors and the config beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

from poslens.checkpoints.byte_source import ByteSource, LocalFile
from poslens.checkpoints.config import Config
from poslens.checkpoints.folder import (
    CONFIG,
    INDEX_SUFFIX,
    TORCH_INDEX_SUFFIX,
    only_gguf,
    open_safetensors,
    open_sharded,
    open_torch_shard,
    open_weights,
)
from poslens.checkpoints.gguf_file import GgufFile
from poslens.checkpoints.json_object import json_object
from poslens.checkpoints.local_files import unreadable
from poslens.checkpoints.names import Address, HubModel, Located
from poslens.checkpoints.numpy_files import NpyFile, NpzFile
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.tensors import Tensors
from poslens.checkpoints.torch_file import SUFFIXES as TORCH_SUFFIXES
from poslens.checkpoints.torch_file import TorchFile
from poslens.errors import SourceError, quoted

SUFFIXES = (
    ".safetensors, .safetensors.index.json, .gguf, .bin, .bin.index.json, .pt, .pth, .npy or .npz"
)

# Opens a file next to the weights by its name; gives None where there is none.
Beside: TypeAlias = Callable[[str], ByteSource | None]


def nothing_beside(_: str) -> None:
    """Stand for the files beside weights that lie in no folder."""


@dataclass(frozen=True)
class Checkpoint:
    """An opened source: names and shapes are known, no tensor has been read.

    Attributes
    ----------
    tensors
        The container.
    config
        What describes the model; None where nothing does.
    uri
        The source string, as given.
    tensor
        The tensor that was named after ``::``.
    revision
        The commit of a hub source.
    beside
        Opens a file next to the weights, such as ``tokenizer.json``; asked of a server, like
        every other file, only when it is called.
    folder
        Where the weights lie on this machine, which for a hub source is a snapshot in
        huggingface_hub's cache; None where they do not.
    """

    tensors: Tensors
    config: Config | None
    uri: str
    tensor: str | None = None
    revision: str | None = None
    beside: Beside = field(default=nothing_beside, repr=False, compare=False)
    folder: Path | None = None


def open_source(named: Located | Address | HubModel, uri: str, access: Access) -> Checkpoint:
    """Open a local folder or file, a model on the hub, or a file at an address.

    Raises
    ------
    SourceError
        If it cannot be read, or is no checkpoint.
    """
    if isinstance(named, Located):
        return open_located(named, uri)
    # Imported when asked for: the client takes longer to import than a file to read.
    from poslens.checkpoints.remote.opening import open_address_source, open_hub_source

    if isinstance(named, Address):
        return open_address_source(named, access)
    return open_hub_source(named, uri, access)


def open_located(named: Located, uri: str, revision: str | None = None) -> Checkpoint:
    """Open a local folder or file, and the config that belongs to it, if there is one.

    Raises
    ------
    SourceError
        If it cannot be read, or is no checkpoint.
    """
    try:
        tensors, config = _open_path(named.path, tensor_named=named.tensor is not None)
    except OSError as error:  # a folder that may not be entered
        raise unreadable(named.path, error) from error
    folder = named.path if named.path.is_dir() else named.path.parent
    beside = partial(_file_in, folder)
    return Checkpoint(tensors, config, uri, named.tensor, revision, beside, folder)


def _open_path(path: Path, *, tensor_named: bool) -> tuple[Tensors, Config | None]:
    if path.is_dir():
        config = _config_in(path)
        if config is None and (alone := only_gguf(path)) is not None:
            return _open_gguf(alone)
        if config is None and not tensor_named:
            raise SourceError(
                f"no {CONFIG} in {quoted(path)}",
                expected=f"a model folder with {CONFIG} and weights",
                got="a folder without it",
                remedy="give a file in this folder, or a tensor as FOLDER::TENSOR",
            )
        return open_weights(path), config
    if path.name.endswith(INDEX_SUFFIX):
        return open_sharded(path, open_safetensors), _config_in(path.parent)
    if path.name.endswith(TORCH_INDEX_SUFFIX):
        return open_sharded(path, open_torch_shard), _config_in(path.parent)
    if path.suffix == ".safetensors":
        return open_safetensors(path), _config_in(path.parent)
    if path.suffix in TORCH_SUFFIXES:
        file = TorchFile(LocalFile(path))
        return file, file.config or _config_in(path.parent)
    if path.suffix == ".gguf":
        return _open_gguf(path)
    if path.suffix == ".npy":
        return NpyFile(path), None
    if path.suffix == ".npz":
        return NpzFile(path), None
    raise SourceError(
        f"cannot read {quoted(path)}",
        expected=f"a file that ends in {SUFFIXES}, which this version reads",
        got=f"suffix {quoted(path.suffix)}" if path.suffix else "no suffix",
        remedy="save the weights as safetensors, or the table with numpy.save",
    )


def _open_gguf(path: Path) -> tuple[Tensors, Config | None]:
    file = GgufFile(LocalFile(path))
    return file, file.config


def _config_in(folder: Path) -> Config | None:
    source = _file_in(folder, CONFIG)
    return Config(json_object(source), source.shown) if source is not None else None


def _file_in(folder: Path, name: str) -> LocalFile | None:
    path = folder / name
    return LocalFile(path) if path.exists() else None
