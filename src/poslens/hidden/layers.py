"""`follow`: position through the layers of a model, on text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from poslens.attention.terms import TermLogits, TermSums, term_logits, term_sums
from poslens.axes import Tokens
from poslens.errors import PosLensError, SettingError, UndefinedMeasureError
from poslens.geometry.components import principal_components
from poslens.hidden.attentions import Attentions
from poslens.hidden.model import TextModel, text_model
from poslens.hidden.result import PARTS, HiddenStates
from poslens.hidden.split import HiddenSplit
from poslens.logits.parts import first_positions

Progress: TypeAlias = Callable[[str, int, int], None]
Place: TypeAlias = tuple[int, int]  # layer, head

COMPONENTS = 3
PICTURE_TOKENS = 64


def follow(
    source: Any,
    tokens: Tokens,
    *,
    part: str | None = None,
    head: Place | None = None,
    progress: Progress | None = None,
) -> HiddenStates:
    """Split a model's hidden states and its attention logits, at every layer.

    The model reads each context twice: for the means, and then for what is told from them. One
    context is held at a time. A model that is given is as it was afterwards, also if this is
    stopped.

    Parameters
    ----------
    source
        A model of transformers, as it is and where it is; or a folder, a model on the hub, or a
        GGUF file, which is loaded in float32.
    tokens
        Contexts of token ids, shape (context, position).
    part
        ``"encoder"`` (the default) or ``"decoder"`` of a model that has both. A decoder's encoder
        reads the same tokens.
    head
        The layer and head whose logits are shown; by default the one with the largest share of
        terms that hold a position.
    progress
        Called with (words, contexts done, contexts in all).

    Raises
    ------
    SettingError
        If torch or transformers is not installed, the tokens do not fit the model, or there is no
        such head.
    SourceError
        If the source cannot be loaded, or is not a model of transformers that reads token ids.
    """
    report = progress or (lambda *_: None)
    with text_model(source, part) as model:
        model.check(tokens)
        attentions = Attentions(model, tokens)
        splits = _means(model, tokens, report)
        attentions.know(splits)
        sums = _second_pass(model, tokens, splits, attentions, report)
        place = _shown(sums, head)
        picture = None
        if place is not None:
            states = model.states(tokens[0])[place[0]]
            parts = attentions.parts(place[0], 0, states)
            picture = term_logits(first_positions(parts, PICTURE_TOKENS), place[1])
        return _gathered(model, tokens, splits, attentions, sums, picture, place)


def _means(model: TextModel, tokens: Tokens, report: Progress) -> list[HiddenSplit]:
    splits: list[HiddenSplit] = []
    for done, ids in enumerate(tokens):
        report("hidden states", done, len(tokens))
        states = model.states(ids)
        splits = splits or [HiddenSplit() for _ in states]
        for split, rows in zip(splits, states, strict=True):
            split.add(rows)
    report("hidden states", len(tokens), len(tokens))
    return splits


def _second_pass(
    model: TextModel,
    tokens: Tokens,
    splits: list[HiddenSplit],
    attentions: Attentions,
    report: Progress,
) -> list[TermSums | None]:
    sums: list[TermSums | None] = [None] * attentions.count
    for done, ids in enumerate(tokens):
        report("attention logits", done, len(tokens))
        states = model.states(ids)
        for split, rows in zip(splits, states, strict=True):
            split.meet(rows.mean(axis=0, dtype=np.float64))
        if done == 0:
            attentions.compare(ids, states)
        for layer in attentions.known():
            try:
                found = term_sums(attentions.parts(layer, done, states[layer]))
            except PosLensError as error:
                attentions.drop(layer, error)
                continue
            before = sums[layer]
            sums[layer] = found if before is None else before + found
    report("attention logits", len(tokens), len(tokens))
    known = set(attentions.known())
    return [one if layer in known else None for layer, one in enumerate(sums)]


def _shown(sums: list[TermSums | None], head: Place | None) -> Place | None:
    known = {layer: one.shares() for layer, one in enumerate(sums) if one is not None}
    if head is not None:
        layer, number = head
        if not 0 <= layer < len(sums) or (
            layer in known and not 0 <= number < known[layer].shape[1]
        ):
            raise SettingError(
                "no such head",
                expected=f"a layer from 0 to {len(sums) - 1}, and a head of it",
                got=f"layer {layer}, head {number}",
                remedy="choose one of these",
            )
        return head if layer in known else None
    best: tuple[float, Place | None] = (-np.inf, None)
    for layer, shares in known.items():
        bearing = np.nan_to_num(shares[1:4].sum(axis=0), nan=-np.inf)
        number = int(bearing.argmax())
        best = max(best, (float(bearing[number]), (layer, number)), key=lambda one: one[0])
    return best[1]


def _gathered(
    model: TextModel,
    tokens: Tokens,
    splits: list[HiddenSplit],
    attentions: Attentions,
    sums: list[TermSums | None],
    picture: TermLogits | None,
    place: Place | None,
) -> HiddenStates:
    undefined: dict[str, str] = {}

    def at_layers(name: str, measure: Callable[[HiddenSplit], Any], size: int = 1) -> np.ndarray:
        values = np.full((len(splits), size), np.nan)
        for layer, split in enumerate(splits):
            try:
                values[layer] = measure(split)
            except UndefinedMeasureError as error:
                undefined[f"{name}[{layer}]"] = str(error)
        return values

    scores, explained = _components(splits)
    return HiddenStates(
        part=model.part,
        contexts=len(tokens),
        length=tokens.shape[1],
        shares=at_layers("share", lambda split: _listed(split), len(PARTS)),
        stable_rank=at_layers("stable_rank", HiddenSplit.stable_rank)[:, 0],
        relative_norm=at_layers("relative_norm", HiddenSplit.relative_norm)[:, 0],
        incoherence=at_layers("incoherence", HiddenSplit.incoherence)[:, 0],
        positions=np.array([split.position for split in splits]),
        scores=scores,
        explained=explained,
        undefined=undefined,
        terms=tuple(sums),
        reasons=attentions.reasons,
        reconstruction=tuple(attentions.errors.get(layer) for layer in range(attentions.count)),
        picture=picture,
        place=place,
    )


def _listed(split: HiddenSplit) -> list[float]:
    shares = split.shares()
    return [getattr(shares, part) for part in PARTS]


def _components(splits: list[HiddenSplit]) -> tuple[np.ndarray, np.ndarray]:
    """Return scores of pos_t on its first components, signs aligned, and what they explain."""
    scores = np.zeros((len(splits), len(splits[0].position), COMPONENTS))
    explained = np.zeros((len(splits), COMPONENTS))
    for layer, split in enumerate(splits):
        try:
            split.stable_rank()
            found = principal_components(split.position)
        except UndefinedMeasureError:  # the same at every position: no component has anything
            continue
        count = min(COMPONENTS, found.scores.shape[1])
        scores[layer, :, :count] = found.scores[:, :count]
        explained[layer, :count] = found.explained[:count]
        if layer > 0:
            agreement = np.einsum("tc,tc->c", scores[layer], scores[layer - 1])
            scores[layer] *= np.where(agreement < 0, -1.0, 1.0)
    return scores, explained
