"""Studies side by side in a terminal: a column for each source, readable without colour."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from poslens.claims.claim import Claim, Verdict
from poslens.report import aligned, lines, words
from poslens.study import Study

WIDTH = 120
_NAMES = 28  # as wide as the longest name of a claim
_NARROWEST = 11  # a sign and a number
_WIDEST = 24
_GAP = 2
_HEAD_LINES = 3
_RECOGNISED_LINES = 3
_CLAIM = "claim"
_MEASURE = "measure"

# Those that tell tables and schemes apart; the page and the record have all of them.
SHOWN = (
    "norm.mean",
    "norm.cv",
    "norm.token_ratio",
    "cosine.adjacent",
    "cosine.centered_adjacent",
    "cosine.half_lag",
    "cosine.exp_r2",
    "cosine.best_family",
    "difference.parallel",
    "trajectory.straightness",
    "trajectory.linear_r2",
    "trajectory.helix_r2",
    "trajectory.roughness",
    "pca.n80",
    "pca.n95",
    "pca.participation_ratio",
    "probe.position_mae",
    "probe.order_error",
    *aligned.BY_HEAD,
)


def side_by_side(studies: Sequence[Study], labels: Sequence[str]) -> RenderableType:
    """Return the comparison as a renderable for Rich, at most 120 columns wide.

    What each source is comes first; then a column for each: scheme and shape, verdict and value
    of every claim that applies to one of them, and measures. Columns that do not fit beside each
    other follow in further blocks.
    """
    return _SideBySide(tuple(studies), tuple(labels))


def print_side_by_side(studies: Sequence[Study], labels: Sequence[str], console: Console) -> None:
    """Print `side_by_side` to ``console``; plain text where that is no terminal."""
    console.print(side_by_side(studies, labels), highlight=False)


@dataclass(frozen=True)
class _SideBySide:
    studies: tuple[Study, ...]
    labels: tuple[str, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width = min(WIDTH, options.max_width)
        for line in _lines(self.studies, self.labels, width):
            line.rstrip()
            yield lines.in_ascii(line, width) if options.ascii_only else lines.cut(line, width)


def _lines(studies: Sequence[Study], labels: Sequence[str], width: int) -> Iterator[Text]:
    numbered = [f"{number} {words.visible(label)}" for number, label in enumerate(labels, 1)]
    for name, study in zip(numbered, studies, strict=True):
        yield from lines.wrapped(name, width, 0, _HEAD_LINES, "bold")
        what = words.visible(study.recognised) or " · ".join(words.table_facts(study))
        yield from lines.wrapped(what, width, 2, _RECOGNISED_LINES, "dim")
    # Every block has the same rows, so that blocks can be read beside each other.
    claims, measures = aligned.tested(studies), aligned.with_kernels(studies)
    facts = aligned.facts(studies)
    for block in _blocks(len(studies), width):
        columns = _Columns(block, width)
        yield Text()
        yield from columns.head([numbered[index] for index in block])
        yield Text("─" * width, "dim", no_wrap=True)
        for name, cells in facts.items():
            yield columns.row(name, cells)
        if claims:
            yield Text()
            yield columns.row(_CLAIM, [""] * len(studies), "dim")
        for name, row in claims.items():
            yield columns.claims(words.visible(name), row)
        yield from _measures(columns, measures)
    yield Text()
    kernels = any(name in measures for name in aligned.BY_HEAD)
    yield from _legend(bool(claims), kernels, width)


def _blocks(count: int, width: int) -> Iterator[range]:
    """Columns that fit beside each other, in blocks of about equal size."""
    fitting = max(1, (width - _name_cells(width)) // (_NARROWEST + _GAP))
    blocks = math.ceil(count / fitting)
    edges = [round(block * count / blocks) for block in range(blocks + 1)]
    for start, stop in pairwise(edges):
        yield range(start, stop)


def _name_cells(width: int) -> int:
    return min(_NAMES, width // 2)


@dataclass(frozen=True)
class _Columns:
    """The columns of one block: of which sources, and in how many cells altogether."""

    block: range
    width: int

    @property
    def size(self) -> int:
        room = (self.width - _name_cells(self.width)) // len(self.block) - _GAP
        return min(_WIDEST, max(1, room))

    def head(self, labels: Sequence[str]) -> Iterator[Text]:
        cells = [lines.broken(label, self.size, _HEAD_LINES) for label in labels]
        for pieces in zip_longest(*cells, fillvalue=""):
            yield self._line("", pieces, "bold")

    def row(self, name: str, cells: Sequence[str], style: str = "") -> Text:
        return self._line(name, [cells[index] for index in self.block], style)

    def claims(self, name: str, row: Sequence[Claim | None]) -> Text:
        shown = [row[index] for index in self.block]
        line = self._line(name, [_claim_text(claim) for claim in shown], "")
        for column, claim in enumerate(shown):
            if claim is not None:
                start = _name_cells(self.width) + _GAP + column * (self.size + _GAP)
                line.stylize(lines.COLOURS[claim.verdict], start, start + 1)
        return line

    def _line(self, name: str, cells: Sequence[str], style: str) -> Text:
        parts = [lines.fitted(name, _name_cells(self.width))]
        parts += [lines.fitted(cell, self.size) for cell in cells]
        return Text((" " * _GAP).join(parts), style, no_wrap=True)


def _claim_text(claim: Claim | None) -> str:
    if claim is None:
        return ""
    sign = words.symbol(claim.verdict)
    if not aligned.applies(claim) or claim.value is None:
        return sign
    return f"{sign} {words.shown(claim.value, claim.bar)}"


def _measures(
    columns: _Columns, measures: Mapping[str, tuple[aligned.Scalar, ...]]
) -> Iterator[Text]:
    rows = {name: measures[name] for name in SHOWN if name in measures}
    if rows:
        yield Text()
        yield columns.row(_MEASURE, [""] * len(next(iter(rows.values()))), "dim")
    for name, values in rows.items():
        yield columns.row(name, [words.value_text(value) for value in values])


def _legend(claims: bool, kernels: bool, width: int) -> Iterator[Text]:
    if claims:
        signs = " · ".join(f"{words.symbol(verdict)} {verdict}" for verdict in Verdict)
        yield from lines.wrapped(signs, width, 0, 2, "dim")
    else:
        yield from lines.wrapped("no claim applies to any of these", width, 0, 2, "dim")
    if kernels:
        yield from lines.wrapped(
            "kernel: median over the heads of the first layer", width, 0, 2, "dim"
        )
