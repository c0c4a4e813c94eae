"""GGUF files for tests: by the reference writer, by hand, and as bytes in memory."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from poslens.checkpoints.byte_source import ByteSource, LocalFile
from poslens.checkpoints.description import Description, describe_model
from poslens.checkpoints.gguf_file import GgufFile
from poslens.checkpoints.schemes import Acting
from poslens.errors import SourceError

DEQUANTISED = sorted(set(quants._type_traits) - {GGMLQuantizationType.NVFP4}, key=int)
ALIGNMENT = 32

# A model that most architectures admit.
LENGTH = 103
SIZES = {
    ".context_length": LENGTH,
    ".embedding_length": 72,
    ".block_count": 3,
    ".attention.head_count": 6,
    ".attention.head_count_kv": 3,
    "general.name": "some model",
}
WEIGHT = {"output_norm.weight": np.ones(72, np.float32)}


class Bytes(ByteSource):
    """A file in memory; counts what is read."""

    shown = "'some.gguf'"

    def __init__(self, content: bytes) -> None:
        self.content, self.size = content, len(content)
        self.spans: list[tuple[int, int]] = []

    def read(self, start: int, stop: int) -> bytes:
        if not 0 <= start <= stop <= self.size:
            raise SourceError("a test", expected="a range within the file", got=f"{start}:{stop}")
        self.spans.append((start, stop))
        return self.content[start:stop]


def as_float(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def blocks(
    rng: np.random.Generator, kind: GGMLQuantizationType, shape: tuple[int, ...]
) -> np.ndarray:
    """Bytes of a tensor: quantised where the reference can, else any bytes at all."""
    try:
        return np.asarray(quants.quantize(as_float(rng, shape), kind)).view(np.uint8)
    except NotImplementedError:
        count, nbytes = GGML_QUANT_SIZES[kind]
        stored = (*shape[:-1], shape[-1] // count * nbytes)
        return rng.integers(0, 256, stored, dtype=np.uint8)


def write_gguf(
    path: Path,
    arch: str | None,
    values: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray | tuple[np.ndarray, GGMLQuantizationType]],
) -> Path:
    """Write a file with the reference writer; keys that begin with a dot are the architecture's.

    Values are written as uint32, float32, bool, string or an array of these.
    """
    writer = gguf.GGUFWriter(path, arch or "none")
    if arch is None:
        writer.kv_data[0].clear()
    writer.data_alignment = values.get("general.alignment", ALIGNMENT)
    for key, value in values.items():
        full = f"{arch}{key}" if key.startswith(".") else key
        add = {
            bool: writer.add_bool,
            int: writer.add_uint32,
            float: writer.add_float32,
            str: writer.add_string,
            list: writer.add_array,
        }[type(value)]
        add(full, value)
    for name, tensor in tensors.items():
        data, kind = tensor if isinstance(tensor, tuple) else (tensor, None)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str | bytes, kind: int, payload: bytes) -> bytes:
    """A metadata key and its value, as they stand in a file."""
    return text(key) + struct.pack("<I", kind) + payload


def array(kind: int, count: int, payload: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + payload


def record(
    name: str | bytes = "wpe", dims: Iterable[int] = (4, 3), kind: int = 0, offset: int = 0
) -> bytes:
    """The record of a tensor, as it stands in a file."""
    sizes = tuple(dims)
    return text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


def container(
    *records: bytes,
    pairs: Iterable[bytes] = (),
    data: bytes = bytes(48),
    magic: bytes = b"GGUF",
    version: bytes = struct.pack("<I", 3),
    counts: tuple[int, int] | None = None,
) -> bytes:
    """A file written by hand, with whatever lies are wanted."""
    values = list(pairs)
    tensor_count, value_count = counts or (len(records), len(values))
    head = magic + version + struct.pack("<QQ", tensor_count, value_count)
    head += b"".join(values) + b"".join(records)
    return head + bytes(-len(head) % ALIGNMENT) + data


def opened(
    tmp_path: Path,
    arch: str | None,
    values: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray] = WEIGHT,
) -> GgufFile:
    return GgufFile(LocalFile(write_gguf(tmp_path / "x.gguf", arch, values, tensors)))


def description(file: GgufFile) -> Description:
    assert file.config is not None
    found = describe_model(file, file.config)
    assert found is not None
    return found


def schemes(*given: Any) -> tuple[Acting, ...]:
    """What a file of these metadata and tensors is recognised to do with positions."""
    return description(opened(*given)).schemes
