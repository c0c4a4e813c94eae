"""`analyze`: from a source to a `Study`."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import scipy

from poslens._version import __version__
from poslens.checkpoints import Description, ModelSource, PositionTable, Source
from poslens.checkpoints.describe import described, description_of, unknown_kind
from poslens.checkpoints.load import table_of
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.remote.meter import Meter
from poslens.checkpoints.sources import NamedEncoding, Opened, open_any
from poslens.claims import decide_all
from poslens.claims.decide import check_bars
from poslens.claims.evidence import Evidence, KernelEvidence
from poslens.draws import Progress, all_draws
from poslens.errors import SettingError, quoted
from poslens.geometry import measures_of_table
from poslens.geometry.table import TableMeasures
from poslens.geometry.tokens import TokenGeometry
from poslens.geometry.validate import check_rows
from poslens.geometry.views import effective
from poslens.kernels import Kernels, kernels_of
from poslens.labelled import labelled_arrays
from poslens.labelled_kernel import kernel_arrays, kernel_measures
from poslens.on_text import OnText, on_text
from poslens.reading import Reading
from poslens.study import Settings, Study

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
    text: str | os.PathLike[str] | None = None,
    contexts: int | None = None,
    length: int | None = None,
    tokens: np.ndarray | None = None,
    layers: bool = False,
    head: tuple[int, int] | None = None,
    allow_full_download: bool = False,
    progress: Progress | None = None,
) -> Study:
    """Measure a position table and a model's logits, test the article's claims, return the `Study`.

    Parameters
    ----------
    source
        Whatever `poslens.load_table` takes, such as ``"gpt2"``, a model folder or an array of
        shape (position, dim); or a table that it gave.
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
    text
        A UTF-8 file, from which contexts are read with the model's own tokenizer. Without it, and
        where ``contexts``, ``length``, ``layers`` or ``head`` ask for a text, it is the help topics
        of Python; where nothing asks for one, tokens are drawn uniformly from the vocabulary.
    contexts, length
        How many contexts the model reads, and how many tokens each has: 32 and 256 (or as many as
        the model takes) if None.
    tokens
        Ids to read in place of a text, shape (context, position).
    layers
        Whether to run the model (which needs the extra ``torch``), and follow position through the
        hidden states and logits of every layer; of a ``model_type`` that is not known here through
        the hidden states alone, and no table is measured.
    head
        (layer, head) whose logits are shown, term by term, on the first context; layer 0 alone
        without ``layers``. If None, the one in whose logits position has the largest share.
    allow_full_download
        Whether to fetch a remote file whole where it cannot be read in part.
    progress
        Called with (what is being done, steps done, steps in all).

    Returns
    -------
    Study
        The same source, settings and versions give the same numbers.

    Raises
    ------
    SourceError, TableError
        If the source or the text cannot be read, or is no position table.
    SettingError
        If a setting cannot be used, or asks for what the source has not.

    Examples
    --------
    >>> import poslens
    >>> study = poslens.analyze("sinusoidal:length=64,dim=32", nulls=0)
    >>> study.claim("sinusoid.many_frequencies").verdict.value
    'supported'
    """
    reading = Reading(text, contexts, length, tokens, layers, head)
    reading.check()
    settings = _checked(view, nulls, seed, rows, bars)
    report = progress or (lambda _what, _done, _total: None)
    if isinstance(source, PositionTable):
        opened = source.origin if isinstance(source.origin, Opened) else None
        description = None if opened is None else described(opened)
        table = source
    else:
        opened = open_any(source, Access(allow_full_download, Meter(progress)))
        # Of a kind that is not known, what may be a table is not measured as one unasked.
        kind = unknown_kind(opened) if layers else ""
        description = description_of(opened) if kind else described(opened)
        if description is not None and (kind or not description.adds_table):
            _refuse_what_needs_a_table(description, rows is not None, view != "raw")
            found = on_text(source, opened, description, None, part, reading, settings, report)
            return _without_table(opened, description, found, settings, part, kind)
        table = table_of(opened, part, with_tokens=True)
        table = replace(table, recognised="" if description is None else description.line())
    found = on_text(source, opened, description, table, part, reading, settings, report)
    settings = replace(settings, **found.read)
    if rows is not None:
        table = table.slice_rows(*rows)
        settings = replace(settings, rows=_span(table))
    raw = check_rows(table.rows)
    scales = _scales(table) if view == "effective" else ()
    viewed = check_rows(effective(raw, scales, centre=table.norms_centre))
    report("measures", 0, 1)
    beside = None
    if table.tokens is not None:
        beside = TokenGeometry(table.tokens, scales, centre=table.norms_centre)
    measures = measures_of_table(viewed, beside, seed)
    kernels = kernels_of(opened, description, table, part, seed)
    # Where all rows are identical every null table is the table, and nothing is to be compared.
    varies = measures.components is not None
    draws = all_draws(viewed, kernels, nulls if varies else 0, seed, report)
    report("claims", 0, 1)
    claims = decide_all(
        Evidence(
            rows=viewed,
            raw=raw,
            measures=measures,
            kernel=kernel_evidence(kernels, opened),
            logits=found.evidence,
            nulls=draws,
            scheme=table.source.scheme,
            init_std=table.init_std,
            missing=table.missing,
            seed=seed,
        ),
        settings.bars,
    )
    of_kernel, unknown = kernel_measures(kernels)
    first = table.first_position
    study = Study(
        source=table.source,
        length=table.length,
        dim=table.dim,
        measures={**measures.values, **of_kernel, **found.measures},
        claims=claims,
        settings=settings,
        data={
            **labelled_arrays(viewed, measures, draws, first),
            **kernel_arrays(kernels, first),
            **found.data,
        },
        undefined={**measures.undefined, **unknown, **found.undefined},
        versions=versions(),
        recognised=table.recognised,
        layers=found.layers,
    )
    report("done", 1, 1)
    return study


def kernel_evidence(kernels: Kernels, opened: Opened | None) -> KernelEvidence:
    """Return what claims about the first layer's kernels look at."""
    first = kernels.measures[0] if kernels.measures else None
    named = isinstance(opened, NamedEncoding)
    return KernelEvidence(
        shares=() if first is None else first.relative_share,
        peaks=() if first is None else first.peak_offset,
        relative=kernels.relative,
        trained=not named,
        order=kernels.order,
        reason=kernels.reason,
        order_reason="speaks of a model's attention; an encoding by itself has none"
        if named
        else kernels.order_reason or kernels.reason,
        left_out=kernels.left_out,
    )


def _refuse_what_needs_a_table(description: Description, rows: bool, view: bool) -> None:
    for name, asked in (("rows", rows), ("view", view)):
        if asked:
            raise SettingError(
                f"there is no table of which to take --{name}",
                expected="a model that adds a position table",
                got=description.line(),
                remedy=f"leave --{name} out",
            )


def _without_table(
    opened: Opened,
    description: Description,
    found: OnText,
    settings: Settings,
    part: str | None,
    kind: str,
) -> Study:
    """A study of a model that adds no table, or is of an unknown kind: no claim about a table."""
    instead = "; ".join(scheme.line() for scheme in description.schemes)
    scheme = "unknown" if kind else description.schemes[0].word
    kernels = kernels_of(opened, description, None, part, settings.seed, found.means)
    nothing = np.empty((0, 0))
    evidence = Evidence(
        rows=nothing,
        raw=nothing,
        measures=TableMeasures(),
        no_table=f"nothing says what model_type {quoted(kind)} does with positions"
        if kind
        else f"this model adds no position table: {instead}",
        kernel=kernel_evidence(kernels, opened),
        logits=found.evidence,
        scheme=scheme,
        seed=settings.seed,
    )
    measures, unknown = kernel_measures(kernels)
    return Study(
        source=Source(
            uri=opened.uri,
            revision=opened.revision if isinstance(opened, Checkpoint) else None,
            tensor=None,
            family=description.family,
            scheme=scheme,
            row_offset=0,
            dtype=None,
            sha256=None,
            bytes_read=0,
        ),
        length=None,
        dim=None,
        measures={**measures, **found.measures},
        claims=decide_all(evidence, settings.bars),
        settings=replace(settings, **found.read),
        data={**kernel_arrays(kernels), **found.data},
        undefined={**unknown, **found.undefined},
        versions=versions(),
        recognised=description.line(),
        layers=found.layers,
    )


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
