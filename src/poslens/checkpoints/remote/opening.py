"""From a name on the hub or an address to an opened checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from urllib.parse import urljoin, urlsplit

from poslens.checkpoints.folder import INDEX_SUFFIX, TORCH_INDEX_SUFFIX
from poslens.checkpoints.gguf_file import GgufFile
from poslens.checkpoints.names import Address, HubModel, Located
from poslens.checkpoints.numpy_files import NpyFile, NpzFile
from poslens.checkpoints.opening import SUFFIXES, Checkpoint, open_located
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.remote.address import config_beside, open_address, open_beside
from poslens.checkpoints.remote.http import AbsentError, public_url
from poslens.checkpoints.remote.hub import (
    HubRepository,
    cached_file,
    cached_folder,
    snapshot_commit,
)
from poslens.checkpoints.remote.remote_file import RemoteFile
from poslens.checkpoints.safetensors_file import SafetensorsFile
from poslens.checkpoints.sharded import Sharded
from poslens.checkpoints.tensors import Tensors
from poslens.checkpoints.torch_file import SUFFIXES as TORCH_SUFFIXES
from poslens.checkpoints.torch_file import TorchFile
from poslens.errors import SourceError, quoted


def open_hub_source(model: HubModel, uri: str, access: Access) -> Checkpoint:
    """Open a model on the hub, from a cached snapshot if there is a whole one.

    Raises
    ------
    SourceError
        If there is no such model, or it cannot be read.
    """
    cached = cached_folder(model) if model.file is None else cached_file(model)
    if cached is not None:
        commit = snapshot_commit(cached)
        opened = open_located(Located(cached, model.tensor), uri, commit)
        return replace(opened, beside=HubRepository(model, access, commit).beside)
    repository = HubRepository(model, access)
    try:
        if model.file is not None and model.file.endswith(".gguf"):
            file = GgufFile(repository.file(model.file))
            opened = Checkpoint(file, file.config, uri, model.tensor, repository.commit)
            return replace(opened, beside=repository.beside)
        config = repository.config()
        if model.file is None:
            tensors = repository.weights()
        else:
            tensors = _container(model.file, repository.file)
    except AbsentError as error:
        raise _not_here_either(model, error) from error
    return Checkpoint(tensors, config, uri, model.tensor, repository.commit, repository.beside)


def open_address_source(named: Address, access: Access) -> Checkpoint:
    """Open a file at an http(s) address, and the config beside it, if there is one.

    Raises
    ------
    SourceError
        If it cannot be read.
    """
    path = urlsplit(named.url).path

    def opened(name: str) -> RemoteFile:
        return open_address(named.url if name == path else urljoin(named.url, name), access)

    beside = partial(open_beside, named.url, access)
    if path.endswith(".gguf"):
        file = GgufFile(opened(path))
        return Checkpoint(file, file.config, public_url(named.url), named.tensor, beside=beside)
    tensors = _container(path, opened)
    config = config_beside(named.url, access) if path.endswith(WITH_CONFIG) else None
    return Checkpoint(tensors, config, public_url(named.url), named.tensor, beside=beside)


WITH_CONFIG = (".safetensors", INDEX_SUFFIX, TORCH_INDEX_SUFFIX, *TORCH_SUFFIXES)


def _container(name: str, opened: Callable[[str], RemoteFile]) -> Tensors:
    """Open a container by its name's suffix; ``opened`` also opens the files beside it."""
    if name.endswith(INDEX_SUFFIX):
        return Sharded(opened(name), lambda shard: SafetensorsFile(opened(shard)))
    if name.endswith(".safetensors"):
        return SafetensorsFile(opened(name))
    if name.endswith(TORCH_INDEX_SUFFIX):
        return Sharded(opened(name), lambda shard: TorchFile(opened(shard), shard=True))
    if name.endswith(TORCH_SUFFIXES):
        return TorchFile(opened(name))
    if name.endswith((".npy", ".npz")):
        file = opened(name)
        if name.endswith(".npy"):
            return NpyFile(file.on_disk(), file.shown)  # one array: there is no part to read
        file.require_leave("a format that can be read in part, such as safetensors")
        return NpzFile(file.on_disk(), file.shown)
    raise SourceError(
        f"cannot read {quoted(name)}",
        expected=f"a file that ends in {SUFFIXES}, which this version reads",
        got="another suffix",
        remedy="name a file that does",
    )


def _not_here_either(model: HubModel, error: AbsentError) -> SourceError:
    """A name that is no path may have been meant as one."""
    name = model.repo if model.file is None else f"{model.repo}/{model.file}"
    return SourceError(
        f"nothing found at {quoted(name)}",
        expected="a local path, or a model on the hub with weights in safetensors or torch files",
        got=str(error.problem) + (f", {error.got}" if error.got else ""),
        remedy=error.remedy,
    )
