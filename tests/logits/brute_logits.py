"""Shares of the terms by loops over heads, queries and keys, from the model's own modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

Array = np.ndarray
Three = tuple[Array, Array, Array]  # content, position, constant


@dataclass(frozen=True)
class Anatomy:
    """What a model's first attention is made of, as its modules hold it.

    Attributes
    ----------
    tokens
        What each id gives to the sum, shape (token, dim).
    table
        Added by position; None where nothing is.
    types
        Added to all.
    norms
        Between the sum and the projections: γ, β, ε, and whether rows are centred.
    query, key
        (out, in) matrices and biases.
    heads, key_heads
        Their numbers.
    scale
        Of the logits.
    causal
        Whether the future is hidden.
    turn
        From vectors (head, position, d_head), the rotated ones; None without a rotation.
    turned
        How many dimensions of a head it turns.
    bias
        Added to the logits, shape (head, query, key).
    head_norms
        γ and ε of RMS norms of queries and of keys.
    """

    tokens: Array
    table: Array | None
    types: Array
    norms: Sequence[tuple[Array, Array, float, bool]]
    query: tuple[Array, Array]
    key: tuple[Array, Array]
    heads: int
    key_heads: int
    scale: float
    causal: bool
    turn: Callable[[Array], Array] | None = None
    turned: int = 0
    bias: Array | None = None
    head_norms: tuple[tuple[Array, float], tuple[Array, float]] | None = None
    more: dict[str, Any] = field(default_factory=dict)


def stream(one: Anatomy, contexts: Array, which: int) -> list[Array]:
    """Content, position and constant of what enters, each (position, dim)."""
    x = one.tokens[contexts] + one.types
    length = contexts.shape[1]
    if one.table is not None:
        constant = np.tile(one.types, (length, 1))
        return [one.tokens[contexts[which]], one.table[:length], constant]
    grand = x.reshape(-1, x.shape[-1]).mean(axis=0)
    at_position = np.stack([x[:, t].mean(axis=0) for t in range(length)]) - grand
    return [x[which] - at_position - grand, at_position, np.tile(grand, (length, 1))]


def stream_of_others(one: Anatomy, contexts: Array, which: int) -> list[Array]:
    """The same, position being the mean over the other contexts less that over all."""
    x = one.tokens[contexts] + one.types
    grand = x.reshape(-1, x.shape[-1]).mean(axis=0)
    others = np.delete(x, which, axis=0)
    at_position = np.stack([others[:, t].mean(axis=0) for t in range(x.shape[1])]) - grand
    return [x[which] - at_position - grand, at_position, np.tile(grand, (x.shape[1], 1))]


def frozen(parts: list[Array], norm: tuple[Array, Array, float, bool]) -> list[Array]:
    gamma, beta, epsilon, centre = norm
    found = [np.empty_like(part) for part in parts]
    for t in range(len(parts[0])):
        rows = [part[t] - part[t].mean() if centre else part[t] for part in parts]
        size = np.sqrt(np.mean((rows[0] + rows[1] + rows[2]) ** 2) + epsilon)
        for part, row in zip(found, rows, strict=True):
            part[t] = row / size * gamma
    found[2] = found[2] + beta
    return found


def vectors(one: Anatomy, parts: list[Array]) -> tuple[list[Array], list[Array]]:
    """Queries and keys of each part before rotation, each (head, position, d_head)."""
    for norm in one.norms:
        parts = frozen(parts, norm)
    found = []
    for index, ((weight, bias), heads) in enumerate(
        ((one.query, one.heads), (one.key, one.key_heads))
    ):
        split = [part @ weight.T for part in parts]
        split[2] = split[2] + bias
        three = [rows.reshape(len(rows), heads, -1).transpose(1, 0, 2) for rows in split]
        if one.head_norms is not None:
            gamma, epsilon = one.head_norms[index]
            size = np.sqrt(np.mean(sum(three) ** 2, axis=2, keepdims=True) + epsilon)
            three = [part / size * gamma for part in three]
        found.append(three)
    return found[0], found[1]


def after_rotation(one: Anatomy, three: list[Array]) -> list[Array]:
    if one.turn is None:
        return three
    content, position, constant = map(one.turn, three)
    by_place = constant.copy()
    by_place[..., one.turned :] = 0
    return [content, position + by_place, constant - by_place]


def shares(
    one: Anatomy, contexts: Array, streams: Callable[[Anatomy, Array, int], list[Array]] = stream
) -> Array:
    """Shape (term, head)."""
    covariances, variances = np.zeros((5, one.heads)), np.zeros(one.heads)
    for which in range(len(contexts)):
        q, k = (after_rotation(one, three) for three in vectors(one, streams(one, contexts, which)))
        length = contexts.shape[1]
        for head in range(one.heads):
            group = head // (one.heads // one.key_heads)
            for t in range(length):
                keys = range(t + 1 if one.causal else length)
                terms = np.zeros((5, len(keys)))
                for s in keys:
                    products = np.array(
                        [[q[a][head, t] @ k[b][group, s] * one.scale for b in range(3)]
                         for a in range(3)]
                    )  # fmt: skip
                    bias = 0.0 if one.bias is None else one.bias[head, t, s]
                    terms[0, s] = products[0, 0]
                    terms[1, s] = products[1, 1] + bias
                    terms[2, s] = products[0, 1]
                    terms[3, s] = products[1, 0]
                    terms[4, s] = products[2].sum() + products[:2, 2].sum()
                terms -= terms.mean(axis=1, keepdims=True)
                whole = terms.sum(axis=0)
                covariances[:, head] += terms @ whole
                variances[head] += whole @ whole
    return covariances / variances


def means(one: Anatomy, contexts: Array) -> tuple[Array, Array]:
    """Mean queries and keys before rotation, the keys repeated for the heads that share them."""
    found = [vectors(one, stream(one, contexts, which)) for which in range(len(contexts))]
    q, k = (np.mean([sum(pair[side]) for pair in found], axis=(0, 2)) for side in (0, 1))
    return q, np.repeat(k, one.heads // one.key_heads, axis=0)


def array(weight: torch.Tensor) -> Array:
    return weight.detach().double().numpy()
