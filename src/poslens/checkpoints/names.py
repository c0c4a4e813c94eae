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


def parse_source(source: str | os.PathLike[str]) -> Sinusoidal | Located:
    """Return what a source string names.

    The longest path that exists is taken, even if it contains ``::``; an `os.PathLike` never names
    an encoding, nor does ``./sinusoidal:…``.

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
    marks = (at for at in range(len(text), 0, -1) if text.startswith(TENSOR_MARK, at))
    at = next((at for at in marks if _exists(text[:at])), None)
    if at is not None:
        tensor = text[at + len(TENSOR_MARK) :]
        if tensor:
            return Located(Path(text[:at]), tensor)
        raise SourceError(
            f"no tensor is named in {quoted(text)}",
            expected="PATH::TENSOR",
            got="nothing after '::'",
            remedy="name a tensor, or leave '::' out",
        )
    raise SourceError(
        f"nothing found at {quoted(text.partition(TENSOR_MARK)[0])}",
        expected=f"a local file or folder, PATH::TENSOR, or {USAGE}",
        remedy="check the path",
    )


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
