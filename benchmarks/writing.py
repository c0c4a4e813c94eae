"""Writing an edited checkpoint beside a plain copy of it, in one run, as ratios.

    python benchmarks/writing.py [--quick] [--json FILE]

A checkpoint with the names and shapes of GPT-2 small (548 MB, random), in one file and in three
shards, is written to a temporary folder. Its position table is made twice as long.

Time: `write_checkpoint`, the opening of the source included, beside `shutil.copyfile` of its weight
files, in turn in one process after a warm-up of each, on the same disk; nothing is dropped from
caches for either, and what was written is removed before the next turn. Of each side the median.
Memory: by how much one writing in a fresh process raises its peak resident set after imports,
beside the largest tensor and 100 MB. Exit status 1 if a bar is missed.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from _common import Row, child, compared, main, peak_growth

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "hub"))

from gpt2_shaped import Shape, write_gpt2  # noqa: E402

from poslens.checkpoints import load_table  # noqa: E402
from poslens.checkpoints.opening import Checkpoint  # noqa: E402
from poslens.checkpoints.remote.access import Access  # noqa: E402
from poslens.checkpoints.sources import open_any  # noqa: E402
from poslens.edit.placing import table_edit  # noqa: E402
from poslens.edit.writing import write_checkpoint  # noqa: E402

RUNS, SHARDS = 15, 3
TIME_BAR, MEMORY_BAR = 1.5, 100.0  # times a copy; MB beyond the largest tensor
LARGEST = 4 * 50257 * 768 / 1e6


def write(source: Path, out: Path) -> None:
    """Write the checkpoint with its table twice as long."""
    checkpoint = open_any(str(source), Access())
    assert isinstance(checkpoint, Checkpoint)
    rows = load_table(str(source), tokens=False).rows
    edit = table_edit(checkpoint, None, np.tile(rows, (2, 1)), "## Twice as long")
    write_checkpoint(checkpoint, edit, out)


def copy(source: Path, out: Path) -> None:
    """Copy its weight files."""
    out.mkdir()
    for path in source.glob("*.safetensors"):
        shutil.copyfile(path, out / path.name)


def sharded(source: Path, folder: Path) -> Path:
    """Return the same model in several files."""
    folder.mkdir()
    shutil.copyfile(source / "config.json", folder / "config.json")
    tensors = load_file(source / "model.safetensors")
    weight_map, names, total = {}, list(tensors), sum(one.nbytes for one in tensors.values())
    for number in range(SHARDS):
        file, held, size = f"model-{number + 1:05d}-of-{SHARDS:05d}.safetensors", {}, 0
        while names and (size < total / SHARDS or number == SHARDS - 1):
            held[names[0]] = tensors[names[0]]
            size += tensors[names.pop(0)].nbytes
        save_file(held, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(held, file)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def times(source: Path, out: Path, turns: int) -> dict[str, float]:
    """Return the median seconds of each side, taken in turn."""
    sides: dict[str, Callable[[Path, Path], None]] = {"written": write, "copied": copy}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(turns + 1):
        for side, work in sides.items():
            begun = time.perf_counter()
            work(source, out)
            seconds[side].append(time.perf_counter() - begun)
            shutil.rmtree(out)
    return {side: statistics.median(values[1:]) for side, values in seconds.items()}


def peak_of(source: str, out: str) -> float:
    """Return by how much one writing raises this process's peak resident set, in MB."""
    load_table("sinusoidal:length=3,dim=2")  # imports what loading needs
    return peak_growth(lambda: write(Path(source), Path(out)))


def rows(quick: bool) -> list[Row]:
    """Return every figure, beside its bar."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = write_gpt2(folder / "one", Shape(), filled=True)
        sources = {"one file": one, f"{SHARDS} shards": sharded(one, folder / "shards")}
        for kind, source in sources.items():
            seconds = times(source, folder / "out", 3 if quick else RUNS)
            memory = child(__file__, "memory", str(source), str(folder / "memory"))
            shutil.rmtree(folder / "memory")
            found.append(
                compared(f"{kind}: time", seconds["written"], seconds["copied"], "s", TIME_BAR)
            )
            most = LARGEST + MEMORY_BAR
            found.append(Row(f"{kind}: memory", f"{memory:.0f} MB", "", memory, round(most)))
    return found


TASKS = {"memory": peak_of}

if __name__ == "__main__":
    main(__doc__ or "", rows, TASKS, peer="copy", quick="three turns")
