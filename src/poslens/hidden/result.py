"""`HiddenStates`: what is known of a model's hidden states at every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from poslens.attention.terms import TermLogits, TermSums

PerLayer = Float[np.ndarray, "layer"]

PARTS = ("pos", "ctx", "resid")


@dataclass(frozen=True, eq=False)
class HiddenStates:
    """The hidden states of a model of n layers over C contexts of T tokens.

    Hidden states are counted from 0, what enters the first layer, to n, what leaves the model;
    attention by the layer that it is in, from 0 to n-1.

    Attributes
    ----------
    part
        ``"encoder"``, ``"decoder"`` or ``"text"`` where a model has several parts.
    contexts, length
        C and T.
    shares
        Of the variance, shape (layer, part), parts as in `PARTS`.
    stable_rank, relative_norm, incoherence
        As in `HiddenSplit`, shape (layer,).
    positions
        pos_t, shape (layer, position, dim).
    scores
        pos_t on its first three principal components, shape (layer, position, component). Signs
        are those that agree most with the layer before. 0 on a component that pos_t has not.
    explained
        Their shares of the variance of pos_t, shape (layer, component).
    undefined
        Why an entry of the arrays above is NaN, by name and layer, as ``"incoherence[3]"``.
    terms
        The sums of each attention's terms; None where they are not known.
    reasons
        Why not, by layer.
    reconstruction
        max |Σ terms - logits| ÷ std(logits) on the first context against the model's own logits,
        by layer; None where the terms are not known.
    picture
        The terms of one head's logits on the first 64 tokens of the first context, shape
        (term, query_pos, key_pos); None where no layer's are known.
    place
        That head's layer and number.
    """

    part: str | None
    contexts: int
    length: int
    shares: Float[np.ndarray, "layer part"]
    stable_rank: PerLayer
    relative_norm: PerLayer
    incoherence: PerLayer
    positions: Float[np.ndarray, "layer position dim"]
    scores: Float[np.ndarray, "layer position component"]
    explained: Float[np.ndarray, "layer component"]
    undefined: Mapping[str, str]
    terms: tuple[TermSums | None, ...]
    reasons: Mapping[int, str]
    reconstruction: tuple[float | None, ...]
    picture: TermLogits | None
    place: tuple[int, int] | None

    @property
    def reconstruction_error(self) -> float | None:
        """The largest of all layers; None where no layer's terms are known."""
        known = [error for error in self.reconstruction if error is not None]
        return max(known) if known else None
