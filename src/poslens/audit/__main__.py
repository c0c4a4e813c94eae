"""``python -m poslens.audit``: audit the verdicts, and write what was found."""

from __future__ import annotations

from typing import Annotated

import typer

from poslens.command_line import errors_on_one_line, progress_bar

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def audit(
    quick: Annotated[
        bool, typer.Option("--quick", help="A few small tables and models, in about a minute.")
    ] = False,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the page (Markdown) to this file.")
    ] = None,
    json: Annotated[str | None, typer.Option(help="Write the record to this file.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every random draw.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; as many as cores where not given.")
    ] = None,
    debug: Annotated[bool, typer.Option(help="Show a traceback on an error.")] = False,
) -> None:
    """Decide claims where the truth is known by construction, and count how often that is right."""
    with errors_on_one_line(debug=debug):
        from poslens.audit.page import page, write_page
        from poslens.audit.plan import FULL, QUICK
        from poslens.audit.run import run_audit
        from poslens.files import check_writable

        for path in (out, json):
            if path is not None:
                check_writable(path)
        with progress_bar() as progress:
            found = run_audit(QUICK if quick else FULL, seed, workers=workers, progress=progress)
        if json is not None:
            found.write_json(json)
        if out is None:
            typer.echo(page(found))
        else:
            write_page(found, out)
            typer.echo(f"audited in {found.seconds:.0f} s: {out}")


if __name__ == "__main__":
    app(prog_name="python -m poslens.audit")
