"""Checkpoints of what was found: an edited table, or a changed config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from poslens.checkpoints import ModelSource
from poslens.checkpoints.describe import described
from poslens.checkpoints.load import table_of
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.sources import open_any
from poslens.draws import Progress
from poslens.edit.card import card_section
from poslens.edit.costs import increase_of, loss_over, saved, seed_of
from poslens.edit.extension import extended
from poslens.edit.places import parts_together
from poslens.edit.placing import Edit, table_edit, together, values_edit
from poslens.edit.report.shown import cheaper
from poslens.edit.results import Compression, Extension, Interval
from poslens.edit.ways import limit_of, rotates, scheme_of
from poslens.edit.writing import FACTORS, Written, check_writable_checkpoint, write_checkpoint
from poslens.errors import SettingError, quoted


def check_out(
    source: ModelSource,
    folder: str | Path,
    *,
    extends: bool,
    allow_full_download: bool = False,
) -> None:
    """Require, before long work, that an edit of this source can be written there.

    Parameters
    ----------
    source
        As for `poslens.compress`.
    folder
        It must not exist.
    extends
        Whether the edit is for a longer context, which some schemes need none for.
    allow_full_download
        As for `poslens.compress`.

    Raises
    ------
    SourceError
        If the source cannot be opened.
    SettingError
        If it is of a kind that is read and not written, or there is nothing to write.
    OutputError
        If the folder exists, or cannot be made.
    """
    checkpoint = _checkpoint(open_any(source, Access(allow_full_download)))
    check_writable_checkpoint(checkpoint, folder)
    description = described(checkpoint)
    known = description is None or description.adds_table or rotates(description)
    config = checkpoint.config
    if extends and not known and (config is None or limit_of(config, None) is None):
        raise _nothing_to_write(scheme_of(description))


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
    card = _compressed_card(checkpoint, found)
    edit = table_edit(checkpoint, part, found.rows, card, factors=found.factors)
    return write_checkpoint(checkpoint, edit, folder, progress)


def write_extended(
    found: Extension, folder: str | Path, progress: Progress | None = None
) -> Written:
    """Write the checkpoint with the chosen longer table, or the changed config.

    Tables whose lengths are one number of the config become longer together, by the same method.

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
            "no method was chosen",
            expected="one of " + ", ".join(one.method for one in found.tried if not one.baseline),
            got="none",
            remedy="give --method",
        )
    if found.rows is None and not found.changes:
        raise _nothing_to_write(found.scheme)
    card = _extended_card(checkpoint, found, found.chosen)
    if found.rows is None:
        edit = values_edit(checkpoint, found.part, found.changes, found.to, card)
    else:
        edit = _tables_edit(checkpoint, found, found.chosen, card)
    return write_checkpoint(checkpoint, edit, folder, progress)


def _tables_edit(checkpoint: Checkpoint, found: Extension, method: str, card: str) -> Edit:
    """Return an edit of the table, and of every other that shares its length in the config."""
    first, *others = parts_together(checkpoint, found.part)
    edits = [table_edit(checkpoint, first, np.asarray(found.rows), card)]
    for part in others:
        rows = table_of(checkpoint, part, with_tokens=False).rows[: found.trained]
        edits.append(table_edit(checkpoint, part, extended(rows, found.to, method), card))
    return together(*edits)


def _checkpoint(opened: object) -> Checkpoint:
    if isinstance(opened, Checkpoint):
        return opened
    raise SettingError(
        "there is no checkpoint to write",
        expected="a model with its weights",
        got="a table alone",
        remedy="save the rows yourself",
    )


def _nothing_to_write(scheme: str) -> SettingError:
    return SettingError(
        "there is nothing to write for a longer context",
        expected="a model that adds a table, or rotates by position",
        got=f"{scheme}, which has no values that run out",
        remedy="use the model as it is; leave --out away to measure it",
    )


def _compressed_card(checkpoint: Checkpoint, found: Compression) -> str:
    table, chosen, share = found.table, found.chosen, saved(found, found.chosen)
    facts = {
        "Tensor": f"{quoted(table.source.tensor or '')}, {table.length:,} × {table.dim:,}",
        "Method": f"{chosen.method}, rank {chosen.rank:,}",
        "Numbers": f"{chosen.numbers:,}, {abs(share):.1%} {'fewer' if share >= 0 else 'more'}; the "
        f"factors are in {FACTORS}",
        "Relative error": f"{chosen.error:.3g}",
    }
    raised = increase_of(chosen, found.original, seed_of(found.settings))
    if raised is not None and found.original is not None and chosen.scores is not None:
        before, after = found.original.mean, chosen.scores.mean
        facts["Loss"] = f"{before:.4f} to {after:.4f} nats per token, {raised[0]:+.2%}"
        facts["Loss"] += _within(raised[1], "+.2%") + _read(found.settings)
    done = "The position table was put into fewer numbers; it has its old shape, and nothing "
    return card_section(checkpoint, done + "was trained.", facts)


def _extended_card(checkpoint: Checkpoint, found: Extension, method: str) -> str:
    chosen = next(one for one in found.tried if one.method == method)
    facts = {
        "Positions": f"{found.trained:,} to {found.to:,}",
        "Method": f"{method}: {chosen.about}",
    }
    seed, best = seed_of(found.settings), found.recommendation
    for name, start, stop in (("beyond", found.trained, None), ("within", 0, found.trained)):
        loss = loss_over(chosen.scores, start, stop, seed)
        if loss is not None:
            facts[f"Loss {name} {found.trained:,} positions"] = (
                f"{loss[0]:.4f} nats per token{_within(loss[1], '.4f')}{_read(found.settings)}"
            )
    if best is not None and best.method != method:
        facts["Recommended"] = f"{best.method}, {best.loss:.4f} nats per token beyond"
    if without := cheaper(found):
        facts["Without an edit"] = without
    return card_section(checkpoint, "The context was made longer; nothing was trained.", facts)


def _within(interval: Interval | None, form: str) -> str:
    return "" if interval is None else f" (95 % {interval[0]:{form}} to {interval[1]:{form}})"


def _read(settings: Mapping[str, Any]) -> str:
    """Return what was read, without the folders of this machine."""
    if "text" not in settings:
        return ""
    name = quoted(PurePath(str(settings["text"])).name)
    return f", on {settings['contexts']} contexts of {settings['length']} tokens of {name}"
