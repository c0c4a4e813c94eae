"""Torch files built byte by byte, for what torch.save itself would never write."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import torch

from poslens.checkpoints.byte_source import ByteSource


class Held(ByteSource):
    """A file whose bytes are held in memory."""

    def __init__(self, content: bytes) -> None:
        self.content, self.size, self.shown = content, len(content), "'x.pt'"

    def read(self, start: int, stop: int) -> bytes:
        assert 0 <= start <= stop <= self.size, "only bytes of the file are asked for"
        return self.content[start:stop]


def saved(value: Any, *, stream: bool = False) -> bytes:
    """What torch.save writes: an archive, or the stream of versions before 1.6."""
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not stream)
    return buffer.getvalue()


def records(content: bytes) -> dict[str, bytes]:
    """An archive's records by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def archive_of(
    content: Mapping[str, bytes], method: int = zipfile.ZIP_STORED, *, pickle: bytes | None = None
) -> bytes:
    """A sound archive of records, the pickle among them replaced if one is given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in content.items():
            replaced = pickle is not None and name.endswith("/data.pkl")
            archive.writestr(zipfile.ZipInfo(name), pickle if replaced else data, method)
    return buffer.getvalue()
