"""A trained run as the model that ships with PosLens: in float16, with all that made it.

    poslens lab run demo --out runs/demo
    python -m poslens.lab.shipping runs/demo src/poslens/demo

What is written: the model as a GPT-2 folder, the experiment, the losses while it was trained, those
of the stored weights, and a card.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from poslens.errors import LabError
from poslens.lab.batches import Batch
from poslens.lab.data import Split
from poslens.lab.evaluate import losses
from poslens.lab.experiment import Experiment
from poslens.lab.folders import EXPERIMENT, read_json, write_json
from poslens.lab.model import Decoder
from poslens.lab.results import Run, read_results
from poslens.lab.state import load_training
from poslens.lab.tensors import write_tensors
from poslens.lab.train import Training

RECIPE, METRICS, CARD = "training.toml", "metrics.json", "README.md"
_EVERY = 20  # of so many steps one loss is kept


def ship(runs: str | Path, target: str | Path) -> dict[str, Any]:
    """Write the one run of an experiment to the package; return its metrics.

    Parameters
    ----------
    runs
        The experiment's folder.
    target
        The package's.

    Raises
    ------
    LabError
        If the experiment has another number of runs, or its run is not done, or not on text.
    """
    found = read_results(runs)
    if len(found.runs) != 1 or found.stopped or found.absent:
        raise LabError(
            "cannot ship this experiment",
            expected="one run, which is done",
            got=f"{len(found.runs)} done, {len(found.stopped)} stopped, {len(found.absent)} absent",
        )
    (run,) = found.runs
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = load_file(run.folder.model / "model.safetensors")
    stored = {name: tensor.half().contiguous() for name, tensor in tensors.items()}
    write_tensors(stored, folder / "model.safetensors", {"format": "pt"})
    config = read_json(run.folder.model / "config.json")
    write_json(folder / "config.json", {**config, "dtype": "float16"})
    shutil.copyfile(run.folder.model / "tokenizer.json", folder / "tokenizer.json")
    shutil.copyfile(Path(runs) / EXPERIMENT, folder / RECIPE)
    metrics = _metrics(found.experiment, run, (folder / RECIPE).read_bytes())
    write_json(folder / METRICS, metrics)
    (folder / CARD).write_text(_card(found.experiment, metrics), encoding="utf-8")
    return metrics


def _metrics(experiment: Experiment, run: Run, recipe: bytes) -> dict[str, Any]:
    model = _as_stored(experiment, run)
    split, context = experiment.batches(), experiment.model.context
    if not isinstance(split, Split):
        raise LabError("cannot ship this experiment", expected="a model of text", got="of a task")
    shown = run.metrics
    return {
        "parameters": run.record["parameters"],
        "computed": run.record["computed"],
        "text": {"name": split.text.name, "sha256": split.text.sha256},
        "held_out_loss": losses(model, split.held_out(context)).mean,
        "recipe_loss": losses(model, windows(recipe, context)).mean,
        "step": shown["step"][::_EVERY].tolist(),
        "loss": [round(float(loss), 4) for loss in shown["loss"][::_EVERY]],
    }


def windows(content: bytes, length: int) -> Batch:
    """Return the first windows of a text's bytes that are whole, and what follows each byte."""
    tokens = np.frombuffer(content, dtype=np.uint8).astype(np.int64)
    count = (tokens.size - 1) // length
    inputs, targets = (tokens[at : at + count * length].reshape(count, length) for at in (0, 1))
    return Batch(inputs, targets)


def _as_stored(experiment: Experiment, run: Run) -> Decoder:
    """Return the trained model with the weights that float16 leaves of it."""
    encoding = experiment.encoding(experiment.arm(run.label), run.seed)
    model = Decoder(experiment.model, encoding, run.seed)
    training = Training(model, experiment.batches(), experiment.recipe_of(run.seed))
    load_training(training, run.folder.state)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half().float())
    return model


def _card(experiment: Experiment, metrics: dict[str, Any]) -> str:
    shape, recipe = experiment.model, experiment.recipe
    return f"""# The demo model of PosLens

{experiment.about}

A decoder in GPT-2's form: {shape.layers} layers of {shape.heads} heads, width {shape.width},
{shape.context} positions, {metrics["parameters"]["all"]:,} weights, stored in float16. Its
tokens are bytes. It was trained by PosLens's own lab on {metrics["text"]["name"]}, for
{recipe.steps:,} steps of {recipe.batch} contexts: `{RECIPE}` is the whole recipe, `{METRICS}`
the losses on the way.

Held-out loss of the stored weights: {metrics["held_out_loss"]:.4f} nats per byte.

It is for looking at, not for use: it writes something like help on Python, and knows nothing else.
To make it anew:

```
poslens lab run demo --out runs/demo
python -m poslens.lab.shipping runs/demo src/poslens/demo
```
"""


if __name__ == "__main__":
    ship(*sys.argv[1:3])
