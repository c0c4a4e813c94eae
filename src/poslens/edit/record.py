"""What `poslens compress` and `poslens extend` found, as JSON.

Numbers that do not exist are ``null``, never NaN. Both records have ``schema`` (1; it changes when
a key changes its meaning), ``kind``, ``poslens`` (the version), ``source``, ``settings`` (what was
asked), ``read`` (the text in one line, or why no loss is known) and ``edges``: of at most 32 bins
of position, ascending, a bin from one edge to just before the next; ``null`` where nothing was
scored. Losses are in nats per token, intervals 95 %, bootstrap over contexts.

``kind: "compression"``
    ``source`` as in a study's record; ``table``: ``length``, ``dim``, ``numbers`` (L·d).
    ``original``: ``loss``, ``perplexity``, ``contexts``, ``tokens``, ``by_position`` (``loss``
    and, where it is known, ``kl``: a list with a number for each bin); ``null`` where no text was
    read. ``tried``: a list with, for each method and rank, ``method``, ``rank``, ``numbers``,
    ``saved`` (share of the table's bytes, in the same dtype), ``error`` (‖P - P̂‖ / ‖P‖), then as
    they are known or ``null`` ``loss``, ``perplexity``, ``increase`` (of the mean loss, as a share
    of the original's), ``interval`` of that, ``kl`` (mean KL(original ‖ edited), nats), ``drift``
    (``position`` and ``pooled``: mean 1 - cosine of last hidden states with the original's),
    ``by_position``. ``chosen``: ``method``, ``rank``. ``claims``: a list with
    ``memory.compressible``, as in a study's record.

``kind: "extension"``
    ``source``: ``uri``, ``scheme``; ``trained``, ``to``: positions; ``table``: ``length``, ``dim``
    of the chosen longer table, or ``null``. ``tried``: a list with ``method``, ``about``,
    ``baseline``, ``contexts``, ``tokens``, ``within`` and ``beyond`` the trained length (each
    ``loss``, ``perplexity``, ``interval`` of the loss, or ``null`` where nothing was scored there),
    ``kl``, ``by_position``. ``chosen``: a method or ``null``. ``recommendation``: ``null`` or
    ``method``, ``loss``, ``interval`` (beyond the trained length), ``excess`` (by method, ``value``
    and ``interval`` of what it costs more, paired within contexts), ``tied`` (the methods that
    this text does not tell from the recommended one).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from poslens._version import __version__
from poslens.edit.costs import (
    compression_edges,
    drifted,
    extension_edges,
    increase_of,
    loss_over,
    mean_kl,
    perplexity,
    saved,
    seed_of,
)
from poslens.edit.profiles import Edges, binned
from poslens.edit.results import Candidate, Compression, Extension, Interval, Recommendation, Tried
from poslens.edit.scores import Scores
from poslens.files import written_whole
from poslens.study import claim_record

SCHEMA = 1


def compression_record(found: Compression) -> dict[str, Any]:
    """Return the documented, versioned record as JSON values."""
    edges = compression_edges(found)
    table = found.table
    return {
        **_head("compression"),
        "source": asdict(table.source),
        "table": {"length": table.length, "dim": table.dim, "numbers": table.length * table.dim},
        "settings": _plain(found.settings),
        "read": found.read,
        "edges": _listed(edges),
        "original": None if found.original is None else _scored(found.original, edges),
        "tried": [_candidate(found, one, edges) for one in found.tried],
        "chosen": {"method": found.chosen.method, "rank": found.chosen.rank},
        "claims": [claim_record(found.claim)],
    }


def extension_record(found: Extension) -> dict[str, Any]:
    """Return the documented, versioned record as JSON values."""
    edges = extension_edges(found)
    rows = found.rows
    return {
        **_head("extension"),
        "source": {"uri": found.uri, "scheme": found.scheme},
        "trained": found.trained,
        "to": found.to,
        "table": None if rows is None else {"length": rows.shape[0], "dim": rows.shape[1]},
        "settings": _plain(found.settings),
        "read": found.read,
        "edges": _listed(edges),
        "tried": [_tried(found, one, edges) for one in found.tried],
        "chosen": found.chosen,
        "recommendation": _recommendation(found.recommendation),
    }


def to_json(record: Mapping[str, Any], path: str | Path | None = None) -> str:
    """Return a record as JSON text, and write it to ``path`` if one is given.

    The same input, settings and versions give the same bytes.

    Raises
    ------
    OutputError
        If ``path`` cannot be written; nothing is left behind.
    """
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    if path is not None:
        with written_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return text


def _head(kind: str) -> dict[str, Any]:
    return {"schema": SCHEMA, "kind": kind, "poslens": __version__}


def _scored(scores: Scores, edges: Edges | None) -> dict[str, Any]:
    return {
        "loss": _number(scores.mean),
        "perplexity": _number(scores.perplexity),
        "contexts": len(scores.losses),
        "tokens": scores.losses.size,
        "by_position": _by_position(scores, edges),
    }


def _by_position(scores: Scores | None, edges: Edges | None) -> dict[str, Any] | None:
    if scores is None or edges is None:
        return None
    profile = {"loss": _listed(binned(scores.positions, scores.losses, edges))}
    if scores.divergences is not None:
        profile["kl"] = _listed(binned(scores.positions, scores.divergences, edges))
    return profile


def _candidate(found: Compression, one: Candidate, edges: Edges | None) -> dict[str, Any]:
    raised = increase_of(one, found.original, seed_of(found.settings))
    drift = drifted(one.drift)
    scores = one.scores
    return {
        "method": one.method,
        "rank": one.rank,
        "numbers": one.numbers,
        "saved": _number(saved(found, one)),
        "error": _number(one.error),
        "loss": None if scores is None else _number(scores.mean),
        "perplexity": None if scores is None else _number(scores.perplexity),
        "increase": None if raised is None else _number(raised[0]),
        "interval": _interval(raised[1] if raised else None),
        "kl": _number(mean_kl(scores)),
        "drift": drift and {"position": _number(drift[0]), "pooled": _number(drift[1])},
        "by_position": _by_position(scores, edges),
    }


def _tried(found: Extension, one: Tried, edges: Edges | None) -> dict[str, Any]:
    seed, scores = seed_of(found.settings), one.scores
    return {
        "method": one.method,
        "about": one.about,
        "baseline": one.baseline,
        "contexts": None if scores is None else len(scores.losses),
        "tokens": None if scores is None else scores.losses.size,
        "within": _mean(loss_over(scores, 0, found.trained, seed)),
        "beyond": _mean(loss_over(scores, found.trained, None, seed)),
        "kl": _number(mean_kl(scores)),
        "by_position": _by_position(scores, edges),
    }


def _mean(found: tuple[float, Interval | None] | None) -> dict[str, Any] | None:
    if found is None:
        return None
    loss, interval = found
    return {
        "loss": _number(loss),
        "perplexity": _number(perplexity(loss)),
        "interval": _interval(interval),
    }


def _recommendation(found: Recommendation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "method": found.method,
        "loss": _number(found.loss),
        "interval": _interval(found.interval),
        "excess": {
            name: {"value": _number(value), "interval": _interval(interval)}
            for name, (value, interval) in found.excess.items()
        },
        "tied": list(found.tied),
    }


def _interval(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_number(end) for end in interval]


def _listed(values: np.ndarray | None) -> list[Any] | None:
    return None if values is None else [_plain(value) for value in values.tolist()]


def _number(value: float | None) -> float | None:
    """Return a number that JSON has; None for what it has not."""
    return None if value is None or not math.isfinite(value) else float(value)


def _plain(value: Any) -> Any:
    """A setting as JSON values."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return _number(value)
    return str(value) if isinstance(value, PurePath) else value
