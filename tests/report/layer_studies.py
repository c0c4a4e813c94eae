"""Studies of models that read a text: logits in terms, and hidden states in parts, by NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from kernel_studies import study_of

from poslens.claims.claim import Claim, Verdict
from poslens.study import Labelled, LayerStudy, Study, Value

TERMS = (
    "content_content",
    "position_position",
    "content_position",
    "position_content",
    "bias",
)
PARTS = ("pos", "ctx", "resid")
WORDS = (
    "Ġthe",
    "▁of",
    "##ing",
    " and",
    "\n",
    "   ",
    "<s>",
    "&amp;",
    "ontologically-speaking",
    "漢",
)


def _centred(matrix: np.ndarray, causal: bool) -> np.ndarray:
    """Rows without their mean over the allowed keys; NaN where a query may not look."""
    allowed = np.tri(matrix.shape[-1], dtype=bool) | (not causal)
    seen = np.where(allowed, matrix, np.nan)
    return seen - np.nanmean(seen, axis=-1, keepdims=True)


def matrices(
    rng: np.random.Generator, length: int, position: float, *, causal: bool = True, dim: int = 16
) -> np.ndarray:
    """The row-centred terms of one head, shape (term, query_pos, key_pos).

    ``position`` is how large the position parts of queries and keys are beside their content.
    """
    angle = np.outer(np.arange(length), 2.0 ** -np.arange(dim // 2))
    smooth = np.hstack([np.cos(angle), np.sin(angle)]) * np.sqrt(2 / dim)
    content = rng.standard_normal((2, length, dim)) / np.sqrt(dim)
    places = position * np.stack([smooth, smooth])
    bias = rng.standard_normal((2, 1, dim)) / dim
    mixed = rng.standard_normal((dim, dim)) / np.sqrt(dim)
    content[1] = 0.6 * content[0] + 0.8 * content[1]
    (q_e, k_e), (q_p, k_p), (q_0, k_0) = content, places, bias
    found = [q_e @ k_e.T, q_p @ k_p.T, q_e @ mixed @ k_p.T, q_p @ mixed @ k_e.T]
    constant = q_0 @ (k_e + k_p + k_0).T + (q_e + q_p) @ k_0.T
    return np.stack([4 * _centred(each, causal) for each in (*found, constant)])


def shares(terms: np.ndarray) -> np.ndarray:
    """The covariance of each term with their sum, within rows, by the variance of the sum."""
    seen = np.nan_to_num(terms)
    whole = seen.sum(axis=0)
    return (seen * whole).sum(axis=(1, 2)) / (whole**2).sum()


def attention(
    layers: int,
    heads: int,
    *,
    length: int = 48,
    causal: bool = True,
    place: tuple[int, int] = (0, 1),
) -> dict[str, Labelled]:
    """Shares in every head, and the matrices of one; position fades from layer to layer."""
    rng = np.random.default_rng(layers + 100 * heads)
    values = np.empty((layers, heads, len(TERMS)))
    shown = np.zeros((len(TERMS), length, length), np.float32)
    for layer in range(layers):
        for head in range(heads):
            size = 2.5 * rng.uniform() * np.exp(-3.0 * layer / max(1, layers))
            of = matrices(rng, length, size, causal=causal)
            values[layer, head] = shares(of)
            if (layer, head) == place:
                shown = of.astype(np.float32)
    names, index = np.array(TERMS), np.arange(length)
    tokens = np.array([WORDS[i] for i in rng.integers(len(WORDS), size=length)])
    return {
        "attention.share": Labelled(
            ("layer", "head", "term"),
            values,
            {"layer": np.arange(layers), "head": np.arange(heads), "term": names},
        ),
        "attention.logits": Labelled(
            ("term", "query_pos", "key_pos"),
            shown,
            {"term": names, "query_pos": index, "key_pos": index},
        ),
        "attention.logits_token": Labelled(("query_pos",), tokens, {"query_pos": index}),
        "attention.logits_place": Labelled(("which",), np.array(place), {}),
    }


def hidden(layers: int, *, length: int = 128) -> dict[str, Labelled]:
    """Shares, sizes, and a path in each layer: straight first, then a coil, then rough."""
    rng = np.random.default_rng(layers)
    depth = np.linspace(0, 1, layers)
    pos = 0.6 * np.exp(-2.5 * depth) + 0.1 * depth
    ctx = 0.05 + 0.3 * depth
    time = np.linspace(0, 1, length)
    scores = np.empty((layers, length, 3))
    for layer, at in enumerate(depth):
        path = np.stack(
            [time - 0.5, 0.4 * at * np.cos(9 * time), 0.3 * at * np.sin(9 * time + at)], axis=1
        )
        path += 0.03 * at * rng.standard_normal((length, 3))
        path[0] += at  # the first position is apart in deep layers
        scores[layer] = 10**at * (path - path.mean(axis=0))
    variance = scores.var(axis=1)
    explained = (0.98 - 0.2 * depth)[:, None] * variance / variance.sum(axis=1, keepdims=True)
    along = {"layer": np.arange(layers)}
    return {
        "hidden.share": Labelled(
            ("layer", "part"),
            np.stack([pos, ctx, 1 - pos - ctx], axis=1),
            {**along, "part": np.array(PARTS)},
        ),
        "hidden.stable_rank": Labelled(("layer",), 1.2 + 2 * depth, along),
        "hidden.relative_norm": Labelled(("layer",), 0.9 - 0.5 * depth, along),
        "hidden.incoherence": Labelled(("layer",), 0.08 + 0.05 * np.sin(7 * depth), along),
        "hidden.scores": Labelled(
            ("layer", "position", "component"),
            scores,
            {**along, "position": np.arange(length), "component": np.arange(1, 4)},
        ),
        "hidden.explained": Labelled(
            ("layer", "component"), explained, {**along, "component": np.arange(1, 4)}
        ),
    }


def measures_of(data: Mapping[str, Labelled]) -> dict[str, Value]:
    """The lists over layers that a study has beside its arrays."""
    found: dict[str, Value] = {}
    for number, term in enumerate(TERMS):
        found[f"attention.share.{term}"] = data["attention.share"].values[..., number].tolist()
    found["attention.reconstruction_error"] = 2.5e-6
    for number, part in enumerate(PARTS):
        found[f"hidden.share.{part}"] = data["hidden.share"].values[:, number].tolist()
    for name in ("stable_rank", "relative_norm", "incoherence"):
        found[f"hidden.{name}"] = data[f"hidden.{name}"].values.tolist()
    return found


def layer_studies(verdicts: Mapping[str, Sequence[Verdict]]) -> tuple[LayerStudy, ...]:
    """One layer for each verdict in the lists, which are of one length; by the claim's id."""
    count = len(next(iter(verdicts.values())))
    return tuple(
        LayerStudy(
            layer,
            {"norm.cv": 0.1 * layer, "pca.explained": [0.75, 0.25]},
            tuple(
                Claim(
                    name,
                    "4",
                    f"Statement of {name}",
                    said[layer],
                    None if said[layer] == Verdict.NOT_APPLICABLE else 0.5 + 0.01 * layer,
                    ">= 0.5",
                    note="layer without positions" if said[layer] == Verdict.NOT_APPLICABLE else "",
                )
                for name, said in verdicts.items()
            ),
        )
        for layer in range(count)
    )


def model(layers: int, heads: int, *, length: int = 48, causal: bool = True) -> Study:
    """A model without a table, of which nothing is known but what a text shows."""
    data = attention(layers, heads, length=length, causal=causal) | hidden(layers + 1)
    made = study_of(data, "rope")
    yes, no, unsure, apart = (
        Verdict.SUPPORTED,
        Verdict.CONTRADICTED,
        Verdict.INCONCLUSIVE,
        Verdict.NOT_APPLICABLE,
    )
    count = layers + 1
    verdicts = {
        "norm.stable": [yes] * count,
        "cosine.neighbours_alike": [yes] * (count - 1) + [no],
        "trajectory.smooth": [(yes, yes, unsure, no)[4 * at // count] for at in range(count)],
        "pca.few_components": [(no, yes)[at % 2] for at in range(count)],
        "tokens.apart": [apart] * (count - 1) + [yes],
        "sinusoid.no_parameters": [apart] * count,
    }
    return replace(made, measures=measures_of(data), layers=layer_studies(verdicts))
