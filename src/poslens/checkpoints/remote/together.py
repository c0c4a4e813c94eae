"""Several transfers at the same time, which Ctrl-C need not wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def together(work: Callable[[T], R], items: Sequence[T], most: int) -> list[R]:
    """Return ``work`` of each item, done in up to ``most`` threads; raise the first error.

    The threads are daemons: an executor's would be waited for, however silent the server, when
    the caller is interrupted, and once more when the process ends.
    """
    left = iter(enumerate(items))
    lock = threading.Lock()
    results: dict[int, R] = {}
    errors: list[BaseException] = []

    def run() -> None:
        while not errors:
            with lock:
                taken = next(left, None)
            if taken is None:
                return
            try:
                results[taken[0]] = work(taken[1])
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(most, len(items)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[place] for place in range(len(items))]
