"""Vision models against what transformers adds to patches, and to logits: see `added_tables`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from added_tables import BERT_LIKE, LENGTH, PATCHES, SIGMA, SPECIAL, VISION, WIDTH, Case, check
from containers import Shapes, acting, described

from poslens.checkpoints import load_table
from poslens.checkpoints.schemes import ContinuousBias, RelativeTable
from poslens.errors import SourceError

CLIP_TEXT = BERT_LIKE | SPECIAL | {"initializer_range": 0.3, "initializer_factor": 3.0}
CLIP_VISION = VISION | {"initializer_factor": 2.0}
DINO = {name: value for name, value in VISION.items() if name != "intermediate_size"}
SWIN = {
    "image_size": 27,
    "patch_size": 3,
    "embed_dim": WIDTH,
    "depths": [1, 2],
    "num_heads": [2, 3],
    "window_size": 3,
    "initializer_range": SIGMA,
}


def clip() -> hf.CLIPConfig:
    return hf.CLIPConfig(
        text_config=CLIP_TEXT, vision_config=CLIP_VISION, projection_dim=8, initializer_factor=7.0
    )


def siglip() -> hf.SiglipConfig:
    return hf.SiglipConfig(text_config=BERT_LIKE | SPECIAL, vision_config=VISION)


def patched(family: str, name: str, values: dict[str, Any], **facts: Any) -> list[Case]:
    """A vision model without and with a classifier."""
    config = getattr(hf, f"{name}Config")
    bare, headed = getattr(hf, f"{name}Model"), getattr(hf, f"{name}ForImageClassification")
    facts = {"positions": PATCHES, "inputs": "pixels", "tokens": False, "offset": 1} | facts
    prefix = headed.base_model_prefix
    return [
        Case(family, lambda: bare(config(**values)), "embeddings", **facts),
        Case(family, lambda: headed(config(**values)), f"{prefix}.embeddings", **facts),
    ]


PATCHED = {"positions": PATCHES, "inputs": "pixels", "tokens": False}
CLIP_TEXT_FACTS = {"part": "text", "positions": LENGTH, "std": 0.06}
CLIP_VISION_FACTS = PATCHED | {"part": "vision", "offset": 1, "std": 2 * SIGMA, "norms": 2}
SIGLIP_TEXT_FACTS = {"part": "text", "positions": LENGTH, "std": WIDTH**-0.5}
SIGLIP_VISION_FACTS = PATCHED | {"part": "vision", "std": WIDTH**-0.5}
ZEROS = {"std": 0}

CASES = [
    *patched("vit", "ViT", VISION),
    # With a classifier, transformers 5.23 saves its encoder without the prefix of the rest.
    patched("vit_msn", "ViTMSN", VISION, **ZEROS)[0],
    *patched("deit", "DeiT", VISION, offset=2, **ZEROS),
    *patched("beit", "Beit", VISION | {"use_absolute_position_embeddings": True}, **ZEROS),
    *patched(
        "data2vec-vision",
        "Data2VecVision",
        VISION | {"use_absolute_position_embeddings": True, "use_relative_position_bias": True},
        **ZEROS,
    ),
    *patched("dinov2", "Dinov2", DINO),
    *patched("dinov2_with_registers", "Dinov2WithRegisters", DINO | {"num_register_tokens": 3}),
    *patched("swin", "Swin", SWIN | {"use_absolute_embeddings": True}, offset=0, **ZEROS),
    *(
        Case(
            "audio-spectrogram-transformer",
            lambda cls=cls: cls(
                hf.ASTConfig(
                    **{name: VISION[name] for name in VISION if "size" in name}
                    | {"num_hidden_layers": 2, "num_attention_heads": 6, "patch_size": 3},
                    frequency_stride=2,
                    time_stride=5,
                    max_length=2 * LENGTH,
                    num_mel_bins=5,
                )
            ),
            f"{prefix}embeddings",
            2 * 41,
            inputs="spectrogram",
            offset=2,
            tokens=False,
            **ZEROS,
        )
        for cls, prefix in (
            (hf.ASTModel, ""),
            (hf.ASTForAudioClassification, "audio_spectrogram_transformer."),
        )
    ),
    Case(
        "clip",
        lambda: hf.CLIPModel(clip()),
        "text_model.embeddings.position_embedding",
        trunk="text_model",
        **CLIP_TEXT_FACTS,
    ),
    Case(
        "clip_text_model",
        lambda: hf.CLIPTextModel(hf.CLIPTextConfig(**CLIP_TEXT)),
        "embeddings.position_embedding",
        **CLIP_TEXT_FACTS,
    ),
    Case(
        "clip_text_model",
        lambda: hf.CLIPTextModelWithProjection(hf.CLIPTextConfig(**CLIP_TEXT)),
        "text_model.embeddings.position_embedding",
        **CLIP_TEXT_FACTS,
    ),
    Case(
        "clip",
        lambda: hf.CLIPModel(clip()),
        "vision_model.embeddings",
        trunk="vision_model",
        **CLIP_VISION_FACTS,
    ),
    Case(
        "clip",
        lambda: hf.CLIPForImageClassification(clip()),
        "vision_model.embeddings",
        **CLIP_VISION_FACTS | {"part": None},
    ),
    Case(
        "clip_vision_model",
        lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**CLIP_VISION)),
        "embeddings",
        **CLIP_VISION_FACTS | {"part": None},
    ),
    Case(
        "clip_vision_model",
        lambda: hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(**CLIP_VISION)),
        "vision_model.embeddings",
        **CLIP_VISION_FACTS,
    ),
    Case(
        "siglip",
        lambda: hf.SiglipModel(siglip()),
        "text_model.embeddings.position_embedding",
        trunk="text_model",
        **SIGLIP_TEXT_FACTS,
    ),
    Case(
        "siglip",
        lambda: hf.SiglipModel(siglip()),
        "vision_model.embeddings",
        trunk="vision_model",
        **SIGLIP_VISION_FACTS,
    ),
    Case(
        "siglip",
        lambda: hf.SiglipForImageClassification(siglip()),
        "vision_model.embeddings",
        **SIGLIP_VISION_FACTS | {"part": None},
    ),
    Case(
        "siglip_text_model",
        lambda: hf.SiglipTextModel(hf.SiglipTextConfig(**BERT_LIKE, **SPECIAL)),
        "embeddings.position_embedding",
        **SIGLIP_TEXT_FACTS,
    ),
    Case(
        "siglip_vision_model",
        lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**VISION)),
        "embeddings",
        **SIGLIP_VISION_FACTS,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_table_is_what_the_model_adds(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


BEIT = VISION | {"image_size": (27, 15), "patch_size": 3}
BEIT_ROWS = (2 * 9 - 1) * (2 * 5 - 1) + 3
MODELS: dict[str, tuple[Callable[[], hf.PreTrainedModel], int, str]] = {
    "beit": (
        lambda: hf.BeitForImageClassification(
            hf.BeitConfig(**BEIT, use_relative_position_bias=True)
        ),
        BEIT_ROWS,
        "9×5",
    ),
    "beit-shared": (
        lambda: hf.BeitModel(hf.BeitConfig(**BEIT, use_shared_relative_position_bias=True)),
        BEIT_ROWS,
        "9×5",
    ),
    "data2vec": (
        lambda: hf.Data2VecVisionModel(
            hf.Data2VecVisionConfig(**VISION, use_relative_position_bias=True)
        ),
        17**2 + 3,
        "9×9",
    ),
    "swin": (lambda: hf.SwinForImageClassification(hf.SwinConfig(**SWIN)), 25, "3×3"),
    "donut": (lambda: hf.DonutSwinModel(hf.DonutSwinConfig(**SWIN)), 25, "3×3"),
}


@pytest.mark.parametrize("name", MODELS)
def test_window_biases(name: str, tmp_path: Path) -> None:
    build, rows, window = MODELS[name]
    model = build()
    tables = {
        id(parameter): parameter
        for key, parameter in model.named_parameters()
        if key.endswith("relative_position_bias_table")
    }
    for index, parameter in enumerate(tables.values()):
        torch.nn.init.constant_(parameter, index + 1)  # to know them again under another name
    (record,) = described(model, tmp_path)
    assert isinstance(record, RelativeTable)
    assert record.kind == "window bias"
    assert record.distances == rows
    assert {parameter.shape[0] for parameter in tables.values()} == {rows}
    assert f"within windows of {window} patches" in record.line()
    values = [load_table(f"{tmp_path}::{tensor}").rows[0, 0] for tensor in record.tensors]
    assert values == list(range(1, len(tables) + 1))
    with pytest.raises(
        SourceError, match=rf"adds one to its embedding, got .*window bias, {rows} "
    ):
        load_table(tmp_path)


def test_a_beit_without_any_positions() -> None:
    assert acting({"model_type": "beit"}) == []
    default = {"model_type": "beit", "use_relative_position_bias": True}
    (record,) = acting(default)
    assert isinstance(record, RelativeTable)
    assert record.distances == 732  # of 14×14 patches, as in the published models


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"image_size": 2}, r"an image holds no patch .* expected an image of at least \(16, 16"),
        ({"image_size": [224, 0]}, r"cannot use image_size .* got \[224, 0\]"),
        ({"image_size": [224]}, r"image_size in .* expected at least 2 items, got '1 items'"),
        ({"patch_size": "16"}, r"patch_size in .* expected a whole number"),
        ({"patch_size": [16.0, 16]}, r"patch_size in .* expected a list of int"),
    ],
)
def test_windows_that_cannot_be(said: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        acting({"model_type": "beit", "use_relative_position_bias": True} | said)


def test_a_window_of_another_size() -> None:
    name = "encoder.layers.0.blocks.0.attention.self.relative_position_bias_table"
    with pytest.raises(
        SourceError, match=r"expected 169 rows, one a distance, got shape \(25, 2\)"
    ):
        acting({"model_type": "swin"}, Shapes(**{name: (25, 2)}))


def test_swin_v2_has_a_network_and_no_table(tmp_path: Path) -> None:
    (record,) = described(hf.Swinv2Model(hf.Swinv2Config(**SWIN)), tmp_path)
    assert isinstance(record, ContinuousBias)
    assert record.window == 3
    assert len(record.tensors) == sum(SWIN["depths"])
    assert record.line() == (
        "continuous bias, not a table: a network from the log-spaced offset of two patches, one in "
        "each of 3 layers, within windows of 3×3, added to the logits"
    )
    with pytest.raises(SourceError, match=r"got 'swinv2': continuous bias, not a table: a network"):
        load_table(tmp_path)


def test_donut_with_its_decoder(tmp_path: Path) -> None:
    decoder = hf.MBartConfig(
        vocab_size=37, d_model=WIDTH, decoder_layers=2, decoder_attention_heads=6,
        decoder_ffn_dim=10, max_position_embeddings=LENGTH, is_decoder=True,
        add_cross_attention=True, scale_embedding=True,
    )  # fmt: skip
    model = hf.VisionEncoderDecoderModel(
        encoder=hf.DonutSwinModel(hf.DonutSwinConfig(**SWIN)), decoder=hf.MBartForCausalLM(decoder)
    )
    table, bias = described(model, tmp_path)
    assert isinstance(bias, RelativeTable)
    assert all(one.startswith("encoder.encoder.layers.") for one in bias.tensors)
    assert len(bias.tensors) == sum(SWIN["depths"])
    assert table.line() == (
        "learned table of 103 positions × 42 dimensions, its first 2 rows not positions, added to "
        "6.48074 times the embedding in the decoder"
    )
    loaded = load_table(tmp_path)
    weight = model.decoder.model.decoder.embed_positions.weight.detach().numpy()
    np.testing.assert_array_equal(loaded.rows, weight[2:])
    assert len(loaded.norm_scales) == 2
