"""What a model hands to softmax: its own attention logits. Imports torch; imported when used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch.overrides import TorchFunctionMode

HeadLogits = Float[np.ndarray, "head query_pos key_pos"]
See = Callable[[int, HeadLogits], None]

_SOFTMAX = (torch.nn.functional.softmax, torch.softmax, torch.Tensor.softmax, torch.special.softmax)

# Masks put -inf, the lowest number of the dtype, or -1e30 there, sometimes added to a logit.
_MASKED = -1e29


class AttentionLogits(TorchFunctionMode):
    """While active, hands on what softmax is given over keys, layer by layer.

    Parameters
    ----------
    length
        T, positions that the model reads: of all that goes through softmax, the (head, T, T)
        arrays are attention.
    every
        Of how many in turn one is meant: 2 in decoders whose every second attention reads an
        encoder.
    see
        Called with the layer and its logits, shape (head, query_pos, key_pos), NaN where masked.
    """

    def __init__(self, length: int, every: int, see: See) -> None:
        super().__init__()
        self._length, self._every, self._see = length, every, see
        self.count = 0
        self.failure: Exception | None = None  # of ``see``, which is no failure of the model

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _SOFTMAX:
            logits = args[0] if args else kwargs["input"]
            if logits.ndim in (3, 4) and logits.shape[-2:] == (self._length, self._length):
                if self.count % self._every == 0 and self.failure is None:
                    self._hand_on(self.count // self._every, logits)
                self.count += 1
        return func(*args, **kwargs)

    def _hand_on(self, layer: int, logits: torch.Tensor) -> None:
        try:
            self._see(layer, _unmasked(logits))
        except Exception as error:
            self.failure = error


def _unmasked(logits: torch.Tensor) -> HeadLogits:
    values = logits.detach().cpu()
    values = values if values.element_size() == 8 else values.float()
    masked = values < max(_MASKED, torch.finfo(logits.dtype).min / 2)
    # A copy: some models go on to write where it stands.
    return np.asarray(values.masked_fill(masked, torch.nan).flatten(0, -3).numpy())
