"""What a scheme has learned, at steps that are spaced evenly on a logarithmic scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from poslens.encodings.validate import require_count
from poslens.lab.model import Decoder
from poslens.lab.tensors import write_tensors

SNAPSHOTS = 24


def snapshot_steps(steps: int, count: int = SNAPSHOTS) -> tuple[int, ...]:
    """Return 0, about ``count`` - 1 numbers of steps from 1 on, and ``steps``.

    Near 1 there are fewer, where neighbours on the logarithmic scale are the same number.

    Raises
    ------
    SettingError
        If ``steps`` or ``count`` is out of its range.
    """
    require_count("steps", steps)
    require_count("count", count, 2)
    spaced = np.rint(np.geomspace(1, steps, count - 1)).astype(int)
    return (0, *sorted({*spaced.tolist(), steps}))


def snapshot_path(folder: Path, step: int) -> Path:
    """Return where the snapshot after ``step`` steps is."""
    return folder / f"step-{step:08}.safetensors"


def save_snapshot(model: Decoder, folder: Path, step: int) -> Path | None:
    """Write the table, numbers or vectors of a scheme that trains any; None where it does not.

    The file has one tensor for each, which ``poslens analyze`` reads.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    owned = {name: weight.detach().cpu() for name, weight in model.position.named_parameters()}
    if not owned:
        return None
    path = snapshot_path(folder, step)
    write_tensors(owned, path, {"step": f"{step}"})
    return path
