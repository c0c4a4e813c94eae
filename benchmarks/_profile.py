"""Where the time of `poslens analyze` goes: by stage of its progress, and by function.

Stages are those that the progress bar names. Functions are found by looking at all threads now and
then: each that runs is counted for the innermost function of PosLens that it is in. A thread that
waits for work is in none.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from _common import answered, child
from _hot import table

SOURCES = {"demo": "the demo model", "table": "a table of 1,024 × 768"}
EVERY = 0.005  # seconds between two looks
SHOWN = 12  # functions
PACKAGE = "poslens."
WAITING = PACKAGE + "parallel"  # whose functions run others, or wait


class Sampler:
    """Counts the functions that threads are in, in a thread of its own."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(EVERY):
            for frame in sys._current_frames().values():
                name = innermost(frame)
                if name:
                    self.counts[name] += 1


def innermost(frame: FrameType | None) -> str:
    """Return the innermost function of PosLens, without the package's name; "" for none."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(PACKAGE):
            outer = frame.f_code.co_qualname.split(".<locals>")[0]
            return "" if module == WAITING else f"{module.removeprefix(PACKAGE)}.{outer}"
        frame = frame.f_back
    return ""


def stages(marks: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return the seconds of each stage, in order of appearance.

    Parameters
    ----------
    marks
        What was being done from which time on; the last only ends the one before.
    """
    found: dict[str, float] = {}
    for (what, start), (_, stop) in pairwise(marks):
        found[what] = found.get(what, 0.0) + stop - start
    return list(found.items())


def analysed(source: str) -> dict[str, Any]:
    """Return the stages and functions of one analysis in this process, and of its page."""
    import poslens

    given = "demo" if source == "demo" else table(1024, 768)
    marks = [("reading the source", time.perf_counter())]
    with Sampler() as sampler, tempfile.TemporaryDirectory() as folder:
        study = poslens.analyze(
            given, progress=lambda what, _done, _all: marks.append((what, time.perf_counter()))
        )
        marks[-1] = ("the page", time.perf_counter())
        study.report(Path(folder, "report.html"))
        marks.append(("", time.perf_counter()))
    looks = sum(sampler.counts.values())
    functions = [(name, seen / looks) for name, seen in sampler.counts.most_common(SHOWN)]
    return {
        "source": SOURCES[source],
        "seconds": marks[-1][1] - marks[0][1],
        "stages": stages(marks),
        "functions": functions,
        "looks": looks,
    }


def profiles(quick: bool) -> list[dict[str, Any]]:
    """Return that of every source, each in a fresh process."""
    return [child(__file__, "analysed", source) for source in list(SOURCES)[: 1 if quick else None]]


TASKS = {"analysed": analysed}

if __name__ == "__main__":
    answered(TASKS[sys.argv[2]], sys.argv[3])
