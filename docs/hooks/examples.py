"""The models and tables that the site shows: the demo, encodings, and tables with a known shape."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

import poslens
from poslens.lab.smooth import smooth_table
from poslens.study import Study

NULLS = 100  # as few as can reach p ≤ 0.01
_LENGTH, _DIM = 256, 32
_INIT = 0.02


@dataclass(frozen=True)
class Example:
    """Something that is analysed for the site.

    Attributes
    ----------
    words
        What it is, for people.
    study
        From nothing to its study.
    """

    words: str
    study: Callable[[], Study]


@cache
def study(name: str) -> Study:
    """Return the study of an example; it is made once."""
    return EXAMPLES[name].study()


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _time() -> np.ndarray:
    return np.linspace(0, 1, _LENGTH)[:, None]


def _line() -> np.ndarray:
    direction = _rng(1).standard_normal((1, _DIM))
    return direction * (_time() + 0.5) + 3e-4 * _rng(2).standard_normal((_LENGTH, _DIM))


def _helix() -> np.ndarray:
    turn = 2 * np.pi * 3 * _time()
    waves = np.concatenate([np.cos(turn), np.sin(turn), 0.2 * _time()], axis=1)
    directions = np.linalg.qr(_rng(3).standard_normal((_DIM, 3)))[0].T
    return waves @ directions + 0.005 * _rng(4).standard_normal((_LENGTH, _DIM))


def _decaying() -> np.ndarray:
    """Each row is the one before, shrunk, and fresh noise (Ornstein and Uhlenbeck's process)."""
    noise = _rng(5).standard_normal((_LENGTH, 128))
    rows = noise.copy()
    for t in range(1, _LENGTH):
        rows[t] = 0.95 * rows[t - 1] + np.sqrt(1 - 0.95**2) * noise[t]
    return rows


def _noisy() -> np.ndarray:
    return _helix() + 0.12 * _rng(6).standard_normal((_LENGTH, _DIM))


def _uneven() -> np.ndarray:
    return _helix() * np.exp(0.5 * _rng(11).standard_normal((_LENGTH, 1)))


def _fresh() -> np.ndarray:
    return _INIT * _rng(7).standard_normal((_LENGTH, _DIM))


def _smooth() -> np.ndarray:
    return smooth_table(_LENGTH, _DIM, scale=16.0, std=_INIT, seed=8).table(np.arange(_LENGTH))


def _of(rows: Callable[[], np.ndarray]) -> Callable[[], Study]:
    return lambda: poslens.analyze(rows(), nulls=NULLS)


def _fresh_study() -> Study:
    table = replace(poslens.load_table(_fresh()), init_std=_INIT)
    return poslens.analyze(table, nulls=NULLS)


def _changed_demo(change: Callable[[np.ndarray], np.ndarray], nulls: int = 0) -> Study:
    """The demo model with another table: its file with that tensor's bytes replaced."""
    with (
        tempfile.TemporaryDirectory() as folder,
        resources.as_file(resources.files("poslens") / "demo") as demo,
    ):
        shutil.copytree(demo, folder, dirs_exist_ok=True)
        path = Path(folder) / "model.safetensors"
        content = bytearray(path.read_bytes())
        start = 8 + int.from_bytes(content[:8], "little")
        entry = json.loads(content[8:start])["transformer.wpe.weight"]
        begin, end = (start + offset for offset in entry["data_offsets"])
        rows = np.frombuffer(content[begin:end], np.float16).reshape(entry["shape"])
        content[begin:end] = change(rows.astype(np.float64)).astype(np.float16).tobytes()
        path.write_bytes(content)
        return poslens.analyze(folder, nulls=nulls)


def _shuffled(rows: np.ndarray) -> np.ndarray:
    return rows[_rng(9).permutation(len(rows))]


def _unfinished(rows: np.ndarray) -> np.ndarray:
    start = 3 * len(rows) // 4
    fresh = _INIT * _rng(10).standard_normal(rows[start:].shape)
    return np.concatenate([rows[:start], fresh])


EXAMPLES: dict[str, Example] = {
    "demo": Example("the demo model", lambda: poslens.analyze("demo", nulls=NULLS, contexts=8)),
    "shuffled": Example(
        "the demo model with the rows of its table in random order",
        lambda: _changed_demo(_shuffled, NULLS),
    ),
    "faded": Example(
        "the demo model with its table divided by 10,000",
        lambda: _changed_demo(lambda rows: rows / 10_000),
    ),
    "long": Example(
        "the demo model with its table multiplied by 5",
        lambda: _changed_demo(lambda rows: rows * 5),
    ),
    "unfinished": Example(
        "the demo model with the last quarter of its table as before training",
        lambda: _changed_demo(_unfinished),
    ),
    "sinusoidal": Example(
        "the sinusoidal table of 512 positions and 64 dimensions",
        lambda: poslens.analyze("sinusoidal:length=512,dim=64", nulls=NULLS),
    ),
    "line": Example("a straight line with a little noise", _of(_line)),
    "helix": Example("a helix of three turns with a little noise", _of(_helix)),
    "noisy": Example("the same helix with much noise", _of(_noisy)),
    "uneven": Example("the same helix, each row longer or shorter by chance", _of(_uneven)),
    "decaying": Example("rows that forget the row before at a steady rate", _of(_decaying)),
    "fresh": Example("a table before training: independent noise", _fresh_study),
    "smooth": Example("a table before training that begins smooth", _of(_smooth)),
    "rope": Example("RoPE with 64 dimensions a head", lambda: poslens.analyze("rope:head_dim=64")),
    "alibi": Example("ALiBi with 4 heads", lambda: poslens.analyze("alibi:heads=4")),
    "t5": Example("T5's buckets before training, 4 heads", lambda: poslens.analyze("t5:heads=4")),
}
