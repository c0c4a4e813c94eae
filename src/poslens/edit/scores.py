"""How well a model predicts tokens, token by token, with the position of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from poslens.errors import UndefinedMeasureError

PerToken = Float[np.ndarray, "context scored"]
Positions = Int[np.ndarray, "context scored"]
PerContext = Float[np.ndarray, "context"]
Places = Int[np.ndarray, "context"]
Given = Int[np.ndarray, "context given"]  # what a decoder reads


@dataclass(frozen=True, eq=False)
class Scores:
    """What predicting some tokens of each context costs.

    Attributes
    ----------
    positions
        The position of each token that is predicted, ascending in each context.
    losses
        Cross entropy of each, in nats.
    divergences
        KL(original ‖ this one) of the distributions over the vocabulary at each, in nats; None
        where there is no original that reads as far.
    """

    positions: Positions
    losses: PerToken
    divergences: PerToken | None = None

    @cached_property
    def mean(self) -> float:
        """The mean loss, in nats."""
        return float(self.losses.mean())

    @property
    def perplexity(self) -> float:
        """e to the mean; infinite where float64 has no such number."""
        return math.exp(self.mean) if self.mean < 709 else math.inf

    def by_context(self, start: int = 0, stop: int | None = None) -> PerContext:
        """Return the mean loss of each context over positions ``start`` … ``stop`` - 1.

        Raises
        ------
        UndefinedMeasureError
            If some context has no scored token there.
        """
        within = (self.positions >= start) & (self.positions < (stop or np.inf))
        count = within.sum(axis=1)
        if not count.all():
            raise UndefinedMeasureError(
                "the loss over these positions has no value",
                expected=f"a scored token from {start} on in each context",
                got=f"none in context {int(np.argmin(count))}",
            )
        return np.asarray((self.losses * within).sum(axis=1) / count)


@dataclass(frozen=True, eq=False)
class Drift:
    """How far an edit moves what a model without a head gives: its last hidden states.

    Attributes
    ----------
    cosines
        Of the state at each position with the original's, shape (context, position).
    pooled
        The same of the means over positions, shape (context,): that of sentence embeddings.
    """

    cosines: Float[np.ndarray, "context position"]
    pooled: PerContext
