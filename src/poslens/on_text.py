"""What a model's logits and hidden states on a text add to a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from poslens.attention import HeadMeans
from poslens.checkpoints import Description, ModelSource, PositionTable
from poslens.checkpoints.blocks import require_attention
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.sources import Opened
from poslens.claims.evidence import LogitEvidence
from poslens.draws import Progress
from poslens.errors import PosLensError, SettingError, UndefinedMeasureError, quoted
from poslens.labelled_logits import (
    first_evidence,
    logit_arrays,
    logit_measures,
    no_logits,
    state_arrays,
    state_measures,
)
from poslens.layered import layer_studies
from poslens.logits import FirstLogits, first_block_logits
from poslens.reading import NO_CONFIG, Reading
from poslens.study import Labelled, LayerStudy, Settings
from poslens.text import Contexts


@dataclass(frozen=True, eq=False)
class OnText:
    """What was found.

    Attributes
    ----------
    measures, undefined, data
        Parts of a study.
    evidence
        Of the first layer's logits.
    means
        Mean queries and keys of the first layer; None where they are not known.
    layers
        Of the position part of each layer's hidden states; empty where these were not asked for.
    read
        What the study's settings say of it.
    """

    measures: Mapping[str, Any]
    undefined: Mapping[str, str]
    data: Mapping[str, Labelled] = field(default_factory=dict)
    evidence: LogitEvidence = field(default_factory=LogitEvidence)
    means: HeadMeans | None = None
    layers: tuple[LayerStudy, ...] = ()
    read: Mapping[str, Any] = field(default_factory=dict)


def on_text(
    source: ModelSource | PositionTable,
    opened: Opened | None,
    description: Description | None,
    table: PositionTable | None,
    part: str | None,
    reading: Reading,
    settings: Settings,
    report: Progress,
) -> OnText:
    """Take the first layer's logits apart, and every layer's where that was asked for.

    What nobody asked for, and cannot be had, is left out with the reason.

    Parameters
    ----------
    source
        As it was given; a model that is to run is loaded from it.
    opened, description
        The same, opened, and what it does with positions.
    table
        Its whole position table; None where it adds none.
    part
        Which stack, where a model has several.
    reading
        What was asked of texts.
    settings
        Null draws, seed and bars.
    report
        Called with (what is being done, steps done, steps in all).

    Raises
    ------
    PosLensError
        If what was asked for cannot be done.
    """
    if not isinstance(opened, Checkpoint) or opened.config is None or description is None:
        if reading.asked:
            raise SettingError(
                "there is no model that could read a text",
                expected="a model with its config",
                got="a source without one" if opened is None else quoted(opened.uri),
                remedy="give a model folder or a model on the hub, or leave text, contexts, "
                "length, layers and head out",
            )
        return _nothing(NO_CONFIG)
    if reading.layers:
        require_attention(opened)
    try:
        contexts = reading.contexts_for(opened, description, table, part, settings.seed, report)
    except PosLensError as error:
        if reading.asked:
            raise
        return _nothing(str(error))
    read = reading.record(contexts)
    first, reason = None, ""
    # Every layer holds the first; only the kernels of a rotation want its mean queries and keys.
    if table is None or not reading.layers:
        first, reason = _first(opened, description, table, part, reading, contexts, report)
    if reading.layers:
        found = _every_layer(
            source, opened, table, part, reading, contexts, first, settings, report
        )
        return replace(found, read=read)
    if first is None and reading.head is not None:
        raise _not_shown(reading.head, {0: reason})
    if first is None:
        return replace(_nothing(reason), read=read)
    largest = first.reconstruction_error
    measures, undefined = logit_measures([first.sums], largest, {})
    return OnText(
        measures=measures,
        undefined=undefined,
        data={
            **logit_arrays([first.sums], first.picture, (0, first.head), contexts),
            "attention.note": Labelled((), np.array(first.note)),
        },
        evidence=first_evidence(first.sums, largest, contexts, table),
        means=first.means if reading.asked else None,  # drawn tokens are no corpus
        read=read,
    )


def _nothing(reason: str) -> OnText:
    measures, undefined = no_logits(reason)
    return OnText(measures, undefined, evidence=LogitEvidence(reason=reason))


def _first(
    opened: Checkpoint,
    description: Description,
    table: PositionTable | None,
    part: str | None,
    reading: Reading,
    contexts: Contexts,
    report: Progress,
) -> tuple[FirstLogits | None, str]:
    """Return the first block's logits, or why they are not known.

    Raises
    ------
    PosLensError
        If a text was given for them and they cannot be had, but for their scheme.
    """
    try:
        found = first_block_logits(
            opened,
            description,
            table,
            contexts.tokens,
            part,
            head=None if reading.head is None or reading.layers else reading.head[1],
            asked=reading.asked,
            progress=report,
        )
    except PosLensError as error:
        known = isinstance(error, UndefinedMeasureError)
        if reading.asked and not reading.layers and not known:
            raise
        return None, str(error)
    return found, ""


def _every_layer(
    source: ModelSource | PositionTable,
    opened: Checkpoint,
    table: PositionTable | None,
    part: str | None,
    reading: Reading,
    contexts: Contexts,
    first: FirstLogits | None,
    settings: Settings,
    report: Progress,
) -> OnText:
    from poslens.hidden import follow

    model = opened.uri if isinstance(source, PositionTable) else source
    states = follow(model, contexts.tokens, part=part, head=reading.head, progress=report)
    if reading.head is not None and states.picture is None:
        raise _not_shown(reading.head, states.reasons)
    error = states.reconstruction_error
    of_logits, no_terms = logit_measures(states.terms, error, states.reasons)
    of_states, no_states = state_measures(states)
    return OnText(
        measures={**of_logits, **of_states},
        undefined={**no_terms, **no_states},
        data={
            **logit_arrays(states.terms, states.picture, states.place, contexts),
            **state_arrays(states),
            **_left_out(states.reasons),
        },
        evidence=first_evidence(states.terms[0], error, contexts, table)
        if states.terms[0] is not None
        else LogitEvidence(reason=states.reasons.get(0, NO_CONFIG), error=error),
        means=None if first is None else first.means,
        layers=layer_studies(states.positions, settings, report),
    )


def _not_shown(head: tuple[int, int], reasons: Mapping[int, str]) -> SettingError:
    return SettingError(
        f"the logits of layer {head[0]}, head {head[1]} cannot be shown",
        expected="a layer whose logits can be taken apart",
        got=reasons[head[0]],
        remedy="choose another layer, or leave --head out",
    )


def _left_out(reasons: Mapping[int, str]) -> dict[str, Labelled]:
    """Say which layers have no shares, and why; nothing where all have."""
    layers: dict[str, list[int]] = {}
    for layer, reason in sorted(reasons.items()):
        layers.setdefault(reason, []).append(layer)
    said = [
        f"layer{'s' if len(of) > 1 else ''} {', '.join(map(str, of))} left out: {reason}"
        for reason, of in layers.items()
    ]
    return {"attention.note": Labelled((), np.array("; ".join(said)))} if said else {}
