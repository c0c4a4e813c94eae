"""`analyze`: from a source to a `Study`."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import scipy

from poslens._version import __version__
from poslens.axes import Rows
from poslens.checkpoints import ModelSource, PositionTable, load_table
from poslens.claims import decide_all, null_draws
from poslens.claims.decide import check_bars
from poslens.claims.evidence import Evidence
from poslens.claims.null_draws import NullDraws
from poslens.errors import SettingError, quoted
from poslens.geometry import measures_of_table
from poslens.geometry.tokens import TokenGeometry
from poslens.geometry.validate import check_rows
from poslens.geometry.views import effective
from poslens.labelled import labelled_arrays
from poslens.study import Settings, Study

Progress: TypeAlias = Callable[[str, int, int], None]
VIEWS = ("raw", "effective")
MOST_NULLS = 100_000


def analyze(
    source: ModelSource | PositionTable,
    *,
    part: str | None = None,
    rows: tuple[int | None, int | None] | None = None,
    view: str = "raw",
    nulls: int = 200,
    seed: int = 0,
    bars: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Study:
    """Measure a position table, test the article's claims on it, and return the `Study`.

    Parameters
    ----------
    source
        Whatever `poslens.load_table` accepts: a folder with a ``config.json``, a file of weights,
        ``FILE::TENSOR``, ``sinusoidal:length=L,dim=d``, an array of shape (position, dim), a model
        or state dict of torch; or a table that it returned.
    part
        Of a model with several tables, such as ``"encoder"`` or ``"decoder"``.
    rows
        (start, stop): only these positions, stop excluded; None for an end.
    view
        ``"raw"``, the table as stored, or ``"effective"``, with the LayerNorm before the first
        attention block folded in.
    nulls
        Null tables drawn for each null model. p ≤ 0.01 needs at least 99.
    seed
        Of the null draws, the bootstrap, and the probes' folds and pairs.
    bars
        Bars to use in place of the defaults, by claim.
    progress
        Called with (what is being done, steps done, steps in all).

    Returns
    -------
    Study
        The same source, settings and versions give the same numbers.

    Raises
    ------
    SourceError, TableError
        If the source cannot be read, or is no position table.
    SettingError
        If a setting cannot be used.

    Examples
    --------
    >>> import poslens
    >>> study = poslens.analyze("sinusoidal:length=64,dim=32", nulls=0)
    >>> study.claim("sinusoid.many_frequencies").verdict.value
    'supported'
    """
    settings = _checked(view, nulls, seed, rows, bars)
    table = source if isinstance(source, PositionTable) else load_table(source, part=part)
    if rows is not None:
        table = table.slice_rows(*rows)
        settings = replace(settings, rows=_span(table))
    raw = check_rows(table.rows)
    scales = _scales(table) if view == "effective" else ()
    viewed = check_rows(effective(raw, scales, centre=table.norms_centre))
    report = progress or (lambda _what, _done, _total: None)

    report("measures", 0, 1)
    tokens = None
    if table.tokens is not None:
        tokens = TokenGeometry(table.tokens, scales, centre=table.norms_centre)
    measures = measures_of_table(viewed, tokens, seed)
    # Where all rows are identical every null table is the table, and nothing is to be compared.
    varies = measures.components is not None
    draws = _null_draws(viewed, nulls if varies else 0, seed, report)
    report("claims", 0, 1)
    claims = decide_all(
        Evidence(
            rows=viewed,
            raw=raw,
            measures=measures,
            nulls=draws,
            scheme=table.source.scheme,
            init_std=table.init_std,
            missing=table.missing,
            seed=seed,
        ),
        settings.bars,
    )
    study = Study(
        source=table.source,
        length=table.length,
        dim=table.dim,
        measures=measures.values,
        claims=claims,
        settings=settings,
        data=labelled_arrays(viewed, measures, draws, table.first_position),
        undefined=measures.undefined,
        versions=versions(),
    )
    report("done", 1, 1)
    return study


def versions() -> dict[str, str]:
    """Return the versions that the numbers depend on, by name."""
    return {
        "poslens": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def _checked(
    view: str,
    nulls: int,
    seed: int,
    rows: tuple[int | None, int | None] | None,
    bars: Mapping[str, float] | None,
) -> Settings:
    if view not in VIEWS:
        raise SettingError(
            "no such view", expected=" or ".join(VIEWS), got=quoted(view), remedy="choose one"
        )
    if isinstance(nulls, bool) or not 0 <= nulls <= MOST_NULLS:
        raise SettingError(
            "the number of null draws cannot be used",
            expected=f"0 to {MOST_NULLS}",
            got=str(nulls),
            remedy="200 is the default; p <= 0.01 needs at least 99",
        )
    if isinstance(seed, bool) or seed < 0:
        raise SettingError(
            "the seed cannot be used", expected="a whole number from 0", got=str(seed)
        )
    if rows is not None and len(rows) != 2:
        raise SettingError("cannot take these rows", expected="(start, stop)", got=quoted(rows))
    return Settings(view=view, nulls=nulls, seed=seed, bars=check_bars(bars or {}))


def _span(table: PositionTable) -> tuple[int, int]:
    return table.first_position, table.first_position + table.length


def _scales(table: PositionTable) -> tuple[Any, ...]:
    if not table.norm_scales:
        reason = table.missing.get("norm_scales", "the source names no LayerNorm")
        raise SettingError(
            "there is no effective view of this table",
            expected="a model with a LayerNorm before its first attention block",
            got=reason,
            remedy="use --view raw",
        )
    return table.norm_scales


def _null_draws(rows: Rows, draws: int, seed: int, report: Progress) -> dict[str, NullDraws]:
    """Draw every null model that a claim or a figure compares with."""
    if draws == 0:
        return {}
    jobs = {
        "random order": null_draws.permutation,
        "random walks": null_draws.random_walk,
        "rotations of random walks": null_draws.random_walk_rotations,
        "phase-randomised tables": null_draws.surrogate,
        "Gaussian tables": null_draws.gaussian,
    }
    found: dict[str, NullDraws] = {}
    for what, draw in jobs.items():
        done = 0
        report(what, 0, draws)

        def advance(steps: int, what: str = what) -> None:
            nonlocal done
            done += steps
            report(what, done, draws)

        drawn = draw(rows, draws, seed, advance)
        earlier = found[drawn.null].values if drawn.null in found else {}
        found[drawn.null] = NullDraws(drawn.null, {**earlier, **drawn.values})
    return found
