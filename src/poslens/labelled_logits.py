"""The measures and labelled arrays of a model's logits in terms, and of its hidden states."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from poslens import axes
from poslens.attention import TERMS, TermSums
from poslens.attention.terms import TermLogits
from poslens.checkpoints import PositionTable
from poslens.claims.evidence import LogitEvidence
from poslens.hidden.result import PARTS, HiddenStates
from poslens.study import Labelled
from poslens.text import Contexts

SHARES = tuple(f"attention.share.{term}" for term in TERMS)
ERROR = "attention.reconstruction_error"
OF_STATES = ("stable_rank", "relative_norm", "incoherence")

LayerShares = Float[np.ndarray, "layer head term"]


def no_logits(reason: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the ``attention.*`` measures without a value, and why."""
    names = (*SHARES, ERROR)
    return dict.fromkeys(names), dict.fromkeys(names, reason)


def logit_measures(
    sums: Sequence[TermSums | None], error: float | None, reasons: Mapping[int, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the ``attention.*`` measures, and why one has no value.

    Parameters
    ----------
    sums
        Of each layer from 0; None where they are not known.
    error
        The largest reconstruction error of all layers.
    reasons
        Why a layer's are not known.
    """
    if all(one is None for one in sums):
        return no_logits(next(iter(reasons.values()), "not known"))
    shares = layer_shares(sums)
    values: dict[str, Any] = {name: _lists(shares[:, :, term]) for term, name in enumerate(SHARES)}
    return {**values, ERROR: error}, {}


def layer_shares(sums: Sequence[TermSums | None]) -> LayerShares:
    """Return the shares of every layer's heads, NaN where they are not known."""
    known = {layer: one.shares().T for layer, one in enumerate(sums) if one is not None}
    most = max(one.shape[0] for one in known.values())
    found = np.full((len(sums), most, len(TERMS)), np.nan)
    for layer, shares in known.items():
        found[layer, : shares.shape[0]] = shares
    return found


def logit_arrays(
    sums: Sequence[TermSums | None],
    picture: TermLogits | None,
    place: tuple[int, int] | None,
    contexts: Contexts,
) -> dict[str, Labelled]:
    """Return the arrays of logits in terms by ``group.variable``.

    Parameters
    ----------
    sums
        As in `logit_measures`.
    picture
        One head's terms on the first tokens of the first context; None for none.
    place
        That head's layer and number.
    contexts
        What was read.
    """
    if all(one is None for one in sums):
        return {}
    shares, terms = layer_shares(sums), np.array(TERMS)
    coords = {axes.LAYER: np.arange(len(shares)), axes.HEAD: np.arange(shares.shape[1])}
    found = {
        "attention.share": Labelled(
            (axes.LAYER, axes.HEAD, axes.TERM), shares, {**coords, axes.TERM: terms}
        ),
        "attention.tokens": Labelled((), np.array(contexts.origin)),
    }
    if picture is None or place is None:
        return found
    at = np.arange(picture.shape[1])
    words = contexts.words or tuple(str(token) for token in contexts.tokens[0])
    found["attention.logits"] = Labelled(
        (axes.TERM, axes.QUERY_POS, axes.KEY_POS),
        picture.astype(np.float32),
        {axes.TERM: terms, axes.QUERY_POS: at, axes.KEY_POS: at},
    )
    found["attention.logits_token"] = Labelled(
        (axes.QUERY_POS,), np.array(words[: at.size]), {axes.QUERY_POS: at}
    )
    found["attention.logits_place"] = Labelled(("which",), np.array(place))
    return found


def first_evidence(
    sums: TermSums, error: float | None, contexts: Contexts, table: PositionTable | None
) -> LogitEvidence:
    """Return what claims about the first layer's logits look at.

    Parameters
    ----------
    sums, error
        Of the first layer.
    contexts
        What was read.
    table
        Which the model adds; None where position is a mean over contexts.
    """
    shares = {
        term: tuple(_numbers(values)) for term, values in zip(TERMS, sums.shares(), strict=True)
    }
    averaged = None if table is not None else len(contexts.tokens)
    return LogitEvidence(shares=shares, error=error, tokens=contexts.origin, averaged=averaged)


def state_measures(states: HiddenStates) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the ``hidden.*`` measures, one value a layer, and why one has none."""
    values: dict[str, Any] = {
        f"hidden.share.{part}": _numbers(states.shares[:, index])
        for index, part in enumerate(PARTS)
    }
    values |= {f"hidden.{name}": _numbers(getattr(states, name)) for name in OF_STATES}
    return values, {f"hidden.{name}": why for name, why in states.undefined.items()}


def state_arrays(states: HiddenStates) -> dict[str, Labelled]:
    """Return the arrays of hidden states by ``group.variable``."""
    layers = {axes.LAYER: np.arange(len(states.shares))}
    components = {axes.COMPONENT: 1 + np.arange(states.scores.shape[2])}
    found = {
        "hidden.share": Labelled(
            (axes.LAYER, axes.PART), states.shares, {**layers, axes.PART: np.array(PARTS)}
        ),
        "hidden.scores": Labelled(
            (axes.LAYER, axes.POSITION, axes.COMPONENT),
            states.scores,
            {**layers, axes.POSITION: np.arange(states.scores.shape[1]), **components},
        ),
        "hidden.explained": Labelled(
            (axes.LAYER, axes.COMPONENT), states.explained, {**layers, **components}
        ),
    }
    for name in OF_STATES:
        found[f"hidden.{name}"] = Labelled((axes.LAYER,), getattr(states, name), layers)
    return found


def _numbers(values: np.ndarray) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _lists(values: np.ndarray) -> list[list[float | None]]:
    return [_numbers(row) for row in values]
