"""Numbers as a checkpoint stores them: each dtype's bytes, little-endian."""

from __future__ import annotations

import numpy as np

from poslens.checkpoints.safetensors_file import NUMPY_WORDS
from poslens.checkpoints.tensors import STORED_AS, Entry
from poslens.errors import TableError

# The words of safetensors for the dtypes of the readers of PosLens: NumPy's words and torch's.
WORDS = {
    **{dtype: word for word, dtype in NUMPY_WORDS.items()},
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
    "bool": "BOOL",
    "complex64": "C64",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
}
_WHOLE = {"I64": "<i8", "I32": "<i4"}


def safetensors_word(entry: Entry) -> str | None:
    """Return what safetensors calls a tensor's dtype; None where it has no word for it.

    The entry of a safetensors file has the word already, unless it is one of the four dtypes that
    PosLens reads.
    """
    return WORDS.get(entry.dtype, entry.dtype if entry.dtype.isupper() else None)


def is_whole(entry: Entry) -> bool:
    """Whether a tensor holds whole numbers that `as_stored` can write."""
    return safetensors_word(entry) in _WHOLE


def as_stored(values: np.ndarray, entry: Entry) -> np.ndarray:
    """Return numbers in a tensor's own dtype, rounded to the nearest.

    Parameters
    ----------
    values
        Any shape.
    entry
        The tensor that they take the place of.

    Returns
    -------
    np.ndarray
        Row-major; bfloat16 as the integers of its bits, rounded from float32 as torch does.

    Raises
    ------
    TableError
        If a finite number is infinite in that dtype.
    """
    word = safetensors_word(entry)
    if word in _WHOLE:
        return np.ascontiguousarray(values, dtype=_WHOLE[word])
    if entry.dtype != "bfloat16":
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(values, dtype=STORED_AS[entry.dtype])
        _require_finite(stored, entry)
        return stored
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    rounded = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16
    _require_finite((rounded << 16).view("<f4"), entry)
    return rounded.astype("<u2")


def _require_finite(stored: np.ndarray, entry: Entry) -> None:
    if not np.isfinite(stored).all():
        raise TableError(
            f"cannot store these rows as {entry}",
            expected=f"numbers within the range of {entry.dtype}",
            got="some that are infinite there, or are no numbers",
            remedy="choose another method, or save the source in float32 first",
        )
