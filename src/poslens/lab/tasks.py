"""Synthetic tasks whose answer depends on where tokens are, not on what a language is like.

Each gives inputs and targets of any length from its shortest on; what cannot be known has the
target `IGNORED`. At longer lengths `Lookup` and `Counting` ask for the same distances, `Copy` and
`Reverse` for longer ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from poslens.encodings.validate import require_count
from poslens.errors import LabError
from poslens.lab.batches import IGNORED, Batch, Ids, require_batch
from poslens.lab.seeds import Stream, generator

SYMBOLS = 16


@dataclass(frozen=True)
class Task(ABC):
    """Contexts of symbols 0 … ``symbols`` - 1, and of one mark, which is ``symbols``.

    Attributes
    ----------
    task
        Its key in `TASKS`.
    symbols
        How many there are.

    Raises
    ------
    SettingError
        If a setting is out of its range.
    """

    task: str = field(default="", init=False, repr=False)
    symbols: int = SYMBOLS

    def __post_init__(self) -> None:
        require_count("symbols", self.symbols, 2)

    @property
    def vocabulary(self) -> int:
        """The symbols and the mark."""
        return self.symbols + 1

    @property
    def shortest(self) -> int:
        """The fewest positions of which every context has an answer."""
        return 2

    @property
    def guessed(self) -> float:
        """The share of answers that are right where one symbol is always said."""
        return 1 / self.symbols

    def batch(self, contexts: int, length: int, seed: int, step: int) -> Batch:
        """Return the batch of one step.

        Raises
        ------
        LabError
            If a context is too short for the task.
        """
        return self._batch(contexts, length, generator(seed, Stream.DATA, step))

    def held_out(self, contexts: int, length: int, seed: int) -> Batch:
        """Return a batch that no step of training draws."""
        return self._batch(contexts, length, generator(seed, Stream.HELD_OUT))

    def _batch(self, contexts: int, length: int, rng: Generator) -> Batch:
        require_batch(contexts, length)
        self.require_length(length)
        return self._made(contexts, length, rng)

    def require_length(self, length: int) -> None:
        """Require that every context of this length has an answer.

        Raises
        ------
        LabError
            If it is too short.
        """
        if length < self.shortest:
            raise LabError(
                f"no context of {self!r} is so short",
                expected=f"at least {self.shortest} positions",
                got=f"{length}",
            )

    @abstractmethod
    def _made(self, contexts: int, length: int, rng: Generator) -> Batch:
        """Draw contexts of a length that is long enough."""


@dataclass(frozen=True)
class Copy(Task):
    """Symbols, the mark, then the same symbols: the second half is to be predicted."""

    task: str = field(default="copy", init=False, repr=False)

    def _made(self, contexts: int, length: int, rng: Generator) -> Batch:
        first = rng.integers(self.symbols, size=(contexts, (length + 1) // 2))
        return self._answered(first, first, length)

    def _answered(self, first: Ids, second: Ids, length: int) -> Batch:
        mark = np.full((len(first), 1), self.symbols)
        whole = np.concatenate([first, mark, second], axis=1)[:, : length + 1]
        targets = whole[:, 1:].copy()
        targets[:, : first.shape[1]] = IGNORED
        return Batch(whole[:, :-1], targets)


@dataclass(frozen=True)
class Reverse(Copy):
    """Symbols, the mark, then the same symbols from the last to the first."""

    task: str = field(default="reverse", init=False, repr=False)

    def _made(self, contexts: int, length: int, rng: Generator) -> Batch:
        first = rng.integers(self.symbols, size=(contexts, (length + 1) // 2))
        return self._answered(first, first[:, ::-1], length)


@dataclass(frozen=True)
class Lookup(Task):
    """At each position the symbol ``back`` positions before it."""

    task: str = field(default="lookup", init=False, repr=False)
    back: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("back", self.back, 0)

    @property
    def shortest(self) -> int:
        """The fewest positions of which every context has an answer."""
        return self.back + 1

    def _made(self, contexts: int, length: int, rng: Generator) -> Batch:
        inputs = rng.integers(self.symbols, size=(contexts, length))
        targets = np.full_like(inputs, IGNORED)
        targets[:, self.back :] = inputs[:, : length - self.back]
        return Batch(inputs, targets)


@dataclass(frozen=True)
class Counting(Task):
    """At each position how many positions ago the last mark was, as a symbol.

    The distance from one mark to the next is drawn evenly from 1 … ``symbols``, so that every
    answer is a symbol; before the first mark there is none.
    """

    task: str = field(default="counting", init=False, repr=False)

    @property
    def shortest(self) -> int:
        """As many as there are symbols: by then each context has had its first mark."""
        return self.symbols

    @property
    def guessed(self) -> float:
        """The share of positions in long contexts at which 0 is right: those of marks."""
        return 2 / (self.symbols + 1)

    def _made(self, contexts: int, length: int, rng: Generator) -> Batch:
        inputs = rng.integers(self.symbols, size=(contexts, length))
        gaps = rng.integers(1, self.symbols + 1, size=(contexts, length))
        marks = np.cumsum(gaps, axis=1) - 1
        context, which = np.nonzero(marks < length)
        inputs[context, marks[context, which]] = self.symbols
        place = np.arange(length)
        last = np.maximum.accumulate(np.where(inputs == self.symbols, place, -1), axis=1)
        return Batch(inputs, np.where(last < 0, IGNORED, place - last))


TASKS: dict[str, type[Task]] = {kind.task: kind for kind in (Copy, Reverse, Lookup, Counting)}
