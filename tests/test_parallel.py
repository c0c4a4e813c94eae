"""Work on all cores: order, errors, tasks inside tasks, and what is left undone."""

from __future__ import annotations

import multiprocessing
import os
import time
from functools import partial

import pytest

from poslens.parallel import in_threads


def test_results_come_in_the_order_of_tasks() -> None:
    def after(pause: float) -> float:
        time.sleep(pause)
        return pause

    pauses = [0.02, 0.0, 0.01, 0.0, 0.005]
    assert list(in_threads([partial(after, pause) for pause in pauses])) == pauses


def test_no_tasks_give_nothing() -> None:
    assert list(in_threads([])) == []


def test_a_task_may_hand_in_tasks() -> None:
    """More of them than there are threads, at three levels: none waits for a free thread."""

    def nested(depth: int) -> int:
        return 1 if depth == 0 else sum(in_threads([partial(nested, depth - 1)] * 9))

    assert nested(3) == 9**3


def test_the_first_error_is_the_callers() -> None:
    def fail() -> None:
        raise ValueError("of the third")

    done: list[int] = []
    tasks = [partial(done.append, 0), partial(done.append, 1), fail]
    with pytest.raises(ValueError, match="of the third"):
        list(in_threads(tasks))
    assert sorted(done) == [0, 1]
    assert list(in_threads([lambda: 4])) == [4]  # the threads are there still


def test_what_is_not_asked_for_is_not_begun() -> None:
    begun: list[int] = []

    def slow(one: int) -> None:
        begun.append(one)
        time.sleep(0.01)

    results = in_threads([partial(slow, one) for one in range(1000)])
    next(results)
    results.close()  # type: ignore[attr-defined]  # a generator
    left = len(begun)
    time.sleep(0.05)
    assert len(begun) == left < 100


def in_a_child() -> None:
    os._exit(0 if list(in_threads([lambda: 1] * 4)) == [1] * 4 else 1)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    assert list(in_threads([lambda: 1] * 4)) == [1] * 4
    child = multiprocessing.get_context("fork").Process(target=in_a_child)
    child.start()
    child.join(20)
    code = child.exitcode
    child.kill()
    assert code == 0
