"""Tensors of any dtype as they are stored, to be copied from one container into another."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from poslens.checkpoints.safetensors_file import BITS, SafetensorsFile
from poslens.checkpoints.sharded import Sharded
from poslens.checkpoints.tensors import Entry, Tensors
from poslens.checkpoints.torch_file import TorchFile
from poslens.edit.blocks import Block, file_blocks
from poslens.edit.safetensors_writer import Piece
from poslens.edit.stored import safetensors_word
from poslens.errors import SettingError, quoted

_NUMPY = {"I64": "<i8", "I32": "<i4"}


def read_any(tensors: Tensors, name: str) -> np.ndarray:
    """Return a tensor of whole numbers, which `Tensors.read` does not give.

    Raises
    ------
    SourceError
        If its bytes cannot be had.
    """
    if isinstance(tensors, Sharded):
        return read_any(tensors.shard(tensors.file_of(name)), name)
    if isinstance(tensors, SafetensorsFile):
        placed = tensors.placed[name]
        raw = b"".join(bytes(one) for one in file_blocks(tensors.source, placed.start, placed.stop))
    elif isinstance(tensors, TorchFile):
        raw = bytes(tensors.stored(name).raw)
    else:
        raise TypeError(f"{type(tensors).__name__} is not copied")
    entry = tensors.entry(name)
    return np.frombuffer(raw, _NUMPY[str(safetensors_word(entry))]).reshape(entry.shape)


def copied_piece(tensors: Tensors, name: str) -> Piece:
    """Return a tensor that is to be written as it is stored, read when it is its turn.

    Parameters
    ----------
    tensors
        A safetensors or torch file, or shards of them.
    name
        One of its tensors.

    Raises
    ------
    SettingError
        If safetensors cannot hold it.
    SourceError
        If its shard is damaged.
    """
    if isinstance(tensors, Sharded):
        return copied_piece(tensors.shard(tensors.file_of(name)), name)
    entry = tensors.entry(name)
    word = safetensors_word(entry)
    if word is None:
        raise SettingError(
            f"cannot write tensor {entry} of {tensors.shown}",
            expected="dtypes that safetensors has",
            got=f"dtype {quoted(entry.dtype)}",
            remedy="save the model as safetensors with transformers first",
        )
    if isinstance(tensors, SafetensorsFile):
        placed, source = tensors.placed[name], tensors.source
        nbytes = placed.stop - placed.start
        return Piece(
            name, word, entry.shape, nbytes, lambda: file_blocks(source, placed.start, placed.stop)
        )
    return _from_torch(tensors, entry, word)


def _from_torch(tensors: Tensors, entry: Entry, word: str) -> Piece:
    name = str(entry.name)

    def blocks() -> Iterable[Block]:
        if not isinstance(tensors, TorchFile):
            raise TypeError(f"{type(tensors).__name__} is not copied")
        yield tensors.stored(name).raw

    nbytes = math.prod(entry.shape) * BITS[word] // 8
    return Piece(name, word, entry.shape, nbytes, blocks)
