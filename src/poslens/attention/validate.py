"""Checks that every kernel shares: what queries, keys and profiles must be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poslens.axes import HeadOffsets, Keys, Queries
from poslens.errors import TableError

MIN_LENGTH = 3  # with two positions, c_t + f(s-t) fits any causal kernel

# A logit that is the difference of others counts as zero below this share of ‖q‖‖k‖: float64
# leaves about 1e-16 of it behind, times a few roundings.
CANCELLATION = 1e-13

# Fourth powers of entries beyond these, summed over pairs, leave float64.
LARGEST, SMALLEST = 1e60, 1e-60

_PARTS = "content", "position", "constant"


def check_heads(queries: np.ndarray, keys: np.ndarray) -> tuple[Queries, Keys]:
    """Return queries and keys after checking that each query head has its key head.

    They are not copied; kernels are computed from them in float64, one head at a time.

    Raises
    ------
    TableError
        If either is not (head, position, d_head) in floating point, there are no heads, fewer than
        three positions or no dimensions, the two differ in positions or dimensions, the query heads
        do not divide evenly among the key heads, or a value is not finite or out of range.
    """
    queries, keys = np.asarray(queries), np.asarray(keys)
    _check_rows("queries", queries)
    _check_rows("keys", keys)
    _check_fit(queries, keys)
    return queries, keys


def check_parts(
    queries: Sequence[np.ndarray],
    keys: Sequence[np.ndarray],
    bias: np.ndarray | None,
    *,
    causal: bool,
) -> None:
    """Check the parts of a layer's logits against one another.

    Parameters
    ----------
    queries, keys
        Content, position and constant of each.
    bias
        What is added at the offsets of `poslens.attention.offsets`, if anything.
    causal
        Whether row t may attend to s ≤ t only, or to all.

    Raises
    ------
    TableError
        If a part is not what `check_heads` takes, parts differ in heads, positions or dimensions,
        the bias is not (head, offset) in floating point, or a value of it is not finite or out of
        range.
    """
    for name, parts in (("queries", queries), ("keys", keys)):
        for part, rows in zip(_PARTS, parts, strict=True):
            _check_rows(f"{part} parts of the {name}", rows)
        if len({rows.shape for rows in parts}) > 1:
            raise TableError(
                f"the parts of the {name} do not fit together",
                expected="as many heads, positions and dimensions in each",
                got=f"shapes {', '.join(str(rows.shape) for rows in parts)}",
                remedy="repeat a part that is the same for all",
            )
    _check_fit(queries[0], keys[0])
    if bias is None:
        return
    heads, length, _ = queries[0].shape
    expected = heads, length if causal else 2 * length - 1
    bias = np.asarray(bias)
    if bias.shape != expected:
        raise TableError(
            "the bias does not fit the queries",
            expected=f"shape {expected}, (head, offset)",
            got=f"shape {bias.shape}",
            remedy="evaluate the bias at `poslens.attention.offsets`",
        )
    _check_values("biases", bias)


def _check_rows(name: str, rows: np.ndarray) -> None:
    if rows.ndim != 3 or rows.shape[0] < 1 or rows.shape[1] < MIN_LENGTH or rows.shape[2] < 1:
        raise TableError(
            f"the {name} of a layer have the wrong shape",
            expected=f"(head, position, d_head) with at least {MIN_LENGTH} positions",
            got=f"shape {rows.shape}",
            remedy="pass one row per head and position",
        )
    _check_values(name, rows)


def _check_fit(queries: np.ndarray, keys: np.ndarray) -> None:
    if queries.shape[1:] != keys.shape[1:]:
        raise TableError(
            "queries and keys do not fit together",
            expected="as many positions and dimensions in both",
            got=f"shapes {queries.shape} and {keys.shape}",
            remedy="take both from the same layer and the same positions",
        )
    if queries.shape[0] % keys.shape[0]:
        raise TableError(
            "queries and keys do not fit together",
            expected="a number of query heads that is a multiple of the key heads",
            got=f"{queries.shape[0]} query and {keys.shape[0]} key heads",
            remedy="check how the projections are split into heads",
        )


def check_profiles(profiles: np.ndarray, *, causal: bool) -> HeadOffsets:
    """Return profiles as C-contiguous float64 after checking that they cover every offset.

    Raises
    ------
    TableError
        If they are not (head, offset) in floating point, with -(L-1) … 0 for causal and
        -(L-1) … L-1 for bidirectional kernels of L ≥ 3 positions, there are no heads, or a value
        is not finite or out of range.
    """
    profiles = np.asarray(profiles)
    fewest = MIN_LENGTH if causal else 2 * MIN_LENGTH - 1
    even = not causal and profiles.ndim == 2 and profiles.shape[1] % 2 == 0
    if profiles.ndim != 2 or profiles.shape[0] < 1 or profiles.shape[1] < fewest or even:
        offsets = "-(L-1) … 0" if causal else "-(L-1) … L-1, an odd number"
        raise TableError(
            "the profiles of a layer have the wrong shape",
            expected=f"(head, offset) with the offsets {offsets}, and at least L = {MIN_LENGTH}",
            got=f"shape {profiles.shape}",
            remedy="evaluate the bias at `poslens.attention.offsets`",
        )
    _check_values("profiles", profiles)
    return np.ascontiguousarray(profiles, dtype=np.float64)


def check_bands(
    queries: np.ndarray, keys: np.ndarray, frequencies: np.ndarray, constant: np.ndarray
) -> None:
    """Check the parts of a rotation's kernel against one another.

    Raises
    ------
    TableError
        If queries and keys are not both (head, plane) with one frequency per plane and one constant
        per head, there are no heads or planes, or a value is not finite.
    """
    heads = queries.shape[:1]
    fits = queries.shape == keys.shape == heads + frequencies.shape and constant.shape == heads
    if queries.ndim != 2 or queries.size == 0 or not fits:
        raise TableError(
            "mean queries and keys do not fit the rotation",
            expected="queries and keys of shape (head, plane) and one frequency per plane",
            got=f"shapes {queries.shape}, {keys.shape} and {frequencies.shape}, "
            f"constants {constant.shape}",
            remedy="repeat keys that heads share, and split coordinates as the model pairs them",
        )
    parts = {"queries": queries, "keys": keys, "frequencies": frequencies, "constants": constant}
    bad = [name for name, values in parts.items() if not np.isfinite(values).all()]
    if bad:
        raise TableError(
            "the parts of a rotation are not finite",
            expected="finite numbers only",
            got=f"NaN or Inf in the {' and the '.join(bad)}",
            remedy="repair the weights, or leave these heads out",
        )


def _check_values(name: str, values: np.ndarray) -> None:
    if not np.issubdtype(values.dtype, np.floating):
        raise TableError(
            f"the {name} are not real numbers",
            expected="a floating-point dtype",
            got=f"dtype '{values.dtype}'",
            remedy="convert them first",
        )
    # Extremes are NaN where a value is; a mask would be as large as some models' tables.
    extremes = np.array([(rows.min(), rows.max()) for rows in values])
    bad = np.flatnonzero(~np.isfinite(extremes).all(axis=1)).tolist()
    if bad:
        shown = ", ".join(str(head) for head in bad[:5])
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise TableError(
            f"the {name} hold values that are not finite",
            expected="finite numbers only",
            got=f"NaN or Inf in head{'s' if len(bad) > 1 else ''} {shown}{more}",
            remedy="repair the weights, or leave these heads out",
        )
    largest = float(np.abs(extremes).max())
    if largest != 0 and not SMALLEST < largest < LARGEST:
        raise TableError(
            f"the {name} are out of range",
            expected=f"a largest absolute value of 0 or between {SMALLEST:g} and {LARGEST:g}",
            got=f"{largest:.3g}",
            remedy="rescale the weights",
        )
