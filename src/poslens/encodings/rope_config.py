"""RoPE's scaling from the words of a transformers config: ``rope_parameters``, ``rope_scaling``."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Mapping
from typing import Any, TypeGuard

from poslens.encodings.registry import SCALINGS
from poslens.encodings.rope_scaling import Scaling
from poslens.errors import SettingError, quoted

# transformers' words where a field has another name here.
_FIELDS = {"original_max_position_embeddings": "original", "partial_rotary_factor": "part"}
# What is said of the rotation, not of its scaling, except where a scaling has a field of it.
_ELSEWHERE = ("rope_type", "type", "rope_theta", "partial_rotary_factor")
# The rules that transformers fits to max_position_embeddings where the config says no more.
_FITTED = ("yarn", "longrope")


def scaling_from(parameters: Mapping[str, object], context: int | None = None) -> Scaling:
    """Return the scaling that a config's mapping names; none where it names none.

    A null counts as absent. ``original_max_position_embeddings`` is ``context`` where it is
    absent, and in dynamic scaling always; the ``factor`` of YaRN and LongRoPE is their ratio where
    it is absent: as in transformers 5.23.

    Parameters
    ----------
    parameters
        ``rope_type`` (or ``type``) and the values that go with it, under transformers' names.
    context
        The config's ``max_position_embeddings``.

    Raises
    ------
    SettingError
        If the type is unknown, a value is missing, unknown, of the wrong type or out of range.
    """
    given = {key: value for key, value in parameters.items() if value is not None}
    word = given.get("rope_type", given.get("type", "default"))
    if not isinstance(word, str) or word not in SCALINGS:
        raise SettingError(
            f"cannot scale RoPE by rope_type {quoted(word)}",
            expected="one of " + ", ".join(SCALINGS),
            got=quoted(word),
        )
    scaling = SCALINGS[word]
    takes = inspect.signature(scaling, eval_str=True).parameters
    values = {
        name: _typed(word, name, value, takes[name].annotation)
        for name, value in _by_field(word, given, list(takes), context).items()
    }
    original = values.get("original")
    if word in _FITTED and "factor" not in values and context and isinstance(original, int):
        values["factor"] = context / max(original, 1)  # the class refuses an original below 1
    for name, one in takes.items():
        if name not in values and one.default is inspect.Parameter.empty:
            raise SettingError(
                f"cannot scale RoPE by {word}", expected=f"a value for {_word(name)}", got="none"
            )
    return scaling(**values)


def _by_field(
    word: str, given: Mapping[str, object], names: list[str], context: int | None
) -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in given.items():
        name = _FIELDS.get(key, key)
        if name in names and key not in _FIELDS.values():
            values[name] = value
        elif key not in _ELSEWHERE:
            raise SettingError(
                f"cannot scale RoPE by {word}",
                expected=", ".join(map(_word, names)) or "no values",
                got=quoted(key),
            )
    if "original" in names and context is not None:
        if word == "dynamic":
            values["original"] = context
        values.setdefault("original", context)
    return values


def _word(name: str) -> str:
    """Return transformers' word for a field."""
    return next((word for word, field in _FIELDS.items() if field == name), name)


def _typed(word: str, name: str, value: object, hint: Any) -> object:
    """Return the value as its field has it, or say what it should have been."""
    if hint is bool:
        wanted = "true or false"
        if isinstance(value, bool):
            return value
    elif hint is int:
        wanted = "a whole number"
        if _is_number(value) and value == math.floor(value):
            return int(value)
    elif hint == tuple[float, ...]:
        wanted = "a list of numbers"
        if isinstance(value, list | tuple) and all(map(_is_number, value)):
            return tuple(map(float, value))
    else:
        wanted = "a number"
        if _is_number(value):
            return float(value)
    raise SettingError(
        f"cannot scale RoPE by {word}", expected=f"{wanted} for {_word(name)}", got=quoted(value)
    )


def _is_number(value: object) -> TypeGuard[int | float]:
    # A whole number can be too large for a float, and true is one to Python.
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
    )
