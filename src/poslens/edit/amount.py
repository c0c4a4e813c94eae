"""How small a table is to become: one of four numbers, or a quarter of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from poslens.edit.compression import Compressor, check_rank, smallest_rank
from poslens.errors import SettingError, quoted

SIZE = 0.25  # of the table's numbers, where nothing is asked for: that of the claim


@dataclass(frozen=True)
class Amount:
    """What was asked for: at most one of these.

    Attributes
    ----------
    rank
        How many components, or functions of position.
    size
        Of the table's numbers, at most.
    error
        ‖P - P̂‖ / ‖P‖, at most.
    tolerance
        By which the model's loss may rise, as a share of what it was.

    Raises
    ------
    SettingError
        If more than one is given, or the tolerance cannot be used.
    """

    rank: int | None = None
    size: float | None = None
    error: float | None = None
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if len(self._given) > 1:
            raise SettingError(
                "cannot tell how small the table is to be",
                expected="one of rank, size, error and tolerance",
                got=" and ".join(self._given),
                remedy="leave all but one out",
            )
        if self.tolerance is not None and not 0 < self.tolerance < math.inf:
            raise SettingError(
                "the tolerance cannot be used",
                expected="a share of the loss above 0, such as 0.01",
                got=quoted(self.tolerance),
            )

    def rank_of(self, found: Compressor) -> int | None:
        """Return the rank that is meant; None where the model's loss decides.

        Raises
        ------
        SettingError
            If no rank is.
        """
        if self.tolerance is not None:
            return None
        if self.rank is not None:
            return check_rank(found, self.rank)
        if self.error is not None:
            return smallest_rank(found, error=self.error)
        return smallest_rank(found, size=SIZE if self.size is None else self.size)

    def record(self) -> dict[str, object]:
        """Return what a compression's settings say of it."""
        return self._given or {"size": SIZE}

    @property
    def _given(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if value is not None}
