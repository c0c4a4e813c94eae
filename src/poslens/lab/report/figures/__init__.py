"""The figures of an experiment. Each takes `poslens.lab.results.LabResults`."""

from __future__ import annotations

from poslens.lab.report.figures.accuracy import accuracy
from poslens.lab.report.figures.geometry import geometry
from poslens.lab.report.figures.lengths import by_position, extrapolation
from poslens.lab.report.figures.paths import paths
from poslens.lab.report.figures.training import training
from poslens.lab.results import LabResults
from poslens.lab.tasks import Task
from poslens.report.figures.drawing import Figure

__all__ = [
    "accuracy",
    "by_position",
    "extrapolation",
    "figures",
    "geometry",
    "paths",
    "training",
]


def figures(results: LabResults) -> list[Figure]:
    """Return all figures in the order of a page."""
    task = results.experiment.data
    if isinstance(task, Task):
        beyond = [accuracy(results, task)]
    else:
        beyond = [extrapolation(results), by_position(results)]
    return [*beyond, training(results), *paths(results), geometry(results)]
