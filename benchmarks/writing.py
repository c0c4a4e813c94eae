"""Writing an edited checkpoint beside a plain copy of it, in one run, as ratios.

    python benchmarks/writing.py [--json FILE]

A checkpoint with the names and shapes of GPT-2 small (548 MB, random), in one file and in three
shards, is written to a temporary folder. Its position table is made twice as long.

Time: `write_checkpoint`, the opening of the source included, beside `shutil.copyfile` of its weight
files, in turn in one process after a warm-up of each, on the same disk; nothing is dropped from
caches for either, and what was written is removed before the next turn. Of each side the median.
Memory: by how much one writing in a fresh process raises its peak resident set after imports,
beside the largest tensor and 100 MB. Exit status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

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


def times(source: Path, out: Path) -> dict[str, float]:
    """Return the median seconds of each side, taken in turn."""
    sides: dict[str, Callable[[Path, Path], None]] = {"written": write, "copied": copy}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(RUNS + 1):
        for side, work in sides.items():
            begun = time.perf_counter()
            work(source, out)
            seconds[side].append(time.perf_counter() - begun)
            shutil.rmtree(out)
    return {side: statistics.median(values[1:]) for side, values in seconds.items()}


def peak_growth(source: Path, out: Path) -> float:
    """Return by how much one writing raises this process's peak resident set, in MB."""
    load_table("sinusoidal:length=3,dim=2")  # imports what loading needs
    before = _peak()
    write(source, out)
    shutil.rmtree(out)
    return _peak() - before


def _peak() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss is never below what the parent had when it forked
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    scale = 1e6 if platform.system() == "Darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def in_a_child(source: Path, out: Path) -> float:
    """Return `peak_growth` of a fresh process."""
    command = [sys.executable, __file__, "--child", str(source), str(out)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main() -> int:
    """Measure, print, and return 1 if a bar is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=2, type=Path)
    options = parser.parse_args()
    if options.child:
        print(peak_growth(*options.child))
        return 0
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = write_gpt2(folder / "one", Shape(), filled=True)
        sources = {"one file": one, f"{SHARDS} shards": sharded(one, folder / "shards")}
        for kind, source in sources.items():
            seconds = times(source, folder / "out")
            memory = in_a_child(source, folder / "out")
            ratio = seconds["written"] / seconds["copied"]
            met = ratio <= TIME_BAR and memory <= LARGEST + MEMORY_BAR
            print(
                f"{kind}: written {seconds['written']:.2f} s, copied {seconds['copied']:.2f} s, "
                f"{ratio:.2f}× (bar {TIME_BAR}×); {memory:.0f} MB "
                f"(bar {LARGEST + MEMORY_BAR:.0f} MB); {'met' if met else 'MISSED'}"
            )
            results[kind] = {**seconds, "ratio": ratio, "megabytes": memory, "met": met}
    if options.json:
        machine = {"cpus": os.cpu_count(), "platform": platform.platform()}
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2))
    return 0 if all(one["met"] for one in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
