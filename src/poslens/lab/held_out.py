"""A trained model on what it was not trained on, as ``result.json`` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from poslens.errors import LabError
from poslens.lab.data import Split
from poslens.lab.evaluate import Losses, accuracy, extrapolation, losses, sliding_losses
from poslens.lab.experiment import Experiment
from poslens.lab.model import Decoder
from poslens.lab.tasks import Task

_Found: TypeAlias = dict[int, dict[str, Any]]  # by length

SEED = 0  # of the contexts of a task, which are the same for all runs


def evaluated(model: Decoder, experiment: Experiment, batches: Split | Task) -> dict[str, Any]:
    """Return the held-out loss by length, and with it what else the data tell.

    On a text, the loss at each position and that with a sliding window; on a task, the share of
    right answers. A window would hide the symbols that a task asks for.

    Raises
    ------
    LabError
        If a loss is no finite number.
    """
    sliding: _Found = {}
    if isinstance(batches, Task):
        lengths = _on_task(model, experiment, batches)
    else:
        lengths, sliding = _on_text(model, experiment, batches)
    return {
        "loss": lengths[experiment.model.context]["loss"],
        "lengths": {str(length): curve for length, curve in lengths.items()},
        "sliding": {str(length): curve for length, curve in sliding.items()},
    }


def _on_text(model: Decoder, experiment: Experiment, split: Split) -> tuple[_Found, _Found]:
    context = experiment.model.context
    whole = extrapolation(model, split, experiment.evaluate.factors)
    longer = [factor * context for factor in experiment.evaluate.factors if factor > 1]
    sliding = {
        length: sliding_losses(model, split.held_out(length), context, experiment.stride)
        for length in longer
    }
    return _curves(whole), _curves(sliding)


def _curves(found: Mapping[int, Losses]) -> _Found:
    return {
        length: {"loss": _finite(one).mean, "by_position": one.by_position.tolist()}
        for length, one in found.items()
    }


def _on_task(model: Decoder, experiment: Experiment, task: Task) -> _Found:
    found: _Found = {}
    for factor in experiment.evaluate.factors:
        length = factor * experiment.model.context
        if model.longest is None or length <= model.longest:
            batch = task.held_out(experiment.contexts, length, SEED)
            loss = _finite(losses(model, batch)).mean
            found[length] = {"loss": loss, "accuracy": accuracy(model, batch)}
    return found


def _finite(found: Losses) -> Losses:
    if not np.isfinite(found.values).all():
        raise LabError(
            f"the evaluation at {found.values.shape[1]} positions broke down",
            expected="finite losses on what is held out",
            got="others",
            remedy="give a lower rate or a longer warm-up",
        )
    return found
