"""Speech models against what transformers adds and convolves: see `added_tables`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from added_tables import ANGLES, LENGTH, SIGMA, SPECIAL, VOCAB, WIDTH, Case, check, saved
from containers import Shapes, acting, described
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from poslens.checkpoints import load_table
from poslens.checkpoints.families import FAMILIES
from poslens.checkpoints.schemes import BucketedBias, Convolution
from poslens.encodings.sinusoidal import tensor2tensor_rows
from poslens.errors import SourceError

STACKS = SPECIAL | {
    "vocab_size": VOCAB,
    "d_model": WIDTH,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 10,
    "decoder_ffn_dim": 10,
    "max_source_positions": LENGTH,
    "max_target_positions": 71,
    "init_std": SIGMA,
    "decoder_start_token_id": 3,
}
WHISPER = STACKS | {"num_mel_bins": 5, "pad_token_id": 0}
# Two convolutions of stride 2 leave a quarter of the frames.
SPEECH_TO_TEXT = STACKS | {"input_feat_per_channel": 5, "conv_channels": 8, "pad_token_id": 1}
WAV2VEC = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "intermediate_size": 10,
    "conv_dim": [8, 8],
    "conv_stride": [2, 2],
    "conv_kernel": [3, 3],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 9,
    "num_conv_pos_embedding_groups": 3,
}
DATA2VEC = WAV2VEC | {"conv_pos_kernel_size": 9, "num_conv_pos_embeddings": 4}

ENCODER = {
    "part": "encoder",
    "positions": LENGTH,
    "inputs": "speech",
    "tokens": False,
    "std": None,
    "scheme": "sinusoidal",
}
DECODER = {"part": "decoder", "positions": 71, "inputs": "speech"}
COMPUTED = {
    "stored": False,
    "atol": ANGLES,
    "inputs": "frames",
    "scheme": "sinusoidal",
    "std": None,
}
CASES = [
    Case(
        "whisper",
        lambda: hf.WhisperModel(hf.WhisperConfig(**WHISPER)),
        "encoder.embed_positions",
        trunk="encoder",
        **ENCODER,
    ),
    Case(
        "whisper",
        lambda: hf.WhisperForConditionalGeneration(hf.WhisperConfig(**WHISPER)),
        "model.encoder.embed_positions",
        trunk="model.encoder",
        **ENCODER,
    ),
    Case(
        "whisper",
        lambda: hf.WhisperForAudioClassification(hf.WhisperConfig(**WHISPER)),
        "encoder.embed_positions",
        **ENCODER | {"part": None, "inputs": "sound"},
    ),
    *(
        case
        # Whisper's configuration has the switch, and the model does not heed it.
        for more in ({}, {"scale_embedding": True})
        for case in (
            Case(
                "whisper",
                lambda more=more: hf.WhisperModel(hf.WhisperConfig(**WHISPER, **more)),
                "decoder.embed_positions",
                trunk="decoder",
                **DECODER,
            ),
            Case(
                "whisper",
                lambda more=more: hf.WhisperForConditionalGeneration(
                    hf.WhisperConfig(**WHISPER, **more)
                ),
                "model.decoder.embed_positions",
                trunk="model.decoder",
                **DECODER,
            ),
        )
    ),
    *(
        Case(
            "speech_to_text",
            lambda cls=cls, more=more: cls(hf.Speech2TextConfig(**SPEECH_TO_TEXT | more)),
            f"{prefix}{stack}.embed_positions",
            trunk=f"{prefix}{stack}",
            **facts | COMPUTED,
        )
        for more in ({}, {"scale_embedding": False, "pad_token_id": 4})
        for cls, prefix in (
            (hf.Speech2TextModel, ""),
            (hf.Speech2TextForConditionalGeneration, "model."),
        )
        for stack, facts in (("encoder", ENCODER), ("decoder", DECODER))
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_table_is_what_the_model_adds(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


def test_whisper_stores_the_table_of_tensor2tensor(tmp_path: Path) -> None:
    model = hf.WhisperModel(hf.WhisperConfig(**WHISPER))
    table = load_table(saved(model, tmp_path), part="encoder")
    expected = tensor2tensor_rows(np.arange(LENGTH), WIDTH)
    np.testing.assert_allclose(table.rows, expected, rtol=0, atol=ANGLES)


CONVOLUTIONAL: dict[str, tuple[str, str, dict[str, Any]]] = {
    "wav2vec2": ("Wav2Vec2Model", "Wav2Vec2Config", WAV2VEC),
    "wav2vec2-head": ("Wav2Vec2ForCTC", "Wav2Vec2Config", WAV2VEC),
    "wav2vec2-stable": (
        "Wav2Vec2Model", "Wav2Vec2Config", WAV2VEC | {"do_stable_layer_norm": True}
    ),
    "hubert": ("HubertModel", "HubertConfig", WAV2VEC),
    "hubert-batch": ("HubertModel", "HubertConfig", WAV2VEC | {"conv_pos_batch_norm": True}),
    "unispeech": ("UniSpeechModel", "UniSpeechConfig", WAV2VEC),
    "unispeech-sat": ("UniSpeechSatModel", "UniSpeechSatConfig", WAV2VEC),
    "wavlm": ("WavLMModel", "WavLMConfig", WAV2VEC),
    "data2vec-audio": ("Data2VecAudioModel", "Data2VecAudioConfig", DATA2VEC),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_positions_that_are_convolved(name: str, tmp_path: Path) -> None:
    model_class, config_class, values = CONVOLUTIONAL[name]
    model = getattr(hf, model_class)(getattr(hf, config_class)(**values))
    record = described(model, tmp_path)[0]
    assert isinstance(record, Convolution)
    kernels = [
        module
        for where, module in model.named_modules()
        if isinstance(module, torch.nn.Conv1d) and "pos_conv_embed" in where
    ]
    assert len(kernels) == record.depth == (4 if name == "data2vec-audio" else 1)
    for kernel in kernels:
        assert (kernel.kernel_size, kernel.groups) == ((record.width,), record.groups) == ((9,), 3)
    assert record.line() in described(model, tmp_path)[0].line()
    with pytest.raises(
        SourceError,
        match=r"no position table to measure in .* got '\S+': convolutional positions, not a tab",
    ):
        load_table(tmp_path)


def test_wavlm_has_a_gated_bias_as_well(tmp_path: Path) -> None:
    values = WAV2VEC | {"num_buckets": 14, "max_bucket_distance": 30}
    model = hf.WavLMModel(hf.WavLMConfig(**values))
    _, bias = described(model, tmp_path)
    assert bias == BucketedBias(
        14, 30, 6, True, ("encoder.layers.0.attention.rel_attn_embed.weight",), gated=True
    )
    assert ", shared by all layers, times a gate of each query, added to the logits" in bias.line()
    first, second = (layer.attention for layer in model.encoder.layers)
    assert first.rel_attn_embed.weight.shape == (14, 6)
    assert not hasattr(second, "rel_attn_embed")
    assert (first.num_buckets, first.max_distance) == (14, 30)
    # Its buckets are T5's.
    distance = torch.arange(-200, 201)
    theirs = WavLMAttention._relative_positions_bucket(first, distance)
    t5 = hf.models.t5.modeling_t5.T5Attention._relative_position_bucket(distance, True, 14, 30)
    assert torch.equal(theirs, t5)


def test_defaults_are_those_of_transformers() -> None:
    for family in CONVOLUTIONAL:
        if family in FAMILIES:
            config = hf.AutoConfig.for_model(family)
            width = getattr(config, "conv_pos_kernel_size", config.num_conv_pos_embeddings)
            record = acting({"model_type": family})[0]
            assert isinstance(record, Convolution)
            assert (record.width, record.groups) == (width, config.num_conv_pos_embedding_groups)
    bias = acting({"model_type": "wavlm"})[1]
    config = hf.WavLMConfig()
    assert isinstance(bias, BucketedBias)
    assert (bias.buckets, bias.max_distance) == (config.num_buckets, config.max_bucket_distance)
    assert bias.heads == config.num_attention_heads


@pytest.mark.parametrize("shape", [(42, 14, 8), (42, 7, 9), (42, 126)])
def test_a_kernel_of_another_shape(shape: tuple[int, ...]) -> None:
    name = "wav2vec2.encoder.pos_conv_embed.conv.weight_v"
    with pytest.raises(SourceError, match=r"expected a kernel of 9 frames in 3 groups, got shape"):
        acting(WAV2VEC | {"model_type": "wav2vec2"}, Shapes(**{name: shape}))


def test_speech_with_a_decoder_of_text(tmp_path: Path) -> None:
    decoder = hf.BertConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=6,
        max_position_embeddings=LENGTH, is_decoder=True, add_cross_attention=True,
    )  # fmt: skip
    model = hf.SpeechEncoderDecoderModel(
        encoder=hf.Wav2Vec2Model(hf.Wav2Vec2Config(**WAV2VEC)), decoder=hf.BertLMHeadModel(decoder)
    )
    table, convolution = described(model, tmp_path)
    assert isinstance(convolution, Convolution)
    assert table.line().endswith(", added to the embedding in the decoder")
    weight = model.decoder.bert.embeddings.position_embeddings.weight.detach().numpy()
    np.testing.assert_array_equal(load_table(tmp_path).rows, weight)
    with pytest.raises(SourceError, match=r"beneath 'encoder.': .* convolutional positions, not a"):
        load_table(tmp_path, part="encoder")
