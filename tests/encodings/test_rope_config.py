"""From the words of a config to a scaling, and what is said when they are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from poslens.encodings import Dynamic, Linear, LongRope, Proportional, Unscaled, Yarn, scaling_from
from poslens.errors import SettingError

ORIGINAL = "original_max_position_embeddings"


@pytest.mark.parametrize(
    ("parameters", "scaling"),
    [
        ({}, Unscaled()),
        ({"rope_type": None, "factor": None}, Unscaled()),
        ({"rope_type": "default", "rope_theta": 1e6}, Unscaled()),
        ({"type": "linear", "factor": 2}, Linear(2.0)),
        ({"rope_type": "linear", "type": "linear", "factor": 2}, Linear(2.0)),
        ({"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5}, Linear(2.0)),
        ({"rope_type": "dynamic", "factor": 2.0}, Dynamic(2.0, 512)),
        ({"rope_type": "dynamic", "factor": 2.0, ORIGINAL: 9}, Dynamic(2.0, 512)),
        ({"rope_type": "yarn", "factor": 4.0, ORIGINAL: 64}, Yarn(4.0, 64)),
        ({"rope_type": "yarn", ORIGINAL: 64.0}, Yarn(8.0, 64)),
        ({"rope_type": "yarn", "factor": 4.0, "truncate": False}, Yarn(4.0, 512, truncate=False)),
        (
            {
                "rope_type": "longrope",
                "short_factor": [1, 2],
                "long_factor": (3.5, 4),
                ORIGINAL: 64,
            },
            LongRope(8.0, 64, (1.0, 2.0), (3.5, 4.0)),
        ),
        ({"rope_type": "proportional", "partial_rotary_factor": 0.25}, Proportional(0.25)),
    ],
)
def test_what_a_config_says(parameters: dict[str, Any], scaling: object) -> None:
    assert scaling_from(parameters, context=512) == scaling


def test_without_a_context() -> None:
    assert scaling_from({"rope_type": "dynamic", "factor": 2.0, ORIGINAL: 9}) == Dynamic(2.0, 9)
    with pytest.raises(
        SettingError, match=f"by dynamic: expected a value for {ORIGINAL}, got none"
    ):
        scaling_from({"rope_type": "dynamic", "factor": 2.0})
    with pytest.raises(SettingError, match="by yarn: expected a value for factor, got none"):
        scaling_from({"rope_type": "yarn", ORIGINAL: 9})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rope_type": "bent\x1b"}, r"rope_type 'bent\\x1b': expected one of default, linear"),
        ({"rope_type": ["yarn"]}, r"got \"\['yarn'\]\""),
        ({"type": "su"}, "got 'su'"),
        ({"rope_type": "linear"}, "by linear: expected a value for factor, got none"),
        ({"rope_type": "linear", "factor": "4"}, "expected a number for factor, got '4'"),
        ({"rope_type": "linear", "factor": True}, "expected a number for factor, got 'True'"),
        ({"rope_type": "linear", "factor": float("nan")}, "a number for factor, got 'nan'"),
        ({"rope_type": "linear", "factor": 10**400}, "a number for factor, got '1000"),
        ({"rope_type": "linear", "factor": -1}, "at most 1000000000 for factor, got -1.0"),
        ({"rope_type": "linear", "factor": 2, "wave": 3}, "by linear: expected factor, got 'wave'"),
        ({"rope_type": "linear", "factor": 2, "part": 3}, "expected factor, got 'part'"),
        ({"rope_type": "default", "factor": 2.0}, "by default: expected no values, got 'factor'"),
        (
            {"rope_type": "yarn", ORIGINAL: 6.5},
            f"by yarn: expected a whole number for {ORIGINAL}, got '6.5'",
        ),
        ({"rope_type": "yarn", ORIGINAL: 0}, "at least 1 for original, got 0"),
        ({"rope_type": "yarn", "truncate": 1}, "expected true or false for truncate, got '1'"),
        ({"rope_type": "llama3", "factor": 8.0}, "expected a value for low_freq_factor, got none"),
        (
            {"rope_type": "longrope", "short_factor": [1, "2"], "long_factor": [1, 1]},
            "expected a list of numbers for short_factor",
        ),
        ({"rope_type": "longrope", "factor": 2.0}, "a value for short_factor, got none"),
    ],
)
def test_words_that_cannot_be(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        scaling_from(parameters, context=512)
