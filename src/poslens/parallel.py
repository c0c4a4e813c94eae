"""Independent pieces of work on all cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any, TypeVar

import scipy.linalg  # noqa: F401  (its BLAS must be loaded before it can be limited)
from threadpoolctl import ThreadpoolController

T = TypeVar("T")
Untaken = deque[Any]  # of pairs (task, its result); a checker of types must not look inside

_MOST_WORKERS = 8  # each holds a few copies of a table


def in_threads(tasks: Sequence[Callable[[], T]]) -> Iterator[T]:
    """Yield the results of ``tasks``, in their order, run side by side.

    The caller's thread takes its share, so nothing waits where all others are busy: a task may call
    this itself, and no time is lost until a second thread has woken up.

    Each task gets one BLAS thread: a table's matrices are too small to share, and BLAS threads
    that wait for one another take twice as long as one alone. It also makes results independent
    of the number of cores.
    """
    results: list[Future[T]] = [Future() for _ in tasks]
    untaken: Untaken = deque(zip(tasks, results, strict=True))
    with _libraries().limit(limits=1, user_api="blas"):
        helpers = [_pool().submit(_take_all, untaken) for _ in range(_workers() - 1)]
        try:
            for result in results:
                while not result.done() and _take(untaken):
                    pass
                yield result.result()
        finally:
            untaken.clear()
            wait([helper for helper in helpers if not helper.cancel()])


def _take(untaken: Untaken) -> bool:
    """Run the next task, if there is one; say whether there was."""
    try:
        task, result = untaken.popleft()
    except IndexError:
        return False
    try:
        result.set_result(task())
    except BaseException as error:  # it is the caller's, who asks for the result
        result.set_exception(error)
    return True


def _take_all(untaken: Untaken) -> None:
    while _take(untaken):
        pass


def _workers() -> int:
    return min(_MOST_WORKERS, os.cpu_count() or 1)


@cache
def _pool() -> ThreadPoolExecutor:
    """The other threads, kept between calls: so are the buffers they have made themselves."""
    return ThreadPoolExecutor(max(_workers() - 1, 1), "poslens")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


@cache
def _libraries() -> ThreadpoolController:
    """NumPy's and SciPy's BLAS: to look for them takes milliseconds where torch is loaded too."""
    return ThreadpoolController()
