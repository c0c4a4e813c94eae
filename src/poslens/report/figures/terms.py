"""The terms of a logit: their names and colours, and the one scale on which they are drawn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from poslens.report import words
from poslens.report.figures import drawing

SHARE = "attention.share"
POSITION_ALONE = "position_position"

# Position is warm and content cool in every figure of a model that reads a text.
COLOURS: Mapping[str, str] = {
    "content_content": drawing.BLUE,
    POSITION_ALONE: drawing.VERMILION,
    "content_position": drawing.GREEN,
    "position_content": drawing.PURPLE,
    "bias": drawing.MUTED,
}
_ENDS = 0.99  # quantile of the sizes that a scale covers at least


def name(term: str) -> str:
    """Return a term as text: query first, then key."""
    return words.visible(term).replace("_", " · ")


def colour(term: str) -> str:
    """Return a term's colour, the same in every figure."""
    return COLOURS.get(term, drawing.INK)


def share_text(share: float) -> str:
    """Return a share with two decimals; a dash where there is none."""
    return f"{share:.2f}".replace("-", "−") if np.isfinite(share) else words.NOTHING


def scale_end(values: np.ndarray, least: float = 0.0) -> tuple[float, int]:
    """Return where a scale around 0 ends, and how many values lie beyond.

    A few very large values do not make all others pale: the end is then the size that 99 % of the
    values do not pass.

    Parameters
    ----------
    values
        What is drawn; NaN where there is nothing.
    least
        The smallest end.
    """
    sizes = np.abs(values[np.isfinite(values)])
    if sizes.size == 0:
        return least or 1.0, 0
    most, common = float(sizes.max()), float(np.quantile(sizes, _ENDS))
    end = max(least, most if most <= 2 * common else common) or 1.0
    return end, int((sizes > end * (1 + 1e-6)).sum())
