"""The figures of a compression and of an extension."""

from __future__ import annotations

from poslens.edit.report.figures.compression import drift, error, loss
from poslens.edit.report.figures.extension import excesses, mean_losses
from poslens.edit.report.figures.positions import compressed_kl, compressed_loss, extended_loss
from poslens.edit.report.figures.tables import compressed_table, extended_table
from poslens.edit.results import Compression, Extension
from poslens.report.figures.drawing import Figure

__all__ = [
    "compressed_kl",
    "compressed_loss",
    "compressed_table",
    "compression_figures",
    "drift",
    "error",
    "excesses",
    "extended_loss",
    "extended_table",
    "extension_figures",
    "loss",
    "mean_losses",
]


def compression_figures(found: Compression) -> list[Figure]:
    """Return the figures of a compression in the order of a page."""
    draw = (error, loss, drift, compressed_loss, compressed_kl, compressed_table)
    return _without_empty([each(found) for each in draw])


def extension_figures(found: Extension) -> list[Figure]:
    """Return the figures of an extension in the order of a page."""
    draw = (extended_loss, mean_losses, excesses, extended_table)
    return _without_empty([each(found) for each in draw])


def _without_empty(figures: list[Figure]) -> list[Figure]:
    return [figure for figure in figures if not (figure.missing and figure.optional)]
