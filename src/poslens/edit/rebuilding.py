"""A model of transformers made anew on the weights of another, for other positions."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from functools import reduce
from typing import Any

from poslens.edit.lengths import Path
from poslens.errors import SettingError, SourceError, quoted
from poslens.hidden.loading import quiet


def rebuilt(model: Any, config: Any, table: str | None = None) -> Any:
    """Return a model of the same class that shares all parameters with another.

    Buffers that depend on the config, such as position ids and RoPE's frequencies, are its own.

    Parameters
    ----------
    model
        The other.
    config
        Of the model that is made.
    table
        The name of a parameter that is not shared: it has the shape that the config gives it, the
        other's dtype, and no values yet.

    Raises
    ------
    SourceError
        If the class makes no such model of this config.
    """
    import torch

    accelerate: Any = importlib.import_module("accelerate")
    try:
        with quiet(), accelerate.init_empty_weights(include_buffers=False):
            twin = type(model)(config)
    except Exception as error:  # whatever a class does with a config
        raise _not_made(model, f"{type(error).__name__}: {error}") from error
    shared = dict(model.named_parameters(remove_duplicate=False))
    for name, made in list(twin.named_parameters(remove_duplicate=False)):
        own = shared.get(name)
        if own is not None and name == table:
            empty = torch.empty(made.shape, dtype=own.dtype, device=own.device)
            own = torch.nn.Parameter(empty, requires_grad=False)
        if own is None or own.shape != made.shape:
            raise _not_made(model, f"another parameter {name}")
        _put(twin, name, own)
    stored, buffers = model.state_dict().keys(), dict(model.named_buffers())
    for name, made in list(twin.named_buffers()):
        own = buffers.get(name)
        if own is not None and name in stored and own.shape == made.shape:
            _put(twin, name, own)
        elif own is not None:
            _put(twin, name, made.to(own.device, own.dtype))
        else:
            _put(twin, name, made.to(model.device))
    return twin.eval()


def _put(model: Any, name: str, tensor: Any) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, tensor)


def _not_made(model: Any, got: str) -> SourceError:
    name = quoted(type(model).__name__)
    return SourceError(
        f"the {name} cannot be made anew with other positions",
        expected=f"the same parameters from {name}(config)",
        got=quoted(got),
        remedy="save the model, without adapters, and give its folder",
    )


def config_of_length(config: Any, values: Mapping[Path, object]) -> Any:
    """Return a copy of a config with other numbers of positions, as `Length.values` gives them."""
    changed = copy.deepcopy(config)
    for path, value in values.items():
        setattr(reduce(getattr, path[:-1], changed), path[-1], value)
    return changed


def changed_config(config: Any, changes: Mapping[str, object]) -> Any:
    """Return a config with other values, in the section of the text model where it has one.

    Raises
    ------
    SettingError
        If the config has no such values, or transformers refuses them.
    """
    values = config.to_dict()
    text = config.get_text_config()
    sections = [name for name in config.sub_configs if getattr(config, name, None) is text]
    within = values if text is config else values[sections[0]] if len(sections) == 1 else {}
    unknown = [key for key in changes if key not in within]
    if unknown:
        raise SettingError(
            f"the {quoted(type(config).__name__)} has no such value",
            expected=f"keys of {'the config' if text is config else 'its text model'}",
            got=", ".join(map(quoted, unknown)),
            remedy="leave them out",
        )
    within.update(copy.deepcopy(dict(changes)))
    try:
        with quiet():
            changed = type(config).from_dict(values)
    except Exception as error:  # of any kind: a config is checked value by value
        raise SettingError(
            f"transformers refuses this {quoted(type(config).__name__)}",
            expected="values that it knows",
            got=quoted(f"{type(error).__name__}: {error}"),
        ) from error
    for name in ("", *(() if text is config else sections)):
        old, new = (getattr(one, name) if name else one for one in (config, changed))
        new._attn_implementation = old._attn_implementation
    return changed
