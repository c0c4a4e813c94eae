"""Model folders as transformers writes them: config.json beside one or several weight files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.local_files import read_json_object, unreadable
from poslens.checkpoints.safetensors_file import SafetensorsFile
from poslens.checkpoints.tensors import Entry, StoredTensor, Tensors, listed
from poslens.checkpoints.torch_file import SUFFIXES, TorchFile
from poslens.errors import SourceError, quoted

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
INDEX = "model" + INDEX_SUFFIX
TORCH_SINGLE = "pytorch_model.bin"
TORCH_INDEX_SUFFIX = ".bin.index.json"
TORCH_INDEX = "pytorch_model" + TORCH_INDEX_SUFFIX
# What trainers write beside the weights with the same suffixes.
_NOT_WEIGHTS = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")


def open_safetensors(path: Path) -> Tensors:
    """Open a safetensors file, or a shard.

    Raises
    ------
    SourceError
        As `SafetensorsFile`.
    """
    return SafetensorsFile(LocalFile(path))


def open_torch_shard(path: Path) -> Tensors:
    """Open a torch file of which an index names the tensors.

    Raises
    ------
    SourceError
        As `TorchFile`.
    """
    return TorchFile(LocalFile(path), shard=True)


class ShardedWeights(Tensors):
    """Weight files with an index; a shard's header is read when a tensor of it is looked at.

    Parameters
    ----------
    index
        The JSON file that says which tensor is in which shard.
    open_shard
        Opens one of the files that it names.

    Raises
    ------
    SourceError
        If the index is damaged, names a file outside its folder, or one that is not there.
    """

    def __init__(self, index: Path, open_shard: Callable[[Path], Tensors]) -> None:
        self._open_shard = open_shard
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
        self._shards: dict[str, Tensors] = {}

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

    def _shard_of(self, name: str) -> Tensors:
        file_name = self._weight_map[name]
        if file_name not in self._shards:
            self._shards[file_name] = self._open_shard(self.index.parent / file_name)
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
    """Open the weights of a folder: safetensors first, then torch's own files.

    Of each kind that is one file or an index under the usual name, or else a file that is the only
    one with its suffix.

    Raises
    ------
    SourceError
        If there are none, or several files and none of the usual names.
    """
    usual: tuple[tuple[str, Callable[[Path], Tensors]], ...] = (
        (SINGLE, open_safetensors),
        (INDEX, lambda path: ShardedWeights(path, open_safetensors)),
        (TORCH_SINGLE, lambda path: TorchFile(LocalFile(path))),
        (TORCH_INDEX, lambda path: ShardedWeights(path, open_torch_shard)),
    )
    for name, opens in usual:
        if (folder / name).is_file():
            return opens(folder / name)
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise unreadable(folder, error) from error
    found = [path for path in files if path.suffix == ".safetensors"]
    if not found:
        found = [p for p in files if p.suffix in SUFFIXES and not p.stem.startswith(_NOT_WEIGHTS)]
    if len(found) > 1:
        raise SourceError(
            f"several weight files in {quoted(folder)}",
            expected=f"{listed(name for name, _ in usual)}, or one weights file",
            got=listed(quoted(path.name) for path in found),
            remedy="give the path of one of these files",
        )
    if not found:
        raise SourceError(
            f"no weights in {quoted(folder)}",
            expected="safetensors or torch files",
            got=listed(quoted(path.name) for path in files) or "an empty folder",
            remedy="save the model as safetensors, which this version reads",
        )
    if found[0].suffix == ".safetensors":
        return open_safetensors(found[0])
    return TorchFile(LocalFile(found[0]))
