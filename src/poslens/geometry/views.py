"""The two views of a table: as stored, and as the first attention block sees it."""

from __future__ import annotations

from poslens.axes import PerDim, Rows


def effective(rows: Rows, scales: tuple[PerDim, ...], *, centre: bool = True) -> Rows:
    """Fold the normalisations before the first attention block into the rows.

    A LayerNorm subtracts the mean over dimensions, divides by a scale that depends on the token as
    well as the position, and multiplies by γ. With that division frozen (as in the four-term
    expansion of the logits) what is left is linear: centre over dimensions, multiply by γ.

    Parameters
    ----------
    rows
        Shape (position, dim).
    scales
        γ of each normalisation, in the order in which they act, shape (dim,) each.
    centre
        False for RMSNorm, which does not subtract the mean.
    """
    for scale in scales:
        if centre:
            rows = rows - rows.mean(axis=1, keepdims=True)
        rows = rows * scale
    return rows
