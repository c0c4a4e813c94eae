"""Training, one step at a time, and stopping where a loss is no number."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from poslens.errors import LabError, SettingError
from poslens.lab.batches import IGNORED, Batch, Batches, require_fitting
from poslens.lab.model import Decoder
from poslens.lab.recipe import Recipe
from poslens.lab.seeds import Stream, whole_seed


@dataclass(frozen=True)
class Metrics:
    """What one step showed.

    Attributes
    ----------
    step
        Counted from 0.
    loss
        Mean cross entropy of the step's batch before the step, in nats per token.
    gradient_norm
        Of all gradients together, before they are clipped.
    rate
        The learning rate.
    tokens_per_second
        Positions of the batch over the time of the whole step.
    """

    step: int
    loss: float
    gradient_norm: float
    rate: float
    tokens_per_second: float


class Training:
    """A model, what it is trained on, and how far that has come.

    The batch and the dropout of a step depend on the recipe's seed and the step alone. On a CPU
    with the same number of threads, training that is saved and goes on gives the same bits as
    training that is not.

    Parameters
    ----------
    model
        It is trained where it is, and stays on its device.
    batches
        What it reads.
    recipe
        How.

    Attributes
    ----------
    step
        Steps that are done.

    Raises
    ------
    LabError
        If the batches have more tokens than the model.
    """

    def __init__(self, model: Decoder, batches: Batches, recipe: Recipe) -> None:
        require_fitting(batches, model.shape.vocabulary)
        self.model, self.batches, self.recipe = model, batches, recipe
        self.optimiser = optimiser(model, recipe)
        self.step = 0

    def run(self, until: int | None = None) -> Iterator[Metrics]:
        """Train to a number of steps in all, or to the recipe's, and yield each step's metrics.

        Raises
        ------
        SettingError
            If the recipe has fewer steps.
        LabError
            If a loss or a gradient is no finite number. The weights are then those before the step.
        """
        until = self.recipe.steps if until is None else until
        if until > self.recipe.steps:
            raise SettingError(
                "a run cannot be longer than its recipe",
                expected=f"at most {self.recipe.steps} steps",
                got=f"{until}",
            )
        while self.step < until:
            yield self._one_step()

    def _one_step(self) -> Metrics:
        begun = time.perf_counter()
        shape, recipe, device = self.model.shape, self.recipe, self.model.tokens.weight.device
        batch = self.batches.batch(recipe.batch, shape.context, recipe.seed, self.step)
        loss = batch_loss(self.model, batch, recipe, self._dropping(device))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        shown, size = loss.item(), norm.item()
        if not (math.isfinite(shown) and math.isfinite(size)):
            self.optimiser.zero_grad()
            raise LabError(
                f"training broke down at step {self.step}",
                expected="a finite loss and gradient",
                got=f"loss {shown}, gradient of norm {size}",
                remedy="give a lower rate or a longer warm-up",
            )
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.rate_at(self.step)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        speed = batch.inputs.size / (time.perf_counter() - begun)
        return Metrics(self.step - 1, shown, size, recipe.rate_at(self.step - 1), speed)

    def _dropping(self, device: torch.device) -> torch.Generator | None:
        if self.model.shape.dropout == 0:
            return None
        seed = whole_seed(self.recipe.seed, Stream.DROPOUT, self.step)
        return torch.Generator(device).manual_seed(seed)


def optimiser(model: Decoder, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices that multiply alone.

    One kernel updates all weights where torch has one, which is so on CPU and GPU.
    """
    owned = set(model.position.parameters())
    decayed = [w for w in model.parameters() if w.ndim == 2 and w not in owned]
    others = [w for w in model.parameters() if w.ndim != 2 or w in owned]
    groups = [
        {"params": decayed, "weight_decay": recipe.decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=recipe.betas, fused=True)


def batch_loss(
    model: Decoder, batch: Batch, recipe: Recipe, dropping: torch.Generator | None = None
) -> Float[Tensor, ""]:
    """Return the mean cross entropy of a batch, in nats per token that counts."""
    device = model.tokens.weight.device
    inputs, targets = (torch.from_numpy(ids).to(device) for ids in batch)
    lower = recipe.precision == "bfloat16"
    with torch.autocast(device.type, torch.bfloat16, enabled=lower):
        logits = model(inputs, dropping)
    return token_losses(logits, targets).sum() / (targets != IGNORED).sum()


def token_losses(
    logits: Float[Tensor, "batch position token"], targets: Int[Tensor, "batch position"]
) -> Float[Tensor, "batch position"]:
    """Return the cross entropy at each position, in nats; 0 where the target is `IGNORED`."""
    exact = logits.flatten(0, 1).to(torch.promote_types(logits.dtype, torch.float32))
    flat = functional.cross_entropy(
        exact, targets.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return flat.view(targets.shape)
