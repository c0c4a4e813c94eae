"""``poslens lab``: run experiments and report on them. torch is imported when a run begins."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poslens.command_line import Debug, errors_on_one_line, progress_bar, show
from poslens.errors import LabError, SettingError, quoted

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from poslens.lab.one_run import Outcome
    from poslens.lab.results import LabResults

lab = typer.Typer(
    name="lab",
    help="Train matched models that differ in their positions alone, and compare them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_KEPT = "what the runs have written is sound: go on with --resume"


@lab.command("run")
def run(
    experiment: Annotated[
        str, typer.Argument(help="quick, tasks, paper, or a TOML file.", show_default=False)
    ],
    out: Annotated[str, typer.Option(help="A new folder for the runs.", show_default=False)],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the runs in the folder.")
    ] = False,
    executor: Annotated[
        str, typer.Option(help="processes, or dask: what the runs are spread over.")
    ] = "processes",
    workers: Annotated[
        int | None, typer.Option(help="Runs at a time; as many as cores where not given.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: recipe.steps=100."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Do the runs of an experiment, each on its own core, and show what they found."""
    with errors_on_one_line(debug=debug, kept=_KEPT):
        from poslens.lab import read_experiment, run_experiment

        asked = read_experiment(experiment, change or ())
        ended: list[Outcome] = []
        runs = len(asked.schemes) * len(asked.seeds)
        with _spread(executor, workers, runs) as over, progress_bar() as progress:

            def finished(outcome: Outcome) -> None:
                ended.append(outcome)
                if not progress:
                    _tell(outcome)

            found = run_experiment(
                asked, out, resume=resume, executor=over, progress=progress, finished=finished
            )
        _show(found)
        _require_all(ended, out)
        typer.echo(f"\n`{_reporting(out)}` writes the report")


@lab.command("report")
def report(
    folder: Annotated[str, typer.Argument(help="The --out of a run.", show_default=False)],
    html: Annotated[
        str | None, typer.Option(help="Write the report here, rather than into the folder.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Write the report on an experiment as HTML, and show what it found."""
    with errors_on_one_line(debug=debug):
        from poslens.files import check_writable
        from poslens.lab.report.page import write_report
        from poslens.lab.results import read_results

        found = read_results(folder)
        path = check_writable(html or Path(folder) / "report.html")
        write_report(found, path)
        _show(found)
        typer.echo(f"\nreport: {path}")


@lab.command("list")
def shown(debug: Debug = False) -> None:
    """List the experiments that come with PosLens."""
    with errors_on_one_line(debug=debug):
        from poslens.lab.reading import read_experiment, shipped

        for name in shipped():
            one = read_experiment(name)
            typer.echo(f"{name}\n  {one.about}\n  cost: {one.cost}\n  hardware: {one.hardware}")


@contextmanager
def _spread(name: str, workers: int | None, runs: int) -> Iterator[Executor | None]:
    """Give what was asked for; None, for this process, where one run at a time needs no other."""
    from poslens.lab.executors import EXECUTORS, cores, dask, processes

    if name not in EXECUTORS:
        raise SettingError("no such executor", expected=" or ".join(EXECUTORS), got=quoted(name))
    if workers is not None and workers < 1:
        raise SettingError(
            "cannot run on so few", expected="at least 1 for --workers", got=f"{workers}"
        )
    count = min(workers or cores(), runs)
    if name == "dask":
        with dask(count) as executor:
            yield executor
    elif count == 1:
        yield None
    else:
        with processes(count) as executor:
            yield executor


def _tell(outcome: Outcome) -> None:
    """One line for a run, where no bar shows how far they are."""
    loss = "" if outcome.loss is None else f"done, held-out loss {outcome.loss:.4f}"
    sys.stderr.write(f"{outcome.name}: {outcome.problem or loss}\n")
    sys.stderr.flush()


def _show(found: LabResults) -> None:
    from poslens.lab.report.terminal import summary

    show(summary(found))


def _require_all(ended: list[Outcome], folder: str) -> None:
    # By outcomes, not by the files of the runs: on a full disk none says why it stopped.
    stopped = [outcome for outcome in ended if outcome.problem]
    if not stopped:
        return
    others = f"the others are done: `{_reporting(folder)}` shows them"
    raise LabError(
        f"{len(stopped)} of {len(ended)} runs stopped",
        got="; ".join(f"{outcome.name}: {outcome.problem}" for outcome in stopped),
        remedy=others if len(stopped) < len(ended) else "",
    )


def _reporting(folder: str) -> str:
    return f"poslens lab report {shlex.quote(folder) if folder.isprintable() else quoted(folder)}"
