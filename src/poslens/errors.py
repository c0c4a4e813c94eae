"""The errors that PosLens raises, each of them one line that says what to do.

Input is validated once, where it enters. Everything a caller can get wrong ends in a subclass of
`PosLensError` whose text is one line: what was expected, what came, what to do about it.
"""

from __future__ import annotations

from reprlib import Repr

_BRIEF = Repr()
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = _BRIEF.maxlong = _BRIEF.maxstring = 64


def quoted(name: object, limit: int = 120) -> str:
    """Quote a name that came from outside, so that it cannot break or forge a line of output.

    File and tensor names are data. Control characters (a newline, a terminal escape) are shown
    escaped, and a long name is cut at ``limit`` characters. Of a list or object that came from a
    file only the beginning is looked at, as it may be nested too deeply for `str`.
    """
    text = _BRIEF.repr(name) if isinstance(name, dict | list | tuple) else str(name)
    shown = repr(text if len(text) <= limit else text[: limit - 1] + "…")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


class PosLensError(Exception):
    """Something outside PosLens is not as it must be.

    Parameters
    ----------
    problem
        What is wrong, naming the thing concerned.
    expected, got
        What would have been right, and what came instead.
    remedy
        What the user can do now.
    """

    def __init__(
        self, problem: str, *, expected: str = "", got: str = "", remedy: str = ""
    ) -> None:
        self.problem, self.expected, self.got, self.remedy = problem, expected, got, remedy
        contrast = ", ".join(
            part for part in (expected and f"expected {expected}", got and f"got {got}") if part
        )
        head = f"{problem}: {contrast}" if contrast else problem
        super().__init__(f"{head}; {remedy}" if remedy else head)


class SourceError(PosLensError):
    """A source cannot be found, opened, or understood."""


class TableError(PosLensError):
    """What was read is not a usable position table: its shape, dtype or values forbid it."""


class SettingError(PosLensError):
    """A setting (a bar, a slice of rows, a number of null draws) cannot be used."""


class OutputError(PosLensError):
    """A result cannot be written where it was asked to go."""


class UndefinedMeasureError(PosLensError):
    """A measure's formula has no value on this table, such as the cosine of a zero row.

    `poslens.analyze` turns it into a null with a reason; the other measures are unaffected.
    """


class LabError(PosLensError):
    """An experiment cannot be run, or went wrong: its data, its model, or a loss that is NaN."""
