"""JSON files of a checkpoint: a config, an index."""

from __future__ import annotations

import json
from typing import Any

from poslens.checkpoints.byte_source import ByteSource
from poslens.errors import SourceError, quoted

# Real ones are kilobytes; an index of a million tensors is still below this.
LARGEST_JSON = 100_000_000


def json_object(source: ByteSource) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises
    ------
    SourceError
        If the file cannot be read, is larger than 100 MB, or is no JSON object.
    """
    if source.size > LARGEST_JSON:
        raise _no_object(source, f"{source.size} bytes")
    text = bytes(source.read(0, source.size))
    try:
        value = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise _no_object(source, quoted(error)) from error
    if not isinstance(value, dict):
        raise _no_object(source, f"a JSON {type(value).__name__}")
    return value


def _no_object(source: ByteSource, got: str) -> SourceError:
    return SourceError(
        f"cannot understand {source.shown}",
        expected="one JSON object of at most 100 MB",
        got=got,
        remedy="restore the file from where the model came from",
    )
