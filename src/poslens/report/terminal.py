"""The claims in a terminal: 80 columns, readable without colour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from poslens.claims.claim import Claim, Verdict
from poslens.report import words
from poslens.study import Study

WIDTH = 80
_LONGEST_ID = 28
_INDENT = 2
_NOTE_LINES = 3
_NAME_LINES = 12
_TITLE_LINES = 2
_RECOGNISED_LINES = 6

_COLOURS = {
    Verdict.SUPPORTED: "bold green",
    Verdict.CONTRADICTED: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
    Verdict.NOT_APPLICABLE: "dim",
}
# For streams that cannot carry Unicode: what is lost is looks, not meaning.
_ASCII = str.maketrans(
    {"✓": "+", "✗": "x", "–": "-", "—": "-", "…": "~", "×": "x", "·": "|", "≤": "<=", "≥": ">="}
    | {"─": "-", "²": "^2", "σ": "sigma", "ρ": "rho"}
)


def claims_table(study: Study) -> RenderableType:
    """Return the claims as a renderable for Rich, at most 80 columns wide.

    Each tested claim takes one line (verdict, claim, value, bar, interval) and a dim reading: the
    null model with its p-value, and what the value means. Claims that do not apply follow, by
    their reason.
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
            yield _in_ascii(line, width) if options.ascii_only else line


def _in_ascii(line: Text, width: int) -> Text:
    plain = line.plain.translate(_ASCII).encode("ascii", "replace").decode("ascii")
    return Text(plain[:width], no_wrap=True)


def _lines(study: Study, width: int) -> Iterator[Text]:
    yield from _header(study, width)
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
    yield from _wrapped(uri, width, 0, _TITLE_LINES, "bold", keep_end=True)
    tensor = study.source.tensor
    named = [] if tensor is None or words.visible(tensor) in uri else [words.visible(tensor)]
    facts = " · ".join(named + words.table_facts(study))
    yield from _wrapped(facts, width, 0, _TITLE_LINES, "", keep_end=True)
    if study.recognised:
        yield from _wrapped(words.visible(study.recognised), width, 0, _RECOGNISED_LINES, "dim")
    counts = [(verdict, count) for verdict, count in words.verdict_counts(study) if count]
    summary = Text(" · ").join(
        Text(f"{count} {verdict}", _COLOURS[verdict]) for verdict, count in counts
    )
    yield _cut(summary, width)


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
    gaps = 4 * 2
    spare = width - verdict - name - gaps
    value = min(value, max(5, spare - bar - interval))
    bar = min(bar, max(3, spare - value - interval))
    interval = min(interval, max(3, spare - value - bar))
    return verdict, name, value, bar, interval


def _cells(claim: Claim) -> tuple[str, str, str, str, str]:
    return (
        f"{words.symbol(claim.verdict)} {claim.verdict}",
        words.visible(claim.id),
        words.shown(claim.value, claim.bar),
        words.bar_text(claim.bar),
        words.interval_text(claim),
    )


def _claim_line(columns: tuple[int, ...], claim: Claim) -> Text:
    line = _row(columns, _cells(claim), "")
    line.stylize(_COLOURS[claim.verdict], 0, columns[0])
    return line


def _row(columns: tuple[int, ...], cells: tuple[str, ...], style: str) -> Text:
    right_aligned = (2,)
    parts = [
        _fitted(cell, size, right=column in right_aligned)
        for column, (cell, size) in enumerate(zip(cells, columns, strict=True))
    ]
    return Text("  ".join(parts), style, no_wrap=True)


def _fitted(text: str, size: int, *, right: bool = False) -> str:
    """Text in exactly ``size`` cells, cut with an ellipsis where it is too long."""
    length = cell_len(text)
    if length > size:
        return set_cell_size(set_cell_size(text, size - 1) + "…", size)
    return " " * (size - length) + text if right else text + " " * (size - length)


def _reading(claim: Claim, width: int) -> Iterator[Text]:
    null = words.null_text(claim)
    parts = [part for part in (null and f"null {null}", words.visible(claim.note)) if part]
    yield from _wrapped(" · ".join(parts), width, _INDENT, _NOTE_LINES, "dim")


def _inapplicable(study: Study, width: int) -> Iterator[Text]:
    reasons = words.not_applicable(study)
    if not reasons:
        return
    sign = words.symbol(Verdict.NOT_APPLICABLE)
    yield Text()
    yield Text(f"{sign} {Verdict.NOT_APPLICABLE}"[:width], "dim", no_wrap=True)
    for reason, claims in reasons.items():
        names = ", ".join(words.visible(claim.id) for claim in claims)
        yield from _wrapped(names, width, _INDENT, _NAME_LINES, "")
        yield from _wrapped(words.visible(reason), width, 2 * _INDENT, _NOTE_LINES, "dim")


def _wrapped(
    text: str, width: int, indent: int, most: int, style: str, *, keep_end: bool = False
) -> Iterator[Text]:
    """Text in at most ``most`` lines; what does not fit is cut with an ellipsis.

    The end of a path says more than its beginning: ``keep_end`` cuts at the front.
    """
    room = max(1, width - indent)
    if not text:
        return
    pieces = _split(text, room)
    if len(pieces) > most and keep_end:
        pieces = pieces[-most:]
        pieces[0] = "…" + set_cell_size(pieces[0][1:], room - 1)
    elif len(pieces) > most:
        # Cut even where the last line has room: an ellipsis says that more was to come.
        last = set_cell_size(pieces[most - 1].rstrip(), min(room - 1, cell_len(pieces[most - 1])))
        pieces = [*pieces[: most - 1], last.rstrip() + "…"]
    for piece in pieces:
        yield Text(" " * indent + piece.rstrip(), style, no_wrap=True)


def _split(text: str, room: int) -> list[str]:
    """Lines of at most ``room`` cells, broken at spaces, and within a word that is too long."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= room:
            lines[-1] = joined
            continue
        if not lines[-1]:
            lines.pop()
        lines += _chopped(word, room)
    return lines


def _chopped(word: str, room: int) -> list[str]:
    pieces, piece = [], ""
    for character in word:
        if piece and cell_len(piece + character) > room:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]


def _cut(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    text.no_wrap = True
    return text
