"""A model's ``config.json``, read value by value with its type checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from poslens.errors import SourceError, quoted

LARGEST = 1e300  # NaN and Infinity, which Python's JSON admits, are not below it


@dataclass(frozen=True)
class Config:
    """The values of a ``config.json``, or of a section of it.

    Each getter returns the default where the key is absent, as transformers does, and refuses a
    value of another type.

    Attributes
    ----------
    values
        The JSON object.
    shown
        The file's quoted name, for messages.
    silence_is_default
        Whether a number that is left out is the one of the family's configuration class, as
        transformers leaves those out; in a GGUF file's metadata it is not known.
    """

    values: Mapping[str, Any]
    shown: str
    silence_is_default: bool = True

    def integer(self, key: str, default: int) -> int:
        """Return a whole number.

        Raises
        ------
        SourceError
            If the value is none.
        """
        value = self.values.get(key, default)
        if type(value) is not int or not 0 <= value < 2**31:
            raise self._wrong(key, value, "a whole number from 0 to 2147483647")
        return value

    def number(self, key: str, default: float) -> float:
        """Return a finite number of at least 0.

        Raises
        ------
        SourceError
            If the value is none.
        """
        value = self.values.get(key, default)
        if type(value) not in (int, float) or not 0 <= value <= LARGEST:
            raise self._wrong(key, value, "a finite number of at least 0")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false.

        Raises
        ------
        SourceError
            If the value is neither.
        """
        value = self.values.get(key, default)
        if type(value) is not bool:
            raise self._wrong(key, value, "true or false")
        return value

    def text(self, key: str, default: str = "") -> str:
        """Return a string.

        Raises
        ------
        SourceError
            If the value is none.
        """
        value = self.values.get(key, default)
        if type(value) is not str:
            raise self._wrong(key, value, "a string")
        return value

    def has(self, key: str) -> bool:
        """Whether the key is present and not null."""
        return self.values.get(key) is not None

    def first(self, *keys: str) -> str | None:
        """Return the first key that is present and not null; None if none is."""
        return next((key for key in keys if self.has(key)), None)

    def count(self, default: int, *keys: str) -> int:
        """Return a whole number of at least 1, under the first key that is present and not null.

        Raises
        ------
        SourceError
            If the value is none, or left out where no default holds.
        """
        key = self.first(*keys)
        if key is None and keys and not self.silence_is_default:
            raise self._wrong(keys[0], "nothing", "a whole number of at least 1")
        if key is None:
            return default
        value = self.integer(key, default)
        if value < 1:
            raise self._wrong(key, value, "a whole number of at least 1")
        return value

    def signed(self, key: str, default: int) -> int:
        """Return a whole number that may be negative, where that means unset.

        Raises
        ------
        SourceError
            If the value is none.
        """
        value = self.values.get(key, default)
        return self.integer(key, default) if type(value) is not int or value >= 0 else -1

    def switch(self, key: str, default: bool) -> bool:
        """Return true or false; the default where the value is null as well.

        Raises
        ------
        SourceError
            If the value is neither.
        """
        return self.flag(key, default) if self.has(key) else default

    def items(self, key: str, kind: type, *, fewest: int) -> list[Any] | None:
        """Return a list, all of one JSON type; None where it is absent, null or empty.

        Raises
        ------
        SourceError
            If the value is no list, holds another type, or has fewer than ``fewest`` items.
        """
        value = self.values.get(key)
        if value is None or value == []:
            return None
        if type(value) is not list or any(type(item) is not kind for item in value):
            raise self._wrong(key, value, f"a list of {kind.__name__}")
        if len(value) < fewest:
            raise self._wrong(key, f"{len(value)} items", f"at least {fewest} items")
        return value

    def contradiction(self, problem: str, expected: str, got: str) -> SourceError:
        """Return the error that says which of the config's values cannot both hold."""
        return SourceError(
            f"{problem} in {self.shown}",
            expected=expected,
            got=got,
            remedy="correct the config, or restore it from where the model came from",
        )

    def section(self, *keys: str) -> Config:
        """Return the section of the first key that is present and not null; empty if none is.

        Raises
        ------
        SourceError
            If the value is not an object.
        """
        for key in keys:
            value = self.values.get(key)
            if value is not None:
                if not isinstance(value, dict):
                    raise self._wrong(key, value, "an object")
                return replace(self, values=value, shown=f"{self.shown}, {key}")
        return replace(self, values={})

    def _wrong(self, key: str, value: object, expected: str) -> SourceError:
        return SourceError(
            f"cannot use {key} in {self.shown}",
            expected=expected,
            got=quoted(value),
            remedy="correct the config, or restore it from where the model came from",
        )
