"""The path of a learned table while it is trained, with a slider over snapshots."""

from __future__ import annotations

import numpy as np

from poslens.lab.results import LabResults, Run
from poslens.report import words
from poslens.report.figures import stepped
from poslens.report.figures.drawing import Figure
from poslens.report.figures.trajectory import DRAWN, path, scene

_ROOM = 0.04  # beyond the widest snapshot, of its width
_LONGEST = 1.7  # side of the space, in Plotly's units


def paths(results: LabResults) -> list[Figure]:
    """Return one figure for each scheme with a learned table, of its first seed that is done."""
    found = []
    for arm in results.experiment.schemes:
        runs = results.of(arm.label)
        if arm.scheme == "learned" and runs:
            found.append(_path(results, next(iter(runs.values()))))
    return found


def _path(results: LabResults, run: Run) -> Figure:
    context = results.experiment.model.context
    tables = {step: rows[:context] for step, rows in run.tables().items()}
    steps, centred = list(tables), [rows - rows.mean(axis=0) for rows in tables.values()]
    # All snapshots on the axes of the last one: what is drawn grows, and does not turn.
    axes = np.linalg.svd(centred[-1], full_matrices=False)[2][:DRAWN]
    scores = [rows @ axes.T for rows in centred]
    position = np.arange(len(centred[-1]))
    low, high = (by(by(scores, axis=0), axis=0) for by in (np.min, np.max))
    room = _ROOM * float((high - low).max())
    wide = float((high - low).max()) + 2 * room
    traces = [
        path(of, position) | {"name": f"step {step}", "visible": step == steps[-1]}
        for step, of in zip(steps, scores, strict=True)
    ]
    scenes = [scene(of, position) for of in scores]
    for space in scenes:
        # One scale on all axes, and the longest of them within the view.
        space |= {"aspectmode": "manual", "aspectratio": {}}
        for letter, least, most in zip("xyz", low - room, high + room, strict=False):
            space[f"{letter}axis"]["range"] = [float(least), float(most)]
            space["aspectratio"][letter] = _LONGEST * float((most - least) / wide)
    shares = [_share(of, rows) for of, rows in zip(scores, centred, strict=True)]
    titles = [
        f"After {words.counted(step, 'step')}: {words.percent(share)} of the variance"
        for step, share in zip(steps, shares, strict=True)
    ]
    layout = stepped.layout(steps, titles, scenes, first=len(steps) - 1)
    return Figure(
        f"path-{run.label}",
        f"The path of the positions while training: {run.label}",
        _reading(run, steps, shares),
        traces,
        layout,
    )


def _share(scores: np.ndarray, centred: np.ndarray) -> float:
    """The share of the variance about the mean that the drawn axes hold."""
    whole = float((centred**2).sum())
    return float((scores**2).sum()) / whole if whole else 0.0


def _reading(run: Run, steps: list[int], shares: list[float]) -> str:
    text = f"Seed {run.seed}. Rows within the trained length, each less their mean, on the first "
    text += "three principal axes of the trained table, all on one scale: from the noise or curve "
    text += f"of the beginning, of whose variance they hold {words.percent(shares[0])}, to the "
    text += f"table after {words.counted(steps[-1], 'step')}, {words.percent(shares[-1])}. "
    ends = [run.snapshots[at].measures.get("trajectory.roughness") for at in (0, -1)]
    first, last = (end if isinstance(end, float) else None for end in ends)
    if first is not None and last is not None:
        text += f"Roughness goes from {words.shown(first)} to {words.shown(last)}. "
    return text + "Move the slider through training, and turn the path by dragging."
