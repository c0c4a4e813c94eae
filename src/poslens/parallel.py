"""Independent pieces of work on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import scipy.linalg  # noqa: F401  (its BLAS must be loaded before it can be limited)
from threadpoolctl import ThreadpoolController

T = TypeVar("T")

_MOST_WORKERS = 8  # each holds a few copies of a table


def in_threads(tasks: Sequence[Callable[[], T]]) -> Iterator[T]:
    """Yield the results of ``tasks``, in their order, run side by side.

    Each task gets one BLAS thread: a table's matrices are too small to share, and BLAS threads
    that wait for one another take twice as long as one alone. It also makes results independent
    of the number of cores.
    """
    workers = min(_MOST_WORKERS, os.cpu_count() or 1)
    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda task: task(), tasks)


@cache
def _libraries() -> ThreadpoolController:
    """NumPy's and SciPy's BLAS: to look for them takes milliseconds where torch is loaded too."""
    return ThreadpoolController()
