"""The command line: parse, call, print.

Exit status 0, 2 for bad usage, or 1 with one line on standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poslens._version import __version__
from poslens.errors import PosLensError, SettingError, quoted

if TYPE_CHECKING:
    from poslens.draws import Progress
    from poslens.study import Study

app = typer.Typer(
    name="poslens",
    help="How does this model know where a token is?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"poslens {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """How does this model know where a token is?"""


@app.command()
def analyze(
    source: Annotated[
        str,
        typer.Argument(
            help="A model on the hub (gpt2, org/name@revision), a model folder, a .safetensors, "
            ".npy or .npz file, its http(s) address, SOURCE::TENSOR, or sinusoidal:length=L,dim=d.",
            show_default=False,
        ),
    ],
    part: Annotated[
        str | None, typer.Option(help="Of a model with several tables: encoder, decoder, text …")
    ] = None,
    view: Annotated[
        str, typer.Option(help="raw, or effective: with the first LayerNorm folded in.")
    ] = "raw",
    rows: Annotated[
        str | None, typer.Option(metavar="START:STOP", help="Only these positions.")
    ] = None,
    nulls: Annotated[int, typer.Option(help="Null tables drawn for each null model.")] = 200,
    seed: Annotated[int, typer.Option(help="Of every random draw.")] = 0,
    bar: Annotated[
        list[str] | None, typer.Option(metavar="CLAIM=VALUE", help="Change a claim's bar.")
    ] = None,
    allow_full_download: Annotated[
        bool,
        typer.Option(
            "--allow-full-download", help="Fetch a remote file whole if it cannot be read in part."
        ),
    ] = False,
    html: Annotated[str | None, typer.Option(help="Write the report to this file.")] = None,
    json: Annotated[
        str | None, typer.Option(help="Write the record to this file; - for standard output.")
    ] = None,
    save: Annotated[str | None, typer.Option(help="Save the study as NetCDF.")] = None,
    debug: Annotated[bool, typer.Option(help="Show a traceback on an error.")] = False,
) -> None:
    """Measure a position table and test what is claimed of such tables."""
    with _errors_on_one_line(debug=debug):
        from poslens.files import check_writable

        for path in (html, None if json == "-" else json, save):
            if path is not None:
                check_writable(path)
        settings: dict[str, Any] = {"part": part, "view": view, "nulls": nulls, "seed": seed}
        settings["rows"] = None if rows is None else _parsed_rows(rows)
        settings["allow_full_download"] = allow_full_download
        settings["bars"] = dict(_parsed_bar(text) for text in bar or [])
        with _progress() as progress:
            from poslens.analysis import analyze as run

            study = run(source, progress=progress, **settings)
        _deliver(study, html, json, save)


def _deliver(study: Study, html: str | None, json: str | None, save: str | None) -> None:
    """Write the files first: what standard output says happened has then happened."""
    if save is not None:
        study.save(save)
    if html is not None:
        study.report(html)
    if json == "-":
        sys.stdout.write(study.to_json())
        return
    if json is not None:
        study.to_json(json)
    from rich.console import Console

    from poslens.report.terminal import print_claims

    print_claims(study, Console(soft_wrap=False, highlight=False))


def _parsed_rows(text: str) -> tuple[int | None, int | None]:
    start, colon, stop = text.partition(":")
    try:
        if colon:
            return (int(start) if start else None), (int(stop) if stop else None)
    except ValueError:
        pass
    raise SettingError(
        "cannot read --rows",
        expected="START:STOP, such as 1:512",
        got=quoted(text),
        remedy="leave a side empty for an end of the table",
    )


def _parsed_bar(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        if equals:
            return name.strip(), float(value)
    except ValueError:
        pass
    raise SettingError(
        "cannot read --bar",
        expected="CLAIM=VALUE, such as norm.stable=0.2",
        got=quoted(text),
        remedy="name a claim and a number",
    )


@contextmanager
def _errors_on_one_line(*, debug: bool) -> Iterator[None]:
    """Turn an error into one line on standard error and exit status 1."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        _leave("interrupted; nothing was written", 130)
    except BrokenPipeError:
        # The reader of standard output has gone (`| head`): nothing is left to say to it.
        sys.stderr.close()
        raise typer.Exit(1) from None
    except PosLensError as error:
        if debug:
            raise
        _leave(str(error), 1)
    except Exception as error:
        if debug:
            raise
        _leave(
            f"unexpected {type(error).__name__}: {quoted(error)}; this is a fault in PosLens: "
            "run again with --debug and report it",
            1,
        )


def _leave(message: str, status: int) -> None:
    sys.stderr.write(f"poslens: {message}\n")
    raise typer.Exit(status)


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A progress bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<26}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("reading", total=None)

        def advance(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=total)

        yield advance


def main() -> None:
    """Run the command line."""
    app()
