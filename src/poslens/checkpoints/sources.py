"""`open_any`: whatever names or is a source, opened and not yet read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from poslens.checkpoints.names import parse_source
from poslens.checkpoints.opening import Checkpoint, open_source
from poslens.checkpoints.python_objects import open_object
from poslens.checkpoints.remote.access import Access
from poslens.encodings.spec import EncodingSpec
from poslens.errors import SourceError


@dataclass(frozen=True, eq=False)
class GivenArray:
    """An array from Python.

    Attributes
    ----------
    array
        As it was given.
    uri
        What records call it.
    """

    array: np.ndarray
    uri: str = "array"


@dataclass(frozen=True)
class NamedEncoding:
    """An encoding string.

    Attributes
    ----------
    spec
        What it names.
    uri
        The string.
    """

    spec: EncodingSpec
    uri: str


Opened: TypeAlias = Checkpoint | NamedEncoding | GivenArray


def open_any(source: Any, access: Access) -> Opened:
    """Open a source: a string or path, or an object from Python.

    Raises
    ------
    SourceError
        If it cannot be found, read or understood, or is of another type.
    """
    if isinstance(source, np.ndarray):
        return GivenArray(source)
    given = open_object(source)
    if given is not None:
        return given
    if not isinstance(source, str | os.PathLike) or not isinstance(os.fspath(source), str):
        raise SourceError(
            "cannot use this source",
            expected="a string, a path, an array or tensor, a state dict or a model of torch",
            got=type(source).__name__,
            remedy="pass the path of a model folder or a file",
        )
    # A path need not be valid UTF-8, but what is written about it must be.
    uri = os.fspath(source).encode("utf-8", "backslashreplace").decode()
    named = parse_source(source)
    if isinstance(named, EncodingSpec):
        return NamedEncoding(named, uri)
    return open_source(named, uri, access)
