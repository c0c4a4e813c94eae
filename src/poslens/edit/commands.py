"""``poslens compress`` and ``poslens extend``. torch is imported where a model is to read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poslens.command_line import (
    Debug,
    FullDownload,
    Html,
    Json,
    Seed,
    errors_on_one_line,
    progress_bar,
    show,
)
from poslens.errors import SettingError, quoted
from poslens.files import check_outputs

if TYPE_CHECKING:
    from rich.console import RenderableType

    from poslens.edit.writing import Written

Source = Annotated[
    str,
    typer.Argument(
        help="A model on the hub, a model folder, a weights file, or its address, as `analyze` "
        "takes it.",
        show_default=False,
    ),
]
Part = Annotated[str | None, typer.Option(help="Of a model with several tables.")]
Text = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="A UTF-8 text that the model reads (extra torch)."),
]
Out = Annotated[str | None, typer.Option(metavar="FOLDER", help="Write the edited checkpoint.")]


def compress(
    source: Source,
    method: Annotated[
        str, typer.Option(help="svd, cosine, spline, cosine+svd or spline+svd.")
    ] = "svd",
    rank: Annotated[
        int | None, typer.Option(help="How many components, or functions of position.")
    ] = None,
    size: Annotated[
        float | None, typer.Option(help="Or: what fits into this share of the table (0.25).")
    ] = None,
    error: Annotated[
        float | None, typer.Option(help="Or: the fewest numbers within this relative error.")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="Or: the fewest that keep the model's loss within this share (0.01)."),
    ] = None,
    text: Text = None,
    contexts: Annotated[
        int | None,
        typer.Option(help="Contexts that it reads (32), of --text or of Python's help topics."),
    ] = None,
    length: Annotated[int | None, typer.Option(help="Tokens of each context (256).")] = None,
    part: Part = None,
    bar: Annotated[
        float | None, typer.Option(help="Change the bar of memory.compressible (0.01).")
    ] = None,
    out: Out = None,
    seed: Seed = 0,
    allow_full_download: FullDownload = False,
    html: Html = None,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Put a position table into fewer numbers, and measure what it costs the model."""
    with errors_on_one_line(debug=debug):
        check_outputs(html, json)
        if out is not None:
            _check_out(source, out, allow_full_download, extends=False)
        with progress_bar() as progress:
            from poslens.edit.compress import compress as run

            found = run(
                source,
                method=method,
                rank=rank,
                size=size,
                error=error,
                tolerance=tolerance,
                text=text,
                contexts=contexts,
                length=length,
                part=part,
                bars={} if bar is None else {"memory.compressible": bar},
                seed=seed,
                allow_full_download=allow_full_download,
                progress=progress,
            )
            written = None
            if out is not None:
                from poslens.edit.written import write_compressed

                written = write_compressed(found, out, progress)
        from poslens.edit.record import compression_record, to_json
        from poslens.edit.report.page import write_compression
        from poslens.edit.report.terminal import compression_table

        if html is not None:
            write_compression(found, html)
        record = to_json(compression_record(found), None if json == "-" else json)
        _show(compression_table(found), record if json == "-" else None, written)


def extend(
    source: Source,
    to: Annotated[int, typer.Option(help="How many positions it is to have.", show_default=False)],
    method: Annotated[
        str | None,
        typer.Option(
            help="Which method to choose; without it, the one that a text recommends.",
            show_default=False,
        ),
    ] = None,
    text: Text = None,
    contexts: Annotated[
        int | None,
        typer.Option(help="Contexts that it reads (8), of --text or of Python's help topics."),
    ] = None,
    trained: Annotated[
        int | None,
        typer.Option(help="Positions it was trained for, where the source does not say."),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="By which the baseline's window moves (a quarter).")
    ] = None,
    part: Part = None,
    out: Out = None,
    seed: Seed = 0,
    allow_full_download: FullDownload = False,
    html: Html = None,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Give a model a longer context by every method that is known, and compare them."""
    with errors_on_one_line(debug=debug):
        check_outputs(html, json)
        if out is not None:
            _check_out(source, out, allow_full_download, extends=True)
            if method is None and text is None and contexts is None:
                raise SettingError(
                    "cannot tell which method to write",
                    expected="--method NAME, or --text FILE to let a text recommend one",
                    got="neither",
                )
        with progress_bar() as progress:
            from poslens.edit.extend import extend as run

            found = run(
                source,
                to,
                method=method,
                text=text,
                contexts=contexts,
                trained=trained,
                stride=stride,
                part=part,
                seed=seed,
                allow_full_download=allow_full_download,
                progress=progress,
            )
            written = None
            if out is not None:
                from poslens.edit.written import write_extended

                written = write_extended(found, out, progress)
        from poslens.edit.record import extension_record, to_json
        from poslens.edit.report.page import write_extension
        from poslens.edit.report.terminal import extension_table

        if html is not None:
            write_extension(found, html)
        record = to_json(extension_record(found), None if json == "-" else json)
        _show(extension_table(found), record if json == "-" else None, written)


def _check_out(source: str, out: str, allow_full_download: bool, *, extends: bool) -> None:
    from poslens.edit.written import check_out

    check_out(source, out, extends=extends, allow_full_download=allow_full_download)


def _show(table: RenderableType, record: str | None, written: Written | None) -> None:
    """Print what was found; or the record, which stays alone on standard output."""
    if record is not None:
        sys.stdout.write(record)
        return
    show(table)
    if written is not None:
        typer.echo(f"\nwritten: {quoted(Path(written.folder))[1:-1]}")
