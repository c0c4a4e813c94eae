"""What the tests of the lab share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from lab_models import ENCODINGS, SHAPE

from poslens.encodings import Encoding
from poslens.lab.data import Split, python_help


@pytest.fixture(scope="session")
def split() -> Split:
    """Blocks of eight contexts."""
    return Split(python_help(), block=8 * SHAPE.context + 1, every=100)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=list(ENCODINGS))
def encoding(request: pytest.FixtureRequest) -> Encoding:
    return ENCODINGS[request.param]
