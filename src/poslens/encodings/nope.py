"""No position encoding at all: a causal mask alone tells a decoder where a token is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from poslens.encodings.protocol import Acts


@dataclass(frozen=True)
class Nope:
    """NoPE: nothing is added, rotated or biased."""

    name: ClassVar[str] = "nope"
    acts: ClassVar[Acts] = "nothing"
    paper: ClassVar[str] = "Haviv et al. 2022; Kazemnejad et al. 2023, section 2"

    @property
    def parameters(self) -> int:
        """None: there is nothing to train."""
        return 0
