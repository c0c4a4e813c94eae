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


def open_sharded(index: Path, open_shard: Callable[[Path], Tensors] = open_safetensors) -> Sharded:
    """Open the files that an index on disk names.

    Raises
    ------
    SourceError
        If the index is damaged, names a file outside its folder, or one that is not there.
    """
    sharded = Sharded(LocalFile(index), lambda file: open_shard(index.parent / file))
    absent = [file for file in sharded.files() if not (index.parent / file).is_file()]
    if absent:
        raise unfit(sharded.shown, "all its files", f"no file {listed(map(quoted, absent))}")
    return sharded


# The usual names, in the order of preference.
_USUAL: tuple[tuple[str, Callable[[Path], Tensors]], ...] = (
    (SINGLE, open_safetensors),
    (INDEX, open_sharded),
    (TORCH_SINGLE, lambda path: TorchFile(LocalFile(path))),
    (TORCH_INDEX, lambda path: open_sharded(path, open_torch_shard)),
)


def holds_weights(folder: Path) -> bool:
    """Whether a folder of huggingface_hub's cache has all weight files of a model.

    Raises
    ------
    SourceError
        If its index is damaged.
    """
    if (folder / SINGLE).is_file():
        return True
    if (folder / INDEX).is_file():
        files = Sharded(LocalFile(folder / INDEX), lambda file: open_safetensors(folder / file))
        return all((folder / file).is_file() for file in files.files())
    return (folder / TORCH_SINGLE).is_file()


def open_weights(folder: Path) -> Tensors:
    """Open the weights of a folder: safetensors first, then torch's own files.

    Of each kind that is one file or an index under the usual name, or else a file that is the only
    one with its suffix.

    Raises
    ------
    SourceError
        If there are none, or several files and none of the usual names.
    """
    for name, opens in _USUAL:
        if (folder / name).is_file():
            return opens(folder / name)
    files = _files(folder)
    found = [path for path in files if path.suffix == ".safetensors"]
    if not found:
        found = [p for p in files if p.suffix in SUFFIXES and not p.stem.startswith(_NOT_WEIGHTS)]
    if len(found) > 1:
        raise SourceError(
            f"several weight files in {quoted(folder)}",
            expected=f"{listed(name for name, _ in _USUAL)}, or one weights file",
            got=listed(quoted(path.name) for path in found),
            remedy="give the path of one of these files",
        )
    if not found:
        raise SourceError(
            f"no weights in {quoted(folder)}",
            expected="safetensors or torch files",
            got=listed(quoted(path.name) for path in files) or "an empty folder",
            remedy="save the model as safetensors, or give the path of a file",
        )
    if found[0].suffix == ".safetensors":
        return open_safetensors(found[0])
    return TorchFile(LocalFile(found[0]))


def only_gguf(folder: Path) -> Path | None:
    """Return the GGUF file of a folder that holds one, and no other weights; else None.

    Raises
    ------
    SourceError
        If the folder cannot be read.
    """
    files = _files(folder)
    found = [path for path in files if path.suffix == ".gguf"]
    others = [path for path in files if path.suffix in (".safetensors", *SUFFIXES)]
    return found[0] if len(found) == 1 and not others else None


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise unreadable(folder, error) from error
