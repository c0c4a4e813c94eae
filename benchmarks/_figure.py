"""The scaling plot: four log-log panels as one SVG, in text only, the same for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

# Okabe & Ito's colours, which remain distinct to colour-blind eyes; one is too pale on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f")
WIDTH, HEIGHT = 960, 800
PANEL = (370, 270)
LEFT, TOP, ACROSS, DOWN = 70, 40, 470, 340
LEGEND = 725
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600;font-size:14px}"
    ".grid{stroke:#e3e3e3}.frame{fill:none;stroke:#999}.line{fill:none;stroke-width:2}"
)
PANELS = (
    ("L", "seconds", "Time as L grows (d = 256), s"),
    ("d", "seconds", "Time as d grows (L = 2,048), s"),
    ("L", "megabytes", "Memory beyond the input as L grows, MB"),
    ("d", "megabytes", "Memory beyond the input as d grows, MB"),
)


def scaling_figure(series: Sequence[dict[str, Any]]) -> str:
    """Return the figure of `_scaling.all_series`' result."""
    names = list(dict.fromkeys(one["name"] for one in series))
    colour = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(names)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Time and memory of the hot measures as tables grow</title>",
        f'<style>{STYLE}</style><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for at, (along, what, title) in enumerate(PANELS):
        lines = {
            one["name"]: [(p["size"], p[what]) for p in one["points"] if p[what] > 0]
            for one in series
            if one["along"] == along
        }
        corner = LEFT + ACROSS * (at % 2), TOP + DOWN * (at // 2)
        parts += _panel(title, along, lines, colour, corner)
    for at, name in enumerate(names):
        x, y = LEFT + 215 * (at % 4), LEGEND + 28 * (at // 4)
        parts.append(f'<path class="line" stroke="{colour[name]}" d="M{x} {y - 4}h22"/>')
        parts.append(f'<text x="{x + 28}" y="{y}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    title: str,
    along: str,
    lines: dict[str, list[tuple[float, float]]],
    colour: dict[str, str],
    corner: tuple[int, int],
) -> list[str]:
    left, top = corner
    width, height = PANEL
    parts = [f'<text class="title" x="{left}" y="{top - 12}">{escape(title)}</text>']
    points = [point for line in lines.values() for point in line]
    if not points:
        return parts
    x_low, x_high = _ends(x for x, _ in points)
    y_low, y_high = (10.0**power for power in _decades(y for _, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log(x / x_low) / math.log(x_high / x_low)
        up = math.log(y / y_low) / math.log(y_high / y_low)
        return round(left + across * width, 1), round(top + (1 - up) * height, 1)

    for power in range(round(math.log10(y_low)), round(math.log10(y_high)) + 1):
        y = place(x_low, 10.0**power)[1]
        parts.append(f'<path class="grid" d="M{left} {y}h{width}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{10.0**power:g}</text>')
    for size in sorted({x for x, _ in points}):
        x = place(size, y_low)[0]
        parts.append(f'<path class="grid" d="M{x} {top}v{height}"/>')
        parts.append(f'<text x="{x}" y="{top + height + 16}" text-anchor="middle">{_size(size)}'
                     "</text>")  # fmt: skip
    parts.append(f'<rect class="frame" x="{left}" y="{top}" width="{width}" height="{height}"/>')
    middle = left + width / 2
    parts.append(f'<text x="{middle}" y="{top + height + 34}" text-anchor="middle">{along}</text>')
    for name, line in lines.items():
        if line:
            placed = [place(x, y) for x, y in line]
            path = "L".join(f"{x} {y}" for x, y in placed)
            parts.append(f'<path class="line" stroke="{colour[name]}" d="M{path}"/>')
            parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour[name]}"/>' for x, y in placed]
    return parts


def _ends(values: Iterable[float]) -> tuple[float, float]:
    """The least and the largest, apart even where there is one value only."""
    found = list(values)
    low, high = min(found), max(found)
    return (low, high) if high > low else (low / 2, high * 2)


def _decades(values: Iterable[float]) -> tuple[int, int]:
    found = list(values)
    low, high = math.floor(math.log10(min(found))), math.ceil(math.log10(max(found)))
    return low, max(high, low + 1)


def _size(value: float) -> str:
    """A power of two as people write it: 512, 64k."""
    return f"{value / 1024:g}k" if value >= 1024 else f"{value:g}"
