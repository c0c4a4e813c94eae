"""Train matched models that differ in how they know where a token is, and evaluate them.

Needs the extra ``torch``, which is imported when a name is first used. A run is a `Decoder` of a
`Shape` and an encoding, its batches (a `Split` of a text, or a task), and a `Recipe`:

    shape = Shape(layers=4, heads=4, width=128, context=512)
    split = Split(python_help(), block=8 * shape.context + 1)
    model = Decoder(shape, scheme("alibi", shape))
    for metrics in Training(model, split, Recipe(steps=1000)).run():
        print(metrics.step, metrics.loss)
    by_length = extrapolation(model, split)

An `Experiment` is many runs, of schemes × seeds, and `run_experiment` does them in a folder:

    results = run_experiment(read_experiment("quick"), "runs/quick")
    claims = lab_claims(results)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from poslens.errors import LabError

if TYPE_CHECKING:
    from poslens.lab.batches import IGNORED, Batch, Batches
    from poslens.lab.claims import lab_claims
    from poslens.lab.data import Split, Text, python_help, read_text
    from poslens.lab.evaluate import Losses, accuracy, extrapolation, losses, sliding_losses
    from poslens.lab.experiment import Experiment
    from poslens.lab.export import byte_tokenizer, export
    from poslens.lab.model import Decoder
    from poslens.lab.reading import read_experiment
    from poslens.lab.recipe import Recipe
    from poslens.lab.results import LabResults, read_results
    from poslens.lab.runs import run_experiment
    from poslens.lab.schemes import SCHEMES, scheme
    from poslens.lab.shape import Shape
    from poslens.lab.snapshots import save_snapshot, snapshot_path, snapshot_steps
    from poslens.lab.state import load_training, save_training
    from poslens.lab.tasks import TASKS, Copy, Counting, Lookup, Reverse, Task
    from poslens.lab.train import Metrics, Training

__all__ = [
    "IGNORED",
    "SCHEMES",
    "TASKS",
    "Batch",
    "Batches",
    "Copy",
    "Counting",
    "Decoder",
    "Experiment",
    "LabResults",
    "Lookup",
    "Losses",
    "Metrics",
    "Recipe",
    "Reverse",
    "Shape",
    "Split",
    "Task",
    "Text",
    "Training",
    "accuracy",
    "byte_tokenizer",
    "export",
    "extrapolation",
    "lab_claims",
    "load_training",
    "losses",
    "python_help",
    "read_experiment",
    "read_results",
    "read_text",
    "run_experiment",
    "save_snapshot",
    "save_training",
    "scheme",
    "sliding_losses",
    "snapshot_path",
    "snapshot_steps",
]

_HOMES = {
    "IGNORED": "batches",
    "SCHEMES": "schemes",
    "TASKS": "tasks",
    "Batch": "batches",
    "Batches": "batches",
    "Copy": "tasks",
    "Counting": "tasks",
    "Decoder": "model",
    "Experiment": "experiment",
    "LabResults": "results",
    "Lookup": "tasks",
    "Losses": "evaluate",
    "Metrics": "train",
    "Recipe": "recipe",
    "Reverse": "tasks",
    "Shape": "shape",
    "Split": "data",
    "Task": "tasks",
    "Text": "data",
    "Training": "train",
    "accuracy": "evaluate",
    "byte_tokenizer": "export",
    "export": "export",
    "extrapolation": "evaluate",
    "lab_claims": "claims",
    "load_training": "state",
    "losses": "evaluate",
    "python_help": "data",
    "read_experiment": "reading",
    "read_results": "results",
    "read_text": "data",
    "run_experiment": "runs",
    "save_snapshot": "snapshots",
    "save_training": "state",
    "scheme": "schemes",
    "sliding_losses": "evaluate",
    "snapshot_path": "snapshots",
    "snapshot_steps": "snapshots",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'poslens.lab' has no attribute {name!r}")
    try:
        home = importlib.import_module(f"poslens.lab.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise LabError(
            "the lab cannot train without torch",
            expected="the extra torch",
            got="a Python without it",
            remedy="install it: pip install 'poslens[torch]'",
        ) from error
    return getattr(home, name)


def __dir__() -> list[str]:
    return __all__
