"""Reads a file and says how much memory that took: for a process without the tests' own hooks."""

from __future__ import annotations

import resource
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.folder import open_sharded
from poslens.checkpoints.json_object import json_object
from poslens.checkpoints.json_text import parse
from poslens.checkpoints.numpy_files import NpyFile, NpzFile
from poslens.checkpoints.safetensors_file import SafetensorsFile
from poslens.errors import PosLensError

READERS: dict[str, Callable[[Path], object]] = {
    "header": lambda path: SafetensorsFile(LocalFile(path)),
    "tensor": lambda path: SafetensorsFile(LocalFile(path)).read("a"),
    "index": open_sharded,
    "config": lambda path: json_object(LocalFile(path)),
    "json": lambda path: parse(path.read_bytes()),
    "archive": NpzFile,
    "npy": lambda path: NpyFile(path).read(""),
    "npz": lambda path: NpzFile(path).read("a"),
}


def peak(reader: str, path: Path) -> tuple[int, str]:
    """The most bytes that were allocated at once, and the error, if there was one."""
    tracemalloc.start()
    try:
        kept = READERS[reader](path)  # noqa: F841 - it counts as long as it is there
    except PosLensError as error:
        message = str(error)
    else:
        message = ""
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most, message


def error_of(reader: str, path: Path, room: int) -> str:
    """The error where so many bytes are all that the process may take."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (room, before[1]))
    try:
        READERS[reader](path)
    except PosLensError as error:
        return str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    return ""
