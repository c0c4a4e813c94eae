"""The machine, and the most that it can do: what the hot measures are held against."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import scipy.linalg
from threadpoolctl import threadpool_info, threadpool_limits

from _operations import real_fft

LIBRARIES = ("poslens", "numpy", "scipy", "torch", "transformers", "scikit-learn", "matplotlib")
SCRATCH = 2**21  # bytes: a batch of transforms that fits in a second-level cache


def described() -> dict[str, Any]:
    """Return the machine: processor, cores, memory in GB, system."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = [one for one in cpuinfo.read_text().splitlines() if one.startswith("model name")]
        model = named[0].split(":", 1)[1].strip() if named else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Return the versions that speed depends on, BLAS included."""
    found = {"Python": platform.python_version()}
    found.update({name: importlib.metadata.version(name) for name in LIBRARIES})
    for library in threadpool_info():
        if library["user_api"] == "blas":
            of = "SciPy" if "scipy.libs" in library["filepath"] else "NumPy"
            name = f"{library['internal_api']} of {of}"
            found.setdefault(name, f"{library['version']} ({library['architecture']})")
    return found


def peaks(seconds: float = 1.0) -> dict[str, dict[str, float]]:
    """Return the best rates seen, on one core and on all, by kind.

    Products of matrices and real FFTs in operations a second (`_operations`), copies in bytes
    read and written a second, normal deviates in numbers a second. Each is tried for ``seconds``.
    """
    found: dict[str, dict[str, float]] = {}
    cores = os.cpu_count() or 1
    for dtype, letter in ((np.float64, "d"), (np.float32, "s")):
        for threads, key in ((1, "one"), (cores, "all")):
            found.setdefault(f"{letter}gemm", {})[key] = _products(dtype, threads, seconds)
            found.setdefault(f"{letter}rfft", {})[key] = _transforms(dtype, threads, seconds)
    for threads, key in ((1, "one"), (cores, "all")):
        found.setdefault("copy", {})[key] = _copies(threads, seconds)
        found.setdefault("normals", {})[key] = _normals(threads, seconds)
    return found


def _best(work: Callable[[], Any], amount: float, seconds: float) -> float:
    """Return the best rate of some amount of work, tried again and again."""
    work()
    best, until = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return float(amount / best)


def _products(dtype: type, threads: int, seconds: float, size: int = 1536) -> float:
    A, B = np.random.default_rng(0).standard_normal((2, size, size)).astype(dtype)
    out = np.empty_like(A)
    with threadpool_limits(limits=threads, user_api="blas"):
        return _best(lambda: np.matmul(A, B, out=out), 2 * size**3, seconds)


def _transforms(dtype: type, threads: int, seconds: float) -> float:
    """Return the best over a short and a long size, batches of which fit in cache."""
    rates = []
    for size in (2048, 8192):
        count = SCRATCH // (2 * size * np.dtype(dtype).itemsize)
        rows = np.random.default_rng(0).standard_normal((count, size)).astype(dtype)

        def transform(rows: np.ndarray = rows) -> np.ndarray:
            return np.asarray(scipy.fft.rfft(rows, axis=1, workers=threads))

        rates.append(_best(transform, count * real_fft(size), seconds / 2))
    return max(rates)


def _copies(threads: int, seconds: float, size: int = 2**24) -> float:
    """Return bytes read and written, of arrays that no cache holds."""
    pairs = [(np.ones(size // threads), np.empty(size // threads)) for _ in range(threads)]

    def copy(pair: tuple[np.ndarray, np.ndarray]) -> None:
        np.copyto(pair[1], pair[0])

    return _side_by_side(copy, pairs, 16.0 * size, seconds)


def _normals(threads: int, seconds: float, size: int = 2**18) -> float:
    generators = [np.random.default_rng(at) for at in range(threads)]

    def draw(generator: np.random.Generator) -> None:
        for _ in range(4):
            generator.standard_normal(size, dtype=np.float32)

    return _side_by_side(draw, generators, 4.0 * size * threads, seconds)


def _side_by_side(
    work: Callable[[Any], None], inputs: list[Any], amount: float, seconds: float
) -> float:
    with ThreadPoolExecutor(len(inputs)) as pool:
        return _best(lambda: list(pool.map(work, inputs)), amount, seconds)
