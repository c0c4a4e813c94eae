"""What a source string names: an encoding, a path, or a path and a tensor."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from poslens.checkpoints.table import FEWEST_POSITIONS
from poslens.encodings.spec import EncodingSpec, names_encoding, parse_encoding, usage
from poslens.errors import SourceError, quoted

TENSOR_MARK = "::"

# Of files that hold tensors; ``.safetensors.index.json`` ends in the second.
FILE_SUFFIXES = (".safetensors", ".index.json", ".gguf", ".bin", ".pt", ".pth", ".npy", ".npz")

USAGE = usage("sinusoidal")

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parent.parent / "demo"  # the small model that ships with the package


@dataclass(frozen=True)
class Located:
    """A file or folder, and perhaps one tensor in it."""

    path: Path
    tensor: str | None = None


@dataclass(frozen=True)
class Address:
    """A file at an http(s) address, and perhaps one tensor in it."""

    url: str
    tensor: str | None = None


@dataclass(frozen=True)
class HubModel:
    """A model on the hub, ``org/name[@revision]``, and perhaps one file or tensor of it."""

    repo: str
    revision: str = "main"
    file: str | None = None
    tensor: str | None = None


def parse_source(source: str | os.PathLike[str]) -> EncodingSpec | Located | Address | HubModel:
    """Return what a source string names.

    The longest path that exists is taken, even if it contains ``::``, and before a model of that
    name; ``demo`` is the model that ships with the package. An `os.PathLike` names neither an
    encoding nor a model, nor does ``./sinusoidal:…``.

    Raises
    ------
    SourceError
        If the encoding string is wrong, or nothing is at the path.
    """
    text = os.fspath(source)
    if isinstance(source, str) and names_encoding(text):
        return parse_encoding(text, fewest=FEWEST_POSITIONS)
    if _exists(text):
        return Located(Path(text))
    path, mark, tensor = _split(text)
    named = _named(path, tensor or None, remote=isinstance(source, str))
    if named is not None and mark and not tensor:
        raise SourceError(
            f"no tensor is named in {quoted(text)}",
            expected="SOURCE::TENSOR",
            got="nothing after '::'",
            remedy="name a tensor, or leave '::' out",
        )
    if named is None:
        raise SourceError(
            f"nothing found at {quoted(path)}",
            expected="a local file or folder, a model on the hub (org/name), an http(s) address, "
            f"or {USAGE}; perhaps with ::TENSOR",
            remedy="check the path",
        )
    return named


def _split(text: str) -> tuple[str, str, str]:
    """Split before the last ``::`` that leaves a path that exists, or else before the first."""
    marks = (at for at in range(len(text), 0, -1) if text.startswith(TENSOR_MARK, at))
    at = next((at for at in marks if _exists(text[:at])), None)
    if at is None:
        return text.partition(TENSOR_MARK)
    return text[:at], TENSOR_MARK, text[at + len(TENSOR_MARK) :]


def _named(path: str, tensor: str | None, *, remote: bool) -> Located | Address | HubModel | None:
    if _exists(path):
        return Located(Path(path), tensor)
    if not remote:
        return None
    if path == DEMO:
        return Located(DEMO_FOLDER, tensor)
    if re.match("https?://", path, re.IGNORECASE):
        return _address(path, tensor)
    return _hub_model(path, tensor)


def _address(url: str, tensor: str | None) -> Address:
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and parts.port != 0  # a port that is none raises as well
    except ValueError:
        sound = False
    if not sound:
        raise SourceError(
            f"cannot use {quoted(url)}",
            expected="an http or https address",
            got="one without a sound host and port",
            remedy="check the address",
        )
    return Address(url, tensor)


def _hub_model(text: str, tensor: str | None) -> HubModel | None:
    """Read ``name``, ``org/name`` or ``org/name/file``, each perhaps with ``@revision``."""
    name, at, revision = text.partition("@")
    parts = name.split("/")
    if not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", part) for part in parts):
        return None
    # A file's name that is not there is a mistake in a path, and no model.
    names_file = name.lower().endswith(FILE_SUFFIXES)
    if names_file != (len(parts) > 2) or (at and not revision):
        return None
    file = "/".join(parts[2:]) if names_file else None
    return HubModel("/".join(parts[:2]), revision or "main", file, tensor)


def _exists(path: str) -> bool:
    try:
        return bool(path) and Path(path).exists()
    except PermissionError as error:
        raise SourceError(
            f"cannot look at {quoted(path)}",
            expected="a path whose folders can be entered",
            got=quoted(error.strerror),
            remedy="check the permissions",
        ) from error
    except (OSError, ValueError):  # too long, or a null byte: no such path can exist
        return False
