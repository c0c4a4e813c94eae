"""The claims in a terminal: 80 columns, readable without colour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from poslens.claims.claim import Claim, Verdict
from poslens.report import by_layer, lines, words
from poslens.study import Study

WIDTH = 80
_LONGEST_ID = 30
_GAPS = (2, 1, 2, 1)  # a number that is aligned to the right stands off by itself
_INDENT = 2
_NOTE_LINES = 3
_NAME_LINES = 12
_TITLE_LINES = 2
_RECOGNISED_LINES = 6
_LAYER_LINES = 4


def claims_table(study: Study) -> RenderableType:
    """Return the claims as a renderable for Rich, at most 80 columns wide.

    Each tested claim takes one line (verdict, claim, value, bar, interval) and a dim reading: the
    null model with its p-value, and what the value means. Claims that do not apply follow, by
    their reason; and where layers were studied, a line for each claim: in which of them it holds.
    """
    return _ClaimsTable(study)


def print_claims(study: Study, console: Console) -> None:
    """Print `claims_table` to ``console``; plain text where that is no terminal."""
    console.print(claims_table(study), highlight=False)


@dataclass(frozen=True)
class _ClaimsTable:
    study: Study

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width = min(WIDTH, options.max_width)
        for line in _lines(self.study, width):
            line.rstrip()
            yield lines.in_ascii(line, width) if options.ascii_only else line


def _lines(study: Study, width: int) -> Iterator[Text]:
    yield from _header(study, width)
    yield from claim_lines(study, width)
    yield from _by_layer(study, width)


def claim_lines(study: Study, width: int) -> Iterator[Text]:
    """Yield the claims that apply as a table of at most ``width`` columns, then the others."""
    claims = words.tested(study)
    if claims:
        columns = _columns(claims, width)
        yield Text()
        yield _row(columns, ("verdict", "claim", "value", "bar", "95 % interval"), "dim")
        yield Text("─" * width, "dim", no_wrap=True)
        for claim in claims:
            yield _claim_line(columns, claim)
            yield from _reading(claim, width)
    yield from _inapplicable(study, width)


def _header(study: Study, width: int) -> Iterator[Text]:
    uri = words.visible(study.source.uri)
    yield from lines.wrapped(uri, width, 0, _TITLE_LINES, "bold", keep_end=True)
    tensor = study.source.tensor
    named = [] if tensor is None or words.visible(tensor) in uri else [words.visible(tensor)]
    facts = " · ".join(named + words.table_facts(study))
    yield from lines.wrapped(facts, width, 0, _TITLE_LINES, "", keep_end=True)
    if study.recognised:
        yield from lines.wrapped(
            words.visible(study.recognised), width, 0, _RECOGNISED_LINES, "dim"
        )
    counts = [(verdict, count) for verdict, count in words.verdict_counts(study) if count]
    summary = Text(" · ").join(
        Text(f"{count} {verdict}", lines.COLOURS[verdict]) for verdict, count in counts
    )
    yield lines.cut(summary, width)


def _columns(claims: list[Claim], width: int) -> tuple[int, ...]:
    """Widths of verdict, claim, value, bar and interval: as wide as their longest, within limits.

    What is left over goes between the columns; nothing grows beyond ``width``.
    """
    longest = [
        max(cell_len(cell) for cell in column)
        for column in zip(*(_cells(claim) for claim in claims), strict=True)
    ]
    verdict, name, value, bar, interval = (
        max(found, least)
        for found, least in zip(longest, (14, 5, 5, 3, len("95 % interval")), strict=True)
    )
    name = min(name, _LONGEST_ID)
    spare = width - verdict - name - sum(_GAPS)
    value = min(value, max(5, spare - bar - interval))
    bar = min(bar, max(3, spare - value - interval))
    interval = min(interval, max(3, spare - value - bar))
    return verdict, name, value, bar, interval


def _cells(claim: Claim) -> tuple[str, str, str, str, str]:
    return (
        f"{words.symbol(claim.verdict)} {claim.verdict}",
        words.visible(claim.id),
        _value(claim),
        words.bar_text(claim.bar),
        words.interval_text(claim),
    )


def _value(claim: Claim) -> str:
    text = words.shown(claim.value, claim.bar)
    # A power of ten says enough of a number that small, and has to fit beside the longest claim.
    return text if "e" not in text or claim.value is None else f"{claim.value:.1e}"


def _claim_line(columns: tuple[int, ...], claim: Claim) -> Text:
    line = _row(columns, _cells(claim), "")
    line.stylize(lines.COLOURS[claim.verdict], 0, columns[0])
    return line


def _row(columns: tuple[int, ...], cells: tuple[str, ...], style: str) -> Text:
    right_aligned = (2,)
    parts = [
        lines.fitted(cell, size, right=column in right_aligned)
        for column, (cell, size) in enumerate(zip(cells, columns, strict=True))
    ]
    line = "".join(part + " " * gap for part, gap in zip(parts, (*_GAPS, 0), strict=True))
    return Text(line, style, no_wrap=True)


def _reading(claim: Claim, width: int) -> Iterator[Text]:
    null = words.null_text(claim)
    parts = [part for part in (null and f"null {null}", words.visible(claim.note)) if part]
    yield from lines.wrapped(" · ".join(parts), width, _INDENT, _NOTE_LINES, "dim")


def _inapplicable(study: Study, width: int) -> Iterator[Text]:
    reasons = words.not_applicable(study)
    if not reasons:
        return
    sign = words.symbol(Verdict.NOT_APPLICABLE)
    yield Text()
    yield Text(f"{sign} {Verdict.NOT_APPLICABLE}"[:width], "dim", no_wrap=True)
    for reason, claims in reasons.items():
        names = ", ".join(words.visible(claim.id) for claim in claims)
        yield from lines.wrapped(names, width, _INDENT, _NAME_LINES, "")
        yield from lines.wrapped(words.visible(reason), width, 2 * _INDENT, _NOTE_LINES, "dim")


def _by_layer(study: Study, width: int) -> Iterator[Text]:
    told = by_layer.said(study)
    if not told:
        return
    yield Text()
    what = f"{by_layer.TITLE.lower()}, on what position sets in the hidden states"
    yield from lines.wrapped(what, width, 0, 2, "dim")
    yield Text("─" * width, "dim", no_wrap=True)
    longest = max(cell_len(words.visible(name)) for name in told)
    size = min(longest, _LONGEST_ID, width // 2)
    for name, sentence in told.items():
        shown = lines.fitted(words.visible(name), size) + "  "
        for line in lines.wrapped(sentence, width, size + 2, _LAYER_LINES, ""):
            yield Text(shown + line.plain[size + 2 :], no_wrap=True)
            shown = " " * (size + 2)
