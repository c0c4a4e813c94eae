"""What the audit looks at: sizes, noise, and how many tables, within minutes on two cores."""

from __future__ import annotations

from dataclasses import dataclass

from poslens.audit.cells import PROCESSES, Cell
from poslens.audit.coverage import RHOS


@dataclass(frozen=True)
class Size:
    """Cells of one size: every process, or those named, at the noise shares that it knows.

    Attributes
    ----------
    length, dim
        L and d.
    noises
        Shares of the variance that are noise; a process that takes none has 0 alone.
    tables, slow_tables
        As in `Cell`.
    processes
        Names; all of them if empty.
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
            for noise in PROCESSES[name].noises
            if noise in self.noises or PROCESSES[name].noises == (0.0,)
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
    own_nulls
        (L, d, tables) on which p-values are to be uniform.
    """

    sizes: tuple[Size, ...]
    decays: tuple[tuple[float, int, int, int], ...]
    own_nulls: tuple[int, int, int]

    def cells(self) -> list[Cell]:
        """Return the cells of every size."""
        return [cell for size in self.sizes for cell in size.cells()]


# The largest tables take seconds each: there, those on which most is true, and two on which most
# is not.
_LARGEST = ("line", "curve", "Gaussian, offset", "random walk")

FULL = Plan(
    sizes=(
        Size(128, 32, (0.0, 0.01, 0.05), 200, 100),
        Size(128, 1024, (0.05,), 200, 50),
        Size(2048, 32, (0.05,), 200, 50),
        # What is true of a formula is so without noise alone.
        Size(128, 1024, (0.0,), 200, 50, ("sinusoidal",)),
        Size(2048, 32, (0.0,), 200, 50, ("sinusoidal",)),
        Size(2048, 1024, (0.05,), 50, 50, _LARGEST),
    ),
    decays=tuple((rho, length, 32, 200) for rho in RHOS for length in (256, 1024)),
    own_nulls=(128, 32, 200),
)
QUICK = Plan(
    sizes=(Size(128, 32, (0.0, 0.05), 20, 10),),
    decays=tuple((rho, 256, 32, 40) for rho in RHOS),
    own_nulls=(128, 32, 40),
)
