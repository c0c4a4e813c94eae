"""What a compression or an extension found, in 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from poslens.claims.over_contexts import FEWEST
from poslens.edit.costs import drifted, loss_over, mean_kl, perplexity, saved, seed_of
from poslens.edit.report import shown
from poslens.edit.report.columns import Column, rows
from poslens.edit.results import Candidate, Compression, Extension, Tried
from poslens.report import lines, words
from poslens.report.terminal import WIDTH, claim_lines

_SHOWN = 6  # ranks of a method


def compression_table(found: Compression) -> RenderableType:
    """Return what was tried and chosen, and the claim, as a renderable for Rich.

    At most 80 columns wide; of each method a few ranks, among them the chosen one.
    """
    return _Lines(lambda width: _compression(found, width))


def extension_table(found: Extension) -> RenderableType:
    """Return each method with its loss beyond the trained length, the lowest first.

    At most 80 columns wide, as a renderable for Rich.
    """
    return _Lines(lambda width: _extension(found, width))


@dataclass(frozen=True)
class _Lines:
    made: Callable[[int], Iterator[Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width = min(WIDTH, options.max_width)
        for line in self.made(width):
            line.rstrip()
            yield lines.in_ascii(line, width) if options.ascii_only else line


def _compression(found: Compression, width: int) -> Iterator[Text]:
    table, chosen = found.table, found.chosen
    yield from _head(table.source.uri, found.read, width)
    text = f"{table.length:,} × {table.dim:,} in {chosen.numbers:,} of "
    text += f"{table.length * table.dim:,} numbers: {shown.named(chosen)}"
    yield from lines.wrapped(text, width, 0, 3, "")
    yield Text()
    few = _few(found)
    costs = [shown.raised(found, one) for one in few]
    moved = [drifted(one.drift) for one in few]
    columns = [
        Column("rank", [f"{one.rank:,}" for one in few]),
        Column("numbers", [f"{one.numbers:,}" for one in few], 4),
        Column("saved", [words.percent(saved(found, one)) for one in few]),
        Column("error", [shown.short(one.error) for one in few]),
        Column("loss", [shown.points(cost[0]) if cost else words.NOTHING for cost in costs]),
        Column(
            "95 % interval",
            [shown.percents(cost[1] if cost else None) for cost in costs],
            2,
        ),
        Column("KL", [shown.short(mean_kl(one.scores)) for one in few], 3),
        Column("drift", [shown.short(both[0]) if both else words.NOTHING for both in moved], 1),
        Column("pooled", [shown.short(both[1]) if both else words.NOTHING for both in moved], 2),
    ]
    names = [_mark(shown.same(one, chosen)) + words.visible(one.method) for one in few]
    styles = ["bold" if shown.same(one, chosen) else "" for one in few]
    yield from rows("  method", names, styles, _told(columns), width)
    note = "* chosen; error: ‖P − P̂‖ ÷ ‖P‖"
    if any(costs):
        note += "; loss: change of the mean"
    if any(moved):
        note += "; drift: 1 − cosine of hidden states, pooled: of their mean"
    yield from lines.wrapped(note, width, 0, 3, "dim")
    yield from claim_lines(shown.as_study(found), width)


def _few(found: Compression) -> list[Candidate]:
    """Of each method a few ranks, evenly over those that cost something, and the chosen one."""
    measured = [one for one in found.tried if one.scores is not None or one.drift is not None]
    kept: list[Candidate] = []
    for method in shown.methods(found):
        of = [one for one in measured or found.tried if one.method == method]
        places = np.unique(np.linspace(0, len(of) - 1, min(_SHOWN, len(of))).round().astype(int))
        picked = {id(of[place]) for place in places}
        kept += [
            one
            for one in found.tried
            if one.method == method and (id(one) in picked or shown.same(one, found.chosen))
        ]
    return kept


def _extension(found: Extension, width: int) -> Iterator[Text]:
    yield from _head(found.uri, found.read, width)
    text = f"{words.visible(found.scheme)}: {found.trained:,} → {found.to:,} positions"
    yield from lines.wrapped(text, width, 0, 2, "")
    best = found.recommendation
    order = [one for one, _ in shown.by_loss(found)]
    if order:
        yield Text()
        yield from _measured(found, order, width)
    rest = [one for one in found.tried if all(one is not other for other in order)]
    if rest:
        yield Text()
        yield Text("not measured", "dim", no_wrap=True)
        for one in rest:
            mine = one.method == found.chosen
            told = f"{words.visible(one.method)}: {words.visible(one.about)}"
            for place, line in enumerate(lines.wrapped(told, width - 2, 0, 2, "")):
                mark = Text(_mark(mine and not place), "bold" if mine else "", no_wrap=True)
                yield mark.append_text(line)
        if found.chosen is not None:
            yield Text("* chosen", "dim", no_wrap=True)
    if best is not None:
        yield Text()
        yield from lines.wrapped(_recommended(found), width, 0, 6, "bold")
        if without := shown.cheaper(found):
            yield from lines.wrapped(without, width, 0, 4, "bold")


def _measured(found: Extension, order: Sequence[Tried], width: int) -> Iterator[Text]:
    seed, best = seed_of(found.settings), found.recommendation
    losses = [loss_over(one.scores, found.trained, None, seed) for one in order]
    before = [loss_over(one.scores, 0, found.trained, seed) for one in order]
    excess = [best.excess.get(one.method) if best else None for one in order]
    columns = [
        Column("loss", [shown.nats(loss[0]) if loss else words.NOTHING for loss in losses]),
        Column(
            "perplexity",
            [shown.short(perplexity(loss[0])) if loss else words.NOTHING for loss in losses],
            2,
        ),
        Column("95 % interval", [shown.span(loss[1] if loss else None) for loss in losses], 3),
        Column("within", [shown.nats(loss[0]) if loss else words.NOTHING for loss in before]),
        Column("excess", [f"{one[0]:+,.4f}" if one else words.NOTHING for one in excess]),
        Column("95 % interval", [shown.span(one[1] if one else None) for one in excess], 1),
    ]
    tied = best.tied if best else ()
    recommended = [best is not None and one.method == best.method for one in order]
    names = [
        _mark(first, one.method in tied) + words.visible(one.method)
        for first, one in zip(recommended, order, strict=True)
    ]
    styles = ["bold" if first else "dim" if one.baseline else "" for first, one in
              zip(recommended, order, strict=True)]  # fmt: skip
    yield from rows("  method", names, styles, _told(columns), width)
    note = (
        f"from position {found.trained:,} on, in nats per token; within: before it; excess: over "
    )
    note += "the recommended, paired within contexts; * recommended, = not told from it"
    yield from lines.wrapped(note, width, 0, 3, "dim")


def _recommended(found: Extension) -> str:
    best = found.recommendation
    if best is None:
        return ""
    text = f"recommended: {words.visible(best.method)}, {shown.nats(best.loss)} nats per token"
    if best.interval is not None:
        text += f" ({shown.span(best.interval)})"
    if best.tied:
        text += f"; this text does not tell it from {words.listed(best.tied)}"
        text += "" if best.interval else f": an interval needs {FEWEST} contexts"
    chosen = found.chosen
    if chosen is not None and chosen != best.method:
        text += f"; chosen: {words.visible(chosen)}"
    return text


def _head(uri: str, read: str, width: int) -> Iterator[Text]:
    yield from lines.wrapped(words.visible(uri), width, 0, 2, "bold", keep_end=True)
    yield from lines.wrapped(words.visible(read), width, 0, 3, "dim")


def _mark(first: bool, second: bool = False) -> str:
    return "* " if first else "= " if second else "  "


def _told(columns: Sequence[Column]) -> list[Column]:
    """Columns that say anything."""
    return [column for column in columns if any(cell != words.NOTHING for cell in column.cells)]
