"""What `describe_model` says of saved models, and what loading says where there is no table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers as hf
from added_tables import BERT_LIKE, LENGTH, VISION, WIDTH
from containers import Shapes, config_of
from test_seq2seq_families import USUAL, vit_with_trocr
from test_speech_families import WAV2VEC

from poslens.checkpoints import load_table
from poslens.checkpoints.description import Description, describe_model
from poslens.checkpoints.names import parse_source
from poslens.checkpoints.opening import open_located
from poslens.errors import SourceError

LLAMA = {name: value for name, value in BERT_LIKE.items() if name != "initializer_range"}
ENDS = {"bos_token_id": 3, "eos_token_id": 4, "pad_token_id": 0}
T5 = {
    "vocab_size": 37, "d_model": 18, "d_kv": 5, "d_ff": 10, "num_heads": 6, "num_layers": 2,
    **ENDS, "decoder_start_token_id": 0,
}  # fmt: skip


def described_at(source: str) -> Description:
    checkpoint = open_located(parse_source(source), source)
    assert checkpoint.config is not None
    description = describe_model(checkpoint.tensors, checkpoint.config)
    assert description is not None
    return description


LINES: list[tuple[str, Any, str]] = [
    (
        "gpt2",
        lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(vocab_size=37, n_embd=42, n_layer=1, n_head=6, n_positions=LENGTH, **ENDS)
        ),
        "gpt2: learned table of 103 positions × 42 dimensions, added to the embedding; context 103",
    ),
    (
        "xlm-roberta",
        lambda: hf.XLMRobertaForMaskedLM(hf.XLMRobertaConfig(**BERT_LIKE)),
        "xlm-roberta: learned table of 101 positions × 42 dimensions, its first 2 rows not "
        "positions, added to the embedding; context 103",
    ),
    (
        "marian",
        lambda: hf.MarianMTModel(hf.MarianConfig(**USUAL, scale_embedding=True)),
        "marian: sinusoidal table of 103 positions × 42 dimensions, computed and not stored, added "
        "to 6.48074 times the embedding in the encoder; sinusoidal table of 103 positions × 42 "
        "dimensions, computed and not stored, added to 6.48074 times the embedding in the decoder; "
        "context 103",
    ),
    (
        "vision-encoder-decoder",
        vit_with_trocr,
        "vision-encoder-decoder: learned table of 81 positions × 42 dimensions, its first 1 rows "
        "not positions, added to the embedding in the encoder; learned table of 103 positions × 42 "
        "dimensions, its first 2 rows not positions, added to the embedding in the decoder; "
        "context 103",
    ),
    (
        "llama",
        lambda: hf.LlamaForCausalLM(
            hf.LlamaConfig(**LLAMA | {"hidden_size": 48}, **ENDS, num_key_value_heads=3)
        ),
        "llama: RoPE, base 10000, head dimension 8, 6 query and 3 key heads, in all 2 layers; "
        "context 103",
    ),
    (
        "bloom",
        lambda: hf.BloomForCausalLM(
            hf.BloomConfig(vocab_size=37, hidden_size=24, n_head=6, n_layer=2, **ENDS)
        ),
        "bloom: ALiBi, 6 slopes (causal), added to the logits of all 2 layers",
    ),
    (
        "t5",
        lambda: hf.T5EncoderModel(hf.T5Config(**T5)),
        "t5: bucketed bias, 32 buckets up to distance 128 (both directions), 6 heads, shared by "
        "all layers, added to the logits of the encoder",
    ),
    (
        "t5",
        lambda: hf.T5EncoderModel(hf.T5Config(**T5, n_positions=103)),
        "t5: bucketed bias, 32 buckets up to distance 128 (both directions), 6 heads, shared by "
        "all layers, added to the logits of the encoder; context 103",
    ),
    (
        "wav2vec2",
        lambda: hf.Wav2Vec2ForCTC(hf.Wav2Vec2Config(**WAV2VEC)),
        "wav2vec2: convolutional positions, not a table: a kernel of 9 frames in 3 groups, added "
        "to the features",
    ),
    (
        "beit",
        lambda: hf.BeitModel(
            hf.BeitConfig(
                **VISION, use_absolute_position_embeddings=True, use_relative_position_bias=True
            )
        ),
        "beit: learned table of 81 positions × 42 dimensions, its first 1 rows not positions, "
        "added to the embedding; window bias, 292 distances in 2 tensors, added to the logits "
        "within windows of 9×9 patches",
    ),
    (
        "mamba",
        lambda: hf.MambaModel(hf.MambaConfig(vocab_size=37, hidden_size=12, num_hidden_layers=1)),
        "mamba: no position encoding",
    ),
]


@pytest.mark.parametrize(("family", "build", "line"), LINES, ids=[one[0] for one in LINES])
def test_a_saved_model_in_one_line(family: str, build: Any, line: str, tmp_path: Path) -> None:
    build().save_pretrained(tmp_path)
    description = described_at(str(tmp_path))
    assert description.family == family
    with (tmp_path / "model.safetensors").open("rb") as file:
        header = 8 + int.from_bytes(file.read(8), "little")
    assert description.opening_bytes == header
    assert description.line() == f"{line}; read {header:,} bytes of header"


INSTEAD = [
    ("llama", r"got 'llama': RoPE, base 10000, head dimension 8, .* in all 2 layers; to read some"),
    ("bloom", r"got 'bloom': ALiBi, 6 slopes \(causal\), added to the logits"),
    ("t5", r"got 't5': bucketed bias, 32 buckets"),
    ("wav2vec2", r"got 'wav2vec2': convolutional positions, not a table: a kernel of 9 frames"),
    ("mamba", r"got 'mamba': no position encoding"),
]


@pytest.mark.parametrize(("family", "said"), INSTEAD)
def test_a_model_without_a_table_says_what_it_does(family: str, said: str, tmp_path: Path) -> None:
    build = next(build for name, build, _ in LINES if name == family)
    build().save_pretrained(tmp_path)
    with pytest.raises(SourceError, match=said) as caught:
        load_table(tmp_path)
    assert caught.value.problem.startswith("no position table to measure in ")
    assert caught.value.expected == "a model that adds one to its embedding"
    assert caught.value.remedy.endswith("::TENSOR")


def test_a_table_that_is_elsewhere_is_not_taken_for_none() -> None:
    """A shard may hold other tensors only: the model adds a table all the same."""
    description = describe_model(Shapes(**{"h.0.ln_1.weight": (WIDTH,)}), config_of(
        {"model_type": "gpt2", "n_positions": 1024}
    ))  # fmt: skip
    assert description is not None
    assert description.line().startswith(
        "gpt2: learned table that is not in this container, added to the embedding; context 1024"
    )
    whisper = describe_model(Shapes(), config_of({"model_type": "whisper"}))
    assert whisper is not None
    assert [one.line() for one in whisper.schemes] == [
        "sinusoidal table that is not in this container, added to the embedding in the encoder",
        "learned table that is not in this container, added to the embedding in the decoder",
    ]
    beit = describe_model(Shapes(), config_of({"model_type": "beit"}))
    assert beit is not None
    assert [one.line() for one in beit.schemes] == ["no position encoding"]


def test_what_is_not_known_is_not_described() -> None:
    assert describe_model(Shapes(), config_of({"model_type": "novel"})) is None
    pair = {"model_type": "encoder-decoder", "encoder": {"model_type": "bert"}}
    assert describe_model(Shapes(), config_of(pair)) is None
    whole = describe_model(Shapes(), config_of(pair | {"decoder": {"model_type": "llama"}}))
    assert whole is not None
