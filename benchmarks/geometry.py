"""PosLens beside the usual notebook, on the same tables, in one run, as ratios.

    python benchmarks/geometry.py [--quick] [--json FILE]

Compute time: both sides alternate in one process on one float64 table, after a warm-up each, with a
pause between them in which idle BLAS threads go to sleep; medians are compared. Results must agree
to a relative 1e-6. Peak memory: each side alone in a fresh process; what its resident set grows by
after imports and the table. Whole process: `poslens analyze` with its 200 null draws, intervals and
HTML page, beside the notebook as a script with its four plots, alternating.

At 16,384 rows both sides run on one core: OpenBLAS 0.3's threaded symmetric product, which the
notebook's cosine matrix needs, crashes there on processors with AVX-512.

Exit status 1 if results disagree or a bar is missed. `--quick` leaves the larger table out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
SMALL, LARGE = (1024, 768), (16_384, 1024)
PAUSE = 0.3  # seconds
TOLERANCE = 1e-6

Measure = Callable[[np.ndarray], dict[str, Any]]


def table(length: int, dim: int) -> np.ndarray:
    """Return a smooth curve of six waves with noise: what a learned table looks like."""
    rng = np.random.default_rng(0)
    position = np.linspace(0, 1, length)[:, None]
    rows = 0.1 * rng.standard_normal((length, dim))
    for turns in range(1, 7):
        wave = np.cos(2 * np.pi * turns * position + rng.uniform(0, 6))
        rows += wave * rng.standard_normal(dim) / turns
    return rows


def poslens_side() -> Measure:
    """Return PosLens's computation of what the notebook computes."""
    from poslens.geometry import components, cosine, cosine_fits, difference, norms, trajectory

    def measure(rows: np.ndarray) -> dict[str, Any]:
        lengths = norms.row_norms(rows)
        profile = cosine.profile(rows)
        rate, exp_r2 = cosine_fits.decay(profile)
        parts = components.principal_components(rows)
        return {
            "norm.mean": lengths.mean(),
            "norm.cv": norms.cv(lengths),
            "cosine.profile": profile,
            "cosine.decay_rate": rate,
            "cosine.exp_r2": exp_r2,
            "difference.parallel": difference.parallel(rows),
            "pca.explained": parts.explained,
            "pca.n80": components.number_for(parts.explained, 0.8),
            "pca.pc1_index_correlation": components.index_correlations(parts.scores)[0],
            "trajectory.linear_r2": trajectory.linear_r2(rows),
        }

    return measure


def notebook_side() -> Measure:
    """Return the notebook's."""
    sys.path.insert(0, str(HERE))
    import notebook

    return notebook.measure


SIDES: dict[str, Callable[[], Measure]] = {"poslens": poslens_side, "notebook": notebook_side}


def disagreement(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Return the largest difference relative to the largest value of each measure."""
    found = []
    for name, value in theirs.items():
        expected, got = np.asarray(value, float), np.asarray(ours[name], float)
        if got.shape != expected.shape:
            raise ValueError(f"{name}: shape {got.shape} beside {expected.shape}")
        found.append(np.abs(got - expected).max() / np.abs(expected).max())
    # NumPy's maximum, unlike Python's, lets a NaN through: it must not pass for agreement.
    return float(np.max(found))


def time_both(length: int, dim: int, repeats: int) -> dict[str, Any]:
    """Time both sides in this process, alternating."""
    rows = table(length, dim)
    measures = {name: side() for name, side in SIDES.items()}
    results = {name: measure(rows) for name, measure in measures.items()}  # the warm-up
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    for _ in range(repeats):
        for name, measure in measures.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            measure(rows)
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {**median, "disagreement": disagreement(results["poslens"], results["notebook"])}


def peak_growth(side: str, path: str) -> float:
    """Return how far measuring raises this process's peak resident set, in MB.

    The table is read from a file, so that nothing larger than it has been in memory before.
    """
    measure = SIDES[side]()
    rows = np.load(path)
    before = _peak()
    measure(rows)
    return _peak() - before


def _peak() -> float:
    scale = 1e6 if platform.system() == "Darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def child(*arguments: str, one_core: bool) -> Any:
    """Run one measurement of this file in a fresh process, and return what it printed."""

    def pin() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"} if one_core else None
    done = subprocess.run(
        [sys.executable, __file__, "--child", *arguments],
        stdout=subprocess.PIPE,
        check=True,
        env=environment,
        preexec_fn=pin if one_core else None,
    )
    return json.loads(done.stdout)


def whole_processes(runs: int) -> dict[str, float]:
    """Return the median seconds of both commands, run in turn, after one run each."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.npy")
        np.save(path, table(*SMALL).astype(np.float32))
        page = str(Path(folder, "report.html"))
        commands = {
            "poslens": ["-m", "poslens", "analyze", str(path), "--html", page],
            "notebook": [str(HERE / "notebook.py"), str(path), "--plots", folder],
        }
        return _medians(commands, runs)


def start_up(runs: int) -> dict[str, float]:
    """Return the median seconds of importing PosLens, beyond Python's own, and of its help."""
    commands = {
        "python": ["-c", "pass"],
        "import": ["-c", "import poslens"],
        "help": ["-m", "poslens", "--help"],
    }
    median = _medians(commands, runs)
    return {"import": median["import"] - median["python"], "help": median["help"]}


def _medians(commands: dict[str, list[str]], runs: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs + 1):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def report(rows: list[tuple[str, str, str, float, float]]) -> bool:
    """Print one line a figure; return whether every bar is met."""
    print(f"{'':34} {'PosLens':>10} {'notebook':>10} {'figure':>8} {'bar':>8}")
    met = True
    for what, ours, theirs, figure, bar in rows:
        good = figure <= bar
        met &= good
        verdict = "" if good else "  MISSED"
        print(f"{what:34} {ours:>10} {theirs:>10} {figure:>8.3g} {bar:>8.3g}{verdict}")
    return met


def main() -> None:
    """Measure everything, print the table, and leave with its verdict."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave the larger table out")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, *rest = arguments.child
        if what == "time":
            length, dim = int(rest[0]), int(rest[1])
            print(json.dumps(time_both(length, dim, repeats=9 if (length, dim) == SMALL else 3)))
        else:
            print(json.dumps(peak_growth(what, rest[0])))
        return

    rows: list[tuple[str, str, str, float, float]] = []
    cases = [(SMALL, 0.2, None)] if arguments.quick else [(SMALL, 0.2, None), (LARGE, 0.1, 0.25)]
    for (length, dim), time_bar, memory_bar in cases:
        size, alone = (str(length), str(dim)), (length, dim) == LARGE
        timed = child("time", *size, one_core=alone)
        ours, theirs = timed["poslens"], timed["notebook"]
        label = f"{length:,}×{dim:,}"
        rows.append((f"{label} time", f"{ours:.3f} s", f"{theirs:.3f} s", ours / theirs, time_bar))
        rows.append((f"{label} disagreement", "", "", timed["disagreement"], TOLERANCE))
        if memory_bar is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = str(Path(folder, "table.npy"))
                np.save(path, table(length, dim))
                mine, peer = (child(side, path, one_core=alone) for side in SIDES)
            rows.append(
                (f"{label} memory", f"{mine:.0f} MB", f"{peer:.0f} MB", mine / peer, memory_bar)
            )
    whole = whole_processes(runs=5)
    rows.append(
        (
            "whole process, 1,024×768",
            f"{whole['poslens']:.2f} s",
            f"{whole['notebook']:.2f} s",
            whole["poslens"] / whole["notebook"],
            3.0,
        )
    )
    started = start_up(runs=7)
    rows.append(
        ("import poslens, seconds", f"{started['import']:.3f} s", "", started["import"], 0.3)
    )
    rows.append(("poslens --help, seconds", f"{started['help']:.3f} s", "", started["help"], 0.5))

    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"NumPy {np.__version__}")  # fmt: skip
    met = report(rows)
    if arguments.json:
        figures = [
            dict(zip(("what", "poslens", "notebook", "figure", "bar"), row, strict=True))
            for row in rows
        ]
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.exit(not met)


if __name__ == "__main__":
    main()
