"""What an experiment found, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from poslens.lab.report.shown import accuracies, as_study, evaluated, middle, perplexities
from poslens.lab.results import LabResults
from poslens.lab.tasks import Task
from poslens.report import lines, words
from poslens.report.terminal import WIDTH, claim_lines

_SCHEME, _SEEDS = 16, 6


def summary(results: LabResults) -> RenderableType:
    """Return what was found by scheme and length, and the claims, as a renderable for Rich."""
    return _Summary(results)


@dataclass(frozen=True)
class _Summary:
    results: LabResults

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width = min(WIDTH, options.max_width)
        for line in _lines(self.results, width):
            line.rstrip()
            yield lines.in_ascii(line, width) if options.ascii_only else line


def _lines(results: LabResults, width: int) -> Iterator[Text]:
    experiment = results.experiment
    yield Text(experiment.name, "bold")
    yield from lines.wrapped(words.visible(experiment.about), width, 0, 4, "dim")
    yield Text()
    on_task = isinstance(experiment.data, Task)
    yield from (_accuracies if on_task else _perplexities)(results, width)
    for name, problem in results.stopped.items():
        yield from lines.wrapped(f"{name} stopped: {words.visible(problem)}", width, 0, 3, "")
    if results.absent:
        absent = f"not done: {words.listed(results.absent)}"
        yield from lines.wrapped(absent, width, 0, 2, "")
    yield from claim_lines(as_study(results), width)


def _perplexities(results: LabResults, width: int) -> Iterator[Text]:
    lengths = evaluated(results)
    context = results.experiment.model.context
    head = [f"{length // context}×" for length in lengths]
    longest = f"{lengths[-1] // context}× sliding" if lengths else ""
    yield _row(("perplexity", "seeds", *head, longest), width, "dim")
    yield Text("─" * width, "dim", no_wrap=True)
    for label in results.labels:
        whole = [perplexities(results, label, length, sliding=False) for length in lengths]
        window = perplexities(results, label, lengths[-1], sliding=True)
        cells = [words.shown(middle(v)) if v.size else words.NOTHING for v in (*whole, window)]
        yield _row((label, str(len(results.of(label))), *cells), width, "")


def _accuracies(results: LabResults, width: int) -> Iterator[Text]:
    """Per cent of right answers: the mean over seeds and, where there are several, their range."""
    lengths = evaluated(results)
    head = [f"{length // results.experiment.model.context}×" for length in lengths]
    yield _row(("% right", "seeds", *head), width, "dim")
    yield Text("─" * width, "dim", no_wrap=True)
    for label in results.labels:
        found = [100 * accuracies(results, label, length) for length in lengths]
        runs = len(results.of(label))
        means = [f"{values.mean():.1f}" if values.size else words.NOTHING for values in found]
        yield _row((label, str(runs), *means), width, "")
        if runs > 1:
            yield _row(("", "", *map(_span, found)), width, "dim")


def _span(values: np.ndarray) -> str:
    return f"{values.min():.0f} … {values.max():.0f}" if values.size else ""


def _row(cells: tuple[str, ...], width: int, style: str) -> Text:
    label, seeds, *numbers = cells
    size = max((width - _SCHEME - _SEEDS) // max(len(numbers), 1), 8)
    parts = [lines.fitted(label, _SCHEME), lines.fitted(seeds, _SEEDS)]
    parts += [lines.fitted(number, size, right=True) for number in numbers]
    return Text("".join(parts), style, no_wrap=True)
