"""Configs and tokenizers with new lengths, and all else in them as it was."""

from __future__ import annotations

import json

import pytest

from poslens.checkpoints.config import Config
from poslens.edit.config_edit import raised_lengths, rotary_paths

# Limits of a tokenizer.


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("tokenizer_config.json", {"model_max_length": 37, "b": 1},
         {"model_max_length": 48, "b": 1}),
        ("tokenizer_config.json", {"model_max_length": 10**30}, {"model_max_length": 10**30}),
        ("tokenizer_config.json", {"a": 1}, {"a": 1}),
        ("sentence_bert_config.json", {"max_seq_length": 20}, {"max_seq_length": 48}),
        ("sentence_bert_config.json", {"max_seq_length": None}, {"max_seq_length": None}),
        ("tokenizer.json", {"truncation": None, "model": {}}, {"truncation": None, "model": {}}),
        ("tokenizer.json", {"truncation": {"max_length": 8}}, {"truncation": {"max_length": 48}}),
        ("tokenizer.json", {"truncation": {"max_length": 99}}, {"truncation": {"max_length": 99}}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", [False, True])
def test_limits_are_raised_and_never_lowered(
    name: str, before: dict[str, object], after: dict[str, object], version: bool
) -> None:
    first = {"version": "1.0"} if version else {}
    content = json.dumps({**first, **before}).encode()
    found = raised_lengths(name, content, 48)
    assert json.loads(found) == {**first, **after}
    if before == after:
        assert found == content


def test_the_rest_of_a_tokenizer_stays_byte_for_byte() -> None:
    head, rest = b'{ "version": "1.0",\n "truncation": ', b' , "model": {"x":[1,  2, "\\u00fc"]}\n}'
    found = raised_lengths("tokenizer.json", head + b'{"max_length": 5, "a": {}}' + rest, 48)
    assert json.loads(found)["truncation"] == {"max_length": 48, "a": {}}
    found = raised_lengths("tokenizer.json", head + b'{"max_length": 5, "a": 1}' + rest, 48)
    assert found == head + b'{"max_length": 48, "a": 1}' + rest


# Rotary parameters.

LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 7.0}


@pytest.mark.parametrize(
    ("config", "changes", "paths"),
    [
        (
            {"model_type": "llama", "rope_scaling": None, "max_position_embeddings": 9},
            {"rope_parameters": LINEAR, "max_position_embeddings": 18},
            {
                ("rope_parameters",): LINEAR,
                ("rope_scaling",): LINEAR,
                ("max_position_embeddings",): 18,
            },
        ),
        (
            {"model_type": "gemma3", "text_config": {"rope_scaling": {"factor": 8.0}}},
            {"rope_parameters": {"full_attention": LINEAR}},
            {
                ("text_config", "rope_parameters"): {"full_attention": LINEAR},
                ("text_config", "rope_scaling"): None,
            },
        ),
        (
            {"model_type": "gpt_neox", "rotary_emb_base": 5},
            {"rope_parameters": LINEAR},
            {("rope_parameters",): LINEAR, ("rotary_emb_base",): 7.0},
        ),
        (
            {"model_type": "codegen", "n_positions": 9},
            {"max_position_embeddings": 18},
            {("n_positions",): 18},
        ),
    ],
)
def test_rotary_parameters_go_where_a_config_has_them(
    config: dict[str, object], changes: dict[str, object], paths: dict[tuple[str, ...], object]
) -> None:
    assert rotary_paths(Config(config, "'config.json'"), None, changes) == paths
