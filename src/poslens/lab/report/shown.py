"""What the page and the terminal both say of an experiment."""

from __future__ import annotations

import math

import numpy as np

from poslens.checkpoints.table import Source
from poslens.lab.claims import lab_claims
from poslens.lab.results import LabResults
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
    found: list[float] = []
    for run in results.of(label).values():
        curves = run.sliding if sliding else run.lengths
        if length in curves:
            found.append(curves[length].perplexity)
    return np.array(found)


def middle(values: np.ndarray) -> float:
    """Return the geometric mean: e to the mean loss."""
    return math.exp(float(np.log(values).mean()))
