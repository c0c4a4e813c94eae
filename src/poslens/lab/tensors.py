"""Tensors in a safetensors file that is written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from poslens.errors import OutputError, quoted
from poslens.files import written_whole


def write_tensors(tensors: Mapping[str, Tensor], path: str | Path, about: dict[str, str]) -> None:
    """Write tensors by name, with the metadata of the file.

    Raises
    ------
    OutputError
        If it cannot be written; a file that was there is then as it was.
    """
    with written_whole(path) as temporary:
        try:
            save_file(dict(tensors), temporary, metadata=about)
        except SafetensorError as error:  # what safetensors makes of a full disk; no OSError
            raise OutputError(
                f"cannot write {quoted(path)}",
                got=quoted(error),
                remedy="choose another path, or make room",
            ) from error
