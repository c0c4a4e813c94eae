"""JSON files of a checkpoint that become objects: a config."""

from __future__ import annotations

from typing import Any

from poslens.checkpoints.byte_source import ByteSource
from poslens.checkpoints.json_text import LARGEST_PARSED, parse
from poslens.checkpoints.local_files import not_understood
from poslens.errors import quoted


def json_object(source: ByteSource) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises
    ------
    SourceError
        If the file cannot be read, is larger than 7 MB, is no JSON object, or is one that could
        take more than 64 MB of memory.
    """
    expected = f"one JSON object of at most {LARGEST_PARSED // 10**6} MB"
    if source.size > LARGEST_PARSED:
        raise not_understood(source.shown, expected, f"{source.size} bytes")
    try:
        value = parse(bytes(source.read(0, source.size)))
    except ValueError as error:
        raise not_understood(source.shown, expected, quoted(error)) from error
    if not isinstance(value, dict):
        raise not_understood(source.shown, expected, f"a JSON {type(value).__name__}")
    return value
