"""What it costs to have a position table: bytes, requests, seconds and memory, each with its bar.

    python benchmarks/sources.py [--json FILE]

A checkpoint with the names and shapes of GPT-2 small (548 MB, random) is written to a temporary
folder.

Remote: it is served by the hub of the tests on this machine, to fresh processes with an empty
HF_HOME. Every byte of every body is counted, the config included, and every request to either
host, redirects included; beside it, the header and the tensors that are needed. Disk: the position
table alone, read from the folder by PosLens, beside `AutoModel.from_pretrained`; each in fresh
processes, alternating, after all imports, with nothing of the file in the page cache; medians of
the seconds, and of what the peak resident set grows by. from_pretrained maps the file and returns:
its weights are in memory once they have been read, and the bars are for that; what it takes to
return is printed without a bar. Header: opening a file of 100,000 tensors, beside safetensors'
own reader.

Exit status 1 if a table is wrong or a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "hub"))

from gpt2_shaped import POSITIONS, SCALES, TOKENS, Shape, write_gpt2  # noqa: E402
from server import HubServer  # noqa: E402

SMALL = Shape()
MANY = 100_000  # tensors
WEIGHTS = "model.safetensors"
RUNS = 5

Row = tuple[str, str, str, float, float | None]  # what, both sides, the figure, its bar


def poslens_disk(folder: str) -> Callable[[], Any]:
    """Return the reading of the position table from a folder, with everything imported."""
    import poslens

    poslens.load_table("sinusoidal:length=3,dim=2")  # imports what loading needs
    return lambda: poslens.load_table(folder, tokens=False)


def transformers_mapped(folder: str) -> Callable[[], Any]:
    """Return the loading of the whole model, with everything imported."""
    from transformers import AutoModel
    from transformers.models.gpt2 import modeling_gpt2  # noqa: F401 - or it is imported late
    from transformers.utils import logging

    logging.disable_progress_bar()

    def load() -> Any:
        model, info = AutoModel.from_pretrained(folder, output_loading_info=True)
        if info["missing_keys"]:
            raise ValueError(f"not the tensors of a GPT-2: {info['missing_keys']}")
        return model

    return load


def transformers_read(folder: str) -> Callable[[], Any]:
    """Return the same until every weight has been read once, as the first forward pass does."""
    load = transformers_mapped(folder)
    return lambda: [weight.detach().sum() for weight in load().parameters()]


def poslens_header(path: str) -> Callable[[], Any]:
    """Return the opening of a safetensors file."""
    from poslens.checkpoints.byte_source import LocalFile
    from poslens.checkpoints.safetensors_file import SafetensorsFile

    return lambda: SafetensorsFile(LocalFile(Path(path)))


def safetensors_header(path: str) -> Callable[[], Any]:
    """Return the same by the format's own reader."""
    from safetensors import safe_open

    return lambda: safe_open(path, "np").keys()


TIMED: dict[str, Callable[[str], Callable[[], Any]]] = {
    "poslens-disk": poslens_disk,
    "transformers-mapped": transformers_mapped,
    "transformers-read": transformers_read,
    "poslens-header": poslens_header,
    "safetensors-header": safetensors_header,
}


def measured(work: Callable[[], Any]) -> dict[str, float]:
    """Return the seconds of one call, and by how many MB it raises the peak resident set."""
    _forget_peak()
    before, start = _peak(), time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    after = _peak()
    del result  # until here, so that its memory counts
    return {"seconds": seconds, "megabytes": after - before}


def _forget_peak() -> None:
    """Let the peak be what is resident now, where Linux offers that; imports may have had more."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")


def _forget_pages(path: Path) -> None:
    """Drop a file from the page cache, where the system offers that."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _peak() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss is never below what the parent had when it forked
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    scale = 1e6 if platform.system() == "Darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def fetched(source: str, tokens: str) -> dict[str, Any]:
    """Return what a table from a source is."""
    import poslens

    table = poslens.load_table(source, tokens=tokens == "tokens")
    token_sum = None if table.tokens is None else float(table.tokens.sum(dtype=np.float64))
    return {"sha256": table.source.sha256, "tokens": token_sum}


def child(*arguments: str, **environment: str) -> Any:
    """Run one measurement of this file in a fresh process, and return what it printed."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", *arguments],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, **environment},
    )
    return json.loads(done.stdout)


def remote(folder: Path) -> list[Row]:
    """Measure what a hub model and a plain address cost, with and without the token table."""
    rows: list[Row] = []
    opening = len(SMALL.header())
    for tokens, names in (("tokens", (POSITIONS, TOKENS, SCALES)), ("", (POSITIONS, SCALES))):
        local = fetched(str(folder), tokens)
        needed = opening + SMALL.nbytes(*names)
        for route in ("hub", "url"):
            with HubServer() as server, tempfile.TemporaryDirectory() as home:
                server.add_model("gpt2", folder)
                for file in ("config.json", WEIGHTS):
                    server.publish(f"gpt2/{file}", folder / file)
                source = "gpt2" if route == "hub" else f"{server.cdn}/files/gpt2/{WEIGHTS}"
                found = child(
                    "fetched", source, tokens, HF_ENDPOINT=server.hub, HF_HOME=home, HF_TOKEN=""
                )
                if found != local:
                    raise ValueError(f"{source} gives {found}, the folder {local}")
                sent, requests = server.sent(), len(server.requests)
            label = f"{route}, {'with tokens' if tokens else 'table alone'}"
            shown = f"{sent / 1e6:.2f} MB", f"{needed / 1e6:.2f} MB"
            rows.append((f"{label}: bytes", *shown, sent / needed, 1.02))
            rows.append((f"{label}: requests", str(requests), "", requests, 6))
    return rows


def disk(folder: Path) -> list[Row]:
    """Measure the position table from disk beside the whole model."""
    ours, mapped, read = medians(
        ("poslens-disk", "transformers-mapped", "transformers-read"), folder / WEIGHTS, folder
    )
    rows: list[Row] = []
    for what, theirs, bars in (("read", read, (0.02, 0.05)), ("returned", mapped, (None, None))):
        units = (("time", "seconds", "s"), ("memory", "megabytes", "MB"))
        for (word, key, unit), bar in zip(units, bars, strict=True):
            shown = f"{ours[key]:.3g} {unit}", f"{theirs[key]:.3g} {unit}"
            rows.append((f"disk, model {what}: {word}", *shown, ours[key] / theirs[key], bar))
    return rows


def header(folder: Path) -> list[Row]:
    """Measure the opening of a file with very many tensors."""
    path = folder / "many.safetensors"
    records = {
        f"layers.{index}.weight": {
            "dtype": "F32",
            "shape": [1],
            "data_offsets": [4 * index, 4 * index + 4],
        }
        for index in range(MANY)
    }
    text = json.dumps(records).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4 * MANY))
    ours, theirs = medians(("poslens-header", "safetensors-header"), path, path)
    shown = f"{ours['seconds']:.2f} s", f"{theirs['seconds']:.2f} s"
    return [(f"header of {MANY:,} tensors, seconds", *shown, ours["seconds"], 1.0)]


def medians(sides: tuple[str, ...], read: Path, path: Path) -> list[dict[str, float]]:
    """Return each side's medians over fresh processes, alternating; ``read`` is not in memory."""
    runs: list[list[dict[str, float]]] = [[] for _ in sides]
    for _ in range(RUNS):
        for side, found in zip(sides, runs, strict=True):
            _forget_pages(read)
            found.append(child(side, str(path)))
    return [
        {key: statistics.median(run[key] for run in found) for key in found[0]} for found in runs
    ]


def report(rows: list[Row]) -> bool:
    """Print one line a figure; return whether every bar is met."""
    print(f"{'':34} {'PosLens':>10} {'beside it':>10} {'figure':>8} {'bar':>8}")
    met = True
    for what, ours, theirs, figure, bar in rows:
        good = bar is None or figure <= bar
        met &= good
        verdict = "" if good else "  MISSED"
        limit = "none" if bar is None else f"{bar:.3g}"
        print(f"{what:34} {ours:>10} {theirs:>10} {figure:>8.3g} {limit:>8}{verdict}")
    return met


def main() -> None:
    """Measure everything, print the table, and leave with its verdict."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, path, *rest = arguments.child
        result = fetched(path, *rest) if what == "fetched" else measured(TIMED[what](path))
        print(json.dumps(result))
        return

    with tempfile.TemporaryDirectory() as name:
        folder = write_gpt2(Path(name, "gpt2"), SMALL, filled=True)
        size = (folder / WEIGHTS).stat().st_size
        rows = [*remote(folder), *disk(folder), *header(Path(name))]
    print(f"{size / 1e6:.0f} MB checkpoint; {platform.machine()}, {os.cpu_count()} cores, "
          f"Python {platform.python_version()}, NumPy {np.__version__}")  # fmt: skip
    met = report(rows)
    if arguments.json:
        figures = [
            dict(zip(("what", "poslens", "beside", "figure", "bar"), row, strict=True))
            for row in rows
        ]
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.exit(not met)


if __name__ == "__main__":
    main()
