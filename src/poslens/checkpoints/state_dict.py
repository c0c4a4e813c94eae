"""Which of the tensors in a checkpoint are the model's, and what they are called there.

The same rules hold for what a file contains and for a dict that is given from Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from poslens.checkpoints.config import Config
from poslens.checkpoints.tensors import listed
from poslens.errors import SourceError, quoted

# Where training scripts put the state dict beside the optimiser's: nanoGPT, Lightning, and the
# tutorials of PyTorch.
KEYS = ("model", "state_dict", "model_state_dict")
# What torch.compile and DistributedDataParallel put before every name, perhaps both.
_WRAPPED = re.compile(r"(?:_orig_mod\.|module\.)+(?=.)")
_NANOGPT = "transformer.wpe.weight"


def find_state_dict(
    root: object, is_tensor: Callable[[object], bool], shown: str, *, unwrap: bool = True
) -> tuple[dict[str, Any], Config | None]:
    """Return a model's tensors by name, and the config that stands beside them, if one does.

    Parameters
    ----------
    root
        A state dict; or a mapping that holds one under ``model``, ``state_dict`` or
        ``model_state_dict``; or one tensor, which is called ``tensor`` here.
    is_tensor
        Whether a value is a tensor; all others are left out.
    shown
        What holds it, quoted, for messages.
    unwrap
        Whether to leave out the prefixes that wrappers of a model put before every name.

    Raises
    ------
    SourceError
        If there are no tensors.
    """
    if is_tensor(root):
        return {"tensor": root}, None
    if isinstance(root, Mapping):
        for state in (*(root.get(key) for key in KEYS), root):
            tensors = _named(state, is_tensor)
            if tensors:
                tensors = _unwrapped(tensors) if unwrap else tensors
                return tensors, _nanogpt(root.get("model_args"), tensors, shown)
        got = "a mapping of " + (listed(quoted(key) for key in root) or "nothing")
    else:
        got = f"a {type(root).__name__}"
    raise SourceError(
        f"no state dict in {shown}",
        expected=f"a mapping of names to tensors, perhaps under {' or '.join(KEYS)}",
        got=got,
        remedy="use the model's state_dict()",
    )


def _named(state: object, is_tensor: Callable[[object], bool]) -> dict[str, Any]:
    if not isinstance(state, Mapping):
        return {}
    return {name: one for name, one in state.items() if isinstance(name, str) and is_tensor(one)}


def _unwrapped(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors without the wrappers' prefix, if all of them have the same one."""
    first = _WRAPPED.match(next(iter(tensors)))
    if first is None or not all(name.startswith(first[0]) for name in tensors):
        return tensors
    return {name[len(first[0]) :]: tensor for name, tensor in tensors.items()}


def _nanogpt(arguments: object, tensors: Mapping[str, Any], shown: str) -> Config | None:
    """Return nanoGPT's ``model_args`` as the config of a GPT-2; None where it is another's."""
    if not isinstance(arguments, Mapping) or _NANOGPT not in tensors:
        return None
    keys = {"block_size": "n_positions"} | {
        key: key for key in ("n_layer", "n_head", "n_embd", "vocab_size", "bias")
    }
    values = {keys[k]: v for k, v in arguments.items() if k in keys and type(v) in (int, bool)}
    return Config({"model_type": "gpt2", **values}, f"model_args in {shown}")
