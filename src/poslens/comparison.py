"""`compare`: several sources side by side, each analysed as `analyze` does it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from poslens._version import __version__
from poslens.analysis import analyze
from poslens.checkpoints import PositionTable
from poslens.claims.claim import Verdict
from poslens.draws import Progress
from poslens.errors import PosLensError, SettingError, quoted
from poslens.files import written_whole
from poslens.report import aligned, words
from poslens.study import Study

SCHEMA = 1
FEWEST = 2
_LONGEST_LABEL = 48

AnySource: TypeAlias = str | os.PathLike[str] | np.ndarray | PositionTable


@dataclass(frozen=True)
class Comparison:
    """Studies side by side, each under a label of its own.

    Attributes
    ----------
    studies
        One for each source, in the order in which they were given.
    labels
        What each is called in tables and figures.

    Raises
    ------
    SettingError
        If there are fewer than two studies, or not as many labels, all different.
    """

    studies: tuple[Study, ...]
    labels: tuple[str, ...]

    __hash__ = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        _check_count(len(self.studies))
        _check_labels(self.labels, len(self.studies))

    @property
    def measures(self) -> dict[str, list[aligned.Scalar]]:
        """The measures that are one value, by name: one for each source, None where it has none."""
        return {name: list(row) for name, row in aligned.measures(self.studies).items()}

    @property
    def claims(self) -> dict[str, list[Verdict | None]]:
        """The verdicts by claim: one for each source."""
        return {
            name: [None if claim is None else claim.verdict for claim in row]
            for name, row in aligned.claims(self.studies).items()
        }

    def as_json(self) -> dict[str, Any]:
        """Return the documented, versioned record as JSON values; of each study, its own record."""
        return {
            "schema": SCHEMA,
            "poslens": __version__,
            "labels": list(self.labels),
            "studies": [study.as_json() for study in self.studies],
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the record as JSON text, and write it to ``path`` if one is given.

        Raises
        ------
        OutputError
            If ``path`` cannot be written; nothing is left behind.
        """
        text = json.dumps(self.as_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        if path is not None:
            with written_whole(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return text

    def report(self, path: str | Path) -> None:
        """Write one self-contained HTML page: the table side by side, and profiles overlaid.

        Raises
        ------
        OutputError
            If ``path`` cannot be written; nothing is left behind.
        """
        from poslens.report.comparison_page import write_comparison

        write_comparison(self.studies, self.labels, path)

    def _repr_html_(self) -> str:
        from poslens.report.comparison_page import comparison_fragment

        return comparison_fragment(self.studies, self.labels)

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(quoted(label) for label in self.labels)}>"


def compare(
    sources: Iterable[AnySource],
    *,
    labels: Sequence[str] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Comparison:
    """Analyse several sources with the same settings, and return them side by side.

    Parameters
    ----------
    sources
        Two or more, each as `poslens.analyze` takes it.
    labels
        What to call them, all different; by default their names, cut short, and numbered where
        they are equal.
    progress
        Called with (what is being done, steps done, steps in all), for one source after the other.
    settings
        Those of `poslens.analyze`. They apply to every source.

    Returns
    -------
    Comparison
        Its studies are those that `poslens.analyze` returns.

    Raises
    ------
    PosLensError
        As `poslens.analyze`; the message names the source.
    SettingError
        If there are fewer than two sources, or the labels cannot be used.

    Examples
    --------
    >>> import poslens
    >>> sources = ["sinusoidal:length=64,dim=32", "alibi:heads=12"]
    >>> pair = poslens.compare(sources, labels=["sines", "ALiBi"], nulls=0)
    >>> [study.source.scheme for study in pair.studies]
    ['sinusoidal', 'alibi']
    >>> [verdict.value for verdict in pair.claims["sinusoid.many_frequencies"]]
    ['supported', 'not applicable']
    """
    given = _listed(sources)
    if labels is not None:
        labels = [words.visible(label) for label in labels]
        _check_labels(labels, len(given))
    studies = [
        _analysed(source, number, len(given), progress, settings)
        for number, source in enumerate(given, 1)
    ]
    return Comparison(tuple(studies), tuple(_labels(studies) if labels is None else labels))


def _listed(sources: Iterable[AnySource]) -> list[AnySource]:
    """The sources as a list; one source alone is not taken for a list of its characters or rows."""
    alone = isinstance(sources, str | os.PathLike | np.ndarray | PositionTable)
    found = [] if alone else list(sources)
    _check_count(1 if alone else len(found))
    return found


def _check_count(count: int) -> None:
    if count < FEWEST:
        raise SettingError(
            "there is nothing to compare with",
            expected="two sources or more",
            got=str(count),
            remedy="name another, or analyse the one by `poslens analyze`",
        )


def _check_labels(labels: Sequence[str], count: int) -> None:
    different = len({label.strip() for label in labels} - {""})
    if len(labels) != count or different != count:
        raise SettingError(
            "the labels cannot be used",
            expected=f"{count} different ones, one for each source",
            got=quoted(list(labels)),
            remedy="give as many labels as sources, or none",
        )


def _analysed(
    source: AnySource,
    number: int,
    count: int,
    progress: Progress | None,
    settings: dict[str, Any],
) -> Study:
    def report(what: str, done: int, total: int) -> None:
        if progress is not None:
            progress(f"{number}/{count} {what}", done, total)

    try:
        return analyze(source, progress=report, **settings)
    except PosLensError as error:
        name = _named(source, number)
        if name in error.problem:
            raise
        raise type(error)(
            f"{name}: {error.problem}",
            expected=error.expected,
            got=error.got,
            remedy=error.remedy,
        ) from error


def _named(source: AnySource, number: int) -> str:
    if isinstance(source, np.ndarray):
        return f"source {number}, an array"
    return quoted(source.source.uri if isinstance(source, PositionTable) else os.fspath(source))


def _labels(studies: Sequence[Study]) -> list[str]:
    """The studies' names, cut in the middle where they are long, numbered where they are equal."""
    names = [_cut(words.short_name(study)) for study in studies]
    labels: list[str] = []
    for name in names:
        label, number = name, 1
        while label in labels or (names.count(name) > 1 and label == name):
            label, number = f"{name} #{number}", number + 1
        labels.append(label)
    return labels


def _cut(name: str) -> str:
    if len(name) <= _LONGEST_LABEL:
        return name
    half = _LONGEST_LABEL // 2
    return f"{name[: half - 1]}…{name[-half:]}"
