"""From a TOML file to an `Experiment`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from poslens.errors import LabError, quoted
from poslens.lab import strict
from poslens.lab.data import OnText
from poslens.lab.experiment import WITHOUT, Experiment
from poslens.lab.recipe import Recipe
from poslens.lab.shape import Shape
from poslens.lab.tasks import TASKS, Task


def shipped() -> list[str]:
    """Return the names of the experiments that come with PosLens."""
    folder = resources.files("poslens.lab.experiments")
    return sorted(
        p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")
    )


def read_experiment(source: str | Path, changes: Iterable[str] = ()) -> Experiment:
    """Read an experiment that comes with PosLens, by name, or one from a TOML file.

    Parameters
    ----------
    source
        One of `shipped`, or a path.
    changes
        Settings to change, such as ``"recipe.steps=100"``.

    Raises
    ------
    LabError
        If it cannot be read, or a key, a scheme, a task or a type is wrong.
    SettingError
        If a number is out of its range.
    """
    path = Path(source)
    if str(source) in shipped():
        text = resources.files("poslens.lab.experiments").joinpath(f"{source}.toml").read_text()
    else:
        text = _text(path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LabError(
            f"cannot read the experiment {quoted(source)}", expected="TOML", got=quoted(error)
        ) from error
    for change in changes:
        _change(table, change)
    return _experiment(table, path.parent)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        got = error.strerror if isinstance(error, OSError) else "bytes that are no UTF-8"
        raise LabError(
            f"cannot read the experiment {quoted(path)}",
            expected="a TOML file, or one of " + ", ".join(shipped()),
            got=quoted(got or error),
        ) from error


def _change(table: dict[str, Any], change: str) -> None:
    key, equals, given = change.partition("=")
    *sections, last = key.strip().split(".")
    if not equals or not all([*sections, last]):
        raise LabError(
            "cannot read a changed setting",
            expected="KEY=VALUE, such as recipe.steps=100",
            got=quoted(change),
        )
    inner: Any = table
    for section in sections:
        inner = inner.setdefault(section, {})
        if not isinstance(inner, dict):
            raise LabError(f"cannot change {quoted(key)}", got=f"{quoted(section)} is no table")
    try:
        inner[last] = tomllib.loads(f"value = {given}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        inner[last] = given.strip()  # a string without its quotes


def _experiment(table: dict[str, Any], folder: Path) -> Experiment:
    """An experiment of a table as TOML has it; its text is relative to a folder."""
    table = dict(table)
    schemes = table.get("schemes")
    if isinstance(schemes, list):
        table["schemes"] = [{"scheme": s} if isinstance(s, str) else s for s in schemes]
    data = _data(table.get("data", {}), folder)
    for name, kind in (("model", Shape), ("recipe", Recipe)):
        if name in table:
            table[name] = strict.record(kind, table[name], name, WITHOUT[name])
    if isinstance(table.get("model"), Shape):
        table["model"] = replace(table["model"], vocabulary=data.vocabulary)
    return strict.record(Experiment, {**table, "data": data}, "")


def _data(table: object, folder: Path) -> OnText | Task:
    """A task where one is named, a text otherwise."""
    if not isinstance(table, Mapping):
        return strict.record(OnText, table, "data")
    of_text = [field.name for field in strict.keys_of(OnText)]
    if "task" in table:
        beside = [key for key in table if key in of_text]
        if beside:
            raise LabError(
                f"an experiment on a task has no {quoted(f'data.{beside[0]}')}",
                expected="data.task, or the settings of a text",
                got="both",
                remedy="leave one of them out",
            )
        name = strict.value(str, table["task"], "data.task")
        if name not in TASKS:
            raise strict.unknown(name, name, TASKS, "task")
        return strict.record(TASKS[name], {k: v for k, v in table.items() if k != "task"}, "data")
    for key in table:
        if key not in of_text:
            raise strict.unknown(f"data.{key}", key, ["task", *of_text], "key")
    if isinstance(table.get("file"), str):
        table = {**table, "file": str((folder / table["file"]).resolve())}
    return strict.record(OnText, table, "data")
