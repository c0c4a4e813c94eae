"""What the page and the terminal both say of an experiment."""

from __future__ import annotations

import math

import numpy as np

from poslens.checkpoints.table import Source
from poslens.lab.claims import lab_claims
from poslens.lab.results import Curve, LabResults
from poslens.study import Settings, Study


def as_study(results: LabResults) -> Study:
    """Return the claims as a study of no table, which is what pages and terminals show."""
    uri = results.experiment.name
    return Study(
        source=Source(uri, None, None, None, "unknown", 0, None, None, 0),
        length=None,
        dim=None,
        measures={},
        claims=lab_claims(results),
        settings=Settings(nulls=0),
        data={},
    )


def evaluated(results: LabResults) -> list[int]:
    """Return the lengths that were evaluated, ascending."""
    return sorted({length for run in results.runs for length in run.lengths})


def perplexities(results: LabResults, label: str, length: int, *, sliding: bool) -> np.ndarray:
    """Return the perplexities of a scheme at one length, one for each seed that has any."""
    curves = _curves(results, label, length, sliding=sliding)
    return np.array([curve.perplexity for curve in curves])


def losses(results: LabResults, label: str, length: int) -> np.ndarray:
    """Return the losses of a scheme at one length, one for each seed that has any."""
    return np.array([curve.loss for curve in _curves(results, label, length)])


def accuracies(results: LabResults, label: str, length: int) -> np.ndarray:
    """Return the shares of right answers at one length, one for each seed that has any."""
    curves = _curves(results, label, length)
    return np.array([curve.accuracy for curve in curves if curve.accuracy is not None])


def _curves(results: LabResults, label: str, length: int, *, sliding: bool = False) -> list[Curve]:
    every = [run.sliding if sliding else run.lengths for run in results.of(label).values()]
    return [curves[length] for curves in every if length in curves]


def middle(values: np.ndarray) -> float:
    """Return the geometric mean: e to the mean loss."""
    return math.exp(float(np.log(values).mean()))
