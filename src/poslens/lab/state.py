"""A training's state in one file: written whole, read without unpickling anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from poslens.errors import LabError, quoted
from poslens.lab.tensors import write_tensors
from poslens.lab.train import Training

FORMAT = 1
_KEY = "poslens.lab"
_MOMENTS = {"exp_avg": "mean", "exp_avg_sq": "mean_square"}  # torch's words, and the file's


def save_training(training: Training, path: str | Path) -> None:
    """Write weights, the optimiser's state and the step to a safetensors file.

    Raises
    ------
    OutputError
        If it cannot be written; a file that was there is then as it was.
    """
    tensors: dict[str, Tensor] = {}
    for name, weight in training.model.named_parameters():
        tensors[f"weight.{name}"] = weight.detach()
        state = training.optimiser.state.get(weight, {})
        for theirs, ours in _MOMENTS.items():
            tensors[f"{ours}.{name}"] = state.get(theirs, torch.zeros_like(weight))
    about = {"format": FORMAT, "step": training.step, "run": identity(training)}
    write_tensors(tensors, path, {_KEY: json.dumps(about, sort_keys=True)})


def load_training(training: Training, path: str | Path) -> None:
    """Put a training where another one, of the same run, was saved.

    Raises
    ------
    LabError
        If the file cannot be read, is damaged, or is of another run. Nothing has then changed.
    """
    shown = quoted(path)
    try:
        with safe_open(path, framework="pt") as file:
            about = _about(file.metadata(), shown)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise LabError(
            f"{shown} is no state of a training",
            expected="a sound safetensors file",
            got=quoted(error),
            remedy="go on from another one, or begin anew",
        ) from error
    _require_same(about["run"], identity(training), shown)
    named = dict(training.model.named_parameters())
    prefixes = ("weight", *_MOMENTS.values())
    wanted = {f"{prefix}.{name}": w for name, w in named.items() for prefix in prefixes}
    if _forms(tensors) != _forms(wanted):
        raise LabError(
            f"{shown} is no state of this training",
            expected="the model's weights with two running means of each",
            got="others",
        )
    with torch.no_grad():
        for name, weight in named.items():
            weight.copy_(tensors[f"weight.{name}"])
            moments = {
                theirs: tensors[f"{ours}.{name}"].to(weight) for theirs, ours in _MOMENTS.items()
            }
            step = torch.tensor(float(about["step"]), device=weight.device)
            training.optimiser.state[weight] = {"step": step, **moments}
    training.step = about["step"]


def identity(training: Training) -> dict[str, Any]:
    """Return, as JSON has it, all that a run's numbers depend on but its initial weights."""
    about = {
        "encoding": repr(training.model.position.encoding),
        "batches": repr(training.batches),
        **{f"shape.{name}": value for name, value in asdict(training.model.shape).items()},
        **{f"recipe.{name}": value for name, value in asdict(training.recipe).items()},
    }
    return dict(json.loads(json.dumps(about)))


def _forms(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (one.shape, one.dtype) for name, one in tensors.items()}


def _about(metadata: dict[str, str] | None, shown: str) -> dict[str, Any]:
    try:
        about = json.loads((metadata or {})[_KEY])
        step = about["step"]
        if about["format"] == FORMAT and isinstance(about["run"], dict) and type(step) is int:
            return dict(about)
    except (KeyError, TypeError, ValueError):
        pass
    raise LabError(
        f"{shown} is no state of a training",
        expected=f"a file that `save_training` wrote, in format {FORMAT}",
        got="another one",
    )


def _require_same(saved: dict[str, Any], now: dict[str, Any], shown: str) -> None:
    for part, wanted in now.items():
        if saved.get(part) != wanted:
            raise LabError(
                f"{shown} belongs to another run",
                expected=f"{part} {quoted(wanted)}",
                got=quoted(saved.get(part)),
                remedy="go on with the settings that it was begun with",
            )
