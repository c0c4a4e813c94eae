"""Shaw's relative keys against Wav2Vec2-BERT, and against loops over pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Wav2Vec2BertConfig
from transformers.models.wav2vec2_bert import modeling_wav2vec2_bert

from poslens.encodings import Shaw
from poslens.errors import SettingError

RNG = np.random.default_rng(11)


def test_the_bias_of_wav2vec2_bert() -> None:
    config = Wav2Vec2BertConfig(
        hidden_size=42,
        num_attention_heads=6,
        position_embeddings_type="relative_key",
        left_max_position_embeddings=16,
        right_max_position_embeddings=5,
    )
    module = modeling_wav2vec2_bert.Wav2Vec2BertSelfAttention(config).double()
    q = torch.as_tensor(RNG.standard_normal((1, 6, 41, 7)))
    k = torch.as_tensor(RNG.standard_normal((1, 6, 61, 7)))
    with torch.no_grad():
        _, theirs = modeling_wav2vec2_bert._apply_relative_key_position_encoding(module, q, k)
    shaw = Shaw(module.distance_embedding.weight.detach().numpy(), before=16)
    ours = shaw.bias(q[0].numpy(), np.arange(41), np.arange(61))
    np.testing.assert_allclose(ours, theirs[0], rtol=0, atol=1e-13)
    assert shaw.after == 5
    assert shaw.parameters == module.distance_embedding.weight.numel() == 22 * 7


def test_queries_and_keys_against_distances_pair_by_pair() -> None:
    """BERT's relative_key_query, which transformers 5 no longer has: rows by t - s."""
    by_distance = RNG.standard_normal((2 * 9 - 1, 4))
    shaw = Shaw(by_distance[::-1], before=8)
    q, k = RNG.standard_normal((3, 9, 4)), RNG.standard_normal((3, 7, 4))
    got = shaw.bias(q, np.arange(9), np.arange(7), keys=k)
    for h in range(3):
        for t in range(9):
            for s in range(7):
                row = by_distance[t - s + 8]
                want = (q[h, t] @ row + k[h, s] @ row) / 2
                assert got[h, t, s] == pytest.approx(want, abs=1e-14)


@settings(derandomize=True, deadline=None)
@given(
    t=st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=4).map(np.array),
    s=st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=4).map(np.array),
)
def test_one_query_everywhere_gives_the_profile(t: np.ndarray, s: np.ndarray) -> None:
    shaw = Shaw.drawn(4, 6, 3, std=1.0)
    mean = np.random.default_rng(1).standard_normal((3, 4))
    bias = shaw.bias(np.repeat(mean[:, None], t.size, axis=1), t, s)
    for i in range(t.size):
        np.testing.assert_allclose(bias[:, i], shaw.profile(mean, s - t[i]), atol=1e-14)


def test_distances_are_clipped() -> None:
    shaw = Shaw.drawn(4, 3, 1)
    rows = shaw.rows[[0, 0, 1, 2, 3, 4, 4]]
    np.testing.assert_array_equal(shaw.vectors(np.array([-9, -3, -2, -1, 0, 1, 8])), rows)
    assert Shaw.drawn(4, 3).rows.shape == (7, 4)
    assert repr(shaw) == "Shaw(head_dim=4, before=3, after=1)"


def test_what_cannot_be() -> None:
    with pytest.raises(
        SettingError, match="no vector for offset 0: expected at least 8 rows, got 7"
    ):
        Shaw(np.ones((7, 4)), before=7)
    with pytest.raises(SettingError, match="at least 0 for before, got -1"):
        Shaw(np.ones((7, 4)), before=-1)
    with pytest.raises(SettingError, match="at least 0 for after, got -2"):
        Shaw.drawn(4, 3, -2)
    with pytest.raises(SettingError, match="at least 1 for head_dim, got 0"):
        Shaw.drawn(0, 3)
    with pytest.raises(SettingError, match=r"these rows: .* got inf"):
        Shaw(np.array([[np.inf]]), before=0)
    shaw = Shaw.drawn(4, 3)
    with pytest.raises(SettingError, match=r"vectors of 4 dimensions, got shape \(2, 5\)"):
        shaw.profile(np.ones((2, 5)), np.arange(3))
    with pytest.raises(SettingError, match="heads and relative keys do not fit"):
        shaw.bias(np.ones((2, 3, 5)), np.arange(3), np.arange(3))
    with pytest.raises(SettingError, match=r"expected whole offsets.*, got 0.5"):
        shaw.vectors(np.array([0.5]))
    with pytest.raises(SettingError, match=r"expected whole positions.*, got 1.5"):
        shaw.bias(np.ones((2, 1, 4)), np.array([1.5]), np.arange(3))
