"""Every scheme keeps the Protocol: how it acts, what it gives, and which numbers it owns."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from poslens import encodings
from poslens.encodings import ENCODINGS, AddsTable, Biases, Encoding, Rotates, parse_encoding

EXAMPLES = {
    "sinusoidal": "sinusoidal:length=9,dim=6",
    "concatenated": "concatenated:length=9,dim=6",
    "whisper": "whisper:length=9,dim=6",
    "learned": "learned:length=9,dim=6",
    "rope": "rope:head_dim=6",
    "alibi": "alibi:heads=6",
    "t5": "t5:heads=6",
    "shaw": "shaw:head_dim=6,before=4",
    "deberta": "deberta:dim=6,max_distance=9",
    "nope": "nope",
}
OWNED = {"learned": 9 * 6, "t5": 32 * 6, "shaw": 9 * 6, "deberta": 18 * 6}
# Where the bias depends on queries and keys as well.
BY_CONTENT = ("shaw", "deberta")


@pytest.fixture(params=ENCODINGS)
def scheme(request: pytest.FixtureRequest) -> Encoding:
    return parse_encoding(EXAMPLES[request.param]).encoding


def test_a_scheme_says_what_it_is(scheme: Encoding) -> None:
    assert isinstance(scheme, Encoding)
    assert ENCODINGS[scheme.name] is type(scheme)
    assert any(year in scheme.paper for year in ("2017", "2018", "2020", "2021", "2022"))


def test_a_scheme_gives_what_its_way_of_acting_asks(scheme: Encoding) -> None:
    by_content = scheme.name in BY_CONTENT
    assert isinstance(scheme, AddsTable) == (scheme.acts == "adds")
    assert isinstance(scheme, Rotates) == (scheme.acts == "rotates")
    if not by_content:
        assert isinstance(scheme, Biases) == (scheme.acts == "biases")
    assert (scheme.acts == "nothing") == (scheme.name == "nope")
    assert scheme.acts == "biases" or not by_content


def test_a_scheme_owns_the_numbers_that_it_claims(scheme: Encoding) -> None:
    """They are the arrays among its fields: nothing else in it could be trained."""
    assert is_dataclass(scheme)
    values = [getattr(scheme, field.name) for field in fields(scheme)]
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    assert scheme.parameters == sum(array.size for array in arrays)
    assert scheme.parameters == OWNED.get(scheme.name, 0)
    assert not any(array.flags.writeable for array in arrays)


def test_rope_trains_nothing_in_transformers_either() -> None:
    config = LlamaConfig(hidden_size=42, num_attention_heads=6, head_dim=8)
    assert list(LlamaRotaryEmbedding(config).parameters()) == []


def test_a_scheme_cannot_be_changed(scheme: Encoding) -> None:
    for name in [field.name for field in fields(scheme)] or ["name"]:  # type: ignore[arg-type]
        with pytest.raises(AttributeError):
            setattr(scheme, name, None)


def test_every_scheme_and_scaling_is_public() -> None:
    assert all(hasattr(encodings, name) for name in encodings.__all__)
    classes = {scheme.__name__ for scheme in ENCODINGS.values()}
    assert classes | {type.__name__ for type in encodings.SCALINGS.values()} <= set(
        encodings.__all__
    )


def test_a_table_of_the_paper_turns_as_rope_does() -> None:
    """A shift of every added sinusoid and of every rotation is the same map at all positions."""
    at = np.arange(40)
    for name in ("sinusoidal", "concatenated", "whisper"):
        table = parse_encoding(EXAMPLES[name]).encoding
        assert isinstance(table, AddsTable)
        here, later = table.table(at), table.table(at + 5)
        shift, *_ = np.linalg.lstsq(here, later)
        np.testing.assert_allclose(here @ shift, later, atol=1e-9)
        np.testing.assert_allclose(shift @ shift.T, np.eye(6), atol=1e-7)
