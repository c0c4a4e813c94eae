"""`GgufFile`: a GGUF file's tensors, dequantised one at a time, block by block."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from poslens.checkpoints.byte_source import ByteSource, LocalFile, rows_at
from poslens.checkpoints.config import Config
from poslens.checkpoints.gguf_architectures import architecture_of, model_config, pairing_of_rows
from poslens.checkpoints.gguf_header import parse_gguf_header
from poslens.checkpoints.gguf_types import BlockType
from poslens.checkpoints.tensors import (
    Entry,
    Quantised,
    RowNumbers,
    StoredTensor,
    Tensors,
    Values,
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
        self.architecture = architecture_of(header.metadata)

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
        step = _step(tensor.blocks)
        parts = (
            self.source.read(start, min(start + step, tensor.stop))
            for start in range(tensor.start, tensor.stop, step)
        )
        return _dequantised(parts, tensor.stop - tensor.start, tensor.entry, tensor.blocks)

    def reads_rows_alone(self, name: str) -> bool:  # noqa: ARG002 - of all its tensors alike
        """Whether the file lies on this machine."""
        return isinstance(self.source, LocalFile)

    def read_rows(self, name: str, rows: RowNumbers) -> Values:
        """Read some rows of a matrix; of a file that is far away, all of them at once.

        Raises
        ------
        TableError
            If its dtype is not one that PosLens reads.
        SourceError
            As `read`.
        """
        tensor = self._tensors[name]
        require_readable(tensor.entry, self.shown)
        if not self.reads_rows_alone(name) or rows.size == 0 or tensor.blocks is None:
            return super().read_rows(name, rows)
        width = (tensor.stop - tensor.start) // tensor.entry.shape[0]
        raw = rows_at(self.source, tensor.start, width, rows)
        entry = replace(tensor.entry, shape=(rows.size, tensor.entry.shape[1]))
        if not tensor.blocks.quantised:
            return StoredTensor(entry, raw).values()
        step = _step(tensor.blocks)
        parts = (raw[start : start + step] for start in range(0, len(raw), step))
        return _dequantised(parts, len(raw), entry, tensor.blocks).values()


def _step(blocks: BlockType) -> int:
    """How many bytes are dequantised at once: whole blocks."""
    return AT_ONCE // blocks.count * blocks.nbytes


def _dequantised(
    parts: Iterable[bytes | memoryview], nbytes: int, entry: Entry, blocks: BlockType
) -> StoredTensor:
    """Dequantise ``nbytes`` that come in parts, each of whole blocks."""
    dequantise = _dequantiser(blocks.word)
    values = np.empty(nbytes // blocks.nbytes * blocks.count, dtype="<f4")
    stored = hashlib.sha256()
    done = 0
    for raw in parts:
        stored.update(raw)
        part = dequantise(np.frombuffer(raw, np.uint8))
        values[done : done + part.size] = part
        done += part.size
    floats = values.view(np.uint8).data
    return StoredTensor(entry, floats, Quantised(nbytes, stored.hexdigest()))


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
