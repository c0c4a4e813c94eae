"""What commands have alike: options, errors on one line, progress and tables on a terminal."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from poslens.errors import PosLensError, quoted

if TYPE_CHECKING:
    from rich.console import RenderableType

Seed = Annotated[int, typer.Option(help="Of every random draw.")]
FullDownload = Annotated[
    bool,
    typer.Option(
        "--allow-full-download", help="Fetch a remote file whole if it cannot be read in part."
    ),
]
Html = Annotated[str | None, typer.Option(help="Write the report to this file.")]
Json = Annotated[
    str | None, typer.Option(help="Write the record to this file; - for standard output.")
]
Debug = Annotated[bool, typer.Option(help="Show a traceback on an error.")]

_TERMINATED = 143  # the exit status that shells give it


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Make SIGTERM a `SystemExit`, so that what is half-written is removed, as after Ctrl-C.

    Afterwards the signal does what it did before. Outside the main thread, and where the caller of
    the process has it ignored or handled, nothing changes.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    # `timeout` sends it twice: the second must not end what the first one made tidy up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(_TERMINATED)


@contextmanager
def errors_on_one_line(*, debug: bool, kept: str = "nothing was written") -> Iterator[None]:
    """Turn an error into one line on standard error and exit status 1.

    Parameters
    ----------
    debug
        Show a traceback instead.
    kept
        What an interruption leaves behind.
    """
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        _leave(f"interrupted; {kept}", 130)
    except SystemExit as end:
        if end.code != _TERMINATED:
            raise
        _leave(f"terminated; {kept}", _TERMINATED)
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
def progress_bar() -> Iterator[Callable[[str, int, int], None] | None]:
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


def show(table: RenderableType) -> None:
    """Print what was found, in the width of the terminal."""
    from rich.console import Console

    Console(soft_wrap=False, highlight=False).print(table, highlight=False)
