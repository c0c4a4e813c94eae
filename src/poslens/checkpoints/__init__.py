"""From a source string to a position table: the header first, then only the bytes that matter."""

from __future__ import annotations

from poslens.checkpoints.describe import describe
from poslens.checkpoints.description import Description
from poslens.checkpoints.load import load_table
from poslens.checkpoints.python_objects import ModelSource
from poslens.checkpoints.table import PositionTable, Source

__all__ = ["Description", "ModelSource", "PositionTable", "Source", "describe", "load_table"]
