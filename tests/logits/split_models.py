"""`first_block_logits` of a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from poslens.checkpoints.describe import described
from poslens.checkpoints.load import table_of
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.sources import open_any
from poslens.checkpoints.table import PositionTable
from poslens.logits import FirstLogits, first_block_logits


def opened(folder: Path | str) -> Checkpoint:
    found = open_any(str(folder), Access(False))
    assert isinstance(found, Checkpoint)
    return found


def table_in(folder: Path | str, part: str | None = None) -> PositionTable | None:
    checkpoint = opened(folder)
    description = described(checkpoint)
    assert description is not None
    return table_of(checkpoint, part, with_tokens=False) if description.adds_table else None


def split(
    folder: Path | str, tokens: np.ndarray, part: str | None = None, **more: Any
) -> FirstLogits:
    checkpoint = opened(folder)
    description = described(checkpoint)
    assert description is not None
    table = more.pop("table", None) or table_in(folder, part)
    return first_block_logits(checkpoint, description, table, tokens, part, **more)
