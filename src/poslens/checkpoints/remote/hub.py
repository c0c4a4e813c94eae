"""Models on the hub: a cached snapshot if there is one, else the ranges that are needed.

Endpoint, token, cache folder and offline mode are those of huggingface_hub: ``HF_ENDPOINT``,
``HF_TOKEN``, ``HF_HOME``, ``HF_HUB_OFFLINE``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from poslens.checkpoints.byte_source import ByteSource, LocalFile
from poslens.checkpoints.config import Config
from poslens.checkpoints.folder import (
    CONFIG,
    INDEX,
    SINGLE,
    TORCH_INDEX,
    TORCH_SINGLE,
    holds_weights,
)
from poslens.checkpoints.json_object import json_object
from poslens.checkpoints.names import HubModel
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.remote.http import AbsentError, request_headers
from poslens.checkpoints.remote.remote_file import FIRST_BYTES, RemoteFile
from poslens.checkpoints.remote.transfer import Link
from poslens.checkpoints.safetensors_file import SafetensorsFile
from poslens.checkpoints.sharded import Sharded
from poslens.checkpoints.tensors import Tensors
from poslens.checkpoints.torch_file import TorchFile
from poslens.errors import SourceError, quoted

JSON_FIRST_BYTES = 1_000_000  # a config or an index comes with one request


def cached_folder(model: HubModel) -> Path | None:
    """Return the folder of a whole snapshot in huggingface_hub's cache; None if there is none.

    Raises
    ------
    SourceError
        If the name cannot be one of the hub.
    """
    found = _cached(model, CONFIG)
    return found.parent if found is not None and holds_weights(found.parent) else None


def cached_file(model: HubModel) -> Path | None:
    """Return the named file of a snapshot in huggingface_hub's cache; None if it is not there.

    Raises
    ------
    SourceError
        If the name cannot be one of the hub.
    """
    return None if model.file is None else _cached(model, model.file)


def _cached(model: HubModel, file: str) -> Path | None:
    try:
        validate_repo_id(model.repo)
        found = try_to_load_from_cache(model.repo, file, revision=model.revision)
    except (HFValidationError, ValueError) as error:
        raise SourceError(
            f"nothing found at {quoted(model.repo)}",
            expected="a path, or the name of a model on the hub, such as gpt2 or org/name",
            got=quoted(error),
            remedy="check the name",
        ) from error
    return Path(found) if isinstance(found, str) else None


def snapshot_commit(path: Path) -> str | None:
    """Return the commit of a path in huggingface_hub's cache, which is a folder's name there."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts[:-1] else None


class HubRepository:
    """The files of one repository at one revision, opened by ranges.

    Attributes
    ----------
    commit
        That the first file belonged to, and all later ones are asked for at.
    """

    def __init__(self, model: HubModel, access: Access, commit: str | None = None) -> None:
        self.model, self._access = model, access
        self.commit = commit

    def file(self, name: str, first_bytes: int = FIRST_BYTES) -> RemoteFile:
        """Open a file.

        Raises
        ------
        AbsentError
            If there is no such file.
        SourceError
            If it cannot be read.
        """
        revision = self.commit or self.model.revision
        url = hf_hub_url(self.model.repo, name, revision=revision, endpoint=constants.ENDPOINT)
        place = f"{constants.ENDPOINT}/{self.model.repo}/{name}"
        link = Link(url, request_headers(url), file=place, identity=f"{place}@{revision}")
        found = RemoteFile(link, self._access, first_bytes)
        self.commit = self.commit or found.version.commit
        return found

    def json(self, name: str) -> ByteSource:
        """Open a JSON file, which comes with the first request.

        Raises
        ------
        AbsentError, SourceError
            As `file`.
        """
        return self.file(name, JSON_FIRST_BYTES)

    def beside(self, name: str) -> ByteSource | None:
        """Open a file of the same commit: cached if it is, else asked for; None if there is none.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        cached = _cached(replace(self.model, revision=self.commit or self.model.revision), name)
        return LocalFile(cached) if cached is not None else self._json_if_there(name)

    def _json_if_there(self, name: str) -> ByteSource | None:
        try:
            return self.json(name)
        except AbsentError as error:
            if error.whole_repository:
                raise
            return None

    def config(self) -> Config | None:
        """Return the model's config; None if the repository has none.

        Raises
        ------
        SourceError
            If it cannot be read, or is no JSON object.
        """
        source = self._json_if_there(CONFIG)
        return None if source is None else Config(json_object(source), source.shown)

    def weights(self) -> Tensors:
        """Open safetensors, one file or those that an index names; else torch's own files.

        Raises
        ------
        AbsentError
            If there are none of these.
        SourceError
            If they cannot be read.
        """
        usual: tuple[tuple[str, Callable[[str], Tensors]], ...] = (
            (SINGLE, lambda name: SafetensorsFile(self.file(name))),
            (INDEX, lambda name: Sharded(self.json(name), self._safetensors)),
            (TORCH_SINGLE, lambda name: TorchFile(self.file(name))),
            (TORCH_INDEX, lambda name: Sharded(self.json(name), self._torch_shard)),
        )
        absent: AbsentError | None = None
        for name, opens in usual:
            try:
                return opens(name)
            except AbsentError as error:
                absent = absent or error  # the name that was to be expected says most
                if error.whole_repository:
                    break
        raise absent or AbsentError("no weights")

    def _safetensors(self, name: str) -> Tensors:
        return SafetensorsFile(self.file(name))

    def _torch_shard(self, name: str) -> Tensors:
        return TorchFile(self.file(name), shard=True)
