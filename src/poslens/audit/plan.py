"""What the audit looks at: sizes, noise, and how many tables, within minutes on two cores."""

from __future__ import annotations

from dataclasses import dataclass

from poslens.audit.cells import EVERY, MODELS, PROCESSES, RUNS, Cell
from poslens.audit.coverage import RHOS
from poslens.audit.runs import OF_COST, OF_GROWTH, OF_STABILITY


@dataclass(frozen=True)
class Size:
    """Cells of one size: every process of tables, or those named, at the noise shares it knows.

    Attributes
    ----------
    length, dim
        L and d.
    noises
        Shares of the variance that are noise; a process that takes none has 0 alone.
    tables, slow_tables
        As in `Cell`.
    processes
        Names; all those of tables if empty.
    """

    length: int
    dim: int
    noises: tuple[float, ...]
    tables: int
    slow_tables: int
    processes: tuple[str, ...] = ()

    def cells(self) -> list[Cell]:
        """Return the cells of this size."""
        return [
            Cell(name, self.length, self.dim, noise, self.tables, self.slow_tables)
            for name in self.processes or PROCESSES
            for noise in EVERY[name].noises
            if noise in self.noises or EVERY[name].noises == (0.0,)
        ]


@dataclass(frozen=True)
class Plan:
    """All that one run of the audit does.

    Attributes
    ----------
    sizes
        Of the cells.
    decays
        (ρ, L, d, tables) on which intervals are to hold true values.
    own_nulls, model_nulls
        (L, d, tables) on which p-values are to be uniform, those of tables and of models.
    """

    sizes: tuple[Size, ...]
    decays: tuple[tuple[float, int, int, int], ...]
    own_nulls: tuple[int, int, int]
    model_nulls: tuple[int, int, int]

    def cells(self) -> list[Cell]:
        """Return the cells of every size."""
        return [cell for size in self.sizes for cell in size.cells()]


# The largest tables take seconds each: there, those on which most is true, and two on which most
# is not.
_LARGEST = ("line", "curve", "Gaussian, offset", "random walk")
_MODELS = tuple(MODELS)
# Those of which a size could change the verdict.
_LARGER = (
    "normal table, share 0.1",
    "normal table, share 0.025",
    "matched waves, noise",
    "kernel of distance",
    "kernel of pairs",
)


def _of_runs(length: int, tables: int, names: tuple[str, ...]) -> Size:
    """So many seeds or contexts, of processes of runs."""
    return Size(length, 1, (0.0,), tables, tables, names)


_GROWTH = tuple(process.name for process in OF_GROWTH)
_STABILITY = tuple(process.name for process in OF_STABILITY)
_COST = tuple(process.name for process in OF_COST)
# As near above the bar as is looked at: what few contexts must not take for below it.
_ABOVE = tuple(name for name in _COST if "0.0105" in name)

FULL = Plan(
    sizes=(
        Size(128, 32, (0.0, 0.01, 0.05), 200, 100),
        Size(128, 1024, (0.05,), 200, 50),
        Size(2048, 32, (0.05,), 200, 50),
        # What is true of a formula is so without noise alone.
        Size(128, 1024, (0.0,), 200, 50, ("sinusoidal",)),
        Size(2048, 32, (0.0,), 200, 50, ("sinusoidal",)),
        Size(2048, 1024, (0.05,), 50, 50, _LARGEST),
        Size(64, 48, (0.0,), 200, 100, _MODELS),
        Size(257, 96, (0.0,), 200, 50, _LARGER),
        _of_runs(5, 1000, _GROWTH),
        _of_runs(8, 1000, (*_GROWTH, *_STABILITY, *_ABOVE)),
        _of_runs(12, 1000, _STABILITY),
        _of_runs(32, 500, _COST),
        _of_runs(128, 200, _COST),
    ),
    decays=tuple((rho, length, 32, 200) for rho in RHOS for length in (256, 1024)),
    own_nulls=(128, 32, 200),
    model_nulls=(64, 48, 100),
)
QUICK = Plan(
    sizes=(
        Size(128, 32, (0.0, 0.05), 20, 10),
        Size(64, 48, (0.0,), 20, 10, _MODELS),
        _of_runs(12, 20, tuple(RUNS)),
    ),
    decays=tuple((rho, 256, 32, 40) for rho in RHOS),
    own_nulls=(128, 32, 40),
    model_nulls=(64, 48, 20),
)
