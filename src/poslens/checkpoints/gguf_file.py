"""`GgufFile`: a GGUF file's tensors, dequantised one at a time, block by block."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterable

import numpy as np

from poslens.checkpoints.byte_source import ByteSource
from poslens.checkpoints.config import Config
from poslens.checkpoints.gguf_architectures import model_config, pairing_of_rows
from poslens.checkpoints.gguf_header import TensorInfo, parse_gguf_header
from poslens.checkpoints.gguf_types import BlockType
from poslens.checkpoints.tensors import (
    Entry,
    Quantised,
    StoredTensor,
    Tensors,
    require_readable,
)
from poslens.errors import SourceError

# Numbers that are dequantised at once: 1 MiB of float32, and a few times that on the way.
AT_ONCE = 2**18


class GgufFile(Tensors):
    """A GGUF file: opening reads its header, `read` one tensor's bytes.

    Attributes
    ----------
    config
        Its metadata in the words of transformers; None where they name no architecture.

    Raises
    ------
    SourceError
        If the file cannot be read, its header is not sound, or its metadata contradict themselves.
    """

    def __init__(self, source: ByteSource) -> None:
        self.source, self.shown = source, source.shown
        header = parse_gguf_header(source)
        self._tensors = header.tensors
        self.opening_bytes = header.bytes_read
        self.config: Config | None = model_config(header.metadata, header.tensors, self.shown)
        self.pairing = pairing_of_rows(header.metadata)

    def names(self) -> Iterable[str]:
        """Return the names of all tensors, in the header's order."""
        return self._tensors.keys()

    def entry(self, name: str) -> Entry:
        """Return what the header says about a tensor."""
        return self._tensors[name].entry

    def prefetch(self, names: Iterable[str]) -> None:
        """Fetch the byte ranges of several tensors together."""
        wanted = [self._tensors[name] for name in names]
        self.source.prefetch((one.start, one.stop) for one in wanted if one.entry.floating)

    def read(self, name: str) -> StoredTensor:
        """Read one tensor; of a quantised one, no more of its bytes at a time than a few MiB.

        Raises
        ------
        TableError
            If its dtype is not one that PosLens reads.
        SourceError
            If its bytes cannot be had, or the package that dequantises is missing or too old.
        """
        tensor = self._tensors[name]
        require_readable(tensor.entry, self.shown)
        if tensor.blocks is None or not tensor.blocks.quantised:
            return StoredTensor(tensor.entry, self.source.read(tensor.start, tensor.stop))
        self.prefetch([name])
        return _dequantised(self.source, tensor, tensor.blocks)


def _dequantised(source: ByteSource, tensor: TensorInfo, blocks: BlockType) -> StoredTensor:
    dequantise = _dequantiser(blocks.word)
    nbytes = tensor.stop - tensor.start
    values = np.empty(nbytes // blocks.nbytes * blocks.count, dtype="<f4")
    stored = hashlib.sha256()
    step = AT_ONCE // blocks.count * blocks.nbytes
    done = 0
    for start in range(tensor.start, tensor.stop, step):
        raw = source.read(start, min(start + step, tensor.stop))
        stored.update(raw)
        part = dequantise(np.frombuffer(raw, np.uint8))
        values[done : done + part.size] = part
        done += part.size
    floats = values.view(np.uint8).data
    return StoredTensor(tensor.entry, floats, Quantised(nbytes, stored.hexdigest()))


def _dequantiser(word: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that turns whole blocks of bytes into float32."""
    try:
        quants = importlib.import_module("gguf.quants")
        constants = importlib.import_module("gguf.constants")
    except ImportError as error:
        raise SourceError(
            f"cannot read {word} without the package gguf",
            expected="the extra gguf",
            got="a Python without it",
            remedy="install it: pip install 'poslens[gguf]'",
        ) from error
    kind = getattr(constants.GGMLQuantizationType, word, None)

    def dequantise(blocks: np.ndarray) -> np.ndarray:
        try:
            # A damaged scale may be infinite: that is refused where values are judged.
            with np.errstate(all="ignore"):
                return np.ravel(quants.dequantize(blocks[None], kind))
        except (NotImplementedError, AttributeError) as error:
            raise SourceError(
                f"cannot read {word} with this version of the package gguf",
                expected="one that dequantises it",
                remedy="update it: pip install --upgrade gguf",
            ) from error

    return dequantise
