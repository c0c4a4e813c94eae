"""PosLens beside the usual notebook, on the same tables, in one run, as ratios.

    python benchmarks/geometry.py [--quick] [--json FILE]

Compute time: both sides alternate in one process on one float64 table, after a warm-up each, with a
pause between them in which idle BLAS threads go to sleep; medians are compared. Results must agree
to a relative 1e-6. Peak memory: each side alone in a fresh process; what its resident set grows by
after imports and the table. Whole process: `poslens analyze` with its 200 null draws, intervals and
HTML page, beside the notebook as a script with its four plots, alternating.

At 16,384 rows both sides run on one core: OpenBLAS 0.3's threaded symmetric product, which the
notebook's cosine matrix needs, crashes there on processors with AVX-512.

Exit status 1 if results disagree or a bar is missed. `--quick` leaves the larger table and
the whole process out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from _common import Row, child, commands_in_turn, compared, in_turn, main, peak_growth

HERE = Path(__file__).resolve().parent
SMALL, LARGE = (1024, 768), (16_384, 1024)
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
    table_rows = table(length, dim)
    measures = {name: side() for name, side in SIDES.items()}
    results = {name: measure(table_rows) for name, measure in measures.items()}  # the warm-up
    median = in_turn({name: lambda m=m: m(table_rows) for name, m in measures.items()}, repeats)
    return {**median, "disagreement": disagreement(results["poslens"], results["notebook"])}


def peak_of(side: str, path: str) -> float:
    """Return how far measuring raises this process's peak resident set, in MB.

    The table is read from a file, so that nothing larger than it has been in memory before.
    """
    measure, table_rows = SIDES[side](), np.load(path)
    return peak_growth(lambda: measure(table_rows))


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
        return commands_in_turn(commands, runs)


def start_up(runs: int) -> dict[str, float]:
    """Return the median seconds of importing PosLens, beyond Python's own, and of its help."""
    commands = {
        "python": ["-c", "pass"],
        "import": ["-c", "import poslens"],
        "help": ["-m", "poslens", "--help"],
    }
    median = commands_in_turn(commands, runs)
    return {"import": median["import"] - median["python"], "help": median["help"]}


def rows(quick: bool) -> list[Row]:
    """Return every figure, beside its bar."""
    found = []
    cases = [(SMALL, 9, 0.2, None)] if quick else [(SMALL, 9, 0.2, None), (LARGE, 2, 0.1, 0.25)]
    for (length, dim), repeats, time_bar, memory_bar in cases:
        alone = (length, dim) == LARGE
        timed = child(__file__, "time", length, dim, 3 if quick else repeats, one_core=alone)
        label = f"{length:,}×{dim:,}"
        found.append(compared(f"{label} time", timed["poslens"], timed["notebook"], "s", time_bar))
        found.append(Row(f"{label} disagreement", "", "", timed["disagreement"], TOLERANCE))
        if memory_bar is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = str(Path(folder, "table.npy"))
                np.save(path, table(length, dim))
                mine, peer = (child(__file__, "memory", one, path, one_core=alone) for one in SIDES)
            found.append(compared(f"{label} memory", mine, peer, "MB", memory_bar, digits=0))
    if not quick:
        whole = whole_processes(runs=4)
        label = "whole process, 1,024×768"
        found.append(compared(label, whole["poslens"], whole["notebook"], "s", 3.0, digits=2))
    started = start_up(runs=1 if quick else 7)
    for what, key, bar in (("import poslens", "import", 0.3), ("poslens --help", "help", 0.5)):
        found.append(Row(f"{what}, seconds", f"{started[key]:.3f} s", "", started[key], bar))
    return found


TASKS = {"time": time_both, "memory": peak_of}

if __name__ == "__main__":
    main(
        __doc__ or "",
        rows,
        TASKS,
        peer="notebook",
        quick="the smaller table alone",
    )
