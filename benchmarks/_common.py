"""What the files of this folder share: fresh processes, turns, peak memory, the table, its JSON.

A file gives `main` its tasks, which run in fresh processes (`child`), and a function that returns
its `Row`s; `main` prints them and leaves with their verdict.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAUSE = 0.3  # seconds, in which idle BLAS threads go to sleep

Task = Callable[..., Any]


@dataclass(frozen=True)
class Row:
    """One figure: what it is of, both sides as text, and its bar, where it has one.

    The bar is the most that the figure may be; the least where ``at_least``.
    """

    what: str
    poslens: str
    beside: str
    figure: float
    bar: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the bar is met; a figure that is NaN meets none."""
        if self.bar is None:
            return True
        return self.figure >= self.bar if self.at_least else self.figure <= self.bar

    @property
    def shown_bar(self) -> str:
        """The bar as text, empty where there is none."""
        return "" if self.bar is None else f"{'≥' if self.at_least else '≤'} {self.bar:.3g}"


def compared(
    what: str, ours: float, theirs: float, unit: str, bar: float | None, digits: int = 3
) -> Row:
    """Return the row of a ratio of two sides, both in one unit."""
    shown = (f"{value:,.{digits}f} {unit}" for value in (ours, theirs))
    return Row(what, *shown, ours / theirs, bar)


def report(rows: list[Row], peer: str) -> bool:
    """Print one line a figure; return whether every bar is met."""
    first = max(len(row.what) for row in rows)
    second = max(10, *(len(row.poslens) for row in rows))
    third = max(len(peer), *(len(row.beside) for row in rows))
    print(f"{'':{first}} {'PosLens':>{second}} {peer:>{third}} {'figure':>8} {'bar':>8}")
    for row in rows:
        print(
            f"{row.what:{first}} {row.poslens:>{second}} {row.beside:>{third}} "
            f"{row.figure:>8.3g} {row.shown_bar:>8}{'' if row.met else '  MISSED'}"
        )
    return all(row.met for row in rows)


def to_json(rows: list[Row], peer: str) -> list[dict[str, Any]]:
    """Return the rows as they are written; the peer's column has the peer's name."""
    found = []
    for row in rows:
        values = {"what": row.what, "poslens": row.poslens, peer: row.beside}
        found.append({**values, "figure": row.figure, "bar": row.bar})
        if row.at_least:
            found[-1]["at_least"] = True
    return found


def from_json(records: list[dict[str, Any]]) -> tuple[list[Row], str]:
    """Return the rows that were written, and the peer."""
    known = {"what", "poslens", "figure", "bar", "at_least"}
    peer = next((key for key in records[0] if key not in known), "") if records else ""
    return [
        Row(
            one["what"],
            one["poslens"],
            one.get(peer, ""),
            one["figure"],
            one["bar"],
            one.get("at_least", False),
        )
        for one in records
    ], peer


def timed(work: Callable[[], Any], pause: float = PAUSE) -> float:
    """Return the seconds of one run, after a pause."""
    time.sleep(pause)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(
    sides: Mapping[str, Callable[[], Any]], repeats: int, *, skip: int = 0, pause: float = PAUSE
) -> dict[str, float]:
    """Return each side's median seconds, all taken in turn; of the first ``skip`` rounds none."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats + skip):
        for name, work in sides.items():
            seconds[name].append(timed(work, pause))
    return {name: statistics.median(values[skip:]) for name, values in seconds.items()}


def bursts_in_turn(
    sides: Mapping[str, Callable[[], Any]], rounds: int, burst: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Return each side's median seconds of first runs after a pause, and of those that follow.

    Sides take turns with ``burst`` runs in a row. For work of a few hundredths of a second the
    first of them measures how fast a system that slept spreads threads over its cores.
    """
    seconds: dict[str, list[list[float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, work in sides.items():
            runs = [timed(work, 0 if again else PAUSE) for again in range(burst)]
            seconds[name].append(runs)
    first = {name: statistics.median(runs[0] for runs in found) for name, found in seconds.items()}
    later = {
        name: statistics.median(one for runs in found for one in runs[1:])
        for name, found in seconds.items()
    }
    return first, later


def commands_in_turn(commands: Mapping[str, list[str]], repeats: int) -> dict[str, float]:
    """Return the median seconds of Python with each command's arguments, after one run each."""

    def run(command: list[str]) -> None:
        subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)

    works = {name: lambda c=command: run(c) for name, command in commands.items()}
    return in_turn(works, repeats, skip=1, pause=0)


def peak() -> float:
    """Return this process's peak resident set, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss is never below what the parent had when it forked
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    scale = 1e6 if platform.system() == "Darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def forget_peak() -> None:
    """Let the peak be what is resident now, where Linux offers that; imports may have had more."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")


def measured(work: Callable[[], Any]) -> dict[str, float]:
    """Return the seconds of one call, and by how many MB it raises the peak resident set."""
    forget_peak()
    before, start = peak(), time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    after = peak()
    del result  # until here, so that its memory counts
    return {"seconds": seconds, "megabytes": after - before}


def peak_growth(work: Callable[[], Any]) -> float:
    """Return by how many MB one call raises this process's peak resident set."""
    return measured(work)["megabytes"]


def child(
    file: str,
    task: str,
    *arguments: Any,
    one_core: bool = False,
    limit: float | None = None,
    **environment: str,
) -> Any:
    """Run one of a file's tasks in a fresh process, and return its result.

    Parameters
    ----------
    file, task, arguments
        The file, the name of its task, and the task's arguments, which JSON must hold.
    one_core
        Whether it runs on one core, with one BLAS thread.
    limit
        Seconds after which it is ended, and `subprocess.TimeoutExpired` raised.
    environment
        Variables that it has in addition.
    """

    def pin() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    threads = {"OPENBLAS_NUM_THREADS": "1"} if one_core else {}
    done = subprocess.run(
        [sys.executable, file, "--child", task, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, **threads, **environment},
        preexec_fn=pin if one_core else None,
        timeout=limit,
    )
    return json.loads(done.stdout)


def answered(task: Task, arguments: str) -> None:
    """Run a task as `child` asked for it, and print its result."""
    print(json.dumps(task(*json.loads(arguments))))


def main(
    doc: str,
    rows: Callable[[bool], list[Row]],
    tasks: Mapping[str, Task],
    *,
    peer: str,
    quick: str,
    libraries: tuple[str, ...] = ("numpy",),
) -> None:
    """Measure everything, print the table, and leave with its verdict.

    Parameters
    ----------
    doc
        The file's docstring; its first line is what the command's help says.
    rows
        The measurement, quick or not.
    tasks
        What `child` may ask for, by name.
    peer
        The heading of the column beside PosLens's.
    quick
        What ``--quick`` does.
    libraries
        Whose versions are printed.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        task, given = arguments.child
        answered(tasks[task], given)
        return
    found = rows(arguments.quick)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"{versions}")  # fmt: skip
    met = report(found, peer)
    if arguments.json:
        text = json.dumps(to_json(found, peer), indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(not met)
