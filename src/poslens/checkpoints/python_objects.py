"""Models, state dicts and tensors that are given from Python, recognised without importing torch.

If there is a torch tensor, torch has been imported by whoever made it; PosLens looks at what the
object itself offers. No tensor is copied or moved before it is asked for.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from poslens.checkpoints.config import Config
from poslens.checkpoints.numpy_files import stored_from_array
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.state_dict import find_state_dict
from poslens.checkpoints.tensors import Entry, StoredTensor, Tensors, require_readable
from poslens.errors import SourceError, TableError, quoted


@runtime_checkable
class TorchTensor(Protocol):
    """A ``torch.Tensor``, or a parameter."""

    def detach(self) -> Any:
        """Return it without its gradient."""

    def cpu(self) -> Any:
        """Return it in main memory."""

    def numpy(self) -> Any:
        """Return it as an array."""


@runtime_checkable
class TorchModule(Protocol):
    """A ``torch.nn.Module``, such as a model of transformers or TransformerLens."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return its parameters and buffers by name."""


# What tells TransformerLens' cfg from another's.
_LENS = ("positional_embedding_type", "normalization_type", "n_ctx")

# Whatever names or holds a position table.
ModelSource: TypeAlias = (
    str | os.PathLike[str] | np.ndarray | TorchTensor | TorchModule | Mapping[str, Any]
)


class PythonTensors(Tensors):
    """Tensors and arrays in memory, by name.

    Parameters
    ----------
    tensors
        Torch tensors or NumPy arrays.
    shown
        What they belong to, for messages.
    """

    named_by_string = False

    def __init__(self, tensors: Mapping[str, Any], shown: str) -> None:
        self._tensors, self.shown = tensors, shown

    def names(self) -> Iterable[str]:
        """Return the names of all tensors, in their own order."""
        return self._tensors.keys()

    def entry(self, name: str) -> Entry:
        """Return name, dtype and shape."""
        tensor = self._tensors[name]
        if isinstance(tensor, np.ndarray):
            return Entry(name, tensor.dtype.name, tensor.shape)
        dtype = str(tensor.dtype).removeprefix("torch.")
        if str(tensor.layout) != "torch.strided" or tensor.is_quantized or tensor.is_meta:
            kind = "meta" if tensor.is_meta else str(tensor.layout).removeprefix("torch.")
            dtype = f"{kind} {dtype}"
        return Entry(name, dtype, tuple(int(size) for size in tensor.shape))

    def read(self, name: str) -> StoredTensor:
        """Return one tensor's values, row-major: those of this moment.

        Raises
        ------
        TableError
            If its dtype is not one that PosLens reads, or torch cannot give its values.
        """
        entry, tensor = self.entry(name), self._tensors[name]
        require_readable(entry, self.shown)
        if isinstance(tensor, np.ndarray):
            return stored_from_array(tensor, name, f"{quoted(name)} of {self.shown}")
        try:
            values = tensor.detach().cpu()
            if entry.dtype == "bfloat16":  # which NumPy lacks
                values = values.view(sys.modules["torch"].int16)
            array = np.ascontiguousarray(values.numpy())
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            raise TableError(
                f"cannot use tensor {quoted(name)} of {self.shown}",
                expected="a tensor whose values torch can give to NumPy",
                got=quoted(error),
                remedy="pass a plain tensor in main memory",
            ) from error
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return StoredTensor(entry, little.reshape(-1).view(np.uint8).data)


def open_object(value: object) -> Checkpoint | None:
    """Return a model, state dict or tensor as a checkpoint; None if it is none of these.

    Parameters
    ----------
    value
        A ``torch.nn.Module``; a mapping of names to torch tensors or NumPy arrays, or one that
        holds such a mapping as a training script saves it; or a torch tensor.

    Raises
    ------
    SourceError
        If there are no tensors in it, or its config cannot be read.
    """
    uri = _name(value)
    root: object = value
    if isinstance(value, TorchModule) and _is_module(value):
        root = value.state_dict()
    elif not isinstance(value, Mapping) and not _is_torch_tensor(value):
        return None
    shown = f"the {quoted(uri)}" if root is not value else f"the {uri}"
    tensors, config = find_state_dict(root, _is_tensor, shown)
    if root is not value:
        config = _config_of(value, tensors, shown)
    return Checkpoint(PythonTensors(tensors, shown), config, uri)


def _name(value: object) -> str:
    if isinstance(value, Mapping):
        return "state dict"
    return "tensor" if _is_torch_tensor(value) else type(value).__name__


def _config_of(module: object, tensors: Mapping[str, Any], shown: str) -> Config | None:
    """Return what describes a model of transformers or TransformerLens; None for any other."""
    if not hasattr(module, "config") and not hasattr(module, "cfg"):
        module = getattr(module, "module", module)  # DistributedDataParallel, DataParallel
    cfg: Any = getattr(module, "cfg", None)
    if all(hasattr(cfg, key) for key in _LENS):
        if cfg.positional_embedding_type != "standard":
            return None
        return Config(_lens(cfg, tensors), f"the cfg of {shown}")
    config: Any = getattr(module, "config", None)
    if hasattr(config, "to_json_string"):
        try:
            return Config(json.loads(config.to_json_string()), f"the config of {shown}")
        except (TypeError, ValueError) as error:
            raise SourceError(
                f"cannot read the config of {shown}",
                expected="one that transformers can save",
                got=quoted(error),
                remedy="save the model and give its folder",
            ) from error
    return None


def _lens(cfg: Any, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return TransformerLens' ``cfg`` as far as it bears on an added table."""
    # A HookedTransformer has tensors of these names; a TransformerBridge leaves out the first two
    # rows of models that, like OPT, store that many more than they have positions.
    hooked = "pos_embed.W_pos" in tensors
    table = tensors.get("pos_embed.weight")
    reserved = 2 if table is not None and tuple(table.shape)[:1] == (cfg.n_ctx + 2,) else 0
    # A model that was loaded, not initialised, has a cfg that says nothing of its initialisation.
    drawn = getattr(cfg, "init_weights", False) and getattr(cfg, "init_mode", "") == "gpt2"
    return {
        "model_type": "transformer_lens",
        "n_ctx": int(cfg.n_ctx),
        "reserved_rows": reserved,
        "normalization_type": (cfg.normalization_type or "none") if hooked else "unknown",
        "init_std": float(cfg.initializer_range) if drawn else 0.0,
    }


def _is_module(value: object) -> bool:
    return _is_a(value, "torch.nn.modules.module", "Module")


def _is_a(value: object, module: str, name: str) -> bool:
    return any((kind.__module__, kind.__name__) == (module, name) for kind in type(value).__mro__)


def _is_torch_tensor(value: object) -> bool:
    return _is_a(value, "torch", "Tensor")


def _is_tensor(value: object) -> bool:
    return isinstance(value, np.ndarray) or _is_torch_tensor(value)
