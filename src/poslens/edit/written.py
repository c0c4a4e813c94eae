"""Checkpoints of what was found: an edited table, or a changed config."""

from __future__ import annotations

from pathlib import Path

from poslens._version import __version__
from poslens.checkpoints import ModelSource
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.sources import open_any
from poslens.draws import Progress
from poslens.edit.placing import rope_edit, table_edit
from poslens.edit.results import Compression, Extension
from poslens.edit.writing import Written, check_writable_checkpoint, write_checkpoint
from poslens.errors import SettingError, quoted


def check_out(source: ModelSource, folder: str | Path) -> None:
    """Require, before long work, that an edit of this source can be written there.

    Raises
    ------
    SourceError
        If the source cannot be opened.
    SettingError
        If it is of a kind that is read and not written.
    OutputError
        If the folder exists, or cannot be made.
    """
    check_writable_checkpoint(_checkpoint(open_any(source, Access())), folder)


def write_compressed(
    found: Compression, folder: str | Path, progress: Progress | None = None
) -> Written:
    """Write the checkpoint with the chosen table, and its factors beside it.

    The table has its old shape, so that every program reads it; the factors, in a file of their
    own, are what it is in fewer numbers.

    Raises
    ------
    SettingError
        If the source is of a kind that is read and not written.
    OutputError
        If the folder exists or cannot be written; nothing is left behind.
    """
    checkpoint = _checkpoint(found.table.origin)
    part = found.settings.get("part")
    edit = table_edit(checkpoint, part, found.rows, _compressed_card(found), factors=found.factors)
    return write_checkpoint(checkpoint, edit, folder, progress)


def write_extended(
    found: Extension, folder: str | Path, progress: Progress | None = None
) -> Written:
    """Write the checkpoint with the chosen longer table, or the changed config.

    Raises
    ------
    SettingError
        If nothing was chosen, there is nothing to write, or the source is of a kind that is read
        and not written.
    OutputError
        If the folder exists or cannot be written; nothing is left behind.
    """
    checkpoint = _checkpoint(found.origin)
    if found.chosen is None:
        raise SettingError(
            "no method was chosen", expected="one of " + ", ".join(t.method for t in found.tried)
        )
    card = _extended_card(found)
    if found.rows is not None:
        edit = table_edit(checkpoint, found.part, found.rows, card)
    elif found.changes:
        edit = rope_edit(checkpoint, found.part, found.changes, found.to, card)
    else:
        raise SettingError(
            "there is nothing to write",
            expected="a scheme that is extended by an edit",
            got=f"{found.scheme}, which knows every distance",
            remedy="use the model as it is",
        )
    return write_checkpoint(checkpoint, edit, folder, progress)


def _checkpoint(opened: object) -> Checkpoint:
    if isinstance(opened, Checkpoint):
        return opened
    raise SettingError(
        "there is no checkpoint to write",
        expected="a model with its weights",
        got="a table alone",
        remedy="save the rows yourself",
    )


def _compressed_card(found: Compression) -> str:
    chosen, table = found.chosen, found.table
    saved = 1 - chosen.numbers / table.rows.size
    return "\n".join(
        [
            "## Position table in fewer numbers",
            "",
            f"Made by PosLens {__version__} from {quoted(table.source.uri)}.",
            "",
            f"- tensor: {quoted(table.source.tensor or '')}, {table.length} × {table.dim}",
            f"- method: {chosen.method}, rank {chosen.rank}: {chosen.numbers:,} numbers, "
            f"{saved:.1%} fewer",
            f"- relative error: {chosen.error:.3g}",
            f"- text: {found.read or 'none was read'}",
            "",
        ]
    )


def _extended_card(found: Extension) -> str:
    about = next(one.about for one in found.tried if one.method == found.chosen)
    lines = [
        f"## Extended from {found.trained} to {found.to} positions",
        "",
        f"Made by PosLens {__version__} from {quoted(found.uri)}; nothing was trained.",
        "",
        f"- method: {found.chosen}: {about}",
    ]
    best = found.recommendation
    if best is not None and best.method == found.chosen:
        within = ""
        if best.interval is not None:
            low, high = best.interval
            within = f" (95 % {low:.4f} to {high:.4f})"
        lines.append(
            f"- loss beyond {found.trained} positions: {best.loss:.4f} nats per token{within}, "
            f"on {found.read}"
        )
    return "\n".join([*lines, ""])
