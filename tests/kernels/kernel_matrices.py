"""What the explicit matrix of a kernel says: dummy-variable least squares, block means."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from poslens.study import Study


def offset_of_pairs(length: int) -> np.ndarray:
    """s - t at [t, s]."""
    return np.arange(length) - np.arange(length)[:, None]


def allowed(length: int, *, causal: bool) -> np.ndarray:
    return np.tri(length, dtype=bool) if causal else np.ones((length, length), dtype=bool)


def spread(profile: np.ndarray, length: int) -> np.ndarray:
    """f(s - t) at [head, t, s]; what a causal profile has no value for is taken from offset 0."""
    zero = length - 1
    return profile[:, np.minimum(offset_of_pairs(length) + zero, profile.shape[1] - 1)]


def profile_by_hand(K: np.ndarray, *, causal: bool) -> np.ndarray:
    """The mean along each diagonal, shape (head, offset)."""
    length = K.shape[1]
    last = 0 if causal else length - 1
    along = range(1 - length, last + 1)
    return np.stack([np.diagonal(K, k, 1, 2).mean(axis=1) for k in along], axis=1)


def shares_by_hand(K: np.ndarray, *, causal: bool) -> np.ndarray:
    """1 - RSS(c_t + f(s-t)) ÷ RSS(c_t), a column for every t and for every offset."""
    length = K.shape[1]
    pairs = allowed(length, causal=causal)
    offset = offset_of_pairs(length)[pairs]
    rows = np.eye(length)[np.nonzero(pairs)[0]]
    design = np.hstack([rows, np.eye(np.ptp(offset) + 1)[offset - offset.min()]])
    y = K[:, pairs].T
    left = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    within = y - rows @ np.linalg.lstsq(rows, y, rcond=None)[0]
    return 1 - (left**2).sum(axis=0) / (within**2).sum(axis=0)


def picture_by_hand(K: np.ndarray, starts: np.ndarray, *, causal: bool) -> np.ndarray:
    """Means over blocks of the row-centred matrix, NaN where no pair is allowed."""
    length = K.shape[1]
    pairs = allowed(length, causal=causal)
    centred = K - np.where(pairs, K, 0).sum(2, keepdims=True) / pairs.sum(1)[None, :, None]
    edges = [*starts.tolist(), length]
    found = np.full((K.shape[0], len(starts), len(starts)), np.nan)
    for i, j in np.ndindex(len(starts), len(starts)):
        block = np.s_[edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
        if pairs[block].any():
            found[:, i, j] = centred[:, *block][:, pairs[block]].mean(axis=1)
    return found


def agrees(study: Study, K: np.ndarray, *, causal: bool, first: int = 0) -> None:
    """Require every measure and array of the first layer to be what the matrix says."""
    size = np.abs(K).max()
    profile = profile_by_hand(K, causal=causal)
    found = np.array(study.measures["kernel.profile"])
    assert_allclose(found, profile, rtol=0, atol=1e-11 * size)
    assert_allclose(study.data["kernel.profile"].values[0], profile, rtol=0, atol=1e-11 * size)
    shares = shares_by_hand(K, causal=causal)
    assert_allclose(study.measures["kernel.relative_share"], shares, rtol=1e-9, atol=1e-9)
    length = K.shape[1]
    peaks = profile.argmax(axis=1) - (length - 1)
    assert study.measures["kernel.peak_offset"] == peaks.tolist()
    assert (study.measures["kernel.symmetry"] == [None] * len(K)) is causal

    picture = study.data["kernel.picture"]
    starts = picture.coords["block"] - first
    wanted = picture_by_hand(K, starts, causal=causal)
    assert_allclose(picture.values, wanted, rtol=0, atol=1e-11 * size)
    offsets = study.data["kernel.profile"].coords["offset"]
    assert offsets.tolist() == list(range(1 - length, 1 if causal else length))
