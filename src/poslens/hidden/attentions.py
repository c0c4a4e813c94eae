"""`Attentions`: the logits of every layer of a model whose hidden states are known, in parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from poslens.attention.terms import LogitParts
from poslens.axes import Tokens
from poslens.checkpoints.blocks import AttentionBlock, read_block, read_embedding
from poslens.checkpoints.describe import described
from poslens.checkpoints.load import table_of
from poslens.checkpoints.schemes import AddedTable
from poslens.checkpoints.table import PositionTable
from poslens.errors import PosLensError, SettingError, SourceError, UndefinedMeasureError
from poslens.hidden.model import Ids, States, TextModel
from poslens.hidden.shares import LayerTerms, OwnLogits, reconstruction_error
from poslens.hidden.split import HiddenSplit
from poslens.logits.acting import acting
from poslens.logits.embedded import Embedded, embedded
from poslens.logits.parts import Acting, logit_parts

# Beyond this the terms are not those of the model. Float32 leaves 1e-5 or less, bfloat16 1e-2.
MOST_ERROR = 0.05


@dataclass(frozen=True, eq=False)
class _Layer:
    """One layer: its parts from a context's number and what enters it there."""

    parts: Callable[[int, States], LogitParts]
    soft_cap: float | None


class Attentions:
    """The layers whose logits can be parted, and why the others cannot.

    Parameters
    ----------
    model
        The model.
    tokens
        The contexts that it is to read.

    Attributes
    ----------
    count
        Layers; 0 before `know`.
    reasons
        Why a layer's terms are not known.
    errors
        `reconstruction_error` by layer, once `compare` has been called.

    Raises
    ------
    SettingError
        If the contexts are longer than the model's position table.
    """

    def __init__(self, model: TextModel, tokens: Tokens) -> None:
        self.count = 0
        self.reasons: dict[int, str] = {}
        self.errors: dict[int, float] = {}
        self._model, self._length = model, tokens.shape[1]
        self._layers: dict[int, _Layer] = {}
        description = described(model.checkpoint)
        self._schemes = None if description is None else description.schemes
        self._embedded: Embedded | None = None
        try:
            self._embedded = self._entering(tokens)
        except SettingError:
            raise
        except PosLensError as error:
            self.reasons[0] = str(error)

    def know(self, splits: list[HiddenSplit]) -> None:
        """Read the blocks, once μ and pos_t of what enters each layer are known."""
        self.count = len(splits) - 1
        for layer, split in enumerate(splits[:-1]):
            if layer in self.reasons:
                continue
            try:
                self._layers[layer] = self._read(layer, split)
            except PosLensError as error:
                self.reasons[layer] = str(error)

    def known(self) -> list[int]:
        """Return the layers whose logits can be parted."""
        return list(self._layers)

    def parts(self, layer: int, context: int, states: States) -> LogitParts:
        """Return what one layer's logits are made of on one context.

        Parameters
        ----------
        layer, context
            Their numbers.
        states
            What enters the layer there.

        Raises
        ------
        UndefinedMeasureError
            If they are no sum of parts on this text.
        """
        return self._layers[layer].parts(context, states)

    def drop(self, layer: int, error: PosLensError) -> None:
        """Leave out a layer, and say why."""
        del self._layers[layer]
        self.errors.pop(layer, None)
        self.reasons[layer] = str(error)

    def compare(self, ids: Ids, states: list[States]) -> None:
        """Compare the sums of terms with the model's own logits; drop the layers that differ.

        Parameters
        ----------
        ids, states
            Of the first context.
        """

        def see(layer: int, own: OwnLogits) -> None:
            if layer not in self._layers:
                return
            try:
                parts, cap = self.parts(layer, 0, states[layer]), self._layers[layer].soft_cap
                self.errors[layer] = _checked(reconstruction_error(parts, own, cap))
            except PosLensError as error:
                self.drop(layer, error)

        if not self._layers:
            return
        try:
            self._model.logits(ids, self.count, see)
        except SourceError as error:
            for layer in self.known():
                self.drop(layer, error)

    def _entering(self, tokens: Tokens) -> Embedded:
        part = self._model.part
        table: PositionTable | None = None
        if any(isinstance(one, AddedTable) and one.part == part for one in self._schemes or ()):
            table = table_of(self._model.checkpoint, part, with_tokens=False, zeros=True)
        embedding = read_embedding(self._model.checkpoint, part)
        return embedded(embedding, table, tokens, lambda *_: None)

    def _read(self, layer: int, split: HiddenSplit) -> _Layer:
        if self._schemes is None:
            raise UndefinedMeasureError("what the model does with positions is not known")
        model = self._model
        block = read_block(model.checkpoint, model.part, layer)
        scheme = acting(model.checkpoint, self._schemes, model.part, layer, self._length, block)
        if layer == 0 and self._embedded is not None:
            return _first(block, scheme, self._embedded)
        terms = LayerTerms(block, scheme, split.mean, split.position)
        return _Layer(lambda _, states: terms.parts(states), block.soft_cap)


def _first(block: AttentionBlock, scheme: Acting, entering: Embedded) -> _Layer:
    """The first layer, whose input is known from the embedding: what a table adds is position."""
    return _Layer(
        lambda context, _: logit_parts(block, entering.stream(context), scheme), block.soft_cap
    )


def _checked(error: float) -> float:
    if not error <= MOST_ERROR:
        raise UndefinedMeasureError(
            f"the sum of terms differs from the model's own logits by {error:.2g} of their spread; "
            "load the model in float32, or report it"
        )
    return error
