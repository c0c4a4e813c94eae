"""DeBERTa's buckets and both of its terms against transformers, versions 1 and 2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DebertaConfig, DebertaV2Config
from transformers.models.deberta import modeling_deberta
from transformers.models.deberta_v2 import modeling_deberta_v2

from poslens.encodings import Deberta, log_buckets
from poslens.errors import SettingError

RNG = np.random.default_rng(13)
SIZES: dict[str, Any] = {
    "vocab_size": 37,
    "hidden_size": 42,
    "num_hidden_layers": 1,
    "num_attention_heads": 6,
    "intermediate_size": 10,
    "relative_attention": True,
    "max_position_embeddings": 71,
    "hidden_dropout_prob": 0.0,
}
FAR = np.r_[-3_000:3_001, -(10**6), 10**6]


@pytest.mark.parametrize("buckets", [4, 6, 7, 32, 33, 64, 100, 256])
@pytest.mark.parametrize("max_distance", [130, 256, 512, 513, 2_048])
def test_every_bucket(buckets: int, max_distance: int) -> None:
    theirs = modeling_deberta_v2.make_log_bucket_position(
        torch.as_tensor(FAR), buckets, max_distance
    ).long()
    clipped = np.clip(theirs.numpy() + buckets, 0, 2 * buckets - 1)
    scheme = Deberta.drawn(2, buckets, max_distance)
    np.testing.assert_array_equal(scheme.row(-FAR), clipped)
    within = np.abs(FAR) < max_distance
    np.testing.assert_array_equal(
        log_buckets(FAR[within], buckets, max_distance), theirs.numpy()[within]
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("terms", "buckets", "max_distance"),
    [("c2p|p2c", 8, 64), ("c2p", 8, -1), ("p2c", 8, 64), ("c2p|p2c", -1, 33)],
)
def test_the_terms_of_version_2(terms: str, buckets: int, max_distance: int) -> None:
    torch.manual_seed(0)
    config = DebertaV2Config(
        **SIZES, pos_att_type=terms, position_buckets=buckets, max_relative_positions=max_distance
    )
    encoder = modeling_deberta_v2.DebertaV2Encoder(config)
    attention = encoder.layer[0].attention.self
    q, k = (torch.as_tensor(RNG.standard_normal((6, 61, 7))) for _ in range(2))
    count = 1 + len(terms.split("|"))
    with torch.no_grad():
        relative = encoder.get_rel_pos(torch.zeros(1, 61, 42))
        theirs = attention.disentangled_attention_bias(
            q, k, relative, encoder.get_rel_embedding(), count
        )
    scheme = Deberta(
        encoder.rel_embeddings.weight.detach().numpy(),
        buckets if buckets > 0 else None,
        max_distance if max_distance > 0 else 71,
    )
    assert scheme.parameters == encoder.rel_embeddings.weight.numel()
    at, ours = np.arange(61), np.zeros((6, 61, 61))
    if "c2p" in terms:
        keys = projected(scheme, attention.pos_key_proj)
        ours += scheme.content_to_position(q.numpy(), keys, at, at)
    if "p2c" in terms:
        queries = projected(scheme, attention.pos_query_proj)
        ours += scheme.position_to_content(k.numpy(), queries, at, at)
    np.testing.assert_allclose(ours / np.sqrt(7 * count), theirs, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("length", [23, 61])
def test_the_terms_of_version_1(length: int) -> None:
    torch.manual_seed(0)
    config = DebertaConfig(**SIZES, pos_att_type="c2p|p2c", max_relative_positions=33)
    encoder = modeling_deberta.DebertaEncoder(config)
    attention = encoder.layer[0].attention.self
    q, k = (torch.as_tensor(RNG.standard_normal((1, 6, length, 7))) for _ in range(2))
    with torch.no_grad():
        relative = encoder.get_rel_pos(torch.zeros(1, length, 42))
        theirs = attention.disentangled_att_bias(q, k, relative, encoder.get_rel_embedding(), 3)
    scheme = Deberta(encoder.rel_embeddings.weight.detach().numpy(), max_distance=33)
    assert scheme.parameters == encoder.rel_embeddings.weight.numel()
    at = np.arange(length)
    # Version 1 has divided the queries already, and projects to keys without a shift.
    ours = scheme.content_to_position(
        q[0].numpy(), projected(scheme, attention.pos_proj), at, at
    ) + scheme.position_to_content(
        k[0].numpy(), projected(scheme, attention.pos_q_proj), at, at
    ) / np.sqrt(7 * 3)
    np.testing.assert_allclose(ours, theirs[0], rtol=0, atol=1e-13)


def projected(scheme: Deberta, layer: torch.nn.Linear) -> np.ndarray:
    shift = None if layer.bias is None else layer.bias.detach().numpy()
    return scheme.projected(layer.weight.detach().numpy(), shift, heads=6)


@settings(derandomize=True, deadline=None)
@given(
    t=st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=4).map(np.array),
    s=st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=4).map(np.array),
    buckets=st.sampled_from([None, 8]),
)
def test_both_terms_pair_by_pair(t: np.ndarray, s: np.ndarray, buckets: int | None) -> None:
    scheme = Deberta.drawn(5, buckets, 40)
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((2, 2 * scheme.span, 3))
    q, k = rng.standard_normal((2, t.size, 3)), rng.standard_normal((2, s.size, 3))
    by_query = scheme.content_to_position(q, vectors, t, s)
    by_key = scheme.position_to_content(k, vectors, t, s)
    for i in range(t.size):
        for j in range(s.size):
            (row,) = scheme.row(s[j : j + 1] - t[i])
            np.testing.assert_allclose(
                by_query[:, i, j], (q[:, i] * vectors[:, row]).sum(-1), atol=1e-14
            )
            np.testing.assert_allclose(
                by_key[:, i, j], (k[:, j] * vectors[:, row]).sum(-1), atol=1e-14
            )


def test_buckets_are_odd_and_never_turn_back() -> None:
    at = np.arange(-400, 401)
    got = log_buckets(at, 32, 128)
    np.testing.assert_array_equal(got, -got[::-1])
    assert np.all(np.diff(got) >= 0)
    np.testing.assert_array_equal(got[np.abs(at) <= 16], np.arange(-16, 17))
    assert got[at == 127] == 31


def test_what_cannot_be() -> None:
    with pytest.raises(SettingError, match="at least 4 for buckets, got 3"):
        Deberta.drawn(5, 3)
    with pytest.raises(SettingError, match="a max_distance of at least 18, got 17"):
        log_buckets(np.arange(3), 32, 17)
    with pytest.raises(SettingError, match="at least 1 for max_distance, got 0"):
        Deberta.drawn(5, max_distance=0)
    with pytest.raises(SettingError, match="at least 1 for dim, got 0"):
        Deberta.drawn(0)
    with pytest.raises(SettingError, match=r"expected 16 rows, one for each of -8 … 7, got 15"):
        Deberta(np.ones((15, 5)), 8, 64)
    scheme = Deberta.drawn(5, 8)
    assert repr(scheme) == "Deberta(dim=5, buckets=8, max_distance=512)"
    with pytest.raises(
        SettingError, match=r"a weight of 5 columns, .* 2 heads, got shape \(4, 6\)"
    ):
        scheme.projected(np.ones((4, 6)), heads=2)
    with pytest.raises(SettingError, match=r"a multiple of 3 heads, got shape \(4, 5\)"):
        scheme.projected(np.ones((4, 5)), heads=3)
    with pytest.raises(SettingError, match="at least 1 for heads, got 0"):
        scheme.projected(np.ones((4, 5)), heads=0)
    with pytest.raises(SettingError, match=r"expected whole offsets.*, got 0.5"):
        scheme.row(np.array([0.5]))
