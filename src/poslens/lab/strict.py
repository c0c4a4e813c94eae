"""Strict reading of settings: unknown keys and wrong types are errors that say where they are."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from poslens.errors import LabError, quoted

T = TypeVar("T")

_WORDS = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


def record(kind: type[T], table: object, path: str, without: Iterable[str] = ()) -> T:
    """Return a dataclass whose fields are the keys of a table, and of tables in it.

    Parameters
    ----------
    kind
        The dataclass. Its fields are strings, numbers, truth values, literals, dataclasses, or
        tuples of these.
    table
        As TOML or JSON has it.
    path
        Where the table is, for errors; empty for the outermost.
    without
        Fields that are no keys, and keep their defaults.

    Raises
    ------
    LabError
        If a key is unknown (naming the nearest), missing, or of another type.
    """
    if not isinstance(table, Mapping):
        raise _wrong(path, "a table", table)
    known = {field.name: field for field in keys_of(kind, without)}
    hints = get_type_hints(kind)
    for key in table:
        if key not in known:
            raise unknown(_joined(path, key), key, known, "key")
    missing = [name for name, field in known.items() if name not in table and _required(field)]
    if missing:
        raise LabError(
            f"the experiment lacks {quoted(_joined(path, missing[0]))}",
            expected=_expected(hints[missing[0]]),
            got="nothing",
        )
    return kind(**{key: value(hints[key], table[key], _joined(path, key)) for key in table})


def keys_of(kind: type, without: Iterable[str] = ()) -> list[Field[Any]]:
    """Return the fields of a dataclass that are keys."""
    return [field for field in fields(kind) if field.init and field.name not in set(without)]


def value(hint: Any, found: object, path: str) -> Any:
    """Return one value as a field of this type holds it.

    Raises
    ------
    LabError
        If it is of another type.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return found if isinstance(found, hint) else record(hint, found, path)
    if origin is Literal:
        if found not in inner:
            raise _wrong(path, _expected(hint), found)
        return found
    if origin is types.UnionType:
        made = any(
            isinstance(one, type) and is_dataclass(one) and isinstance(found, one) for one in inner
        )
        # `X | None`, where a key that is not there is None.
        return found if made else value(inner[0], found, path)
    if origin is tuple:
        if not isinstance(found, list):
            raise _wrong(path, "a list", found)
        if inner[-1] is not Ellipsis and len(found) != len(inner):
            raise _wrong(path, f"a list of {len(inner)}", found)
        each = inner if inner[-1] is not Ellipsis else (inner[0],) * len(found)
        pairs = enumerate(zip(each, found, strict=True))
        return tuple(value(one, entry, f"{path}[{i}]") for i, (one, entry) in pairs)
    if hint is float and type(found) is int:
        return float(found)
    if type(found) is not hint:
        raise _wrong(path, _expected(hint), found)
    return found


def unknown(path: str, name: str, known: Iterable[str], what: str) -> LabError:
    """Return the error that a name is unknown, with the nearest that is known."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return LabError(
        f"unknown {what} {quoted(path)}",
        expected="one of " + ", ".join(known),
        remedy=f"did you mean {near[0]}?" if near else "",
    )


def toml(table: Mapping[str, Any]) -> str:
    """Return TOML of strings, numbers, truth values, lists of them, and tables of these.

    Tables inside lists are written inline; what is None is left out.
    """
    flat = {k: v for k, v in table.items() if v is not None and not isinstance(v, Mapping)}
    lines = [f"{key} = {_toml_value(entry)}" for key, entry in flat.items()]
    for name, inner in table.items():
        if isinstance(inner, Mapping):
            lines += ["", f"[{name}]", toml(inner).rstrip("\n")]
    return "\n".join(lines) + "\n"


def _toml_value(found: Any) -> str:
    if isinstance(found, Mapping):
        pairs = (f"{key} = {_toml_value(v)}" for key, v in found.items() if v is not None)
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(found, list | tuple):
        return "[" + ", ".join(_toml_value(entry) for entry in found) + "]"
    # Strings, numbers and truth values are written alike in both, but for one control character.
    return json.dumps(found, ensure_ascii=False).replace("\x7f", "\\u007f")


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _expected(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if get_origin(hint) is types.UnionType:
        return _expected(get_args(hint)[0])
    if get_origin(hint) is tuple:
        return "a list"
    return _WORDS.get(hint, "a table")


def _wrong(path: str, expected: str, found: object) -> LabError:
    kind = _WORDS.get(type(found), type(found).__name__)
    shown = kind if isinstance(found, dict) else f"{kind}, {quoted(found)}"
    return LabError(f"cannot use {quoted(path)}", expected=expected, got=shown)
