"""`follow`: position through the layers of a model, on text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from poslens.attention.terms import TermLogits, TermSums, term_logits, term_sums
from poslens.axes import Tokens
from poslens.errors import PosLensError, SettingError, UndefinedMeasureError
from poslens.geometry.components import principal_components
from poslens.hidden.attentions import Attentions
from poslens.hidden.model import States, TextModel, text_model
from poslens.hidden.result import PARTS, HiddenStates
from poslens.hidden.split import HiddenSplit
from poslens.logits.parts import first_positions

Progress: TypeAlias = Callable[[str, int, int], None]
Place: TypeAlias = tuple[int, int]  # layer, head

COMPONENTS = 3
PICTURE_TOKENS = 64
KEPT_BYTES = 2**28


def follow(
    source: Any,
    tokens: Tokens,
    *,
    part: str | None = None,
    head: Place | None = None,
    progress: Progress | None = None,
) -> HiddenStates:
    """Split a model's hidden states and its attention logits, at every layer.

    Contexts are gone through twice: for the means, and then for what is told from them. Hidden
    states are kept in between as far as 256 MB go; of further contexts the model reads each twice.
    A model that is given is as it was afterwards, also if this is stopped.

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
        Called with (words, done, in all): of the model, and of contexts.

    Raises
    ------
    SettingError
        If torch or transformers is not installed, the tokens do not fit the model, or there is no
        such head.
    SourceError
        If the source cannot be loaded, or is not a model of transformers that reads token ids.
    """
    report = progress or (lambda *_: None)
    report("the model", 0, 1)
    with text_model(source, part) as model:
        report("the model", 1, 1)
        model.check(tokens)
        attentions = Attentions(model, tokens)
        contexts = _Contexts(model, tokens)
        splits = _means(contexts, report)
        attentions.know(splits)
        sums = _second_pass(contexts, splits, attentions, report)
        place = _shown(sums, head)
        picture = None
        if place is not None:
            parts = attentions.parts(place[0], 0, contexts.states(0)[place[0]])
            picture = term_logits(first_positions(parts, PICTURE_TOKENS), place[1])
        return _gathered(model, tokens, splits, attentions, sums, picture, place)


class _Contexts:
    """What a model makes of contexts: hidden states, kept while there is room for them."""

    def __init__(self, model: TextModel, tokens: Tokens) -> None:
        self.tokens = tokens
        self._model = model
        self._kept: dict[int, list[States]] = {}
        self._room = KEPT_BYTES

    def states(self, number: int) -> list[States]:
        """Return the hidden states of one context, from the first layer's input on."""
        if number in self._kept:
            return self._kept[number]
        found = self._model.states(self.tokens[number])
        size = sum(rows.nbytes for rows in found)
        if size <= self._room:
            self._kept[number] = found
            self._room -= size
        return found

    def each(self, what: str, report: Progress) -> Iterator[tuple[int, list[States]]]:
        """Yield all contexts' numbers and hidden states, and report how many are done."""
        count = len(self.tokens)
        for number in range(count):
            report(what, number, count)
            yield number, self.states(number)
        report(what, count, count)


def _means(contexts: _Contexts, report: Progress) -> list[HiddenSplit]:
    splits: list[HiddenSplit] = []
    for _, states in contexts.each("hidden states", report):
        splits = splits or [HiddenSplit() for _ in states]
        for split, rows in zip(splits, states, strict=True):
            split.add(rows)
    return splits


def _second_pass(
    contexts: _Contexts, splits: list[HiddenSplit], attentions: Attentions, report: Progress
) -> list[TermSums | None]:
    sums: list[TermSums | None] = [None] * attentions.count
    for number, states in contexts.each("attention logits", report):
        for split, rows in zip(splits, states, strict=True):
            split.meet(rows.mean(axis=0, dtype=np.float64))
        if number == 0:
            attentions.compare(contexts.tokens[0], states)
        for layer in attentions.known():
            try:
                found = term_sums(attentions.parts(layer, number, states[layer]))
            except PosLensError as error:
                attentions.drop(layer, error)
                continue
            before = sums[layer]
            sums[layer] = found if before is None else before + found
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
                expected=_there(sums, known, layer),
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


def _there(sums: list[TermSums | None], known: dict[int, np.ndarray], layer: int) -> str:
    if layer in known:
        return f"a head from 0 to {known[layer].shape[1] - 1} in layer {layer}"
    return f"a layer from 0 to {len(sums) - 1}, and a head of it"


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
        shares=at_layers("share", _listed, len(PARTS)),
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
