"""Model folders as transformers writes them: config.json beside one or several weight files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.local_files import read_json_object, unreadable
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
        self.opening_bytes = index.stat().st_size if index.is_file() else 0
        weight_map = read_json_object(index).get("weight_map")
        if not isinstance(weight_map, dict):
            raise self._unsound("an object weight_map", quoted(weight_map))
        for name, shard in weight_map.items():
            if not _is_inside(shard):
                raise self._unsound(
                    "file names within its folder", f"{quoted(shard)} for tensor {quoted(name)}"
                )
        self._weight_map: dict[str, str] = weight_map
        absent = [s for s in sorted(set(weight_map.values())) if not (index.parent / s).is_file()]
        if absent:
            raise self._unsound("all its files", f"no file {listed(map(quoted, absent))}")
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
            raise self._unsound(
                f"tensor {quoted(name)} in {quoted(file_name)}", "a file without it"
            )
        return shard

    def _unsound(self, expected: str, got: str) -> SourceError:
        return SourceError(
            f"{self.shown} does not fit its weight files",
            expected=expected,
            got=got,
            remedy="download the model again",
        )


def _is_inside(shard: object) -> bool:
    """Whether an index entry is a relative path that never leaves the folder, on any system."""
    if not isinstance(shard, str) or not shard or "\0" in shard:
        return False
    windows = PureWindowsPath(shard)
    return not (windows.drive or windows.root or PurePosixPath(shard).root or ".." in windows.parts)


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
    files = _files(folder)
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


def only_gguf(folder: Path) -> Path | None:
    """Return the GGUF file of a folder that holds one, and no other weights; else None.

    Raises
    ------
    SourceError
        If the folder cannot be read.
    """
    files = _files(folder)
    found = [path for path in files if path.suffix == ".gguf"]
    others = [path for path in files if path.suffix == ".safetensors"]
    return found[0] if len(found) == 1 and not others else None


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise unreadable(folder, error) from error
