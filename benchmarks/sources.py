"""What it costs to have a position table: bytes, requests, seconds and memory, each with its bar.

    python benchmarks/sources.py [--quick] [--json FILE]

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

Exit status 1 if a table is wrong or a bar is missed. `--quick` leaves the models on disk out.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from _common import Row, child, main, measured

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "hub"))

from gpt2_shaped import POSITIONS, SCALES, TOKENS, Shape, write_gpt2  # noqa: E402
from server import HubServer  # noqa: E402

SMALL = Shape()
MANY = 100_000  # tensors
WEIGHTS = "model.safetensors"
RUNS = 5


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


def _forget_pages(path: Path) -> None:
    """Drop a file from the page cache, where the system offers that."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fetched(source: str, tokens: bool) -> dict[str, Any]:
    """Return what a table from a source is."""
    import poslens

    table = poslens.load_table(source, tokens=tokens)
    token_sum = None if table.tokens is None else float(table.tokens.sum(dtype=np.float64))
    return {"sha256": table.source.sha256, "tokens": token_sum}


def remote(folder: Path) -> list[Row]:
    """Measure what a hub model and a plain address cost, with and without the token table."""
    rows: list[Row] = []
    opening = len(SMALL.header())
    for tokens, names in ((True, (POSITIONS, TOKENS, SCALES)), (False, (POSITIONS, SCALES))):
        local = fetched(str(folder), tokens)
        needed = opening + SMALL.nbytes(*names)
        for route in ("hub", "url"):
            with HubServer() as server, tempfile.TemporaryDirectory() as home:
                server.add_model("gpt2", folder)
                for file in ("config.json", WEIGHTS):
                    server.publish(f"gpt2/{file}", folder / file)
                source = "gpt2" if route == "hub" else f"{server.cdn}/files/gpt2/{WEIGHTS}"
                found = child(
                    __file__,
                    "fetched",
                    source,
                    tokens,
                    HF_ENDPOINT=server.hub,
                    HF_HOME=home,
                    HF_TOKEN="",
                )
                if found != local:
                    raise ValueError(f"{source} gives {found}, the folder {local}")
                sent, requests = server.sent(), len(server.requests)
            label = f"{route}, {'with tokens' if tokens else 'table alone'}"
            shown = f"{sent / 1e6:.2f} MB", f"{needed / 1e6:.2f} MB"
            rows.append(Row(f"{label}: bytes", *shown, sent / needed, 1.02))
            rows.append(Row(f"{label}: requests", str(requests), "", requests, 6))
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
            rows.append(Row(f"disk, model {what}: {word}", *shown, ours[key] / theirs[key], bar))
    return rows


def header(folder: Path, runs: int) -> list[Row]:
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
    ours, theirs = medians(("poslens-header", "safetensors-header"), path, path, runs)
    shown = f"{ours['seconds']:.2f} s", f"{theirs['seconds']:.2f} s"
    return [Row(f"header of {MANY:,} tensors, seconds", *shown, ours["seconds"], 1.0)]


def medians(
    sides: tuple[str, ...], read: Path, path: Path, runs: int = RUNS
) -> list[dict[str, float]]:
    """Return each side's medians over fresh processes, alternating; ``read`` is not in memory."""
    every: list[list[dict[str, float]]] = [[] for _ in sides]
    for _ in range(runs):
        for side, found in zip(sides, every, strict=True):
            _forget_pages(read)
            found.append(child(__file__, side, str(path)))
    return [{key: median(run[key] for run in found) for key in found[0]} for found in every]


def rows(quick: bool) -> list[Row]:
    """Return every figure, beside its bar."""
    with tempfile.TemporaryDirectory() as name:
        folder = write_gpt2(Path(name, "gpt2"), SMALL, filled=True)
        size = (folder / WEIGHTS).stat().st_size
        print(f"{size / 1e6:.0f} MB checkpoint")
        if quick:
            return [*remote(folder), *header(Path(name), 1)]
        return [*remote(folder), *disk(folder), *header(Path(name), RUNS)]


def _task(side: str) -> Callable[[str], dict[str, float]]:
    return lambda path: measured(TIMED[side](path))


TASKS: dict[str, Callable[..., Any]] = {"fetched": fetched, **{one: _task(one) for one in TIMED}}

if __name__ == "__main__":
    main(__doc__ or "", rows, TASKS, peer="beside it", quick="leave the models on disk out")
