"""`Trials`: the tables in fewer numbers that were looked at, and what became known of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from poslens.axes import Rows
from poslens.edit.compression import METHODS, Compressor, compressor, smallest_rank
from poslens.edit.ladder import rungs
from poslens.edit.results import Candidate
from poslens.edit.scores import Drift, Scores

Pair: TypeAlias = tuple[str, int]  # a method and a rank
_NOTHING: Mapping[Pair, Scores | Drift] = MappingProxyType({})


class Trials:
    """One table by some methods, and a growing record of the ranks that were looked at.

    Each method begins with the error of its ladder, for which no model is needed.

    Attributes
    ----------
    rows
        The table.
    method
        The one that was asked for.
    beside
        Whether the others are looked at as well.

    Raises
    ------
    SettingError
        If there is no such method.
    TableError
        If the rows are no position table.
    """

    def __init__(self, rows: Rows, method: str, *, beside: bool = True) -> None:
        self._compressors = {method: compressor(method, rows)}
        if beside:
            others = [name for name in METHODS if name != method]
            self._compressors |= {name: compressor(name, rows) for name in others}
        self.rows, self.method = rows, method
        self._known: dict[Pair, Candidate] = {}
        for name, one in self._compressors.items():
            self.add((name, rank) for rank in rungs(one.most))

    @property
    def asked(self) -> Compressor:
        """The compressor of the method that was asked for."""
        return self._compressors[self.method]

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Everything that was looked at, by method, rank ascending."""
        return tuple(self._known[pair] for pair in sorted(self._known))

    def __getitem__(self, pair: Pair) -> Candidate:
        return self._known[pair]

    def table(self, pair: Pair) -> Rows:
        """Return the rows by a method and rank, shape (position, dim)."""
        method, rank = pair
        return self._compressors[method].table(rank)

    def add(
        self, pairs: Iterable[Pair], measured: Mapping[Pair, Scores | Drift] = _NOTHING
    ) -> None:
        """Look at methods and ranks, and keep what a model made of them.

        Parameters
        ----------
        pairs
            Those that are known stay known.
        measured
            Of some of them, in the place of what was measured before.
        """
        for method, rank in pairs:
            found, before = self._compressors[method], self._known.get((method, rank))
            scores, drift = (before.scores, before.drift) if before else (None, None)
            match measured.get((method, rank)):
                case Scores() as new:
                    scores = new
                case Drift() as moved:
                    drift = moved
            self._known[method, rank] = Candidate(
                method, rank, found.numbers(rank), found.error(rank), scores, drift
            )

    def as_small(self, rank: int) -> set[Pair]:
        """Return every other method, at its largest rank of no more numbers than this one's."""
        numbers = self.asked.numbers(rank)
        return {
            (name, smallest_rank(one, size=numbers / self.rows.size))
            for name, one in self._compressors.items()
            if name != self.method and one.numbers(1) <= numbers
        }
