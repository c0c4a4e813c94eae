"""Tiny transformers models in float64 throughout, and the logits that they give to softmax."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from torch.overrides import TorchFunctionMode

hf.utils.logging.disable_progress_bar()
hf.utils.logging.set_verbosity_error()


class InFloat64(TorchFunctionMode):
    """Whatever a model wants done in float32 is done in float64; softmax's inputs are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.softmaxed: list[torch.Tensor] = []
        self.capped: list[torch.Tensor] = []
        self.attended: list[tuple[torch.Tensor, ...]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        args = tuple(_double(one) for one in args)
        kwargs = {name: _double(one) for name, one in (kwargs or {}).items()}
        if func in (torch.Tensor.float, torch.Tensor.bfloat16):
            return args[0].double()
        name = getattr(func, "__name__", "")
        if name == "softmax":
            self.softmaxed.append(args[0].detach())
        if name == "tanh":
            self.capped.append(args[0].detach())
        if name == "scaled_dot_product_attention":
            self.attended.append((*args[:2], kwargs["attn_mask"]))
        return func(*args, **kwargs)


def _double(one: Any) -> Any:
    return torch.float64 if one is torch.float32 else one


@contextmanager
def in_float64() -> Iterator[InFloat64]:
    torch.set_default_dtype(torch.float64)
    try:
        with InFloat64() as mode, torch.no_grad():
            yield mode
    finally:
        torch.set_default_dtype(torch.float32)


def build(family: str, values: dict[str, Any], implementation: str = "eager") -> hf.PreTrainedModel:
    """Build the base model, every weight drawn anew so that no two norms or biases are alike."""
    torch.manual_seed(0)
    copied = json.loads(json.dumps(values))  # transformers writes into them
    config = hf.AutoConfig.for_model(family, **copied)
    with in_float64():
        model = hf.MODEL_MAPPING[type(config)]._from_config(
            config, attn_implementation=implementation, dtype=torch.float64
        )
        for weight in filter(lambda one: one.requires_grad, model.parameters()):
            if weight.ndim == 1:
                weight += 0.3 * torch.randn_like(weight)
            elif weight.ndim == 2:
                weight.normal_(0, 0.3)
    return model.eval()


def saved(model: hf.PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def own_logits(model: torch.nn.Module, ids: np.ndarray) -> np.ndarray:
    """What the first layer gives to softmax on one text, the mask in it, (head, query, key).

    Before it is capped, in models that do so.
    """
    with in_float64() as mode:
        model(input_ids=torch.tensor(ids)[None])
    if mode.attended:
        queries, keys, mask = mode.attended[0]
        return (queries @ keys.transpose(2, 3) / queries.shape[3] ** 0.5 + mask)[0].numpy()
    cap = getattr(model.config, "attn_logit_softcapping", None)
    return (mode.capped[0] * cap if cap else mode.softmaxed[0])[0].numpy()


def row_centred(logits: np.ndarray, *, causal: bool) -> np.ndarray:
    """Less the mean over the keys that a row may attend to; NaN elsewhere."""
    found = np.full_like(logits, np.nan)
    for head, t in np.ndindex(logits.shape[:2]):
        allowed = t + 1 if causal else logits.shape[2]
        row = logits[head, t, :allowed]
        found[head, t, :allowed] = row - row.mean()
    return found
