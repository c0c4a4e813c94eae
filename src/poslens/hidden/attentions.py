"""`Attentions`: the attention blocks of a model whose hidden states are known."""

from __future__ import annotations

from poslens.attention.terms import LogitParts
from poslens.axes import Tokens
from poslens.checkpoints.blocks import read_block
from poslens.checkpoints.describe import described
from poslens.checkpoints.schemes import AddedTable
from poslens.errors import PosLensError, SettingError, SourceError, UndefinedMeasureError, quoted
from poslens.hidden.model import Ids, States, TextModel
from poslens.hidden.shares import LayerTerms, OwnLogits, reconstruction_error
from poslens.hidden.split import HiddenSplit
from poslens.hidden.stand_in import acting

# Beyond this the terms are not those of the model. Float32 leaves 1e-5, bfloat16 1e-2.
MOST_ERROR = 0.05


class Attentions:
    """The layers whose logits can be parted, and why the others cannot.

    Parameters
    ----------
    model
        The model.
    splits
        Of its hidden states, the first pass over all contexts done.
    tokens
        These contexts.

    Attributes
    ----------
    count
        Layers.
    reasons
        Why a layer's terms are not known.
    errors
        `reconstruction_error` by layer, once `compare` has been called.
    """

    def __init__(self, model: TextModel, splits: list[HiddenSplit], tokens: Tokens) -> None:
        self.count = len(splits) - 1
        self.reasons: dict[int, str] = {}
        self.errors: dict[int, float] = {}
        self._model = model
        self._layers: dict[int, LayerTerms] = {}
        for layer, split in enumerate(splits[:-1]):
            try:
                self._layers[layer] = self._read(layer, split, tokens.shape[1])
            except PosLensError as error:
                self.reasons[layer] = str(error)

    def known(self) -> list[int]:
        """Return the layers whose logits can be parted."""
        return list(self._layers)

    def parts(self, layer: int, ids: Ids, states: States) -> LogitParts:  # noqa: ARG002
        """Return what one layer's logits are made of, from what enters it on one context.

        Raises
        ------
        UndefinedMeasureError
            If they are no sum of parts on this text.
        """
        return self._layers[layer].parts(states)

    def drop(self, layer: int, error: PosLensError) -> None:
        """Leave out a layer, and say why."""
        del self._layers[layer]
        self.errors.pop(layer, None)
        self.reasons[layer] = str(error)

    def compare(self, ids: Ids, states: list[States]) -> None:
        """Compare the sums of terms with the model's own logits; drop the layers that differ."""

        def see(layer: int, own: OwnLogits) -> None:
            if layer not in self._layers:
                return
            try:
                parts = self.parts(layer, ids, states[layer])
                self.errors[layer] = _checked(
                    reconstruction_error(parts, own, self._layers[layer].soft_cap)
                )
            except PosLensError as error:
                self.drop(layer, error)

        try:
            self._model.logits(ids, self.count, see)
        except SourceError as error:
            for layer in self.known():
                self.drop(layer, error)

    def _read(self, layer: int, split: HiddenSplit, length: int) -> LayerTerms:
        checkpoint, part = self._model.checkpoint, self._model.part
        block = read_block(checkpoint, part, layer)
        description = described(checkpoint)
        if description is None:
            raise UndefinedMeasureError("what the model does with positions is not known")
        scheme = acting(checkpoint, description.schemes, part, layer, length, block)
        return LayerTerms(block, scheme, split.mean, split.position)


def _checked(error: float) -> float:
    if not error <= MOST_ERROR:
        raise UndefinedMeasureError(
            f"the sum of terms differs from the model's own logits by {error:.2g} of their spread; "
            "load the model in float32, or report it"
        )
    return error
