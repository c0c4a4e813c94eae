"""Model folders as transformers writes them: config.json beside one or several weight files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.index_file import read_index, unfit
from poslens.checkpoints.local_files import unreadable
from poslens.checkpoints.safetensors_file import SafetensorsFile
from poslens.checkpoints.tensors import Entry, StoredTensor, Tensors, listed
from poslens.errors import SourceError, quoted

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
INDEX = "model" + INDEX_SUFFIX


class ShardedSafetensors(Tensors):
    """Safetensors files with an index; a shard's header is read when a tensor of it is looked at.

    Raises
    ------
    SourceError
        If the index is damaged, names a file outside its folder, or one that is not there.
    """

    def __init__(self, index: Path) -> None:
        self.index, self.shown = index, quoted(index)
        source = LocalFile(index)
        self.opening_bytes = source.size
        self._weight_map = read_index(source)
        files = sorted(set(self._weight_map.values()))
        absent = [one for one in files if not (index.parent / one).is_file()]
        if absent:
            raise unfit(self.shown, "all its files", f"no file {listed(map(quoted, absent))}")
        self._shards: dict[str, SafetensorsFile] = {}

    def names(self) -> Iterable[str]:
        """Return the names of all tensors, in the index's order."""
        return self._weight_map.keys()

    def entry(self, name: str) -> Entry:
        """Return what the shard's header says about a tensor.

        Raises
        ------
        SourceError
            If the shard is damaged, or does not hold the tensor.
        """
        return self._shard_of(name).entry(name)

    def read(self, name: str) -> StoredTensor:
        """Read one tensor from its shard.

        Raises
        ------
        TableError
            If its dtype is not one that PosLens reads.
        SourceError
            If the shard is damaged, or does not hold the tensor.
        """
        return self._shard_of(name).read(name)

    def _shard_of(self, name: str) -> SafetensorsFile:
        file_name = self._weight_map[name]
        if file_name not in self._shards:
            self._shards[file_name] = SafetensorsFile(LocalFile(self.index.parent / file_name))
            self.opening_bytes += self._shards[file_name].opening_bytes
        shard = self._shards[file_name]
        if name not in shard.names():
            expected = f"tensor {quoted(name)} in {quoted(file_name)}"
            raise unfit(self.shown, expected, "a file without it")
        return shard


def open_weights(folder: Path) -> Tensors:
    """Open the safetensors weights of a folder: ``model.safetensors``, an index, or a single file.

    Raises
    ------
    SourceError
        If there are none, or several files and neither of the usual names.
    """
    if (folder / SINGLE).is_file():
        return SafetensorsFile(LocalFile(folder / SINGLE))
    if (folder / INDEX).is_file():
        return ShardedSafetensors(folder / INDEX)
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise unreadable(folder, error) from error
    found = [path for path in files if path.suffix == ".safetensors"]
    if len(found) == 1:
        return SafetensorsFile(LocalFile(found[0]))
    if found:
        raise SourceError(
            f"several weight files in {quoted(folder)}",
            expected=f"{SINGLE}, {INDEX}, or one .safetensors file",
            got=listed(quoted(path.name) for path in found),
            remedy="give the path of one of these files",
        )
    raise SourceError(
        f"no weights in {quoted(folder)}",
        expected="safetensors files",
        got=listed(quoted(path.name) for path in files) or "an empty folder",
        remedy="save the model as safetensors, which this version reads",
    )
