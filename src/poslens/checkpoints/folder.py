"""Model folders as transformers writes them: config.json beside one or several weight files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.index_file import unfit
from poslens.checkpoints.local_files import unreadable
from poslens.checkpoints.safetensors_file import SafetensorsFile
from poslens.checkpoints.sharded import Sharded
from poslens.checkpoints.tensors import Tensors, listed
from poslens.errors import SourceError, quoted

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
INDEX = "model" + INDEX_SUFFIX


def open_sharded(index: Path) -> Sharded:
    """Open the safetensors files that an index on disk names.

    Raises
    ------
    SourceError
        If the index is damaged, names a file outside its folder, or one that is not there.
    """
    sharded = Sharded(LocalFile(index), _shard_in(index.parent))
    absent = [file for file in sharded.files() if not (index.parent / file).is_file()]
    if absent:
        raise unfit(sharded.shown, "all its files", f"no file {listed(map(quoted, absent))}")
    return sharded


def _shard_in(folder: Path) -> Callable[[str], Tensors]:
    return lambda file: SafetensorsFile(LocalFile(folder / file))


def holds_weights(folder: Path) -> bool:
    """Whether a folder of huggingface_hub's cache has all weight files of a model.

    Raises
    ------
    SourceError
        If its index is damaged.
    """
    if (folder / SINGLE).is_file():
        return True
    if not (folder / INDEX).is_file():
        return False
    files = Sharded(LocalFile(folder / INDEX), _shard_in(folder)).files()
    return all((folder / file).is_file() for file in files)


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
        return open_sharded(folder / INDEX)
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
