"""Every family entry against what the transformers model itself does in its forward pass.

Each model is tiny and freshly initialised, with odd sizes and decoy values in its config; the
LayerNorm weights are made distinguishable before it is saved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from transformers.models.deberta.modeling_deberta import DebertaLayerNorm

from poslens.checkpoints import load_table
from poslens.checkpoints.families import FAMILIES
from poslens.encodings.sinusoidal import sinusoidal_table
from poslens.errors import SourceError

hf.utils.logging.disable_progress_bar()
hf.utils.logging.set_verbosity_error()

LAYER_NORMS = (torch.nn.LayerNorm, DebertaLayerNorm)
VOCAB, WIDTH, LENGTH, SIGMA = 37, 42, 103, 0.057
BERT_LIKE = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "intermediate_size": 10,
    "max_position_embeddings": LENGTH,
    "initializer_range": SIGMA,
}
VISION = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "intermediate_size": 10,
    "image_size": 27,
    "patch_size": 3,
    "initializer_range": SIGMA,
}
SPECIAL = {"bos_token_id": 3, "eos_token_id": 4}
CLIP_TEXT = BERT_LIKE | SPECIAL | {"initializer_range": 0.3, "initializer_factor": 3.0}
CLIP_VISION = VISION | {"initializer_factor": 2.0}
OPT = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "ffn_dim": 10,
    "max_position_embeddings": LENGTH,
    "init_std": SIGMA,
}
WHISPER = SPECIAL | {
    "vocab_size": VOCAB,
    "d_model": WIDTH,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 10,
    "decoder_ffn_dim": 10,
    "num_mel_bins": 5,
    "max_source_positions": LENGTH,
    "max_target_positions": 71,
    "init_std": SIGMA,
    "pad_token_id": 0,
    "decoder_start_token_id": 3,
}


def gpt2() -> hf.GPT2Config:
    return hf.GPT2Config(
        vocab_size=VOCAB,
        n_embd=WIDTH,
        n_layer=2,
        n_head=6,
        n_positions=LENGTH,
        initializer_range=SIGMA,
        **SPECIAL,
    )


def gpt_neo() -> hf.GPTNeoConfig:
    return hf.GPTNeoConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        num_layers=2,
        num_heads=6,
        attention_types=[[["global", "local"], 1]],
        max_position_embeddings=LENGTH,
        initializer_range=SIGMA,
        **SPECIAL,
    )


def distilbert(**more: object) -> hf.DistilBertConfig:
    return hf.DistilBertConfig(
        vocab_size=VOCAB,
        dim=WIDTH,
        n_layers=2,
        n_heads=6,
        hidden_dim=10,
        max_position_embeddings=LENGTH,
        initializer_range=SIGMA,
        **more,
    )


def clip() -> hf.CLIPConfig:
    return hf.CLIPConfig(
        text_config=CLIP_TEXT, vision_config=CLIP_VISION, projection_dim=8, initializer_factor=7.0
    )


@dataclass(frozen=True)
class Case:
    """A model, and what is to be found in it.

    ``adder`` is the module whose output is added for each position; ``trunk`` the module within
    which the normalisations before the first attention are counted.
    """

    family: str
    build: Callable[[], hf.PreTrainedModel]
    adder: str
    positions: int
    trunk: str = ""
    inputs: str = "text"
    part: str | None = None
    offset: int = 0
    norms: int = 1
    std: float | None = SIGMA
    scheme: str = "learned"
    tokens: str = "get_input_embeddings"
    missing: dict[str, str] = field(default_factory=dict)


def bert_cases(name: str, config: Callable[[], object], **facts: object) -> list[Case]:
    base, head = {
        "bert": (hf.BertModel, hf.BertForMaskedLM),
        "distilbert": (hf.DistilBertModel, hf.DistilBertForMaskedLM),
        "roberta": (hf.RobertaModel, hf.RobertaForMaskedLM),
        "mpnet": (hf.MPNetModel, hf.MPNetForMaskedLM),
        "albert": (hf.AlbertModel, hf.AlbertForMaskedLM),
        "deberta": (hf.DebertaModel, hf.DebertaForMaskedLM),
        "deberta-v2": (hf.DebertaV2Model, hf.DebertaV2ForMaskedLM),
    }[name]
    adder = "embeddings.position_embeddings"
    return [
        Case(name, lambda: base(config()), adder, **facts),
        Case(name, lambda: head(config()), f"{name.removesuffix('-v2')}.{adder}", **facts),
    ]


VIT_FACTS = {"positions": 81, "inputs": "pixels", "offset": 1, "tokens": ""}
CLIP_TEXT_FACTS = {"part": "text", "positions": LENGTH, "std": 0.06}
CLIP_VISION_FACTS = VIT_FACTS | {"part": "vision", "std": 2 * SIGMA, "norms": 2}
ENCODER = {
    "part": "encoder",
    "positions": LENGTH,
    "inputs": "speech",
    "tokens": "",
    "std": None,
    "scheme": "sinusoidal",
}
DECODER = {"part": "decoder", "positions": 71, "inputs": "speech"}

CASES = [
    Case("gpt2", lambda: hf.GPT2Model(gpt2()), "wpe", LENGTH),
    Case("gpt2", lambda: hf.GPT2LMHeadModel(gpt2()), "transformer.wpe", LENGTH),
    Case("gpt_neo", lambda: hf.GPTNeoModel(gpt_neo()), "wpe", LENGTH),
    Case("gpt_neo", lambda: hf.GPTNeoForCausalLM(gpt_neo()), "transformer.wpe", LENGTH),
    Case(
        "opt", lambda: hf.OPTModel(hf.OPTConfig(**OPT)), "decoder.embed_positions", LENGTH, offset=2
    ),
    Case(
        "opt",
        lambda: hf.OPTForCausalLM(hf.OPTConfig(**OPT)),
        "model.decoder.embed_positions",
        LENGTH,
        offset=2,
    ),
    Case(
        "opt",
        lambda: hf.OPTForCausalLM(
            hf.OPTConfig(**OPT, do_layer_norm_before=False, word_embed_proj_dim=18)
        ),
        "model.decoder.embed_positions",
        LENGTH,
        offset=2,
        norms=0,
        tokens="",
        missing={"tokens": "not as wide", "norm_scales": "no normalisation acts"},
    ),
    Case(
        "opt",
        lambda: hf.OPTModel(hf.OPTConfig(**OPT, layer_norm_elementwise_affine=False)),
        "decoder.embed_positions",
        LENGTH,
        offset=2,
    ),
    *bert_cases("bert", lambda: hf.BertConfig(**BERT_LIKE), positions=LENGTH),
    *bert_cases("distilbert", distilbert, positions=LENGTH),
    *bert_cases(
        "distilbert",
        lambda: distilbert(sinusoidal_pos_embds=True),
        positions=LENGTH,
        scheme="sinusoidal",
        std=None,
    ),
    *bert_cases("roberta", lambda: hf.RobertaConfig(**BERT_LIKE), positions=LENGTH - 2, offset=2),
    *bert_cases(
        "roberta",
        lambda: hf.RobertaConfig(**BERT_LIKE, pad_token_id=3),
        positions=LENGTH - 4,
        offset=4,
    ),
    *bert_cases("mpnet", lambda: hf.MPNetConfig(**BERT_LIKE), positions=LENGTH - 2, offset=2),
    *bert_cases(
        "mpnet",
        lambda: hf.MPNetConfig(**BERT_LIKE, pad_token_id=3),
        positions=LENGTH - 2,
        offset=2,
    ),
    *bert_cases("deberta", lambda: hf.DebertaConfig(**BERT_LIKE), positions=LENGTH),
    *bert_cases("deberta-v2", lambda: hf.DebertaV2Config(**BERT_LIKE), positions=LENGTH),
    *bert_cases(
        "albert",
        lambda: hf.AlbertConfig(**BERT_LIKE | {"hidden_size": 12}, embedding_size=WIDTH),
        positions=LENGTH,
    ),
    Case("vit", lambda: hf.ViTModel(hf.ViTConfig(**VISION)), "embeddings", **VIT_FACTS),
    Case(
        "vit",
        lambda: hf.ViTForImageClassification(hf.ViTConfig(**VISION)),
        "vit.embeddings",
        **VIT_FACTS,
    ),
    Case(
        "clip",
        lambda: hf.CLIPModel(clip()),
        "text_model.embeddings.position_embedding",
        trunk="text_model",
        tokens="text_model.embeddings.token_embedding",
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
    Case(
        "whisper",
        lambda: hf.WhisperModel(hf.WhisperConfig(**WHISPER)),
        "decoder.embed_positions",
        trunk="decoder",
        tokens="decoder.embed_tokens",
        **DECODER,
    ),
    Case(
        "whisper",
        lambda: hf.WhisperForConditionalGeneration(hf.WhisperConfig(**WHISPER)),
        "model.decoder.embed_positions",
        trunk="model.decoder",
        tokens="model.decoder.embed_tokens",
        **DECODER,
    ),
]


def forward_inputs(case: Case) -> dict[str, torch.Tensor]:
    """Real inputs as long as the model takes; token ids avoid the special ones."""
    ids = 5 + torch.arange(case.positions)[None] % (VOCAB - 5)
    pixels = torch.linspace(-1, 1, 3 * 27 * 27).reshape(1, 3, 27, 27)
    sound = torch.linspace(-1, 1, 5 * 2 * LENGTH).reshape(1, 5, 2 * LENGTH)
    if case.family == "clip" and case.tokens:
        return {"input_ids": ids, "pixel_values": pixels}
    return {
        "text": {"input_ids": ids},
        "pixels": {"pixel_values": pixels}
        | ({"input_ids": ids[:, :5]} if case.family == "clip" and case.part else {}),
        "sound": {"input_features": sound},
        "speech": {"input_features": sound, "decoder_input_ids": ids[:, :71]},
    }[case.inputs]


def observe(model: torch.nn.Module, case: Case) -> tuple[np.ndarray, list[np.ndarray]]:
    """Run the model; return what it adds at each position, and the γ that act before attention."""
    added: list[torch.Tensor] = []
    norms: list[np.ndarray] = []
    attended: list[bool] = []

    def take_added(
        module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor
    ) -> None:
        if case.inputs == "pixels":  # the embedding's output, less its image patches
            patch = (
                module.patch_embedding
                if "clip" in case.family
                else module.patch_embeddings.projection
            )
            pixels = forward_inputs(case)["pixel_values"]
            out = out[:, 1:] - patch(pixels).flatten(2).transpose(1, 2)
        added.append(out.reshape(-1, out.shape[-1]))

    def take_norm(module: torch.nn.LayerNorm, *_: object) -> None:
        if not attended:
            γ = torch.ones(module.normalized_shape) if module.weight is None else module.weight
            norms.append(γ.detach().numpy())

    def stop(*_: object) -> None:
        attended.append(True)

    model.get_submodule(case.adder).register_forward_hook(take_added)
    for module in model.get_submodule(case.trunk).modules():
        if isinstance(module, LAYER_NORMS):
            module.register_forward_hook(take_norm)
        elif type(module).__name__.endswith("Attention"):
            module.register_forward_pre_hook(stop)
    with torch.no_grad():
        model.eval()(**forward_inputs(case))
    assert attended
    return added[0].detach().numpy(), norms


def saved(model: hf.PreTrainedModel, folder: Path) -> str:
    for index, module in enumerate(model.modules()):
        if isinstance(module, LAYER_NORMS) and module.weight is not None:
            torch.nn.init.normal_(module.weight, 1 + index / 100, 0.1)
    model.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}-{case.part}-{case.adder}")
def test_the_table_is_what_the_model_adds(case: Case, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = case.build()
    source = saved(model, tmp_path / "model")
    added, norms = observe(model, case)

    table = load_table(source, part=case.part)

    assert table.rows.shape == (case.positions, WIDTH)
    # The patches were added and subtracted again in float32.
    np.testing.assert_allclose(
        table.rows, added, rtol=0, atol=2e-6 if case.inputs == "pixels" else 0
    )
    assert len(norms) == case.norms
    assert len(table.norm_scales) == case.norms
    for γ, acting in zip(table.norm_scales, norms, strict=True):
        np.testing.assert_array_equal(γ, acting)
    assert table.norms_centre
    assert (table.source.family, table.source.scheme) == (case.family, case.scheme)
    assert (table.source.row_offset, table.source.dtype) == (case.offset, "float32")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}-{case.part}-{case.adder}")
def test_tokens_and_initial_sigma(case: Case, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = case.build()
    table = load_table(saved(model, tmp_path / "model"), part=case.part)

    if case.tokens:
        embed = (
            model.get_input_embeddings()
            if case.tokens == "get_input_embeddings"
            else model.get_submodule(case.tokens)
        )
        expected = embed(torch.arange(VOCAB)).detach().numpy()
        assert table.tokens is not None
        assert table.tokens.dtype == np.float32
        np.testing.assert_array_equal(table.tokens, expected)
    else:
        assert table.tokens is None
        assert case.missing.get("tokens", "reads no tokens") in table.missing["tokens"]
    if case.std is None:
        assert table.init_std is None
        assert "formula" in table.missing["init_std"]
    else:
        assert table.init_std == pytest.approx(case.std)
        # Fresh from transformers: about 3,000 draws give σ within 1.3 %, so 6 % is safe.
        assert table.rows.std() == pytest.approx(case.std, rel=0.06)
    for key, reason in case.missing.items():
        assert reason in table.missing[key]


def test_every_entry_is_tested() -> None:
    entries = {(family, part.name) for family, known in FAMILIES.items() for part in known.parts}
    entries.remove(("transformer_lens", None))  # no config.json names it; test_python_objects does
    tested = {
        (case.family, part.name)
        for case in CASES
        for part in FAMILIES[case.family].parts
        if case.part == part.name or len(FAMILIES[case.family].parts) == 1
    }
    assert tested == entries


def test_a_sinusoidal_distilbert_stores_the_papers_table(tmp_path: Path) -> None:
    model = hf.DistilBertModel(distilbert(sinusoidal_pos_embds=True))
    table = load_table(saved(model, tmp_path))
    np.testing.assert_allclose(table.rows, sinusoidal_table(LENGTH, WIDTH), atol=1e-6)


@pytest.mark.parametrize("shard_size", ["9KB", "20KB"])
def test_shards_give_the_table_of_the_single_file(tmp_path: Path, shard_size: str) -> None:
    torch.manual_seed(0)
    model = hf.GPT2LMHeadModel(gpt2())
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
