"""How time and memory grow with L and d: series of fresh processes, and fitted exponents."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import _hot
from _common import child

LENGTHS = (256, 1024, 4096, 8192, 16_384, 32_768, 65_536)  # four in the last decade
DIMS = (64, 256, 512, 1024, 2048, 4096)
FEW = 2  # measures, where quick
DIM, LENGTH = 256, 2048  # of the one while the other grows
MOST_SECONDS, MOST_MEGABYTES = 20.0, 4000.0
START = 10.0  # seconds that a process may take beyond that to start and to make its input
FEWEST = 3  # points of a fit

Point = dict[str, float]
Progress = Callable[[str], None]


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """Return the slope of log value over log size, by least squares over the last decade.

    None where fewer than three points of the last decade have a value above 0.
    """
    if not sizes:
        return None
    last = [
        (math.log(size), math.log(value))
        for size, value in zip(sizes, values, strict=True)
        if size > max(sizes) / 10 and value > 0
    ]
    if len(last) < FEWEST:
        return None
    x, y = np.array(last).T
    return float(np.polyfit(x, y, 1)[0])


def series(name: str, along: str, sizes: Sequence[int]) -> dict[str, Any]:
    """Return one measure's points as L or d grows, until one takes too long or too much."""
    points: list[Point] = []
    stopped = ""
    for size in sizes:
        length, dim = (size, DIM) if along == "L" else (LENGTH, size)
        try:
            found = child(_hot.__file__, "point", name, length, dim, limit=MOST_SECONDS + START)
        except subprocess.TimeoutExpired:
            stopped = f"{size:,}: more than {MOST_SECONDS:.0f} s"
            break
        points.append({"size": size, **found})
        if found["seconds"] > MOST_SECONDS:
            stopped = f"after {size:,}: more than {MOST_SECONDS:.0f} s"
            break
        if found["megabytes"] > MOST_MEGABYTES:
            stopped = f"after {size:,}: more than {MOST_MEGABYTES / 1000:.0f} GB"
            break
    return {"name": name, "along": along, "points": points, "stopped": stopped}


def all_series(quick: bool, progress: Progress) -> list[dict[str, Any]]:
    """Return every hot measure's two series."""
    found = []
    for name in list(_hot.known())[: FEW if quick else None]:
        for along, sizes in (("L", LENGTHS), ("d", DIMS)):
            progress(f"{name} along {along}")
            found.append(series(name, along, sizes[:2] if quick else sizes))
    return found


def bounds(quick: bool, progress: Progress) -> list[dict[str, Any]]:
    """Return the time and operations of every hot measure where rates are looked at."""
    found = []
    for name, hot in list(_hot.known().items())[: FEW if quick else None]:
        progress(f"{name} beside the machine's peaks")
        work = _hot.work_at_bound(name)
        took = child(_hot.__file__, "bound", name)
        found.append(
            {
                "name": name,
                "length": hot.at_bound[0],
                "dim": hot.at_bound[1],
                "seconds": took["seconds"],
                **vars(work),
            }
        )
    return found
