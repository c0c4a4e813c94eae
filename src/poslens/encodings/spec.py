"""Encoding strings such as ``rope:head_dim=64,scaling=linear,factor=4``, and what they name.

The keys of a scheme are the parameters of its `builder`, and ``length``, the positions that are
looked at. Where a parameter is itself a rule with fields, as RoPE's scaling is, its word chooses
the rule, whose fields are then keys as well.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, NoReturn, get_args, get_origin

from poslens.encodings.protocol import AddsTable, Encoding
from poslens.encodings.registry import ENCODINGS, SCALINGS, builder
from poslens.encodings.rope_scaling import Scaling
from poslens.encodings.validate import require_count, require_entries
from poslens.errors import SettingError, SourceError, quoted

LENGTH = "length"
LIST_MARK = "/"  # between the numbers of a list
REQUIRED = inspect.Parameter.empty
RULES: dict[Any, Mapping[str, Callable[..., Any]]] = {Scaling: SCALINGS}


@dataclass(frozen=True)
class EncodingSpec:
    """What an encoding string names.

    Attributes
    ----------
    encoding
        The scheme.
    length
        Positions 0 … length - 1 are looked at; None where the string does not say.
    """

    encoding: Encoding
    length: int | None


def names_encoding(text: str) -> bool:
    """Return whether a string begins as an encoding string does: with a scheme and a colon.

    The colon may be absent where the scheme needs no settings.
    """
    name, mark, _ = text.partition(":")
    return name in ENCODINGS and (bool(mark) or not any(key.required for key in _keys_of(name)))


def usage(name: str) -> str:
    """Return the form of a scheme's string, with defaults; what is in brackets may be left out.

    ``name`` is a key of `ENCODINGS`.
    """
    return _usage(name, _keys_of(name))


def parse_encoding(text: str, fewest: int = 1) -> EncodingSpec:
    """Return what an encoding string names.

    Parameters
    ----------
    text
        ``NAME:key=value,…``, each key once.
    fewest
        The fewest positions that the caller can use.

    Raises
    ------
    SourceError
        If the string is wrong, naming the nearest right key, or a setting cannot be used.
    """
    name = text.partition(":")[0]
    if name not in ENCODINGS:
        raise SourceError(
            f"no encoding is called {quoted(name)}",
            expected="one of " + ", ".join(ENCODINGS),
            remedy=_nearest(name, ENCODINGS),
        )
    return _Reader(text, fewest).read()


@dataclass(frozen=True)
class _Key:
    """One setting: its type without None, and its default, `REQUIRED` where it must be given."""

    name: str
    kind: Any
    default: Any

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def usage(self) -> str:
        shown = "…"
        if self.kind in RULES:
            shown = "|".join(RULES[self.kind]) + ",…"
        elif get_origin(self.kind) is Literal:
            shown = "|".join(get_args(self.kind))
        elif self.kind is bool:
            shown = "true|false"
        elif not self.required and self.default is not None:
            shown = f"{self.default:.10g}"
        return f"{self.name}={shown}"


class _Reader:
    """One encoding string on its way to an `EncodingSpec`.

    Attributes
    ----------
    keys
        What the string may say: the scheme's keys, and those of the rules that it chooses.
    words
        What it says, by key.
    rules
        The rules that it chooses, by key.
    """

    def __init__(self, text: str, fewest: int) -> None:
        self.text, self.fewest = text, fewest
        self.name, _, settings = text.partition(":")
        self.keys = _keys_of(self.name)
        self.words: dict[str, str] = {}
        for part in settings.split(",") if settings else []:
            name, _, word = part.partition("=")
            if name in self.words:
                self._wrong("each key once", f"{quoted(name)} twice")
            self.words[name] = word
        self.rules: dict[str, Callable[..., Any]] = {}
        for key in list(self.keys):
            if key.kind in RULES and key.name in self.words:
                self._choose(key, self.words[key.name])

    def _choose(self, key: _Key, word: str) -> None:
        choices = RULES[key.kind]
        if word not in choices:
            self._wrong(f"{key.name} as one of {', '.join(choices)}", quoted(word))
        self.rules[key.name] = choices[word]
        self.keys[self.keys.index(key)] = _Key(key.name, Literal[word], REQUIRED)
        self.keys += _parameters(choices[word])

    def read(self) -> EncodingSpec:
        self._require_known()
        values = {key.name: self._value(key) for key in self.keys if key.name in self.words}
        for key in self.keys:
            if key.required and key.name not in values:
                self._wrong(_wanted(key, self.fewest), f"no {key.name}")
        try:
            return self._built(values)
        except SettingError as error:
            self._wrong(error.expected, error.got, error.problem)

    def _built(self, values: dict[str, Any]) -> EncodingSpec:
        for name, rule in self.rules.items():
            fields = [key.name for key in _parameters(rule) if key.name in values]
            values[name] = rule(**{field: values.pop(field) for field in fields})
        length = values.get(LENGTH)
        build = builder(self.name)
        if LENGTH not in inspect.signature(build).parameters:
            values.pop(LENGTH, None)
        encoding = build(**values)
        if length is not None:
            require_count(LENGTH, length)
            require_entries(length, encoding.dim if isinstance(encoding, AddsTable) else 1)
        return EncodingSpec(encoding, length)

    def _require_known(self) -> None:
        known = [key.name for key in self.keys]
        for name, word in self.words.items():
            if name not in known:
                self._wrong(
                    "keys among " + ", ".join(known),
                    quoted(f"{name}={word}" if word else name),
                    remedy=_nearest(name, known),
                )

    def _value(self, key: _Key) -> Any:
        word = self.words[key.name]
        value = _read(key.kind, word)
        if value is None or (key.name == LENGTH and value < self.fewest):
            self._wrong(_wanted(key, self.fewest), quoted(word))
        return value

    def _wrong(self, expected: str, got: str, problem: str = "", remedy: str = "") -> NoReturn:
        raise SourceError(
            f"cannot understand {quoted(self.text)}" + (f": {problem}" if problem else ""),
            expected=expected,
            got=got,
            remedy=f"{remedy}{'; ' if remedy else ''}write {_usage(self.name, self.keys)}",
        ) from None


def _parameters(build: Callable[..., Any]) -> list[_Key]:
    """Return what a builder takes."""
    keys = []
    for one in inspect.signature(build, eval_str=True).parameters.values():
        kinds = [kind for kind in get_args(one.annotation) if kind is not NoneType]
        optional = NoneType in get_args(one.annotation)
        keys.append(_Key(one.name, kinds[0] if optional else one.annotation, one.default))
    return keys


def _keys_of(name: str) -> list[_Key]:
    """Return what a scheme's string takes; a table that is added needs a length."""
    keys = _parameters(builder(name))
    if all(key.name != LENGTH for key in keys):
        adds = ENCODINGS[name].acts == "adds"
        length = _Key(LENGTH, int, REQUIRED if adds else None)
        keys = [length, *keys] if adds else [*keys, length]
    return keys


def _usage(name: str, keys: Sequence[_Key]) -> str:
    needed = ",".join(key.usage for key in keys if key.required)
    optional = "".join(f"[,{key.usage}]" for key in keys if not key.required)
    return f"{name}:{needed}{optional}" if needed else f"{name}[:{optional[2:]}"


def _wanted(key: _Key, fewest: int) -> str:
    """Return in words what a key's value must be."""
    if get_origin(key.kind) is Literal:
        what = " or ".join(get_args(key.kind))
    elif key.kind is int and key.name == LENGTH:
        what = f"a whole number of at least {fewest}"
    else:
        what = {int: "a whole number", float: "a decimal number", bool: "true or false"}.get(
            key.kind, f"decimal numbers with {LIST_MARK} between them"
        )
    return f"{what} for {key.name}"


def _read(kind: Any, word: str) -> Any:
    """Return the value of a word, None where it is none of that type."""
    if get_origin(kind) is Literal:
        return word if word in get_args(kind) else None
    if kind is bool:
        return {"true": True, "false": False}.get(word)
    # int() and float() would take signs, spaces, underscores and other scripts' digits.
    if kind is int:
        return int(word) if re.fullmatch("[0-9]{1,12}", word) else None
    if kind is float:
        decimal = re.fullmatch(r"[0-9]{1,300}(\.[0-9]{0,300})?(e-?[0-9]{1,2})?", word)
        return float(word) if decimal else None
    numbers = [_read(float, one) for one in word.split(LIST_MARK)]
    return None if None in numbers else tuple(numbers)


def _nearest(word: str, known: Sequence[str] | Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"the nearest is {close[0]}" if close else ""
