"""The measures that take the time, at any size: inputs, work, theory, and what limits them.

    python benchmarks/_hot.py --child point '["cosine profile", 4096, 256]'

is how the others run one in a fresh process.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import _operations as count
from _common import answered, measured
from _operations import WIDTH, Work

DRAWS = 8  # of a null, in a scaling series
MANY_DRAWS = 50  # where rates are looked at, so that what is done once does not show
RANK = 64  # of a compressed table
ENOUGH = 2.0  # seconds, within which a point is measured again
AGAIN = 3

Run = Callable[[], Any]


@dataclass(frozen=True)
class Hot:
    """A hot measure.

    Attributes
    ----------
    name
        As it is shown.
    ready
        From (length, dim) to the work to be measured, its input made.
    work
        From (length, dim) to the operations that it takes.
    theory
        How time grows with L, and with d, in words.
    limits
        What keeps it from its bound, as far as is known.
    needs
        A module without which it is not measured.
    at_bound
        The size at which rates are looked at.
    ready_at_bound, work_at_bound
        In place of ``ready`` and ``work`` there.
    """

    name: str
    ready: Callable[[int, int], Run]
    work: Callable[[int, int], Work]
    theory: tuple[str, str]
    limits: str
    needs: str = "poslens"
    at_bound: tuple[int, int] = (4096, 768)
    ready_at_bound: Callable[[int, int], Run] | None = None
    work_at_bound: Callable[[int, int], Work] | None = None


def table(length: int, dim: int) -> np.ndarray:
    """Return a smooth curve of six waves with noise: what a learned table looks like."""
    rng = np.random.default_rng(0)
    position = np.linspace(0, 1, length)[:, None]
    rows = rng.standard_normal((length, dim))
    rows *= 0.1
    for turns in range(1, 7):
        wave = np.cos(2 * np.pi * turns * position + rng.uniform(0, 6))
        rows += wave * rng.standard_normal(dim) / turns
    return rows


def heads(length: int, dim: int, seed: int = 0) -> np.ndarray:
    """Return rows of heads of width 64, as many as ``dim`` holds, shape (head, position, 64)."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((dim // WIDTH, length, WIDTH))


def cosine_profile(length: int, dim: int) -> Run:
    """Return the cosine at every lag."""
    from poslens.geometry import cosine

    return partial(cosine.profile, table(length, dim))


def components(length: int, dim: int) -> Run:
    """Return the principal components."""
    from poslens.geometry.components import principal_components

    return partial(principal_components, table(length, dim))


def shift_maps(length: int, dim: int) -> Run:
    """Return the rotation and the linear map of every shift, side by side as in `analyze`."""
    from poslens.geometry import shift
    from poslens.parallel import in_threads

    rows = table(length, dim)
    tasks = [partial(shift.linear_measures, rows), partial(shift.rotation_measures, rows)]
    return lambda: list(in_threads(tasks))


def permutation_draws(length: int, dim: int, draws: int = DRAWS) -> Run:
    """Return draws of the table in random order."""
    from poslens.claims import null_draws

    return partial(null_draws.permutation, table(length, dim), draws, 0, lambda _: None)


def walk_draws(length: int, dim: int, draws: int = DRAWS) -> Run:
    """Return draws of random walks."""
    from poslens.claims import null_draws

    return partial(null_draws.random_walk, table(length, dim), draws, 0, lambda _: None)


def causal_kernel(length: int, dim: int) -> Run:
    """Return the measures of causal kernels."""
    from poslens.attention import factored_kernel

    queries, keys = heads(length, dim), heads(length, dim, 1)
    return partial(factored_kernel, queries, keys, causal=True)


def causal_terms(length: int, dim: int) -> Run:
    """Return the shares of causal logits' terms."""
    from poslens.attention import LogitParts, Split, term_sums

    queries, keys = (
        Split(*(heads(length, dim, seed) for seed in seeds)) for seeds in ((0, 1, 2), (3, 4, 5))
    )
    return partial(term_sums, LogitParts(queries, keys, causal=True))


def compression(length: int, dim: int) -> Run:
    """Return the best table of rank 64."""
    compressor = importlib.import_module("poslens.edit.compression").compressor
    rows = table(length, dim)
    return lambda: compressor("svd", rows).table(min(RANK, *rows.shape))


HOT: tuple[Hot, ...] = (
    Hot(
        "cosine profile",
        cosine_profile,
        count.cosine_profile,
        ("L log L", "d"),
        "Beside the transforms, each block of columns is copied into rows, padded with about "
        "as many zeros as it has values, and its squares are summed; none of that is counted.",
    ),
    Hot(
        "principal components",
        components,
        count.components,
        ("L", "d² to d³ up to L"),
        "The Gram matrix runs near the speed of products. Its tridiagonal form takes about as "
        "long for far fewer operations: half of them are products of the whole matrix with "
        "one vector, each from memory, and a second core hardly helps. The eigenvalues of "
        "that form, which are not counted, are found on one core.",
        at_bound=(2048, 1024),
    ),
    Hot(
        "shift maps",
        shift_maps,
        count.shift_maps,
        ("L", "d³"),
        "Singular value decompositions: half of the operations of a bidiagonal form are "
        "products with one vector, which memory bounds. The count is the textbook's, not "
        "LAPACK's. Two tasks run side by side, and the shorter leaves its core to wait.",
        at_bound=(2048, 512),
    ),
    Hot(
        "permutation draws",
        permutation_draws,
        partial(count.permutation_draws, draws=DRAWS),
        ("L log L; L² once, up to 4,096", "d"),
        "Rows are gathered in random order, and columns copied into rows and padded, which "
        "takes about half as long as the transforms; squares are summed and dot products of "
        "neighbours looked up.",
        at_bound=(1024, 768),
        ready_at_bound=partial(permutation_draws, draws=MANY_DRAWS),
        work_at_bound=partial(count.permutation_draws, draws=MANY_DRAWS),
    ),
    Hot(
        "random-walk draws",
        walk_draws,
        partial(count.walk_draws, draws=DRAWS),
        ("L", "d"),
        "Drawing the steps is what must be done. To scale them, to sum along positions and to "
        "iterate for the first direction are further passes through the table.",
        at_bound=(1024, 768),
        ready_at_bound=partial(walk_draws, draws=MANY_DRAWS),
        work_at_bound=partial(count.walk_draws, draws=MANY_DRAWS),
    ),
    Hot(
        "causal kernels",
        causal_kernel,
        count.causal_kernel,
        ("L log L", "d (heads of 64)"),
        "Products of 64 rows by 64 columns run near the speed of large ones, but each is "
        "followed by passes over its block (the mask, row sums, squares, means), and the "
        "transforms by a product; none of these is counted.",
    ),
    Hot(
        "causal terms of logits",
        causal_terms,
        count.causal_terms,
        ("L", "d (heads of 64)"),
        "Products of 64 rows by 64 columns run near the speed of large ones, but for three "
        "parts of the keys each block is centred, summed and shifted, and weighted sums are "
        "taken of it: passes that are not counted.",
    ),
    Hot(
        "compression to rank 64",
        compression,
        partial(count.compression, rank=RANK),
        ("L", "d³ up to L"),
        "A QR factorisation of tall blocks, whose panels are products with one vector, and "
        "the singular value decomposition of its triangle, half of whose bidiagonal form is "
        "bounded by memory.",
        needs="poslens.edit.compression",
        at_bound=(2048, 512),
    ),
)


def known() -> dict[str, Hot]:
    """Return those whose room is there, by name."""
    return {hot.name: hot for hot in HOT if importlib.util.find_spec(hot.needs) is not None}


def point(name: str, length: int, dim: int) -> dict[str, float]:
    """Return the seconds and the megabytes of one measure at one size.

    The megabytes are of the first run, what the peak resident set grows by; the seconds those of
    the fastest of three where one takes less than two seconds.
    """
    return _fastest(known()[name].ready(length, dim))


def at_bound(name: str) -> dict[str, float]:
    """Return the same where rates are looked at."""
    hot = known()[name]
    return _fastest((hot.ready_at_bound or hot.ready)(*hot.at_bound))


def work_at_bound(name: str) -> Work:
    """Return the operations there."""
    hot = known()[name]
    return (hot.work_at_bound or hot.work)(*hot.at_bound)


def _fastest(run: Run) -> dict[str, float]:
    found = measured(run)
    for _ in range(AGAIN - 1):
        if found["seconds"] > ENOUGH:
            break
        found["seconds"] = min(found["seconds"], measured(run)["seconds"])
    return found


TASKS = {"point": point, "bound": at_bound}

if __name__ == "__main__":
    answered(TASKS[sys.argv[2]], sys.argv[3])
