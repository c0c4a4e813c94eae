"""`Access`: what a caller allows, and who is told how many bytes have come."""

from __future__ import annotations

from dataclasses import dataclass, field

from poslens.checkpoints.remote.meter import Meter


@dataclass(frozen=True)
class Access:
    """How remote files may be read.

    Attributes
    ----------
    allow_full_download
        Whether a file that cannot be read in part is fetched whole.
    meter
        Counts the bytes.
    """

    allow_full_download: bool = False
    meter: Meter = field(default_factory=Meter)
