"""Loss at each position of contexts of any length, without gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from poslens.axes import PerPosition
from poslens.encodings.validate import require_count
from poslens.errors import SettingError, UndefinedMeasureError
from poslens.lab.batches import IGNORED, Batch
from poslens.lab.data import Split
from poslens.lab.model import Decoder
from poslens.lab.train import token_losses

TOKENS = 2**14  # that a model reads at once
FACTORS = (1, 2, 4, 8)  # of the trained context, at which a model is evaluated


@dataclass(frozen=True, eq=False)
class Losses:
    """Cross entropy of each token of each context, in nats.

    Attributes
    ----------
    values
        Shape (context, position); 0 where the target does not count.
    counted
        Where it does.
    """

    values: Float[np.ndarray, "context position"]
    counted: Bool[np.ndarray, "context position"]

    @cached_property
    def by_position(self) -> PerPosition:
        """The mean over contexts at each position.

        Raises
        ------
        UndefinedMeasureError
            If no target counts at some position.
        """
        count = self.counted.sum(axis=0)
        if not count.all():
            raise UndefinedMeasureError(
                "the loss by position has no value",
                expected="a target that counts at each position",
                got=f"none at position {int(np.argmin(count))}",
            )
        return np.asarray(self.values.sum(axis=0) / count)

    @cached_property
    def mean(self) -> float:
        """The mean over all targets that count.

        Raises
        ------
        UndefinedMeasureError
            If there are none.
        """
        if not self.counted.any():
            raise UndefinedMeasureError("the loss has no value", got="no target that counts")
        return float(self.values.sum() / self.counted.sum())

    @property
    def perplexity(self) -> float:
        """e to the mean; infinite where float64 has no such number."""
        return math.exp(self.mean) if self.mean < 709 else math.inf


def losses(model: Decoder, batch: Batch) -> Losses:
    """Return a model's losses on contexts of any length that it has positions for.

    Raises
    ------
    LabError
        If a context is longer than the model's table.
    """
    return _scored(model, batch, token_losses)


def accuracy(model: Decoder, batch: Batch) -> float:
    """Return the share of the targets that count that are the most likely token.

    Raises
    ------
    UndefinedMeasureError
        If no target counts.
    LabError
        If a context is longer than the model's table.
    """
    return _scored(model, batch, lambda logits, targets: logits.argmax(-1) == targets).mean


@torch.no_grad()
def _scored(model: Decoder, batch: Batch, score: Callable[[Tensor, Tensor], Tensor]) -> Losses:
    """Return a score of logits and targets at each position, a few contexts at a time."""
    device = model.tokens.weight.device
    contexts = max(TOKENS // batch.inputs.shape[1], 1)
    counted = batch.targets != IGNORED
    values = np.zeros(counted.shape)
    for first in range(0, len(values), contexts):
        some = slice(first, first + contexts)
        inputs, targets = (torch.from_numpy(ids[some]).to(device) for ids in batch)
        values[some] = score(model(inputs), targets).double().cpu().numpy()
    return Losses(values * counted, counted)


def sliding_losses(model: Decoder, batch: Batch, window: int, stride: int) -> Losses:
    """Return the losses of a model that sees no more than a window of the context.

    The window moves by ``stride`` tokens, and of each but the first only the last ``stride``
    tokens count, so that each is predicted from window - stride to window tokens: the baseline
    for a model that reads the whole context.

    Raises
    ------
    SettingError
        If the stride is longer than the window, or the window than the contexts.
    """
    length = batch.inputs.shape[1]
    for name, value, most in (("window", window, length), ("stride", stride, window)):
        require_count(name, value)
        if value > most:
            raise SettingError(
                f"a {name} is too long", expected=f"at most {most} positions", got=f"{value}"
            )
    values = np.empty(batch.inputs.shape)
    ends = [*range(window, length, stride), length]
    for before, end in zip([0, *ends[:-1]], ends, strict=True):
        seen = slice(end - window, end)
        part = losses(model, Batch(batch.inputs[:, seen], batch.targets[:, seen]))
        values[:, before:end] = part.values[:, window - (end - before) :]
    return Losses(values, batch.targets != IGNORED)


def extrapolation(
    model: Decoder, split: Split, factors: Sequence[int] = FACTORS
) -> dict[int, Losses]:
    """Return the losses on held-out text by length, at multiples of the trained context.

    All lengths are of the same bytes where they divide the split's block - 1. Lengths that the
    model has no positions for are left out.

    Raises
    ------
    SettingError
        If a length is longer than the held-out blocks.
    """
    lengths = [factor * model.shape.context for factor in factors]
    return {
        length: losses(model, split.held_out(length))
        for length in lengths
        if model.longest is None or length <= model.longest
    }
