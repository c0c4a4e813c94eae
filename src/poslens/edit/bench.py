"""`Bench`: a model that reads one text with many tables. torch is imported when it is made."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poslens.axes import Tokens
from poslens.draws import Progress
from poslens.edit.scores import Drift, Scores
from poslens.edit.trials import Pair, Trials

if TYPE_CHECKING:
    from poslens.edit.models import LanguageModel, Variant

_ORIGINAL: Pair = ("original", 0)


@dataclass(frozen=True, eq=False)
class Bench:
    """A model, what it reads, and the trials that remember what it made of each table.

    Attributes
    ----------
    model
        From `poslens.edit.models.language_model`.
    tokens
        Contexts of token ids, shape (context, position).
    trials
        What is measured is added to these.
    seed
        Of the positions that a masked model is asked for.
    report
        Called with (words, batches read, batches in all).
    """

    model: LanguageModel
    tokens: Tokens
    trials: Trials
    seed: int
    report: Progress

    def measure(self, pairs: Set[Pair]) -> Scores | None:
        """Have the model read with its own table and with others, all compared with its own.

        Returns
        -------
        Scores or None
            With its own; None of a model without a head, whose states are compared.
        """
        from poslens.edit.scoring import drift, score

        variants = _named({_ORIGINAL: self.model.original()} | self._variants(pairs))
        against = _name(_ORIGINAL)
        found: dict[str, Scores] | dict[str, Drift]
        if self.model.kind == "headless":
            found = drift(self.model, variants, self.tokens, against=against, progress=self.report)
            original = None
        else:
            found = score(
                self.model,
                variants,
                self.tokens,
                against=against,
                seed=self.seed,
                progress=self.report,
            )
            original = found[against]
        self.trials.add(pairs, {pair: found[_name(pair)] for pair in pairs})
        return original

    def loss(self, pair: Pair) -> float:
        """Return the mean loss with one table; the model does not read again what it has read.

        It is compared with nothing, which would have the original read the text once more.
        """
        from poslens.edit.scoring import score

        self.trials.add([pair])
        known = self.trials[pair].scores
        if known is None:
            (known,) = score(
                self.model,
                _named(self._variants({pair})),
                self.tokens,
                seed=self.seed,
                progress=self.report,
            ).values()
            self.trials.add([pair], {pair: known})
        return known.mean

    def _variants(self, pairs: Set[Pair]) -> dict[Pair, Variant]:
        return {pair: self.model.with_rows(self.trials.table(pair)) for pair in sorted(pairs)}


def _named(variants: dict[Pair, Variant]) -> dict[str, Variant]:
    return {_name(pair): variant for pair, variant in variants.items()}


def _name(pair: Pair) -> str:
    method, rank = pair
    return f"{method}, rank {rank}" if rank else method
