"""A tensor that looks into stored bytes by strides, read row-major and never more than it needs."""

from __future__ import annotations

import numpy as np

from poslens.checkpoints.byte_source import ByteSource

BLOCK = 2**24  # bytes read at once where elements lie apart


def extent(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Return how many elements lie from a tensor's first to its last, both counted."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))


def is_row_major(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether a tensor's elements follow one another without a gap, the last axis first."""
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def read_strided(
    source: ByteSource, start: int, width: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> memoryview:
    """Return a tensor's bytes in row-major order.

    Parameters
    ----------
    source
        Where they are.
    start
        Where the first element is, in bytes from the file's start.
    width
        Bytes of one element: 1, 2, 4 or 8.
    shape, strides
        Sizes, and steps in elements; no step is negative.

    Returns
    -------
    memoryview
        Bytes. Beside them, no more than 16 MB are held at a time.

    Raises
    ------
    SourceError
        If the bytes cannot be had.
    """
    values = np.empty(shape, dtype=f"<u{width}")
    if values.size == 0:
        return memoryview(b"")
    # Where there is one element, its step means nothing and may be any number.
    strides = tuple(0 if size == 1 else step for size, step in zip(shape, strides, strict=True))
    outermost_first = sorted(range(len(shape)), key=lambda axis: -strides[axis])
    _fill(
        values.transpose(outermost_first),
        source,
        start,
        tuple(strides[axis] for axis in outermost_first),
    )
    return values.reshape(-1).view(np.uint8).data


def _fill(values: np.ndarray, source: ByteSource, start: int, strides: tuple[int, ...]) -> None:
    """Read into an array whose strides descend in the file: at once, or in halves."""
    width = values.dtype.itemsize
    count = extent(values.shape, strides) * width
    if count <= BLOCK:
        steps = [step * width for step in strides]
        block = source.read(start, start + count)
        values[...] = np.ndarray(values.shape, values.dtype, block, strides=steps)
    elif values.shape[0] == 1:
        _fill(values[0], source, start, strides[1:])
    else:
        half = values.shape[0] // 2
        _fill(values[:half], source, start, strides)
        _fill(values[half:], source, start + half * strides[0] * width, strides)
