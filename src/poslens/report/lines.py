"""Text in lines of a terminal: fitted to a width in cells, and in ASCII where that is all."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from poslens.claims.claim import Verdict

COLOURS = {
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


def in_ascii(line: Text, width: int) -> Text:
    """Return a line in ASCII, still no wider than ``width``."""
    plain = line.plain.translate(_ASCII).encode("ascii", "replace").decode("ascii")
    return Text(plain[:width], no_wrap=True)


def fitted(text: str, size: int, *, right: bool = False) -> str:
    """Return text in exactly ``size`` cells, cut with an ellipsis where it is too long."""
    length = cell_len(text)
    if length > size:
        return set_cell_size(set_cell_size(text, size - 1) + "…", size)
    return " " * (size - length) + text if right else text + " " * (size - length)


def wrapped(
    text: str, width: int, indent: int, most: int, style: str, *, keep_end: bool = False
) -> Iterator[Text]:
    """Yield text in at most ``most`` lines; what does not fit is cut with an ellipsis.

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


def broken(name: str, width: int, most: int) -> list[str]:
    """Return a name in at most ``most`` lines, broken after its separators where that is possible.

    What does not fit is cut with an ellipsis; what is cut off stands elsewhere in full.
    """
    pieces = [""]
    for part in re.split(r"(?<=[/,:_ -])", name):
        if cell_len((pieces[-1] + part).rstrip()) <= width:
            pieces[-1] += part
            continue
        pieces += _chopped(part, width)
    shown = [piece.rstrip() for piece in pieces if piece]
    if len(shown) > most:
        last = shown[most - 1]
        shown = [*shown[: most - 1], set_cell_size(last, min(width - 1, cell_len(last))) + "…"]
    return shown


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


def cut(text: Text, width: int) -> Text:
    """Cut a styled line to ``width`` cells, in place."""
    text.truncate(width, overflow="ellipsis")
    text.no_wrap = True
    return text
