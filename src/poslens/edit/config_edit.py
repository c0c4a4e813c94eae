"""Changes of a checkpoint's JSON files: new values in their place, the rest as it stood."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from poslens.checkpoints.config import Config
from poslens.checkpoints.families import FAMILIES
from poslens.checkpoints.folder import CONFIG
from poslens.checkpoints.json_object import json_object
from poslens.checkpoints.json_text import parse
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.torch_file import TorchFile
from poslens.errors import SettingError, SourceError, quoted

Path = tuple[str, ...]

_LENGTH = "max_position_embeddings"
# Where rotary parameters stand in the files of transformers 4: the scaling, and the base.
_OLDER_SCALING, _OLDER_BASES = "rope_scaling", ("rope_theta", "rotary_emb_base")
# tokenizers writes these two first, so that the rest of a large file need not be understood.
_TRUNCATION = re.compile(
    rb'(\s*\{\s*"version"\s*:\s*"[^"]*"\s*,\s*"truncation"\s*:\s*)(null|\{[^{}]*\})'
)


def own_config(checkpoint: Checkpoint) -> Config:
    """Return the config that stands in a file beside the weights.

    Raises
    ------
    SettingError
        If there is none: what describes the model is something else, or nothing.
    """
    of_file = isinstance(checkpoint.tensors, TorchFile) and checkpoint.tensors.config is not None
    source = None if of_file else checkpoint.beside(CONFIG)
    if source is None or checkpoint.config is None:
        raise SettingError(
            f"cannot write a model from {quoted(checkpoint.uri)}",
            expected=f"weights with a {CONFIG} beside them",
            got="nanoGPT's model_args in the weights file" if of_file else f"no {CONFIG}",
            remedy="save the model with transformers first",
        )
    return checkpoint.config


def config_text(checkpoint: Checkpoint, changes: Mapping[Path, object]) -> str:
    """Return a model's config with some values changed, in the order of its keys.

    Raises
    ------
    SourceError
        If it cannot be read, or has no objects where the new values belong.
    """
    source = checkpoint.beside(CONFIG)
    values = {} if source is None else json_object(source)
    for keys, value in changes.items():
        inner = values
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
            if not isinstance(inner, dict):
                raise SourceError(
                    f"cannot use {quoted(key)} in the {CONFIG} of {quoted(checkpoint.uri)}",
                    expected="an object",
                    got=quoted(inner),
                    remedy="restore the config from where the model came from",
                )
        inner[keys[-1]] = value
    return _pretty(values)


def rotary_paths(
    config: Config, part: str | None, changes: Mapping[str, object]
) -> dict[Path, object]:
    """Return new rotary parameters by their places in a file, older spellings included.

    Parameters
    ----------
    config
        Of the whole model, as its file has it.
    part
        Of a model that is made of others, the one that rotates.
    changes
        By key, as transformers 5 has them.

    Returns
    -------
    dict
        transformers 5 prefers an older ``rope_scaling`` to ``rope_parameters``, so that one that
        is there is changed too; and older bases, for those who read them.

    Raises
    ------
    SettingError
        If there is no such part.
    """
    above, values = text_section(config, part)
    found: dict[Path, object] = {}
    for key, value in changes.items():
        found[(*above, _own_key(key, values))] = copy.deepcopy(value)
    parameters = changes.get("rope_parameters")
    if not isinstance(parameters, Mapping):
        return found
    by_layer_type = any(isinstance(value, Mapping) for value in parameters.values())
    if _OLDER_SCALING in values:
        found[(*above, _OLDER_SCALING)] = None if by_layer_type else dict(parameters)
    for key in _OLDER_BASES:
        if key in values and "rope_theta" in parameters:
            found[(*above, key)] = parameters["rope_theta"]
    return found


def text_section(config: Config, part: str | None) -> tuple[Path, Mapping[str, Any]]:
    """Return where in a config the model that reads text stands, and what stands there.

    Raises
    ------
    SettingError
        If there is no such part.
    """
    family = FAMILIES.get(config.text("model_type"))
    composed = family.composed if family is not None else ()
    if part is not None and part not in composed:
        raise SettingError(
            f"no part {quoted(part)} in {config.shown}",
            expected=f"one of {', '.join(composed)}" if composed else "a model that has parts",
            got=quoted(part),
            remedy="leave the part out",
        )
    if part is not None:
        above, inner = text_section(config.section(part), None)
        return (part, *above), inner
    sections = family.context_sections if family is not None and not composed else ()
    for key in sections:
        if isinstance(config.values.get(key), dict):
            return (key,), config.values[key]
    return tuple(sections[:1]), {} if sections else config.values


def _own_key(key: str, values: Mapping[str, Any]) -> str:
    """Return a family's older name for the length, where that is what its file says."""
    if key != _LENGTH or key in values:
        return key
    family = FAMILIES.get(str(values.get("model_type")))
    return next((one for one in (family.context if family else ()) if one in values), key)


def raised_lengths(name: str, content: bytes, length: int) -> bytes:
    """Return a file of a tokenizer whose limit, where it has one, is at least ``length`` tokens.

    Parameters
    ----------
    name
        The file's name: `EDITED` says which ones have limits.
    content
        Its JSON; returned as it is where nothing changes.
    length
        Tokens, special ones included.

    Raises
    ------
    ValueError
        If it is no JSON object.
    """
    return EDITED[name](content, length)


def _raised_member(key: str) -> Callable[[bytes, int], bytes]:
    def raised(content: bytes, length: int) -> bytes:
        values = parse(content)
        if not isinstance(values, dict):
            raise ValueError("no JSON object")
        if not _is_below(values.get(key), length):
            return content
        return _pretty({**values, key: length}).encode()

    return raised


def _raised_truncation(content: bytes, length: int) -> bytes:
    found = _TRUNCATION.match(content)
    if found is None:  # another writer's order
        values = parse(content)
        truncation = values.get("truncation") if isinstance(values, dict) else None
        if not isinstance(truncation, dict) or not _is_below(truncation.get("max_length"), length):
            return content
        return _pretty({**values, "truncation": {**truncation, "max_length": length}}).encode()
    truncation = parse(found[2])
    if truncation is None or not _is_below(truncation.get("max_length"), length):
        return content
    new = json.dumps({**truncation, "max_length": length}, ensure_ascii=False).encode()
    return found[1] + new + content[found.end() :]


def _is_below(value: object, length: int) -> bool:
    return type(value) is int and value < length


def _pretty(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


EDITED: Mapping[str, Callable[[bytes, int], bytes]] = {
    "tokenizer_config.json": _raised_member("model_max_length"),
    "sentence_bert_config.json": _raised_member("max_seq_length"),
    "tokenizer.json": _raised_truncation,
}
