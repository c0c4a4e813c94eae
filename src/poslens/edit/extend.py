"""`extend`: a longer context by every method that is known, measured beside one another."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from poslens.checkpoints import ModelSource, PositionTable
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.schemes import Rotary
from poslens.draws import Progress
from poslens.edit.asked import Asked, asked
from poslens.edit.extension import METHODS, extended
from poslens.edit.intervals import recommend
from poslens.edit.results import Extension, Tried
from poslens.edit.rope import ROPE_METHODS
from poslens.errors import PosLensError, SettingError, quoted
from poslens.geometry.validate import check_rows
from poslens.reading import Reading

if TYPE_CHECKING:
    from poslens.edit.models import LanguageModel, Variant
    from poslens.edit.scores import Scores
    from poslens.text import Contexts

M = TypeVar("M")

CONTEXTS = 8  # where a text is read and nobody says how many
UNCHANGED = "unchanged"


def extend(
    source: ModelSource,
    to: int,
    *,
    method: str | None = None,
    text: str | os.PathLike[str] | None = None,
    contexts: int | None = None,
    tokens: np.ndarray | None = None,
    trained: int | None = None,
    stride: int | None = None,
    part: str | None = None,
    seed: int = 0,
    allow_full_download: bool = False,
    progress: Progress | None = None,
) -> Extension:
    """Give a model more positions, by every method that fits its scheme, and compare them.

    Parameters
    ----------
    source
        Whatever `poslens.load_table` takes, or a model without a table.
    to
        How many positions it is to have.
    method
        Which one to choose; None for the one that is recommended, where a text is read.
    text, contexts, tokens
        What the model reads, in contexts of ``to`` tokens, as for `poslens.analyze`; if none is
        given, no model is run. Running one needs the extra ``torch``.
    trained
        Positions that the model was made for, where the source does not say it.
    stride
        Tokens by which the baseline's window moves; a quarter of ``trained`` if None.
    part
        Of a model with several stacks.
    seed
        Of the bootstrap, and of the positions that a masked model is asked for.
    allow_full_download
        Whether to fetch a remote file whole where it cannot be read in part.
    progress
        Called with (what is being done, steps done, steps in all).

    Raises
    ------
    SourceError, TableError
        If the source or the text cannot be read.
    SettingError
        If a setting cannot be used, or the model's scheme has no such method.
    """
    reading = Reading(text, contexts, None, tokens)
    reading.check()
    report = progress or (lambda _what, _done, _total: None)
    given = asked(source, part, allow_full_download, progress)
    scheme = _scheme_of(given)
    table = given.table() if given.adds_table else None
    length = _trained(given, table, trained)
    _check_longer(length, to)
    ways = _ways(given, table, scheme, length, to)
    if method is not None and method not in ways:
        raise SettingError(
            f"no method {quoted(method)} for a model with {scheme}",
            expected=" or ".join(ways),
            got=quoted(method),
        )
    tried: tuple[Tried, ...] = tuple(Tried(name, way.about) for name, way in ways.items())
    settings: dict[str, Any] = {"to": to, "method": method, "seed": seed}
    recommendation, read = None, "no text was read: give --text FILE to compare the methods"
    if reading.asked:
        wanted = replace(
            reading,
            contexts=None if tokens is not None else contexts or CONTEXTS,
            length=None if tokens is not None else to,
            layers=True,
        )
        found = given.contexts(wanted, table, seed, report)
        step = max(length // 4, 1) if stride is None else stride
        tried, read = _compared(given, found, ways, length, step, seed, report)
        settings |= replace(wanted, layers=False).record(found) | {"stride": step}
        recommendation = recommend(tried, length, seed)
    chosen = method or (recommendation.method if recommendation else None)
    way = ways.get(chosen or "")
    return Extension(
        uri=given.opened.uri,
        scheme=scheme,
        trained=length,
        to=to,
        tried=tried,
        chosen=chosen,
        recommendation=recommendation,
        read=read,
        settings=settings,
        rows=None if way is None else way.rows,
        changes={} if way is None else way.changes,
        origin=given.opened,
        part=part,
    )


@dataclass(frozen=True, eq=False)
class _Way:
    """One edit: a longer table, or what changes in the config, or nothing."""

    about: str
    rows: np.ndarray | None = None
    changes: Mapping[str, object] = field(default_factory=dict)

    def variant(self, model: LanguageModel) -> Variant:
        if self.rows is not None:
            return model.with_rows(self.rows)
        return model.with_config(self.changes) if self.changes else model.original()


def _scheme_of(given: Asked) -> str:
    if given.description is None or not given.description.schemes:
        return "learned"
    return given.description.schemes[0].word


def _trained(given: Asked, table: PositionTable | None, said: int | None) -> int:
    if said is not None:
        if said < 3:
            raise SettingError(
                "the trained length cannot be used",
                expected="at least 3 positions",
                got=f"{said}",
            )
        return said
    if table is not None:
        return table.length
    context = given.description.context if given.description is not None else None
    if context is None:
        raise SettingError(
            f"{quoted(given.opened.uri)} does not say how many positions it was trained for",
            expected="a config that names a context",
            remedy="give --trained LENGTH",
        )
    return context


def _check_longer(trained: int, to: int) -> None:
    if to <= trained:
        raise SettingError(
            f"cannot extend {trained} positions to {to}",
            expected=f"more than {trained}",
            got=f"{to}",
            remedy="a shorter context needs no edit: the first rows are enough",
        )


def _ways(
    given: Asked, table: PositionTable | None, scheme: str, trained: int, to: int
) -> dict[str, _Way]:
    schemes = () if given.description is None else given.description.schemes
    rotates = any(isinstance(one, Rotary) for one in schemes)
    if table is not None:
        if table.source.tensor is None and isinstance(given.opened, Checkpoint):
            raise SettingError(
                f"the table of {quoted(given.opened.uri)} is computed from a formula",
                expected="a table that is stored",
                got="a formula, which has rows for every position",
                remedy="raise the length in its config",
            )
        rows = check_rows(table.rows)
        return _that_fit(METHODS, lambda one: _Way(one.about, extended(rows, to, one.name)))
    if isinstance(given.opened, Checkpoint) and given.opened.config is not None and rotates:
        config = given.opened.config.values
        return _that_fit(
            ROPE_METHODS,
            lambda one: _Way(one.about, changes=one.parameters(config, trained, to)),
        )
    return {UNCHANGED: _Way(f"{scheme} gives every distance its value: nothing is changed")}


def _that_fit(methods: Mapping[str, M], way: Callable[[M], _Way]) -> dict[str, _Way]:
    """Return what the methods give; those that a table or config does not fit are left out.

    Raises
    ------
    PosLensError
        If none fits.
    """
    found: dict[str, _Way] = {}
    refusals: list[PosLensError] = []
    for name, one in methods.items():
        try:
            found[name] = way(one)
        except PosLensError as error:
            refusals.append(error)
    if not found:
        raise refusals[0]
    return found


def _compared(
    given: Asked,
    read: Contexts,
    ways: Mapping[str, _Way],
    trained: int,
    stride: int,
    seed: int,
    report: Progress,
) -> tuple[tuple[Tried, ...], str]:
    from poslens.edit.models import language_model
    from poslens.edit.scoring import score
    from poslens.edit.windows import cut, sliding

    without = tuple(Tried(name, way.about) for name, way in ways.items())
    with language_model(given.source, given.part) as model:
        if model.kind == "headless":
            reason = "the checkpoint holds no head that predicts tokens, so there is no loss"
            return without, f"{read.origin}; {reason}"
        variants = {name: way.variant(model) for name, way in ways.items()}
        found = score(model, variants, read.tokens, seed=seed, progress=report)
        baselines: dict[str, tuple[str, Scores]] = {
            "cut": (
                f"the text cut into pieces of {trained} tokens, each read by itself",
                cut(model, read.tokens, trained, seed, progress=report),
            ),
            "sliding": (
                f"a window of {trained} tokens that moves by {stride}",
                sliding(model, read.tokens, trained, stride, seed, progress=report),
            ),
        }
    edits = tuple(replace(one, scores=found[one.method]) for one in without)
    beside = tuple(
        Tried(name, about, baseline=True, scores=scores)
        for name, (about, scores) in baselines.items()
    )
    return (*edits, *beside), read.origin
