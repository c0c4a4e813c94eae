"""Schemes by name, with the settings that a model's shape decides filled in."""

from __future__ import annotations

from collections.abc import Callable

from poslens.encodings import T5, Alibi, Encoding, Learned, Nope, Rope, Shaw, Sinusoidal
from poslens.errors import LabError
from poslens.lab import strict
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


_OTHERWISE = {"rotary": "rope", "absolute": "learned", "relative": "shaw", "none": "nope"}


def require_scheme(name: str) -> None:
    """Refuse a scheme that the lab does not have.

    Raises
    ------
    LabError
        If there is no such, naming all, and the one that may be meant.
    """
    if name not in SCHEMES:
        known = strict.unknown(name, name, SCHEMES, "scheme")
        meant = _OTHERWISE.get(name.lower())
        if meant is None:
            raise known
        raise LabError(known.problem, expected=known.expected, remedy=f"did you mean {meant}?")


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
    require_scheme(name)
    rows = shape.context if rows is None else rows
    return SCHEMES[name](shape, rows, whole_seed(seed, Stream.POSITIONS))
