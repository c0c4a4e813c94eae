"""Writes a checkpoint in a process of its own, whose files have room for so many bytes alone."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np

from poslens.checkpoints import load_table
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.sources import open_any
from poslens.edit.placing import table_edit
from poslens.edit.writing import write_checkpoint
from poslens.errors import OutputError


def main(source: str, out: str, most: str) -> None:
    """Write a table twice as long, and print why that failed."""
    checkpoint, rows = open_any(source, Access()), load_table(source).rows
    assert isinstance(checkpoint, Checkpoint)
    edit = table_edit(checkpoint, None, np.tile(rows, (2, 1)), "")
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), resource.RLIM_INFINITY))
    try:
        write_checkpoint(checkpoint, edit, Path(out))
    except OutputError as error:
        print(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
