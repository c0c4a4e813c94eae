"""Encoders with decoders against what transformers adds in each: see `added_tables`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from added_tables import (
    ANGLES,
    BERT_LIKE,
    LENGTH,
    PATCHES,
    SIGMA,
    SPECIAL,
    STORED,
    VISION,
    VOCAB,
    WIDTH,
    Case,
    check,
    saved,
)
from safetensors.numpy import load_file, save_file
from transformers.models.fsmt.modeling_fsmt import SinusoidalPositionalEmbedding

from poslens.checkpoints import load_table
from poslens.errors import SourceError, TableError

SHAPE = SPECIAL | {
    "vocab_size": VOCAB,
    "d_model": WIDTH,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 10,
    "decoder_ffn_dim": 10,
    "init_std": SIGMA,
    "decoder_start_token_id": 3,
    "pad_token_id": 1,
}
USUAL = SHAPE | {"max_position_embeddings": LENGTH}
XGLM = {
    "vocab_size": VOCAB,
    "d_model": WIDTH,
    "ffn_dim": 10,
    "num_layers": 2,
    "attention_heads": 6,
    "max_position_embeddings": LENGTH,
}
IN_DECODER = {"is_decoder": True, "add_cross_attention": True}
LED = SHAPE | {
    # Its input is padded to a multiple of the window, which must fit the table.
    "max_encoder_position_embeddings": LENGTH + 1,
    "max_decoder_position_embeddings": LENGTH + 1,
    "attention_window": 4,
}
FSMT = USUAL | {
    "src_vocab_size": VOCAB,
    "tgt_vocab_size": VOCAB,
    "langs": ["en", "de"],
    "max_length": 20,
}
OFFSET = {"offset": 2}
SINES = {"scheme": "sinusoidal", "std": None}
COMPUTED = SINES | {"stored": False, "atol": STORED}
AFTER_PADDING = COMPUTED | {"atol": ANGLES}


def both_stacks(
    family: str, name: str, values: dict[str, Any], head: str = "ForConditionalGeneration",
    *, base: str = "model", bare: dict[str, Any] | None = None, **facts: Any,
) -> list[Case]:  # fmt: skip
    """The encoder and the decoder of a model without and with a task head."""
    config_class = getattr(hf, f"{name}Config")
    classes = {"": getattr(hf, f"{name}Model"), f"{base}.": getattr(hf, name + head)}
    return [
        Case(
            family,
            lambda cls=cls: cls(config_class(**values)),
            f"{prefix}{stack}.embed_positions",
            trunk=f"{prefix}{stack}",
            part=stack,
            inputs="pairs",
            **{"positions": LENGTH} | facts | (bare or {} if not prefix else {}),
        )
        for prefix, cls in classes.items()
        for stack in ("encoder", "decoder")
    ]


SCALED = {"scale_embedding": True}
UNSCALED = {"scale_embedding": False}
BIGBIRD = USUAL | {"attention_type": "original_full"}
AS_STORED = SINES | {"stored": True, "atol": 0}


def vit_with_trocr(**more: Any) -> hf.VisionEncoderDecoderModel:
    config = hf.TrOCRConfig(
        **USUAL | more, is_decoder=True, add_cross_attention=True, cross_attention_hidden_size=WIDTH
    )
    return hf.VisionEncoderDecoderModel(
        encoder=hf.ViTModel(hf.ViTConfig(**VISION)), decoder=hf.TrOCRForCausalLM(config)
    )


def trocr(**more: Any) -> Case:
    facts = more.pop("facts", {})
    return Case(
        "vision-encoder-decoder",
        lambda: vit_with_trocr(**more),
        "decoder.model.decoder.embed_positions",
        LENGTH,
        trunk="decoder",
        part="decoder",
        inputs="captions",
        **OFFSET | facts,
    )


CASES = [
    *both_stacks("bart", "Bart", USUAL, **OFFSET),
    *both_stacks("bart", "Bart", USUAL | SCALED, **OFFSET),
    Case(
        "bart",
        lambda: hf.BartForCausalLM(hf.BartConfig(**USUAL)),
        "model.decoder.embed_positions",
        LENGTH,
        **OFFSET,
    ),
    *both_stacks("mbart", "MBart", USUAL, **OFFSET, norms=2),
    *both_stacks("mbart", "MBart", USUAL | SCALED, **OFFSET, norms=2),
    *both_stacks("plbart", "PLBart", USUAL, **OFFSET),
    *both_stacks("plbart", "PLBart", USUAL | UNSCALED, **OFFSET),
    *both_stacks("led", "LED", LED, base="led", positions=LENGTH + 1),
    *both_stacks("blenderbot", "Blenderbot", USUAL),
    *both_stacks("blenderbot", "Blenderbot", USUAL | SCALED),
    *both_stacks("bigbird_pegasus", "BigBirdPegasus", BIGBIRD),
    *both_stacks("bigbird_pegasus", "BigBirdPegasus", BIGBIRD | UNSCALED),
    *(
        # The decoder normalises its tokens before it adds positions.
        case if case.part == "encoder" else replace(case, norms=0, summed=False)
        for case in both_stacks("blenderbot-small", "BlenderbotSmall", USUAL)
    ),
    *both_stacks("pegasus", "Pegasus", USUAL, **SINES),
    *both_stacks("pegasus", "Pegasus", USUAL | SCALED, **SINES),
    # The model with a head does not save its tables; the one without does.
    *(
        case
        for more in ({}, SCALED)
        for case in both_stacks(
            "marian", "Marian", USUAL | more, "MTModel", bare=AS_STORED, norms=0, **COMPUTED
        )
    ),
    Case(
        "marian",
        lambda: hf.MarianForCausalLM(hf.MarianConfig(**USUAL)),
        "model.decoder.embed_positions",
        LENGTH,
        norms=0,
        **SINES,
    ),
    *both_stacks("m2m_100", "M2M100", USUAL, **AFTER_PADDING),
    *both_stacks("m2m_100", "M2M100", USUAL | UNSCALED | {"pad_token_id": 4}, **AFTER_PADDING),
    *both_stacks("nllb-moe", "NllbMoe", USUAL, **AFTER_PADDING),
    # transformers 5.23 stores FSMT's tables, and draws those of a fresh model at random.
    *both_stacks("fsmt", "FSMT", FSMT, norms=0, **AS_STORED, **OFFSET),
    trocr(),
    trocr(layernorm_embedding=False, scale_embedding=True, facts={"norms": 0}),
    trocr(use_learned_position_embeddings=False, facts=AFTER_PADDING | {"offset": 0}),
    Case(
        "vision-encoder-decoder",
        vit_with_trocr,
        "encoder.embeddings",
        PATCHES,
        trunk="encoder",
        part="encoder",
        inputs="captioned",
        offset=1,
        tokens=False,
    ),
    Case(
        "trocr",
        lambda: hf.TrOCRForCausalLM(hf.TrOCRConfig(**USUAL)),
        "model.decoder.embed_positions",
        LENGTH,
        **OFFSET,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_table_is_what_the_model_adds(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


def without_positions(folder: Path) -> None:
    """Leave the tables out of a saved model, as older checkpoints do."""
    tensors = load_file(folder / "model.safetensors")
    kept = {name: values for name, values in tensors.items() if "embed_positions" not in name}
    assert kept.keys() < tensors.keys()
    save_file(kept, folder / "model.safetensors")


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_fsmts_table_is_computed_where_it_is_not_stored(stack: str, tmp_path: Path) -> None:
    model = hf.FSMTModel(hf.FSMTConfig(**FSMT))
    source = saved(model, tmp_path)
    without_positions(tmp_path)
    table = load_table(source, part=stack)
    theirs = SinusoidalPositionalEmbedding.get_embedding(LENGTH + 2, WIDTH, padding_idx=1)
    np.testing.assert_allclose(table.rows, theirs[2:], rtol=0, atol=ANGLES)
    assert table.source.tensor is None
    assert table.tokens is not None
    tokens = model.get_submodule(stack).embed_tokens.weight.detach().numpy()
    np.testing.assert_allclose(table.tokens, np.sqrt(WIDTH) * tokens, rtol=1e-6)


def test_a_table_that_was_stored_as_a_buffer(tmp_path: Path) -> None:
    """Older versions of transformers saved M2M-100's, rows before position 0 included."""
    model = hf.M2M100Model(hf.M2M100Config(**USUAL))
    source = saved(model, tmp_path)
    computed = load_table(source, part="encoder")
    weights = model.encoder.embed_positions.weights.numpy()
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(
        tensors | {"encoder.embed_positions.weights": weights}, tmp_path / "model.safetensors"
    )
    table = load_table(source, part="encoder")
    np.testing.assert_array_equal(table.rows, weights[2:])
    np.testing.assert_allclose(table.rows, computed.rows, rtol=0, atol=ANGLES)
    assert (table.source.row_offset, computed.source.row_offset) == (2, 0)
    assert computed.source.tensor is None
    assert table.source.bytes_read == computed.source.bytes_read + weights.nbytes


def test_a_decoder_alone_has_no_encoder_that_is_computed(tmp_path: Path) -> None:
    source = saved(hf.MarianForCausalLM(hf.MarianConfig(**USUAL)), tmp_path)
    without_positions(tmp_path)
    assert load_table(source).source.tensor is None
    with pytest.raises(SourceError, match=r"no position table for .*'encoder.embed_positions.wei"):
        load_table(source, part="encoder")


def test_a_computed_table_that_would_be_too_large(tmp_path: Path) -> None:
    source = saved(hf.XGLMModel(hf.XGLMConfig(**XGLM)), tmp_path)
    for said in ({"max_position_embeddings": 2**31 - 1}, {"d_model": 1}):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "xglm"} | XGLM | said))
        with pytest.raises(SourceError, match=r"at most 67108864 entries, got \d+ × \d+; correct"):
            load_table(source)
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "xglm"} | XGLM | {"max_position_embeddings": 2})
    )
    with pytest.raises(TableError, match=r"is not a position table: .* got shape \(2, 42\)"):
        load_table(source)


@pytest.mark.parametrize("family", ["encoder-decoder", "vision-encoder-decoder"])
def test_a_model_of_models_names_its_parts(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    if family == "vision-encoder-decoder":
        model = vit_with_trocr()
    else:
        one, other = (hf.BertConfig(**BERT_LIKE | more) for more in ({}, IN_DECODER))
        model = hf.EncoderDecoderModel(encoder=hf.BertModel(one), decoder=hf.BertLMHeadModel(other))
    source = saved(model, tmp_path)
    with pytest.raises(
        SourceError, match=r"--part encoder: 'encoder\..*--part decoder: 'decoder\."
    ):
        load_table(source)
    with pytest.raises(SourceError, match=r"expected one of encoder, decoder, got 'text'"):
        load_table(source, part="text")
    name = next(
        name for name, _ in model.named_parameters() if "decoder" in name and "posit" in name
    )
    chosen, named = load_table(source, part="decoder"), load_table(f"{source}::{name}")
    np.testing.assert_array_equal(chosen.rows, named.rows)
    assert chosen.source == replace(named.source, uri=chosen.source.uri)
    assert named.source.family == family


def test_a_model_inside_without_a_table(tmp_path: Path) -> None:
    source = saved(vit_with_trocr(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())

    def decoder_is(model_type: str) -> None:
        config["decoder"] = {"model_type": model_type}
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert load_table(source).source.row_offset == 1  # the encoder's

    decoder_is("novel")
    with pytest.raises(SourceError, match=r"unknown model_type 'novel' in '.*config.json', decod"):
        load_table(source, part="decoder")
    decoder_is("llama")
    with pytest.raises(
        SourceError, match=r", beneath 'decoder.': .* got 'llama': RoPE, base 10000"
    ):
        load_table(source, part="decoder")
    decoder_is("gpt2")
    with pytest.raises(SourceError, match=r"for model_type 'gpt2' in .* expected 'wpe.weight' or"):
        load_table(source, part="decoder")
    decoder_is("encoder-decoder")  # one level is enough
    with pytest.raises(SourceError, match=r"unknown model_type '' in"):
        load_table(source, part="decoder")
