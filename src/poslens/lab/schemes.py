"""Schemes by name, with the settings that a model's shape decides filled in."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from poslens.encodings import T5, Alibi, Encoding, Learned, Nope, Rope, Shaw, Sinusoidal
from poslens.errors import LabError, quoted
from poslens.lab.seeds import Stream, whole_seed
from poslens.lab.shape import Shape

CLIPPED = 64  # Shaw's: from this distance on all keys have the same vector

SCHEMES: dict[str, Callable[[Shape, int, int], Encoding]] = {
    "learned": lambda shape, rows, seed: Learned.drawn(rows, shape.width, seed=seed),
    "sinusoidal": lambda shape, _, __: Sinusoidal(shape.width),
    "rope": lambda shape, _, __: Rope(shape.head_dim),
    "alibi": lambda shape, _, __: Alibi(shape.heads),
    "t5": lambda shape, _, seed: T5.drawn(shape.heads, causal=True, seed=seed),
    "shaw": lambda shape, _, seed: Shaw.drawn(
        shape.head_dim, min(CLIPPED, shape.context), 0, seed=seed
    ),
    "nope": lambda _, __, ___: Nope(),
}


def scheme(name: str, shape: Shape, *, rows: int | None = None, seed: int = 0) -> Encoding:
    """Return a scheme as it is before training a model of this shape.

    Parameters
    ----------
    name
        A key of `SCHEMES`.
    shape
        Whose width, heads and head dimension it takes.
    rows
        Of a learned table; as many as the context where None.
    seed
        Of what the scheme owns.

    Raises
    ------
    LabError
        If there is no such scheme, naming the nearest.
    """
    if name not in SCHEMES:
        near = difflib.get_close_matches(name, SCHEMES, n=1)
        raise LabError(
            f"the lab has no scheme {quoted(name)}",
            expected="one of " + ", ".join(SCHEMES),
            remedy=f"did you mean {near[0]}?" if near else "",
        )
    rows = shape.context if rows is None else rows
    return SCHEMES[name](shape, rows, whole_seed(seed, Stream.POSITIONS))
