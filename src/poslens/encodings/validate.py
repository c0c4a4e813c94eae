"""What every scheme requires of its settings, positions and arrays, with one wording."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int, Real

from poslens.errors import SettingError

MOST_ENTRIES = 2**28  # of an array that a scheme makes: 2 GiB in float64
INIT_STD = 0.02  # GPT-2's and BERT's initializer_range
FURTHEST = 2.0**53  # beyond it float64 cannot tell neighbouring positions apart


def require_count(name: str, value: int, least: int = 1) -> None:
    """Require a whole number within reason.

    Raises
    ------
    SettingError
        If it is none, below ``least``, or above `MOST_ENTRIES`.
    """
    if not hasattr(value, "__index__") or not least <= value <= MOST_ENTRIES:
        bound = f"at most {MOST_ENTRIES}" if value > MOST_ENTRIES else f"at least {least}"
        raise SettingError(
            "a setting is out of range",
            expected=f"a whole number of {bound} for {name}",
            got=f"{value}",
        )


def require_number(
    name: str, value: float, least: float = 0.0, *, above: bool = False, most: float = math.inf
) -> None:
    """Require a finite number from ``least``, or ``above`` it, to ``most``.

    Raises
    ------
    SettingError
        If it is not.
    """
    if math.isfinite(value) and least <= value <= most and not (above and value == least):
        return
    bound = f"above {least:.10g}" if above else f"of at least {least:.10g}"
    raise SettingError(
        "a setting is out of range",
        expected=f"a finite number {bound}"
        + (f" and at most {most:.10g}" if most < math.inf else "")
        + f" for {name}",
        got=f"{value}",
    )


def require_entries(*shape: int) -> None:
    """Require that an array of this shape has at most `MOST_ENTRIES` entries.

    Raises
    ------
    SettingError
        If it has more.
    """
    if math.prod(shape) > MOST_ENTRIES:
        raise SettingError(
            "the scheme's array would be too large",
            expected=f"at most {MOST_ENTRIES} entries",
            got=" × ".join(str(size) for size in shape),
        )


def noise(std: float, seed: int, *shape: int) -> Float[np.ndarray, "..."]:
    """Return an array from N(0, ``std``²), its own generator seeded.

    Raises
    ------
    SettingError
        If ``std`` or ``seed`` is negative, or the array would be too large.
    """
    require_number("std", std)
    if seed < 0:
        raise SettingError(
            "a setting is out of range",
            expected="a whole number of at least 0 for seed",
            got=f"{seed}",
        )
    require_entries(*shape)
    return np.random.default_rng(seed).normal(0.0, std, shape)


def frozen(values: Real[np.ndarray, "..."], what: str) -> Float[np.ndarray, "..."]:
    """Return a read-only copy in float64.

    Raises
    ------
    SettingError
        If a value is not finite, or there is none.
    """
    copy = np.array(values, dtype=np.float64)
    finite = np.isfinite(copy)
    if copy.size == 0 or not finite.all():
        raise SettingError(
            f"cannot use these {what}",
            expected="at least one number, and finite numbers only",
            got=f"shape {copy.shape}" if copy.size == 0 else f"{copy[~finite][0]}",
        )
    copy.flags.writeable = False
    return copy


def finite_positions(
    positions: Real[np.ndarray, "*shape"], what: str = "position"
) -> Float[np.ndarray, "*shape"]:
    """Return positions, or differences of them, in float64; fractions and negative ones pass.

    Raises
    ------
    SettingError
        If one is NaN, infinite, or beyond ±2^53.
    """
    values = np.asarray(positions, dtype=np.float64)
    _require(np.isfinite(values), values, f"finite {what}s")
    _require(np.abs(values) <= FURTHEST, values, f"{what}s from -2^53 to 2^53")
    return values


def whole_positions(
    positions: Real[np.ndarray, "*shape"], what: str = "position"
) -> Int[np.ndarray, "*shape"]:
    """Return positions, or differences of them, as int64; 2.0 passes, 2.5 does not.

    Raises
    ------
    SettingError
        If one is no whole number, or beyond ±2^53.
    """
    values = finite_positions(positions, what)
    _require(values == np.rint(values), values, f"whole {what}s: the scheme has none between them")
    return values.astype(np.int64)


def _require(good: np.ndarray, values: np.ndarray, expected: str) -> None:
    if not good.all():
        raise SettingError(
            "the scheme has no value there", expected=expected, got=f"{float(values[~good][0])}"
        )
