"""Every family whose table can grow: transformers loads it, and the config says its new length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers as hf
from written_models import LENGTH, SIZES, WIDTH, loaded, longer, longer_edit, opened, saved

from poslens.checkpoints import describe, load_table
from poslens.checkpoints.families import FAMILIES
from poslens.edit.places import parts_together
from poslens.edit.placing import table_edit
from poslens.edit.writing import write_checkpoint
from poslens.errors import SettingError

MORE = 11
COMPUTED = ("ctrl", "m2m_100", "nllb-moe", "speech_to_text", "xglm")
GRIDS = ("clip_vision_model", "dinov2", "dinov2_with_registers", "siglip_vision_model", "vit")
# Grids that are zero when they are made, or are added where the config says so; and a family from
# Python alone, which is not written.
OTHERS = ("audio-spectrogram-transformer", "beit", "data2vec-vision", "deit", "swin", "vit_msn")
FROM_PYTHON = "transformer_lens"
GROWING = sorted(
    name
    for name, family in FAMILIES.items()
    if family.parts and name not in (*COMPUTED, *GRIDS, *OTHERS, FROM_PYTHON)
)
APART = ("led", "whisper", "clip", "siglip")  # the parts have lengths of their own

LENGTHS = {
    "max_position_embeddings": LENGTH,
    "max_encoder_position_embeddings": LENGTH + 4,
    "max_decoder_position_embeddings": LENGTH,
    "max_source_positions": LENGTH + 4,
    "max_target_positions": LENGTH,
}
VISION = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "intermediate_size": 10,
    "image_size": 27,
    "patch_size": 3,
}
# What some classes need beside the common sizes, or call otherwise.
OWN = {
    "gpt2": {"n_positions": LENGTH},
    "gpt_bigcode": {"n_positions": LENGTH},
    "openai-gpt": {"n_positions": LENGTH},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "led": {"attention_window": 4},
    "longformer": {"attention_window": 4},
    "fsmt": {"langs": ["en", "de"], "src_vocab_size": 41, "tgt_vocab_size": 41},
    "nystromformer": {"num_landmarks": 4, "segment_means_seq_len": 4},
    "squeezebert": {
        f"{name}_groups": 2 for name in ("q", "k", "v", "post_attention", "intermediate", "output")
    },
}
CLASSES = {"siglip_text_model": hf.SiglipTextModel, "trocr": hf.TrOCRForCausalLM}


def built(name: str) -> hf.PreTrainedModel:
    sizes = SIZES | OWN.get(name, {})
    if "n_positions" not in sizes:
        # One name for each length, as configs have them.
        stacks = ("max_encoder_", "max_decoder_", "max_source_", "max_target_")
        own = {"led": stacks[:2], "whisper": stacks[2:], "speech_to_text": stacks[2:]}.get(name)
        keys = own or ("max_position_embeddings",)
        sizes |= {key: value for key, value in LENGTHS.items() if key.startswith(keys)}
    if name in GRIDS:
        sizes = VISION
    if name in ("clip", "siglip"):
        sizes = {"text_config": sizes, "vision_config": VISION}
    config = hf.AutoConfig.for_model(name, **sizes)
    return CLASSES[name](config) if name in CLASSES else hf.AutoModel.from_config(config)


def test_every_family_with_a_table_is_here() -> None:
    with_tables = {name for name, family in FAMILIES.items() if family.parts}
    assert with_tables == {*GROWING, *COMPUTED, *GRIDS, *OTHERS, FROM_PYTHON}
    assert all(FAMILIES[name].context == () for name in OTHERS)


@pytest.mark.parametrize("name", GROWING)
def test_it_loads_at_its_new_length(tmp_path: Path, name: str) -> None:
    model = built(name)
    source = saved(model, tmp_path / "source")
    part = next(one.name for one in FAMILIES[name].parts if one.name != "vision")
    parts = parts_together(opened(source), part)
    assert len(parts) == (len(FAMILIES[name].parts) if name not in (*APART, "trocr") else 1)
    edit = longer_edit(source, MORE, part)
    write_checkpoint(opened(source), edit, tmp_path / "out")
    new, state = loaded(type(model), tmp_path / "out")
    for one in parts:
        before = load_table(str(source), part=one).rows
        table = load_table(str(tmp_path / "out"), part=one)
        np.testing.assert_array_equal(table.rows, longer(before, MORE).astype(np.float32))
        held = [key for key in state if key.endswith(str(table.source.tensor).split(".", 1)[1])]
        own = state.get(str(table.source.tensor), state[held[0]] if held else None)
        assert own is not None
        np.testing.assert_array_equal(own[table.source.row_offset :], table.rows)
    assert edit.length == len(table.rows)
    if name not in ("led", "whisper"):
        # RoBERTa and its kin count the rows before position 0 too.
        says, was = (describe(str(one)).context for one in (tmp_path / "out", source))
        assert was == LENGTH
        assert says == was + MORE
    assert new.config.model_type == name


@pytest.mark.parametrize("name", ["led", "whisper"])
def test_stacks_with_lengths_of_their_own_grow_alone(tmp_path: Path, name: str) -> None:
    model = built(name)
    source = saved(model, tmp_path / "source")
    edit = longer_edit(source, MORE, "decoder")
    write_checkpoint(opened(source), edit, tmp_path / "out")
    loaded(type(model), tmp_path / "out")
    lengths = {part: load_table(str(tmp_path / "out"), part=part).length for part in STACKS}
    assert lengths == {"encoder": LENGTH + 4, "decoder": LENGTH + MORE}


STACKS = ("encoder", "decoder")


@pytest.mark.parametrize("name", COMPUTED)
def test_a_table_that_is_computed_cannot_be_written(tmp_path: Path, name: str) -> None:
    source = saved(built(name), tmp_path)
    part = FAMILIES[name].parts[0].name
    rows = load_table(str(source), part=part).rows
    with pytest.raises(SettingError, match="computes from its config"):
        table_edit(opened(source), part, rows, "x")


@pytest.mark.parametrize("name", [*GRIDS, "clip", "siglip"])
def test_a_grid_keeps_its_size(tmp_path: Path, name: str) -> None:
    model = built(name)
    source = saved(model, tmp_path / "source")
    part = "vision" if name in ("clip", "siglip") or "vision" in name else None
    rows = load_table(str(source), part=part).rows
    with pytest.raises(SettingError, match="a grid of patches"):
        table_edit(opened(source), part, longer(rows, MORE), "x")
    edit = table_edit(opened(source), part, rows[::-1].copy(), "x")
    write_checkpoint(opened(source), edit, tmp_path / "out")
    loaded(type(model), tmp_path / "out")
    new = load_table(str(tmp_path / "out"), part=part).rows
    np.testing.assert_array_equal(new, rows[::-1])


def test_a_decoder_in_a_pair_grows_alone(tmp_path: Path) -> None:
    kinds = {"max_position_embeddings": LENGTH}
    one = hf.BertConfig(**SIZES, **kinds)
    other = hf.BertConfig(**SIZES, **kinds, is_decoder=True, add_cross_attention=True)
    config = hf.EncoderDecoderConfig.from_encoder_decoder_configs(one, other)
    model = hf.EncoderDecoderModel(config=config)
    source = saved(model, tmp_path / "source")
    edit = longer_edit(source, MORE, "decoder")
    assert edit.config == {("decoder", "max_position_embeddings"): LENGTH + MORE}
    write_checkpoint(opened(source), edit, tmp_path / "out")
    loaded(hf.EncoderDecoderModel, tmp_path / "out")
    lengths = [load_table(str(tmp_path / "out"), part=part).length for part in STACKS]
    assert lengths == [LENGTH, LENGTH + MORE]


def test_one_stack_of_two_that_share_a_length_is_refused(tmp_path: Path) -> None:
    source = saved(built("bart"), tmp_path / "source")
    checkpoint = opened(source)
    rows = load_table(str(source), part="encoder").rows
    edit = table_edit(checkpoint, "encoder", longer(rows, MORE), "x")
    with pytest.raises(SettingError, match=r"one number for all tables.*'decoder\.embed_pos"):
        write_checkpoint(checkpoint, edit, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
