"""Experiments that take a second, and what two of them must share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from poslens.lab.experiment import Experiment
from poslens.lab.reading import read_experiment

TOML = """
name = "small"
about = "A test."
expected = "Nothing."
cost = "A second."
hardware = "Any."
schemes = ["learned", "rope", { scheme = "learned", init = "smooth", label = "smooth" }]
seeds = [0, 3]

[model]
layers = 1
heads = 2
width = 16
context = 16
biases = false

[data]
file = "text.txt"

[recipe]
steps = 11
batch = 3
rate = 1e-2
warmup = 2

[record]
snapshots = 5
state = 4
"""


def written(folder: Path, toml: str = TOML) -> Path:
    """The file of an experiment, with its text beside it."""
    words = "where does this token stand, and how does the model know? it counts, or it measures. "
    text = "".join(f"{n}: {words[n % 40 :]}\n" for n in range(60))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    path = folder / "small.toml"
    path.write_text(toml, encoding="utf-8")
    return path


def small(folder: Path, *changes: str) -> Experiment:
    return read_experiment(written(folder), changes)


def contents(folder: Path) -> dict[str, Any]:
    """All files of an experiment by name, without what depends on the clock and the place."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name == "metrics.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{**line, "tokens_per_second": 0} for line in lines]
        elif path.name == "result.json":
            found[name] = {**json.loads(path.read_text()), "computed": None}
        elif path.is_file() and path.name != ".lock":
            found[name] = path.read_bytes()
    return found
