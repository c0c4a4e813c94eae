"""The command line: parse, call, print.

Exit status 0, 2 for bad usage, or 1 with one line on standard error.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poslens._version import __version__
from poslens.command_line import (
    Debug,
    FullDownload,
    Html,
    Json,
    Seed,
    errors_on_one_line,
    progress_bar,
    show,
    terminated_as_interrupted,
)
from poslens.edit import commands as edit
from poslens.errors import SettingError, quoted
from poslens.files import check_outputs
from poslens.lab.commands import lab

if TYPE_CHECKING:
    from poslens.comparison import Comparison
    from poslens.study import Study

app = typer.Typer(
    name="poslens",
    help="How does this model know where a token is?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

View = Annotated[str, typer.Option(help="raw, or effective: with the first LayerNorm folded in.")]
SomeRows = Annotated[
    str | None, typer.Option("--rows", metavar="START:STOP", help="Only these positions.")
]
Nulls = Annotated[int, typer.Option(help="Null tables drawn for each null model.")]


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
    view: View = "raw",
    rows: SomeRows = None,
    nulls: Nulls = 200,
    seed: Seed = 0,
    bar: Annotated[
        list[str] | None, typer.Option(metavar="CLAIM=VALUE", help="Change a claim's bar.")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A UTF-8 text of any size that the model reads."),
    ] = None,
    contexts: Annotated[
        int | None,
        typer.Option(help="Contexts that it reads (32), of --text or of Python's help topics."),
    ] = None,
    length: Annotated[
        int | None, typer.Option(help="Tokens of each context (256, or all that the model takes).")
    ] = None,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers", help="Run the model, and follow position through every layer (extra torch)."
        ),
    ] = False,
    head: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER:HEAD", help="Whose logits are shown; of layer 0 without --layers."
        ),
    ] = None,
    allow_full_download: FullDownload = False,
    html: Html = None,
    json: Json = None,
    save: Annotated[str | None, typer.Option(help="Save the study as NetCDF.")] = None,
    debug: Debug = False,
) -> None:
    """Measure what a model does with positions, and test what is claimed of it."""
    with errors_on_one_line(debug=debug):
        check_outputs(html, json, save)
        settings = _settings(view, rows, nulls, seed, allow_full_download)
        settings["bars"] = dict(_parsed_bar(each) for each in bar or [])
        settings |= {"text": text, "contexts": contexts, "length": length, "layers": layers}
        settings["head"] = None if head is None else _parsed_head(head)
        with progress_bar() as progress:
            from poslens.analysis import analyze as run

            study = run(source, part=part, progress=progress, **settings)
        # The files come first: what standard output says happened has then happened.
        if save is not None:
            study.save(save)
        if _wrote_json_alone(study, html, json):
            return
        from poslens.report.terminal import claims_table

        show(claims_table(study))


@app.command()
def compare(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Two or more, each as `analyze` takes it: models, tables, and encodings such as "
            "alibi:heads=12.",
            show_default=False,
        ),
    ],
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="What to call a source; once for each, in order."),
    ] = None,
    view: View = "raw",
    rows: SomeRows = None,
    nulls: Nulls = 200,
    seed: Seed = 0,
    allow_full_download: FullDownload = False,
    html: Html = None,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Analyse several sources and show them side by side."""
    with errors_on_one_line(debug=debug):
        check_outputs(html, json)
        settings = _settings(view, rows, nulls, seed, allow_full_download)
        with progress_bar() as progress:
            from poslens.comparison import compare as run

            found = run(sources, labels=label or None, progress=progress, **settings)
        if _wrote_json_alone(found, html, json):
            return
        from poslens.report.side_by_side import side_by_side

        show(side_by_side(found.studies, found.labels))


app.command()(edit.compress)
app.command()(edit.extend)
app.add_typer(lab)


def _settings(
    view: str, rows: str | None, nulls: int, seed: int, allow_full_download: bool
) -> dict[str, Any]:
    return {
        "view": view,
        "rows": None if rows is None else _parsed_rows(rows),
        "nulls": nulls,
        "seed": seed,
        "allow_full_download": allow_full_download,
    }


def _wrote_json_alone(found: Study | Comparison, html: str | None, json: str | None) -> bool:
    """Write the files; whether the record went to standard output, where it stays alone."""
    if html is not None:
        found.report(html)
    if json == "-":
        sys.stdout.write(found.to_json())
        return True
    if json is not None:
        found.to_json(json)
    return False


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


def _parsed_head(text: str) -> tuple[int, int]:
    layer, _, number = text.partition(":")
    try:
        return int(layer), int(number)
    except ValueError:
        raise SettingError(
            "cannot read --head",
            expected="LAYER:HEAD, such as 0:3",
            got=quoted(text),
            remedy="name a layer and a head of it, both counted from 0",
        ) from None


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


def main() -> None:
    """Run the command line."""
    with terminated_as_interrupted():
        app()
