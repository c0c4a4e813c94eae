"""The sinusoidal schemes against Marian, Whisper, M2M100 and DistilBERT, and their identities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import WhisperConfig
from transformers.models.distilbert.modeling_distilbert import create_sinusoidal_embeddings
from transformers.models.m2m_100.modeling_m2m_100 import M2M100SinusoidalPositionalEmbedding
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding
from transformers.models.whisper.modeling_whisper import WhisperEncoder, sinusoids

from poslens.encodings import AddsTable, Concatenated, Sinusoidal, Whisper, sinusoidal_table
from poslens.errors import SettingError

SCHEMES: list[AddsTable] = [
    Sinusoidal(12),
    Sinusoidal(7, 33.0),
    Concatenated(12),
    Concatenated(7, 33.0),
    Whisper(12),
    Whisper(6, 33.0),
]


@pytest.mark.parametrize(("length", "dim"), [(77, 30), (129, 48), (40, 7)])
def test_the_tables_of_distilbert_and_marian(length: int, dim: int) -> None:
    at = np.arange(length)
    if dim % 2 == 0:  # DistilBERT takes no odd dim
        theirs = create_sinusoidal_embeddings(length, dim, torch.zeros(length, dim)).numpy()
        np.testing.assert_allclose(Sinusoidal(dim).table(at), theirs, rtol=0, atol=1e-7)
    module = MarianSinusoidalPositionalEmbedding(length, dim)
    with torch.no_grad():
        module.weight.copy_(module.create_weight())
    np.testing.assert_allclose(Concatenated(dim).table(at), module.weight, rtol=0, atol=1e-7)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("length", "dim"), [(1_500, 384), (77, 30), (40, 4)])
@pytest.mark.parametrize("base", [10_000.0, 77.0])
def test_the_table_of_whisper(length: int, dim: int, base: float) -> None:
    ours = Whisper(dim, base).table(np.arange(length))
    np.testing.assert_allclose(ours, sinusoids(length, dim, base), rtol=0, atol=1e-10)


@pytest.mark.usefixtures("float64")
def test_the_table_of_m2m100_starts_two_rows_later() -> None:
    theirs = M2M100SinusoidalPositionalEmbedding(77, 30, padding_idx=1).weights
    ours = Whisper(30).table(np.arange(2, 79))
    np.testing.assert_allclose(ours, theirs[2:], rtol=0, atol=1e-11)


def test_whisper_is_not_the_papers_table_in_another_order() -> None:
    at = np.arange(50)
    paper, whisper = Concatenated(12).table(at), Whisper(12).table(at)
    assert np.abs(paper - whisper).max() > 0.5
    np.testing.assert_allclose(Whisper(12).frequencies[[0, -1]], [1, 1e-4], rtol=1e-14)


def test_the_tables_are_not_trained() -> None:
    config = WhisperConfig(
        d_model=12, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=8,
        max_source_positions=30, num_mel_bins=4,
    )  # fmt: skip
    table = WhisperEncoder(config).embed_positions.weight
    assert not table.requires_grad
    np.testing.assert_allclose(Whisper(12).table(np.arange(30)), table.detach(), rtol=0, atol=2e-6)
    assert all(scheme.parameters == 0 for scheme in SCHEMES)


def test_the_papers_columns() -> None:
    at = np.arange(9)
    for dim in (1, 7, 12):
        interleaved = Sinusoidal(dim, 33.0).table(at)
        np.testing.assert_array_equal(interleaved, sinusoidal_table(9, dim, 33.0))
        order = np.r_[0:dim:2, 1:dim:2]
        np.testing.assert_array_equal(Concatenated(dim, 33.0).table(at), interleaved[:, order])


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(derandomize=True, deadline=None, max_examples=30)
@given(at=st.lists(st.integers(0, 60), max_size=5).map(lambda t: np.array(t, dtype=int)))
def test_rows_of_any_positions_are_those_of_the_table(scheme: AddsTable, at: np.ndarray) -> None:
    table = scheme.table(np.arange(61))
    assert table.shape == (61, scheme.dim)
    np.testing.assert_array_equal(scheme.table(at), table[at])
    # Two positions' product depends on their distance alone, where each sine has its cosine.
    if scheme.dim % 2 == 0:
        shifted = scheme.table(at + 0.25)
        np.testing.assert_allclose(shifted @ shifted.T, table[at] @ table[at].T, atol=1e-12)


@pytest.mark.parametrize("build", [Sinusoidal, Concatenated, Whisper])
def test_what_cannot_be(build: type[Sinusoidal | Concatenated | Whisper]) -> None:
    with pytest.raises(SettingError, match="at least 1 for dim, got 0"):
        build(0)
    for base in (0.0, float("nan"), float("inf")):
        with pytest.raises(SettingError, match=f"at least 1 for base, got {base}"):
            build(8, base)
    with pytest.raises(SettingError, match="expected finite positions, got inf"):
        build(8).table(np.array([0, np.inf]))


@pytest.mark.parametrize("dim", [2, 7])
def test_whisper_pairs_dimensions(dim: int) -> None:
    with pytest.raises(SettingError, match=f"cannot pair {dim} dimensions: expected an even dim"):
        Whisper(dim)
