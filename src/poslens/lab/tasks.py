"""Synthetic tasks whose answer depends on where tokens are, not on what a language is like.

Each gives inputs and targets of any length; what cannot be known has the target `IGNORED`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from poslens.encodings.validate import require_count
from poslens.errors import LabError
from poslens.lab.batches import IGNORED, Batch, Ids, require_batch
from poslens.lab.seeds import Stream, generator

SYMBOLS = 16


@dataclass(frozen=True)
class _Task:
    """Contexts of symbols 0 … ``symbols`` - 1, and of one mark, which is ``symbols``."""

    symbols: int = SYMBOLS

    def __post_init__(self) -> None:
        require_count("symbols", self.symbols, 2)

    @property
    def vocabulary(self) -> int:
        """The symbols and the mark."""
        return self.symbols + 1

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
        if length < self._shortest():
            raise LabError(
                f"no context of {self!r} is so short",
                expected=f"at least {self._shortest()} positions",
                got=f"{length}",
            )
        return self._made(contexts, length, rng)

    def _shortest(self) -> int:
        return 2

    def _made(self, contexts: int, length: int, rng: Generator) -> Batch:
        raise NotImplementedError


@dataclass(frozen=True)
class Copy(_Task):
    """Symbols, the mark, then the same symbols: the second half is to be predicted."""

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

    def _made(self, contexts: int, length: int, rng: Generator) -> Batch:
        first = rng.integers(self.symbols, size=(contexts, (length + 1) // 2))
        return self._answered(first, first[:, ::-1], length)


@dataclass(frozen=True)
class Lookup(_Task):
    """At each position the symbol ``back`` positions before it."""

    back: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("back", self.back, 0)

    def _shortest(self) -> int:
        return self.back + 1

    def _made(self, contexts: int, length: int, rng: Generator) -> Batch:
        inputs = rng.integers(self.symbols, size=(contexts, length))
        targets = np.full_like(inputs, IGNORED)
        targets[:, self.back :] = inputs[:, : length - self.back]
        return Batch(inputs, targets)


@dataclass(frozen=True)
class Counting(_Task):
    """At each position how many positions ago the last mark was, as a symbol.

    The distance from one mark to the next is drawn evenly from 1 … ``symbols``, so that every
    answer is a symbol; before the first mark there is none.
    """

    def _made(self, contexts: int, length: int, rng: Generator) -> Batch:
        inputs = rng.integers(self.symbols, size=(contexts, length))
        gaps = rng.integers(1, self.symbols + 1, size=(contexts, length))
        marks = np.cumsum(gaps, axis=1) - 1
        context, which = np.nonzero(marks < length)
        inputs[context, marks[context, which]] = self.symbols
        place = np.arange(length)
        last = np.maximum.accumulate(np.where(inputs == self.symbols, place, -1), axis=1)
        return Batch(inputs, np.where(last < 0, IGNORED, place - last))
