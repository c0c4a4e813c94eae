"""The other layouts of the sinusoid against the models that have them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.ctrl.modeling_ctrl import positional_encoding
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding
from transformers.models.speech_to_text.modeling_speech_to_text import (
    Speech2TextSinusoidalPositionalEmbedding,
)
from transformers.models.whisper.modeling_whisper import sinusoids

from poslens.encodings.sinusoidal import concatenated_rows, sinusoidal_rows, tensor2tensor_rows


@pytest.mark.parametrize(("length", "dim"), [(77, 30), (40, 7), (3, 1), (5, 2)])
def test_sines_first_as_in_marian(length: int, dim: int) -> None:
    """Marian computes in float64, and stores float32."""
    module = MarianSinusoidalPositionalEmbedding(length, dim)
    theirs = module.create_weight().numpy()
    ours = concatenated_rows(np.arange(length), dim)
    np.testing.assert_array_equal(ours.astype(np.float32), theirs)


def test_sines_first_as_in_ctrl() -> None:
    """CTRL computes in float32: with t < 77 angles are off by less than 77·2^-23."""
    theirs = positional_encoding(77, 30, torch.float).numpy()
    np.testing.assert_allclose(
        concatenated_rows(np.arange(77), 30), theirs, rtol=0, atol=77 * 2.0**-23
    )


@pytest.mark.parametrize("dim", [4, 30, 7])
def test_tensor2tensor_as_in_speech_to_text(dim: int) -> None:
    """Frequencies in float32 are off by a few units, and angles as many times as t is large."""
    theirs = Speech2TextSinusoidalPositionalEmbedding.get_embedding(77, dim).numpy()
    ours = tensor2tensor_rows(np.arange(77), dim)
    assert ours.shape == theirs.shape == (77, dim)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=77 * 2.0**-22)


def test_tensor2tensor_as_in_whisper() -> None:
    theirs = sinusoids(77, 30).numpy()
    np.testing.assert_allclose(
        tensor2tensor_rows(np.arange(77), 30), theirs, rtol=0, atol=77 * 2.0**-22
    )


def test_tensor2tensor_differs_from_the_paper() -> None:
    paper, other = (rows(np.arange(50), 30) for rows in (concatenated_rows, tensor2tensor_rows))
    np.testing.assert_array_equal(paper[:, [0, 15]], other[:, [0, 15]])  # frequency 1
    assert np.abs(paper - other).max() > 0.1


@pytest.mark.parametrize("base", [10_000.0, 7.5])
@pytest.mark.parametrize("dim", [2, 3, 4, 9])
def test_tensor2tensor_entry_by_entry(dim: int, base: float) -> None:
    table = tensor2tensor_rows(np.array([-2.5, 0, 3]), dim, base)
    half = dim // 2
    for row, t in zip(table, (-2.5, 0, 3), strict=True):
        for i in range(half):
            angle = t / base ** (i / (half - 1)) if half > 1 else t
            assert row[i] == pytest.approx(np.sin(angle), abs=1e-15)
            assert row[half + i] == pytest.approx(np.cos(angle), abs=1e-15)
        if dim % 2:
            assert row[-1] == 0


@pytest.mark.parametrize("dim", [1, 2, 7, 10])
def test_concatenation_keeps_the_papers_columns(dim: int) -> None:
    paper = sinusoidal_rows(np.array([-1.5, 4.0, 9.0]), dim, 500.0)
    sines_first = concatenated_rows(np.array([-1.5, 4.0, 9.0]), dim, 500.0)
    order = [*range(0, dim, 2), *range(1, dim, 2)]
    np.testing.assert_array_equal(sines_first, paper[:, order])
