"""What an encoding string names, and what is said when it is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from poslens.encodings import (
    ENCODINGS,
    SCALINGS,
    T5,
    Alibi,
    Concatenated,
    Deberta,
    Dynamic,
    Encoding,
    EncodingSpec,
    Learned,
    Linear,
    LongRope,
    Nope,
    Proportional,
    Rope,
    Shaw,
    Sinusoidal,
    Unscaled,
    Whisper,
    Yarn,
    names_encoding,
    parse_encoding,
    usage,
)
from poslens.errors import SourceError

ROPE = "rope:head_dim=64,scaling="


@pytest.mark.parametrize(
    ("text", "encoding", "length"),
    [
        ("sinusoidal:length=512,dim=384", Sinusoidal(384), 512),
        ("sinusoidal:base=1e4,dim=7,length=3", Sinusoidal(7), 3),
        ("concatenated:length=4,dim=6,base=77.5", Concatenated(6, 77.5), 4),
        ("whisper:length=4,dim=6", Whisper(6), 4),
        ("rope:head_dim=64", Rope(64), None),
        ("rope:base=500000,head_dim=64,length=4096", Rope(64, 500_000.0), 4_096),
        (
            "rope:head_dim=64,rotary_dim=32,pairing=interleaved",
            Rope(64, rotary_dim=32, pairing="interleaved"),
            None,
        ),
        (ROPE + "default", Rope(64), None),
        (ROPE + "linear,factor=4", Rope(64, scaling=Linear(4.0)), None),
        ("rope:factor=4,scaling=linear,head_dim=8", Rope(8, scaling=Linear(4.0)), None),
        (ROPE + "dynamic,factor=2,original=99", Rope(64, scaling=Dynamic(2.0, 99)), None),
        (
            ROPE + "yarn,factor=4,original=2048,beta_fast=16.5,truncate=false,length=9",
            Rope(64, scaling=Yarn(4.0, 2_048, beta_fast=16.5, truncate=False)),
            9,
        ),
        (
            "rope:head_dim=4,scaling=longrope,factor=2,original=9,short_factor=1/1.5,long_factor=2/3",
            Rope(4, scaling=LongRope(2.0, 9, (1.0, 1.5), (2.0, 3.0))),
            None,
        ),
        (ROPE + "proportional,part=0.25", Rope(64, scaling=Proportional(0.25)), None),
        ("alibi:heads=12", Alibi(12), None),
        ("alibi:heads=12,symmetric=true,length=7", Alibi(12, symmetric=True), 7),
        ("alibi:heads=12,max_bias=5,symmetric=false", Alibi(12, max_bias=5.0), None),
        ("nope", Nope(), None),
        ("nope:", Nope(), None),
        ("nope:length=5", Nope(), 5),
    ],
)
def test_strings_of_fixed_schemes(text: str, encoding: Encoding, length: int | None) -> None:
    assert parse_encoding(text) == EncodingSpec(encoding, length)
    assert names_encoding(text)


def test_strings_of_drawn_schemes() -> None:
    learned = parse_encoding("learned:length=9,dim=4,std=1e-3,seed=7")
    assert isinstance(learned.encoding, Learned)
    assert learned.length == 9
    np.testing.assert_array_equal(
        learned.encoding.rows, Learned.drawn(9, 4, std=0.001, seed=7).rows
    )
    t5 = parse_encoding("t5:heads=6,buckets=14,max_distance=40,causal=true,length=99")
    assert isinstance(t5.encoding, T5)
    assert (t5.encoding.values.shape, t5.encoding.max_distance) == ((14, 6), 40)
    assert (t5.encoding.causal, t5.length) == (True, 99)
    shaw = parse_encoding("shaw:head_dim=4,before=3").encoding
    assert isinstance(shaw, Shaw)
    assert (shaw.rows.shape, shaw.before) == ((7, 4), 3)
    shaw = parse_encoding("shaw:head_dim=4,before=3,after=0").encoding
    assert isinstance(shaw, Shaw)
    assert shaw.after == 0
    deberta = parse_encoding("deberta:dim=4,buckets=16,max_distance=64").encoding
    assert isinstance(deberta, Deberta)
    assert (deberta.rows.shape, deberta.buckets) == ((32, 4), 16)


def test_usage_lines() -> None:
    assert [usage(name) for name in ENCODINGS] == [
        "sinusoidal:length=…,dim=…[,base=10000]",
        "concatenated:length=…,dim=…[,base=10000]",
        "whisper:length=…,dim=…[,base=10000]",
        "learned:length=…,dim=…[,std=0.02][,seed=0]",
        "rope:head_dim=…[,base=10000][,rotary_dim=…][,pairing=half|interleaved]"
        "[,scaling=default|linear|dynamic|yarn|longrope|llama3|proportional,…][,length=…]",
        "alibi:heads=…[,symmetric=true|false][,max_bias=8][,length=…]",
        "t5:heads=…[,buckets=32][,max_distance=128][,causal=true|false][,std=0.02][,seed=0]"
        "[,length=…]",
        "shaw:head_dim=…,before=…[,after=…][,std=0.02][,seed=0][,length=…]",
        "deberta:dim=…[,buckets=…][,max_distance=512][,std=0.02][,seed=0][,length=…]",
        "nope[:length=…]",
    ]


def test_a_scaling_brings_its_own_keys() -> None:
    """They never hide one of RoPE's."""
    with pytest.raises(SourceError, match=r"write rope:head_dim=…,scaling=linear,factor=…\[,base"):
        parse_encoding(ROPE + "linear")
    own = {field for scaling in SCALINGS.values() for field in scaling.__dataclass_fields__}
    assert not own & Rope.__dataclass_fields__.keys() - {"rope_type"}
    assert parse_encoding(ROPE + "default").encoding == Rope(64, scaling=Unscaled())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rop:head_dim=64", "no encoding is called 'rop': expected one of .*; the nearest is rope"),
        ("qqq:1\x1b", "no encoding is called 'qqq': expected one of sinusoidal, .*, nope$"),
        (
            "sinusoidal:",
            "a whole number of at least 3 for length, got no length; write sinusoidal:l",
        ),
        ("sinusoidal:length=5", "expected a whole number for dim, got no dim"),
        ("sinusoidal:length=2,dim=4", "at least 3 for length, got '2'"),
        ("nope:length=2", "at least 3 for length, got '2'"),
        ("learned:length=1,dim=4", "at least 3 for length, got '1'"),
        ("sinusoidal:length=5,dim=0", "at least 1 for dim, got 0; write"),
        ("sinusoidal:length=5.0,dim=4", "for length, got '5.0'"),
        ("sinusoidal:length=-5,dim=4", "for length, got '-5'"),
        ("sinusoidal:length=1_000,dim=4", "for length, got '1_000'"),
        ("sinusoidal:length=٥,dim=4", "for length, got '٥'"),
        ("sinusoidal:length=5,dim=4\n", r"a whole number for dim, got '4\\n'"),
        ("sinusoidal:length=5,dim", "a whole number for dim, got ''"),
        ("sinusoidal:length=5,dim=4,", "keys among length, dim, base, got ''"),
        ("sinusoidal:length=5,dim=4,bse=3", "got 'bse=3'; the nearest is base; write sinusoidal"),
        ("sinusoidal:length=5,dim=4,length=6", "each key once, got 'length' twice"),
        ("sinusoidal:length=5,dim=4,base=0", "finite number of at least 1 for base, got 0.0"),
        ("sinusoidal:length=5,dim=4,base=nan", "a decimal number for base, got 'nan'"),
        ("sinusoidal:length=5,dim=4,base=-3", "a decimal number for base, got '-3'"),
        ("sinusoidal:length=5,dim=4,base=1e99" + "9" * 300, "a decimal number for base"),
        ("sinusoidal:length=5,dim=4,base=" + "9" * 299 + "e99", "at least 1 for base, got inf"),
        ("sinusoidal:length=20000,dim=20000", "at most 268435456 entries, got 20000 × 20000"),
        ("learned:length=20000,dim=20000", "at most 268435456 entries, got 20000 × 20000"),
        ("sinusoidal:length=3,dim=999999999999", "at most 268435456 for dim, got 999999999999"),
        ("alibi:heads=3,length=999999999999", "at most 268435456 for length, got 999999999999"),
        ("whisper:length=5,dim=7", "cannot pair 7 dimensions: expected an even dim"),
        ("alibi:heads=0", "at least 1 for heads, got 0; write alibi:heads=…"),
        ("alibi:heads=6,symmetric=yes", "true or false for symmetric, got 'yes'"),
        ("alibi:headz=6", "got 'headz=6'; the nearest is heads"),
        ("rope:head_dim=63", "got 63; write rope:head_dim=…"),
        ("rope:head_dim=64,pairing=both", "half or interleaved for pairing, got 'both'"),
        ("rope:head_dim=64,factor=4", "keys among head_dim, base, .*, got 'factor=4'"),
        (ROPE + "bent", "scaling as one of default, linear, .*, got 'bent'"),
        (ROPE + "linear", "a decimal number for factor, got no factor"),
        (ROPE + "linear,factor=0", "at least 1e-09 .* for factor, got 0.0"),
        (ROPE + "yarn,factor=2", "a whole number for original, got no original"),
        (ROPE + "yarn,factor=2,original=9,beta_fst=1", "the nearest is beta_fast"),
        (
            ROPE + "longrope,factor=2,original=9,short_factor=1//2,long_factor=1",
            "decimal numbers with / between them for short_factor, got '1//2'",
        ),
        (
            ROPE + "longrope,factor=2,original=9,short_factor=1/2,long_factor=1/2",
            "short_factor does not fit 64 rotated dimensions: expected 32 numbers",
        ),
        ("t5:heads=6,buckets=3", "at least 4 for buckets, got 3"),
        ("shaw:head_dim=4,before=x", "a whole number for before, got 'x'"),
        ("deberta:dim=4,buckets=3", "at least 4 for buckets, got 3"),
    ],
)
def test_strings_that_name_nothing(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        parse_encoding(text, fewest=3)
    assert str(caught.value).isprintable()


def test_what_is_no_encoding_string() -> None:
    for text in ("sinusoidal", "rope", "./rope:head_dim=64", "gpt2", "", "Rope:head_dim=64"):
        assert not names_encoding(text)
    assert names_encoding("rope:anything")
