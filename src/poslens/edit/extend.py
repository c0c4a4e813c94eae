"""`extend`: a longer context by every method that is known, measured beside one another."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from poslens.checkpoints import ModelSource, PositionTable
from poslens.checkpoints.schemes import AddedTable
from poslens.checkpoints.sources import NamedEncoding
from poslens.draws import Progress
from poslens.edit.asked import Asked, asked, check_seed, record_of
from poslens.edit.intervals import recommend
from poslens.edit.results import Extension, Tried
from poslens.edit.scores import Scores
from poslens.edit.ways import Ways, ways_of
from poslens.encodings import Nope
from poslens.errors import SettingError, quoted
from poslens.reading import Reading
from poslens.text import Contexts

CONTEXTS = 8  # where a text is read and nobody says how many
FEWEST = 3  # positions that a model is trained for
_NO_TEXT = "no text was read: give --text FILE to compare the methods"
_NO_HEAD = "the checkpoint holds no head that predicts tokens, so there is no loss"


def extend(
    source: ModelSource,
    to: int,
    *,
    method: str | None = None,
    text: str | os.PathLike[str] | None = None,
    contexts: int | None = None,
    tokens: np.ndarray | None = None,
    mask: int | None = None,
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
        Positions that the model was made for, where the source does not say it. Of a table that
        has more rows, the first so many are made longer.
    stride
        Tokens by which the baseline's window moves; a quarter of ``trained`` if None.
    mask
        The id that stands for a token that a masked model is to predict, or for a gap that an
        encoder and a decoder are to fill, where no tokenizer is beside the weights to say it.
    part
        Of a model with several stacks.
    seed
        Of the bootstrap, and of the positions that a masked model is asked for.
    allow_full_download
        Whether to fetch a remote file whole where it cannot be read in part.
    progress
        Called with (what is being done, steps done, steps in all).

    Returns
    -------
    Extension
        The same source, settings and versions give the same numbers.

    Raises
    ------
    SourceError, TableError
        If the source or the text cannot be read.
    SettingError
        If a setting cannot be used, or the model's scheme has no such method.

    Examples
    --------
    >>> import numpy, poslens
    >>> table = numpy.cumsum(numpy.random.default_rng(0).standard_normal((64, 32)), axis=0)
    >>> found = poslens.extend(table, 128, method="linear")
    >>> found.rows.shape, bool(numpy.allclose(found.rows[::2], table))
    ((128, 32), True)
    """
    reading = Reading(text, contexts, None, tokens)
    reading.check()
    check_seed(seed)
    given = asked(source, part, allow_full_download, progress)
    _require_stored(given)
    table = given.table() if given.adds_table else None
    length = _trained(given, table, trained)
    _check_longer(given, table, length, to)
    if reading.asked:
        reading = _reading(reading, length, to)
        stride = _stride(stride, length)
    ways = ways_of(given, table, length, to)
    ways.check(method)
    tried = tuple(Tried(name, way.about) for name, way in ways.fitting.items())
    settings: dict[str, Any] = {
        "to": to,
        "method": method,
        "trained": trained,
        "part": part,
        "seed": seed,
    }
    recommendation, read = None, _NO_TEXT
    if reading.asked and stride is not None:
        report = progress or (lambda _what, _done, _total: None)
        found = given.contexts(reading, table, seed, report)
        settings |= record_of(reading, found) | {"stride": stride}
        measured = _measured(given, found, ways, length, stride, mask, seed, report)
        read = found.origin if measured else f"{found.origin}; {_NO_HEAD}"
        tried = measured or tried
        recommendation = recommend(tried, length, seed)
    chosen = method or (recommendation.method if recommendation else None)
    way = None if chosen is None else ways.fitting[chosen]
    return Extension(
        uri=given.opened.uri,
        scheme=ways.scheme,
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


def _require_stored(given: Asked) -> None:
    """Refuse formulas, which have rows for every position, and what knows no positions."""
    opened, description = given.opened, given.description
    named = isinstance(opened, NamedEncoding)
    schemes = () if description is None else description.schemes
    tables = [one for one in schemes if isinstance(one, AddedTable)]
    computed = [one for one in tables if one.kind == "sinusoidal" and one.tensor is None]
    if isinstance(opened, NamedEncoding) and isinstance(opened.spec.encoding, Nope):
        raise SettingError(
            f"there is nothing to extend in {quoted(opened.uri)}",
            expected="a table that is stored, or a model that rotates by position",
            got="no position at all: NoPE adds, rotates and biases nothing",
            remedy="use it at any length: no edit is needed",
        )
    if named or any(given.part in (None, one.part) for one in computed):
        raise SettingError(
            f"the positions of {quoted(opened.uri)} are computed from a formula",
            expected="a table that is stored, or a model that rotates by position",
            got="a formula, which has a value for every position",
            remedy="ask it for any length: no edit is needed"
            if named
            else "raise the length in its config",
        )


def _trained(given: Asked, table: PositionTable | None, said: int | None) -> int:
    """Return the positions that a model was made for: as many as somebody says, or it has."""
    most = None if table is None else table.length
    if said is not None:
        if type(said) is not int or said < FEWEST or (most is not None and said > most):
            raise SettingError(
                "the trained length cannot be used",
                expected=f"at least {FEWEST} positions"
                + ("" if most is None else f" and at most {most}, which the table has"),
                got=quoted(said),
            )
        return said
    context = given.description.context if given.description is not None else None
    if most is None and context is None:
        raise SettingError(
            f"{quoted(given.opened.uri)} does not say how many positions it was trained for",
            expected="a config that names a context",
            got="none",
            remedy="give --trained LENGTH",
        )
    return most or context or 0


def _check_longer(given: Asked, table: PositionTable | None, trained: int, to: int) -> None:
    least = trained + 1 if table is None else max(trained + 1, table.length)
    if type(to) is not int or to < least:
        raise SettingError(
            f"cannot extend {trained} positions of {quoted(given.opened.uri)} to {to}",
            expected=f"at least {least}",
            got=quoted(to),
            remedy="a shorter context needs no edit: the first positions are enough",
        )


def _reading(reading: Reading, trained: int, to: int) -> Reading:
    """Return what is read: contexts as long as the extension, or the tokens that were given."""
    if reading.tokens is None:
        return replace(reading, contexts=reading.contexts or CONTEXTS, length=to)
    length = np.asarray(reading.tokens).shape[1]
    if not trained < length <= to:
        raise SettingError(
            "these tokens tell nothing of an extension",
            expected=f"contexts of {trained + 1} to {to} tokens",
            got=f"{length}",
            remedy="pass longer ones" if length <= trained else "pass shorter ones",
        )
    return reading


def _stride(stride: int | None, trained: int) -> int:
    if stride is None:
        return max(trained // 4, 1)
    if type(stride) is not int or not 1 <= stride <= trained:
        raise SettingError(
            "the stride of the window cannot be used",
            expected=f"from 1 to {trained}, the length of the window",
            got=quoted(stride),
        )
    return stride


def _measured(
    given: Asked,
    read: Contexts,
    ways: Ways,
    trained: int,
    stride: int,
    mask: int | None,
    seed: int,
    report: Progress,
) -> tuple[Tried, ...]:
    """Score every edit, and what needs none; nothing of a model without a head."""
    from poslens.edit.scoring import score
    from poslens.edit.windows import cut, sliding

    with given.model(mask) as model:
        if model.kind == "headless":
            return ()
        variants = {name: way.variant(model) for name, way in ways.fitting.items()}
        found = score(model, variants, read.tokens, seed=seed, progress=report)
        whole = cut(model, read.tokens, trained, seed, progress=report)
        slid = sliding(model, read.tokens, trained, stride, seed, progress=report)
    return (
        *(Tried(name, way.about, scores=found[name]) for name, way in ways.fitting.items()),
        _baseline("cut", f"the text in pieces of {trained:,} tokens, each read by itself", whole),
        _baseline("sliding", f"a window of {trained:,} tokens that moves by {stride:,}", slid),
    )


def _baseline(name: str, about: str, scores: Scores) -> Tried:
    return Tried(name, about, baseline=True, scores=scores)
