"""What holds for all families that add a table, whatever kind of model they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from added_tables import BERT_LIKE, LENGTH, saved
from containers import Shapes, config_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_seq2seq_families import CASES as SEQ2SEQ
from test_speech_families import CASES as SPEECH
from test_text_families import CASES as TEXT
from test_text_families import GPT, OPT
from test_vision_families import CASES as VISION
from test_vision_families import clip

from poslens.checkpoints import load_table
from poslens.checkpoints.description import describe_model
from poslens.checkpoints.families import FAMILIES
from poslens.checkpoints.finding import added_parts
from poslens.errors import SourceError


def test_every_entry_is_tested() -> None:
    entries = {(family, part.name) for family, known in FAMILIES.items() for part in known.parts}
    entries.remove(("transformer_lens", None))  # no config.json names it; test_python_objects does
    tested = {
        (case.family, part.name)
        for case in (*TEXT, *SEQ2SEQ, *VISION, *SPEECH)
        for part in FAMILIES[case.family].parts
        if case.part == part.name or len(FAMILIES[case.family].parts) == 1
    }
    assert tested == entries


def said(family: str, values: dict[str, Any]) -> list[Any]:
    """What the parts of a family say of a config, but for σ's last digits."""
    facts = []
    for part in FAMILIES[family].parts:
        config = config_of(values)
        config = config.section(*part.sections) if part.sections else config
        formula = part.formula(config) if part.formula else None
        facts.append(
            (
                part.name,
                part.offset(config),
                part.scheme(config),
                part.norms(config),
                part.token_factor(config, 7),
                round(part.init_std(config), 9),
                formula and (formula.length, formula.dim),
            )
        )
    return facts


# ESM's configuration has no padding token of its own.
# ESM's class has no defaults of its own, and TransformerLens is no class of transformers.
SILENT = ("esm", "transformer_lens")
DEFAULTED = sorted(name for name, one in FAMILIES.items() if one.parts and name not in SILENT)


@pytest.mark.parametrize("family", DEFAULTED)
def test_a_silent_config_means_the_defaults_of_transformers(family: str) -> None:
    config = hf.AutoConfig.for_model(family)
    whole = config.to_dict()
    assert said(family, {}) == said(family, whole)
    added = [described_parts(family, values) for values in ({}, whole)]
    assert added[0] == added[1]


def described_parts(family: str, values: dict[str, Any]) -> list[str | None]:
    config = config_of(values | {"model_type": family})
    return [part.name for part in added_parts(config)]


# Names of the config that entries read, and what a file may say under them.
KEYS = sorted(
    {
        *("d_model", "emb_dim", "n_embd", "hidden_size", "n_positions", "max_position_embeddings"),
        *("max_source_positions", "max_target_positions", "pad_token_id", "scale_embedding"),
        *("rescale_embeddings", "sinusoidal_embeddings", "sinusoidal_pos_embds", "pre_norm"),
        *("layernorm_embedding", "use_learned_position_embeddings", "token_dropout"),
        *("use_absolute_position_embeddings", "use_absolute_embeddings", "image_size"),
        *("patch_size", "window_size", "position_embedding_type", "text_config", "encoder"),
        *("decoder", "num_conv_pos_embeddings", "num_buckets", "use_relative_position_bias"),
    }
)
JSON = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**40),
    st.floats(),
    st.sampled_from(["absolute", "relative_key", "\x1b[31m", "3"]),
    st.lists(st.integers(-1, 300), max_size=3),
    st.sampled_from([{"model_type": name} for name in ("bert", "swin", "trocr", "novel", 3)]),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(FAMILIES)),
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6),
    st.sampled_from(["", "encoder.", "decoder."]),
    st.lists(st.integers(0, 9), max_size=4).map(tuple),
)
def test_junk_gives_a_line_or_a_source_error(
    family: str, junk: dict[str, Any], prefix: str, shape: tuple[int, ...]
) -> None:
    names = [name for part in FAMILIES[family].parts for name in (*part.position, *part.tokens)]
    names += ["embeddings.position_embeddings", "wpe.weight"]
    tensors = Shapes(**{prefix + name: shape for name in names})
    try:
        said = describe_model(tensors, config_of(junk | {"model_type": family}))
    except SourceError as error:
        said = error
    assert str(said).isprintable()


@pytest.mark.parametrize("shard_size", ["9KB", "20KB"])
def test_shards_give_the_table_of_the_single_file(tmp_path: Path, shard_size: str) -> None:
    torch.manual_seed(0)
    model = hf.GPT2LMHeadModel(hf.GPT2Config(**GPT))
    single = load_table(saved(model, tmp_path / "single"))
    model.save_pretrained(tmp_path / "sharded", max_shard_size=shard_size)
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    for source in (tmp_path / "sharded", tmp_path / "sharded" / "model.safetensors.index.json"):
        sharded = load_table(source)
        np.testing.assert_array_equal(sharded.rows, single.rows)
        np.testing.assert_array_equal(sharded.tokens, single.tokens)
        np.testing.assert_array_equal(sharded.norm_scales, single.norm_scales)
        assert sharded.source.sha256 == single.source.sha256
        assert sharded.source.bytes_read == single.source.bytes_read


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = hf.BertModel(hf.BertConfig(**BERT_LIKE)).to(dtype)
    table = load_table(saved(model, tmp_path))
    expected = model.embeddings.position_embeddings(torch.arange(LENGTH)).double().detach().numpy()
    np.testing.assert_array_equal(table.rows, expected)
    assert table.source.dtype == str(dtype).removeprefix("torch.")
    assert table.tokens is not None
    assert table.tokens.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    np.testing.assert_array_equal(
        table.tokens, model.get_input_embeddings().weight.double().detach().numpy()
    )


def test_several_parts_must_be_chosen_from(tmp_path: Path) -> None:
    source = saved(hf.CLIPModel(clip()), tmp_path)
    with pytest.raises(
        SourceError, match=r"--part text: 'text_model\..*float32, 103×42.*--part vi"
    ):
        load_table(source)
    with pytest.raises(SourceError, match=r"expected one of text, vision, got 'audio'"):
        load_table(source, part="audio")


def test_a_familys_own_tensor_named_is_read_as_the_family_reads_it(tmp_path: Path) -> None:
    source = saved(hf.CLIPModel(clip()), tmp_path)
    name = "vision_model.embeddings.position_embedding.weight"
    chosen, named = load_table(source, part="vision"), load_table(f"{source}::{name}")
    np.testing.assert_array_equal(named.rows, chosen.rows)
    np.testing.assert_array_equal(named.norm_scales, chosen.norm_scales)
    assert named.source.family == "clip"
    assert named.source.row_offset == 1
    with pytest.raises(SourceError, match=r"expected one of vision, got 'text'"):
        load_table(f"{source}::{name}", part="text")


def test_another_tensor_named_is_read_as_it_is(tmp_path: Path) -> None:
    model = hf.OPTModel(hf.OPTConfig(**OPT))
    table = load_table(f"{saved(model, tmp_path)}::decoder.embed_tokens.weight")
    np.testing.assert_array_equal(table.rows, model.decoder.embed_tokens.weight.detach().numpy())
    assert table.source.family is None
    assert table.source.scheme == "unknown"
    assert table.source.tensor == "decoder.embed_tokens.weight"
    assert table.missing.keys() == {"tokens", "norm_scales", "init_std"}
