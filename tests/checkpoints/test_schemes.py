"""What each record says of itself, in one line."""

from __future__ import annotations

import pytest

from poslens.checkpoints.schemes import (
    Acting,
    AddedTable,
    Alibi,
    BucketedBias,
    ContinuousBias,
    Convolution,
    NoPosition,
    RelativeTable,
    Rotary,
)

LAYERS = tuple(range(30))

LINES: list[tuple[Acting, str]] = [
    (
        Rotary(100_000.0, 64, 64, 9, 3, LAYERS, 30),
        "RoPE, base 100000, head dimension 64, 9 query and 3 key heads, in all 30 layers",
    ),
    (
        Rotary(2e6, 80, 32, 6, 6, LAYERS[:5], 30, "interleaved", note="why"),
        "RoPE, base 2000000, head dimension 80 of which 32 rotate, interleaved pairs, 6 query and "
        "6 key heads, in 5 of 30 layers (why)",
    ),
    (
        Rotary(1e4, 64, 64, 9, 3, LAYERS, 30, scaling={"rope_type": "llama3", "factor": 8.0}),
        "RoPE, base 10000, llama3 scaling, head dimension 64, 9 query and 3 key heads, in all 30 "
        "layers",
    ),
    (
        Rotary(1e4, 64, 64, 9, 3, LAYERS, 30, scaling={"rope_type": "bent\x1b"}),
        r"RoPE, base 10000, scaled in a way unknown here, rope_type 'bent\x1b', head dimension "
        "64, 9 query and 3 key heads, in all 30 layers",
    ),
    (Alibi(12, 3), "ALiBi, 12 slopes (causal), added to the logits of all 3 layers"),
    (
        Alibi(12, 3, symmetric=True, max_bias=5.5, scaled=True),
        "ALiBi, 12 slopes (both directions), largest exponent 5.5, added to the logits of all 3 "
        "layers, divided by √d_k with them",
    ),
    (
        BucketedBias(32, 128, 6, True, ("a",)),
        "bucketed bias, 32 buckets up to distance 128 (both directions), 6 heads, shared by all "
        "layers, added to the logits",
    ),
    (
        BucketedBias(32, 128, 6, False, ("a", "b"), "decoder"),
        "bucketed bias, 32 buckets up to distance 128 (causal), 6 heads, one in each layer, added "
        "to the logits of the decoder",
    ),
    (
        RelativeTable("Shaw relative keys", 141, ("a", "b"), "queries against distances"),
        "Shaw relative keys, 141 distances in 2 tensors, queries against distances",
    ),
    (
        RelativeTable("disentangled attention", 512, ("a",), "content against positions"),
        "disentangled attention, 512 distances in one tensor, content against positions",
    ),
    (
        AddedTable("learned", 512, 768, offset=2, tensor="x", part="text"),
        "learned table of 512 positions × 768 dimensions, its first 2 rows not positions, added "
        "to the embedding in the text",
    ),
    (
        Convolution(128, 16),
        "convolutional positions, not a table: a kernel of 128 frames in 16 groups, added to the "
        "features",
    ),
    (
        Convolution(19, 16, depth=5),
        "convolutional positions, not a table: 5 kernels one after the other, each of 19 frames in "
        "16 groups, added to the features",
    ),
    (
        ContinuousBias(8, ()),
        "continuous bias, not a table: a network from the log-spaced offset of two patches, its "
        "weights not in this container, within windows of 8×8, added to the logits",
    ),
    (
        AddedTable("sinusoidal", 7, 12, part="decoder", token_factor=12**0.5),
        "sinusoidal table of 7 positions × 12 dimensions, computed and not stored, added to "
        "3.4641 times the embedding in the decoder",
    ),
    (
        AddedTable("learned", None, None),
        "learned table that is not in this container, added to the embedding",
    ),
    (NoPosition(), "no position encoding"),
]


@pytest.mark.parametrize(("record", "line"), LINES)
def test_a_record_says_itself_in_one_line(record: Acting, line: str) -> None:
    assert record.line() == line
