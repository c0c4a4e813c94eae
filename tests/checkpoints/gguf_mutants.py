"""Valid GGUF files, damaged at random: bits, lengths, places, and one file's middle in another."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGMLQuantizationType
from gguf_files import DEQUANTISED, SIZES, Bytes, as_float, blocks, write_gguf

from poslens.checkpoints.description import describe_model
from poslens.checkpoints.gguf_file import GgufFile
from poslens.checkpoints.gguf_types import BLOCK_TYPES
from poslens.checkpoints.load import table_of
from poslens.checkpoints.opening import Checkpoint
from poslens.errors import PosLensError

Field = tuple[int, int]  # where an integer stands in a file, and its bytes
MORE: dict[str, dict[str, Any]] = {
    "llama": {".rope.dimension_count": 12, ".rope.scaling.type": "yarn"},
    "gpt2": {"general.alignment": 64, "tokenizer.ggml.tokens": ["a", "", "ß"] * 9},
    "bert": {".attention.causal": False, "tokenizer.ggml.scores": [0.5] * 1100},
    "gemma3": {".attention.sliding_window": 8, ".rope.freq_base": 5e5},
    "deepseek2": {".attention.key_length": 16, ".rope.dimension_count": 10},
    "mpt": {".attention.max_alibi_bias": 8.0},
    "t5": {".attention.relative_buckets_count": 32},
}
NUMBERS = (0, 1, 2, 3, 4, 31, 32, 255, 2**16, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1)
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def valid_files() -> list[bytes]:
    """Small files of several architectures, with a tensor of each kind among them."""
    rng = np.random.default_rng(0)
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for index, (arch, more) in enumerate(MORE.items()):
            tensors: dict[str, np.ndarray | tuple[np.ndarray, GGMLQuantizationType]] = {
                "position_embd.weight": as_float(rng, (5, 32)),
                "token_embd.weight": as_float(rng, (3, 32)).astype(np.float16),
                "enc.blk.0.attn_rel_b.weight": as_float(rng, (32, 6)),
            }
            for kind in DEQUANTISED[index :: len(MORE)]:
                tensors[f"blk.0.{kind.name}"] = blocks(rng, kind, (2, 256)), kind
            path = write_gguf(Path(folder) / f"{arch}.gguf", arch, SIZES | more, tensors)
            files.append(path.read_bytes())
    return files


def integers_of(content: bytes) -> list[Field]:
    """Where the integers of a valid file's header stand: counts, lengths, types, places, values."""
    fields: list[Field] = [(4, 4), (8, 8), (16, 8)]
    at = 24

    def integer(size: int) -> int:
        nonlocal at
        fields.append((at, size))
        at += size
        return int.from_bytes(content[at - size : at], "little")

    def text() -> None:
        nonlocal at
        length = integer(8)
        at += length

    def value(kind: int) -> None:
        if kind == 8:
            text()
        elif kind == 9:
            items = integer(4)
            for _ in range(integer(8)):
                value(items)
        else:
            integer(SCALAR_BYTES[kind])

    tensors, values = struct.unpack_from("<QQ", content, 8)
    for _ in range(values):
        text()
        value(integer(4))
    for _ in range(tensors):
        text()
        for _ in range(integer(4)):
            integer(8)
        integer(4)
        integer(8)
    fields.append((at - 1, 1))  # the last byte of the header
    return fields


class Mutants:
    """Makes damaged files from valid ones, the same ones from the same seed."""

    def __init__(self, valid: Sequence[bytes]) -> None:
        self.valid = list(valid)
        self.fields = [integers_of(content) for content in self.valid]
        self.ways = (
            self.flip, self.set_integers, self.set_integers, self.set_any, self.cut,
            self.splice, self.drop, self.double, self.fill,
        )  # fmt: skip

    def some(self, seed: int, count: int) -> Iterator[bytes]:
        """Yield a number of files, each damaged in one to three ways, none of them valid as is."""
        rng = np.random.default_rng(seed)
        for _ in range(count):
            index = int(rng.integers(len(self.valid)))
            content = bytearray(self.valid[index])
            while content == self.valid[index]:
                for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
                    way = self.ways[int(rng.integers(len(self.ways)))]
                    way(rng, content, index)
            yield bytes(content)

    def somewhere(self, rng: np.random.Generator, content: bytearray, index: int) -> int:
        """A position, for the most part in the header."""
        header = self.fields[index][-1][0]
        most = min(header, len(content)) if rng.random() < 0.8 else len(content)
        return int(rng.integers(max(most, 1)))

    def flip(self, rng: np.random.Generator, content: bytearray, index: int) -> None:
        for _ in range(int(rng.integers(1, 9))):
            at = self.somewhere(rng, content, index)
            content[at : at + 1] = bytes(
                byte ^ (1 << int(rng.integers(8))) for byte in content[at : at + 1]
            )

    def set_integers(self, rng: np.random.Generator, content: bytearray, index: int) -> None:
        fields = self.fields[index]
        for _ in range(int(rng.integers(1, 3))):
            self.put(rng, content, *fields[int(rng.integers(len(fields)))])

    def set_any(self, rng: np.random.Generator, content: bytearray, index: int) -> None:
        size = int(rng.choice([1, 2, 4, 8]))
        self.put(rng, content, self.somewhere(rng, content, index), size)

    def put(self, rng: np.random.Generator, content: bytearray, at: int, size: int) -> None:
        old = int.from_bytes(content[at : at + size], "little")
        near = [old - 1, old + 1, 2 * old, len(content), len(content) - 1, len(content) - old]
        any_other = int(rng.integers(2**63))
        new = [*NUMBERS, *near, *near, any_other][int(rng.integers(len(NUMBERS) + 13))]
        content[at : at + size] = (new % 2 ** (8 * size)).to_bytes(size, "little")

    def cut(self, rng: np.random.Generator, content: bytearray, index: int) -> None:
        del content[self.somewhere(rng, content, index) :]

    def splice(self, rng: np.random.Generator, content: bytearray, index: int) -> None:
        other = self.valid[int(rng.integers(len(self.valid)))]
        at = self.somewhere(rng, content, index)
        begin = int(rng.integers(len(other)))
        content[at:] = other[begin:]

    def drop(self, rng: np.random.Generator, content: bytearray, index: int) -> None:
        at = self.somewhere(rng, content, index)
        del content[at : at + int(rng.integers(1, 65))]

    def double(self, rng: np.random.Generator, content: bytearray, index: int) -> None:
        at = self.somewhere(rng, content, index)
        content[at:at] = content[at : at + int(rng.integers(1, 65))]

    def fill(self, rng: np.random.Generator, content: bytearray, index: int) -> None:
        at = self.somewhere(rng, content, index)
        count = int(rng.integers(1, 33))
        content[at : at + count] = rng.bytes(count) if rng.random() < 0.5 else bytes(count)


def survives(content: bytes) -> bool:
    """Read all that a file holds; whether it could be opened.

    Raises
    ------
    AssertionError
        If a tensor is not what the header says, or an error is not one line of text.
    """
    try:
        file = GgufFile(Bytes(content))
    except PosLensError as error:
        one_line(error)
        return False
    stored = {kind.word: kind for kind in BLOCK_TYPES.values()}
    for name in file.names():
        entry = file.entry(name)
        try:
            found = file.read(name)
        except PosLensError as error:
            one_line(error)
            assert not entry.floating
            continue
        kind = stored[entry.dtype]
        assert found.values().shape == entry.shape
        assert found.nbytes * kind.count == found.values().size * kind.nbytes
    for use in (described, loaded):
        try:
            use(file)
        except PosLensError as error:
            one_line(error)
    return True


def one_line(error: PosLensError) -> None:
    assert str(error).isprintable()


def described(file: GgufFile) -> None:
    if file.config is not None and (found := describe_model(file, file.config)) is not None:
        assert found.line().isprintable()


def loaded(file: GgufFile) -> None:
    table = table_of(Checkpoint(file, file.config, "some.gguf"), None, with_tokens=True)
    assert np.isfinite(table.rows).all()
