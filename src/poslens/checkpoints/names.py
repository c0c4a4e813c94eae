"""What a source string names: an encoding, a path, or a path and a tensor."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from poslens.checkpoints.table import FEWEST_POSITIONS
from poslens.encodings.sinusoidal import BASE
from poslens.errors import SourceError, quoted

TENSOR_MARK = "::"
MOST_ENTRIES = 2**28  # of a generated table: 2 GiB in float64

# Of files that hold tensors; ``.safetensors.index.json`` ends in the second.
FILE_SUFFIXES = (".safetensors", ".index.json", ".gguf", ".bin", ".pt", ".pth", ".npy", ".npz")

USAGE = "sinusoidal:length=L,dim=d[,base=B]"


@dataclass(frozen=True)
class Sinusoidal:
    """A generated table: ``sinusoidal:length=L,dim=d[,base=B]``."""

    length: int
    dim: int
    base: float = BASE


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


def parse_source(source: str | os.PathLike[str]) -> Sinusoidal | Located | Address | HubModel:
    """Return what a source string names.

    A path that exists is taken whole, even if it contains ``::``, and before a model of that
    name; an `os.PathLike` names neither an encoding nor a model, nor does ``./sinusoidal:…``.

    Raises
    ------
    SourceError
        If the encoding string is wrong, or nothing is at the path.
    """
    text = os.fspath(source)
    if isinstance(source, str) and text.partition(":")[0] == "sinusoidal":
        return _parse_sinusoidal(text)
    if _exists(text):
        return Located(Path(text))
    path, mark, tensor = text.partition(TENSOR_MARK)
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


def _named(path: str, tensor: str | None, *, remote: bool) -> Located | Address | HubModel | None:
    if _exists(path):
        return Located(Path(path), tensor)
    if not remote:
        return None
    if re.match("https?://", path, re.IGNORECASE):
        return Address(path, tensor)
    return _hub_model(path, tensor)


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


def _parse_sinusoidal(text: str) -> Sinusoidal:
    settings: dict[str, str] = {}
    for item in text.partition(":")[2].split(","):
        key, mark, value = item.partition("=")
        if not mark or key not in ("length", "dim", "base") or key in settings:
            _wrong(text, "length=…, dim=… and perhaps base=…, each once", quoted(item))
        settings[key] = value
    length = _whole_number(text, settings, "length", FEWEST_POSITIONS)
    dim = _whole_number(text, settings, "dim", 1)
    if length * dim > MOST_ENTRIES:
        _wrong(text, f"at most {MOST_ENTRIES} entries", f"{length} × {dim}")
    base = settings.get("base", str(BASE))
    if not re.fullmatch(r"[0-9]{1,300}(\.[0-9]{0,300})?(e[0-9]{1,2})?", base) or float(base) < 1:
        _wrong(text, "a decimal number of at least 1 for base", quoted(base))
    if float(base) == float("inf"):
        _wrong(text, "a finite base", quoted(base))
    return Sinusoidal(length, dim, float(base))


def _whole_number(text: str, settings: dict[str, str], key: str, least: int) -> int:
    expected = f"a whole number of at least {least} for {key}"
    if key not in settings:
        _wrong(text, expected, f"no {key}")
    value = settings[key]
    # Twelve digits are beyond any table, and int() would take signs, spaces and underscores.
    if not re.fullmatch("[0-9]{1,12}", value) or int(value) < least:
        _wrong(text, expected, quoted(value))
    return int(value)


def _wrong(text: str, expected: str, got: str) -> NoReturn:
    raise SourceError(
        f"cannot understand {quoted(text)}", expected=expected, got=got, remedy=f"write {USAGE}"
    )
