"""One batch through a model of transformers: its logits, or its last hidden states."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from poslens.axes import Tokens
from poslens.edit.questions import Places
from poslens.errors import SourceError, quoted
from poslens.hidden.model import chosen_stack, first_position

if TYPE_CHECKING:
    import torch


def logits_of(module: Any, ids: Tokens, places: Places | None = None) -> torch.Tensor:
    """Return the logits that a model gives for a batch, in at least float32.

    Parameters
    ----------
    module
        A model with a head.
    ids
        Shape (context, position).
    places
        The one position of each context whose logits are wanted, and alone are computed; None for
        all positions.

    Returns
    -------
    torch.Tensor
        Shape (context, position, token), of one position where ``places`` are given.

    Raises
    ------
    SourceError
        If the model cannot read the tokens.
    """
    import torch

    found: torch.Tensor
    with torch.no_grad(), _head_at(module, ids, places):
        found = _run(module, module, ids).logits
        if places is not None and found.shape[1] == ids.shape[1]:  # a head that is not one module
            found = found[torch.arange(len(ids)), torch.as_tensor(places), None]
    return found.float() if found.element_size() < 4 else found


def states_of(module: Any, ids: Tokens, part: str | None = None) -> torch.Tensor:
    """Return the last hidden states for a batch, shape (context, position, dim), in float64.

    Raises
    ------
    SourceError
        If the model cannot read the tokens.
    """
    import torch

    with torch.no_grad():
        stack = chosen_stack(module.base_model, part)[1]
        states: torch.Tensor = _run(stack, module, ids)[0]
    return states.double()


@contextmanager
def _head_at(module: Any, ids: Tokens, places: Places | None) -> Iterator[None]:
    """Have the last matrix of a model's head, by far its largest, see one position a context."""
    import torch

    head = None if places is None else module.get_output_embeddings()
    if head is None:
        yield
        return

    def choose(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or args[0].shape[:2] != ids.shape:
            return None
        rows, at = torch.arange(len(ids)), torch.as_tensor(places)
        return (args[0][rows, at, None], *args[1:])

    handle = head.register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()


def _run(stack: Any, module: Any, ids: Tokens) -> Any:
    import torch

    tokens = torch.as_tensor(np.ascontiguousarray(ids), device=module.device)
    inputs: dict[str, Any] = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    accepts = inspect.signature(stack.forward).parameters
    if "use_cache" in accepts:
        inputs["use_cache"] = False
    first = first_position(stack)
    if "position_ids" in accepts and first:
        inputs["position_ids"] = first + torch.arange(ids.shape[1], device=module.device)[None]
    try:
        return stack(**inputs, return_dict=True)
    except Exception as error:  # whatever a model does with tokens that it does not expect
        raise SourceError(
            f"the {quoted(type(module).__name__)} cannot read these tokens",
            expected="a text model, and contexts no longer than its positions",
            got=quoted(f"{type(error).__name__}: {error}"),
            remedy="choose shorter contexts, or a model that reads token ids",
        ) from error
