"""What the runs of an experiment are spread over."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

from poslens.errors import LabError

EXECUTORS = ("processes", "dask")


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """Give an executor of processes that start anew and end with this one, however it ends."""
    spawning = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=spawning, initializer=_as_a_worker)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()  # their files are sound at any moment
        raise
    pool.shutdown()


@contextmanager
def dask(workers: int) -> Iterator[Executor]:
    """Give an executor of a Dask cluster.

    The cluster is that of Dask's own settings (``DASK_SCHEDULER_ADDRESS``), or else one of
    processes on this machine.

    Raises
    ------
    LabError
        If Dask is not installed.
    """
    try:
        import dask as settings
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise LabError(
            "Dask is not installed", remedy="install the extra: pip install 'poslens[dask]'"
        ) from error
    if settings.config.get("scheduler-address", None):
        with Client() as client, client.get_executor() as executor:
            yield executor
        return
    local = LocalCluster(n_workers=workers, threads_per_worker=1, processes=True)
    with local as cluster, Client(cluster) as client, client.get_executor() as executor:
        yield executor


def _as_a_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
