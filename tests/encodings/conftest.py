"""Peers in float64, for all of this room's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import transformers

transformers.utils.logging.set_verbosity_error()


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have transformers compute its own formulas in float64 where it asks for float32."""
    monkeypatch.setattr(torch, "float", torch.float64)
    monkeypatch.setattr(torch, "float32", torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    monkeypatch.undo()
    torch.set_default_dtype(torch.float32)
