"""Arrays that a thread uses again for one head after another.

Fresh memory is mapped in page by page when it is first written, for which threads of one process
wait on one another: at a thousand positions that took as long as the arithmetic.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from jaxtyping import Shaped

_of_thread = threading.local()


def scratch(use: str, shape: tuple[int, ...], dtype: Any) -> Shaped[np.ndarray, "..."]:
    """Return an array whose values are whatever was left in it.

    It is this thread's until the thread asks for the same use again, or ends.

    Parameters
    ----------
    use
        What it is for; two arrays that are needed at the same time have two uses.
    shape, dtype
        As of `numpy.empty`.
    """
    size = math.prod(shape)
    key = (use, np.dtype(dtype))
    kept: dict[Any, np.ndarray] = _of_thread.__dict__.setdefault("kept", {})
    if key not in kept or kept[key].size < size:
        kept[key] = np.empty(size, dtype)
    return kept[key][:size].reshape(shape)
