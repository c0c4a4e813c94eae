"""Results made by hand, with plausible numbers: no model is run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from poslens.checkpoints import PositionTable
from poslens.checkpoints.table import Source
from poslens.edit.claim import claim_rank, compressible
from poslens.edit.intervals import recommend
from poslens.edit.results import Candidate, Compression, Extension, Tried
from poslens.edit.scores import Drift, Scores

METHODS = ("svd", "cosine", "spline", "cosine+svd", "spline+svd")
EXTENSIONS = {  # by how much the loss rises beyond the trained length, and what it does
    "repeat_last": (2.1, "the last row again for every position beyond it"),
    "linear": (0.35, "rows between rows, all positions drawn closer together"),
    "linear_keep_first": (0.31, "the same, the first row as it is"),
    "cubic": (0.36, "a cubic spline between rows"),
    "cubic_keep_first": (0.32, "the same, the first row as it is"),
    "tile": (0.09, "the whole table again and again"),
    "hierarchical": (0.05, "row (i - 1)·n + j is α·u_i + (1 - α)·u_j"),
    "components": (1.2, "each principal component continued by its fitted curve"),
    "shift": (3.4, "the shift operator applied to the last rows"),
}
BASELINES = {
    "cut": (0.2, "consecutive windows of the trained length"),
    "sliding": (0.01, "a window that slides"),
}


def table(length: int = 127, dim: int = 48, name: str = "gpt2") -> PositionTable:
    rng = np.random.default_rng(3)
    time = np.linspace(0, 1, length)[:, None]
    waves = np.cos(np.pi * time * np.arange(12) + rng.uniform(0, 6, 12)) / (1 + np.arange(12))
    rows = waves @ rng.standard_normal((12, dim)) + 0.02 * rng.standard_normal((length, dim))
    source = Source(name, None, "wpe.weight", "gpt2", "learned", 0, "float32", "ab" * 32, 4)
    return PositionTable(rows, source)


def scored(
    contexts: int, length: int, level: float, seed: int = 0, first: int = 1, kl: float | None = None
) -> Scores:
    """Losses that fall with position towards ``level`` and differ by context and token."""
    rng = np.random.default_rng(seed)
    positions = np.tile(np.arange(first, length), (contexts, 1))
    losses = level + 2 / (1 + positions / 10) + 0.15 * rng.standard_normal((contexts, 1))
    losses = losses * rng.gamma(4, 0.25, positions.shape)
    if kl is None:
        return Scores(positions, losses)
    return Scores(positions, losses, kl * rng.gamma(2, 0.5, positions.shape))


def raised(scores: Scores, share: float, seed: int = 1, kl: float | None = None) -> Scores:
    """What an edit makes of losses: higher by a share that varies from context to context."""
    rng = np.random.default_rng(seed)
    by = share * (1 + 0.3 * rng.standard_normal((len(scores.losses), 1)))
    apart = None if kl is None else kl * rng.gamma(2, 0.5, scores.losses.shape)
    return Scores(scores.positions, scores.losses * (1 + by), apart)


def compression(
    contexts: int = 12, *, text: bool = True, head: bool = True, length: int = 127, dim: int = 48
) -> Compression:
    """A compression of every method at a few ranks."""
    whole = table(length, dim)
    left, values, right = np.linalg.svd(whole.rows, full_matrices=False)
    norm = np.sqrt((values**2).sum())
    quarter = claim_rank(length, dim)
    original = scored(contexts, length, 3.0, kl=0.0) if text and head else None
    ranks = [rank for rank in (1, 2, 4, quarter, 12, 16, 24, 48) if rank <= min(length, dim)]
    tried = []
    for place, method in enumerate(METHODS):
        for rank in sorted(set(ranks)):
            error = float(np.sqrt((values[rank:] ** 2).sum()) / norm)
            error *= (1, 1.6, 1.4, 1.1, 1.05)[place]
            numbers = rank * (length + dim) if method == "svd" else rank * dim
            numbers = rank * (dim + 40) if method.endswith("+svd") else numbers
            share = 1.2 * error**2 - 0.0001
            scores = drift = None
            if original is not None:
                scores = raised(original, share, seed=place + 7 * rank, kl=2 * error**2)
            elif text:
                rng = np.random.default_rng(rank)
                cosines = 1 - 0.2 * error * rng.uniform(0.5, 1, (contexts, length))
                drift = Drift(cosines, 1 - 0.05 * error * rng.uniform(0.5, 1, contexts))
            tried.append(Candidate(method, rank, numbers, error, scores, drift))
    svd = next(one for one in tried if (one.method, one.rank) == ("svd", quarter))
    read = f"{contexts} contexts of {length} tokens from a text" if text else "no text was read"
    claim = compressible(
        whole, svd.scores, original, quarter, svd.numbers, {}, 0, "" if original else read
    )
    rows = (left[:, :quarter] * values[:quarter]) @ right[:quarter]
    settings = {"method": "svd", "rank": quarter, "seed": 0}
    return Compression(whole, rows, svd, tuple(tried), original, claim, read, settings)


def extension(
    contexts: int = 12, *, text: bool = True, trained: int = 128, to: int = 512
) -> Extension:
    """An extension by every method, beside the baselines."""
    original = scored(contexts, to, 3.0)
    tried = []
    for place, (name, (more, about)) in enumerate((EXTENSIONS | BASELINES).items()):
        rng = np.random.default_rng(place)
        share = 0.3 * (1 + 0.05 * rng.standard_normal((contexts, 1)))
        beyond = original.positions >= trained
        losses = original.losses * (1 + share * np.where(beyond, more, 0.1 * more * (place % 3)))
        scores = Scores(original.positions, losses) if text else None
        tried.append(Tried(name, about, name in BASELINES, scores))
    found = recommend(tried, trained, 0)
    rows = np.concatenate([table(trained, 24).rows] * (to // trained))
    read = f"{contexts} contexts of {to} tokens from a text" if text else "no text was read"
    return Extension(
        "models/some/gpt2",
        "learned",
        trained,
        to,
        tuple(tried),
        found.method if found else None,
        found,
        read,
        {"method": None, "seed": 0},
        rows,
    )


def renamed_compression(found: Compression, name: str) -> Compression:
    """The same with a name from outside wherever one can be."""
    source = replace(found.table.source, uri=name, tensor=name, family=name, dtype=name)
    tried = tuple(
        replace(one, method=name + one.method if one.method != "svd" else name)
        for one in found.tried
    )
    return replace(
        found,
        table=replace(found.table, source=source),
        tried=tried,
        chosen=replace(found.chosen, method=name),
        claim=replace(found.claim, note=name),
        read=name,
        settings={name: name},
    )


def renamed_extension(found: Extension, name: str) -> Extension:
    """The same with a name from outside wherever one can be."""
    tried = tuple(
        replace(one, method=f"{name} {place}", about=name) for place, one in enumerate(found.tried)
    )
    return replace(
        found,
        uri=name,
        scheme=name,
        tried=tried,
        chosen=tried[0].method,
        recommendation=recommend(tried, found.trained, 0),
        read=name,
        settings={name: name},
    )
