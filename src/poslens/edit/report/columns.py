"""Rows of a terminal whose numbers are never cut: columns that do not fit are left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from poslens.report import lines

_GAP = 2
_MOST = 24  # cells of a name
_LEAST = 20  # that stay where columns can be left out for it


@dataclass(frozen=True)
class Column:
    """A column of numbers: its head, a cell for each row, and how soon it is left out.

    Attributes
    ----------
    head
        What stands above it.
    cells
        One for each row.
    rank
        The column of the highest rank is the first to be left out; one of rank 0 never is.
    """

    head: str
    cells: Sequence[str]
    rank: int = 0

    @property
    def size(self) -> int:
        """Cells of the widest entry."""
        return max(map(cell_len, (self.head, *self.cells)))


def rows(
    head: str, names: Sequence[str], styles: Sequence[str], columns: Sequence[Column], width: int
) -> Iterator[Text]:
    """Yield a head, a rule and a row for each name; only names are cut where room is short."""
    name = min(max(map(cell_len, (head, *names))), _MOST)
    kept = list(columns)
    while sum(_GAP + column.size for column in kept) + min(name, _LEAST) > width:
        if not any(column.rank for column in kept):
            break
        kept.remove(max(kept, key=lambda column: column.rank))
    name = max(min(name, width - sum(_GAP + column.size for column in kept)), 1)
    yield _row(head, [column.head for column in kept], "dim", name, kept)
    yield Text("─" * width, "dim", no_wrap=True)
    for place, (each, style) in enumerate(zip(names, styles, strict=True)):
        yield _row(each, [column.cells[place] for column in kept], style, name, kept)


def _row(name: str, cells: Sequence[str], style: str, size: int, columns: Sequence[Column]) -> Text:
    parts = [lines.fitted(name, size)]
    parts += [
        " " * _GAP + lines.fitted(cell, column.size, right=True)
        for cell, column in zip(cells, columns, strict=True)
    ]
    return Text("".join(parts), style, no_wrap=True)
