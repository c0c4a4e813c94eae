"""Containers for tests of what is known before a tensor is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from poslens.checkpoints.config import Config
from poslens.checkpoints.description import describe_model
from poslens.checkpoints.families import FAMILIES
from poslens.checkpoints.names import parse_source
from poslens.checkpoints.numpy_files import stored_from_array
from poslens.checkpoints.opening import open_located
from poslens.checkpoints.schemes import Acting
from poslens.checkpoints.tensors import Entry, StoredTensor, Tensors


class Shapes(Tensors):
    """Names and shapes without values, as a file's header gives them."""

    shown = "'model.safetensors'"

    def __init__(self, **shapes: tuple[int, ...]) -> None:
        self.shapes = shapes

    def names(self) -> Iterable[str]:
        return self.shapes

    def entry(self, name: str) -> Entry:
        return Entry(name, "float32", self.shapes[name])

    def read(self, name: str) -> StoredTensor:
        raise AssertionError(f"{name} was read, to describe a model")


class Held(Tensors):
    """Arrays in memory."""

    shown = "'memory'"

    def __init__(self, **arrays: np.ndarray) -> None:
        self.arrays = arrays

    def names(self) -> Iterable[str]:
        return self.arrays

    def entry(self, name: str) -> Entry:
        return self.read(name).entry

    def read(self, name: str) -> StoredTensor:
        return stored_from_array(self.arrays[name], name)


def config_of(values: Mapping[str, Any]) -> Config:
    return Config(values, "'config.json'")


def saved_config(config: Any, folder: Path) -> dict[str, Any]:
    """What transformers writes for a config."""
    config.save_pretrained(folder)
    return json.loads((folder / "config.json").read_text())


def acting(values: Mapping[str, Any], tensors: Tensors | None = None) -> list[Acting]:
    """What a config's family does beside adding tables; with no tensors unless some are given."""
    found = Shapes() if tensors is None else tensors
    family = FAMILIES[values["model_type"]]
    return [one for way in family.mechanisms for one in way.acting(config_of(values), found)]


def described(model: Any, folder: Path) -> tuple[Acting, ...]:
    """Every scheme that is found in a saved model."""
    model.save_pretrained(folder)
    checkpoint = open_located(parse_source(str(folder)), str(folder))
    assert checkpoint.config is not None
    description = describe_model(checkpoint.tensors, checkpoint.config)
    assert description is not None
    return description.schemes
