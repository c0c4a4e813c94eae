"""Variants of a model: other tables and other configs on the same weights."""

from __future__ import annotations

import copy
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from edited_models import (
    BASE,
    BASIC,
    CAUSAL,
    ENCODERS,
    MASK,
    POSITIONS,
    VOCABULARY,
    drawn,
    longer,
    rows_of,
    table_of,
    tiny,
    with_table,
    write_gguf,
)
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, processors

from poslens.checkpoints.names import DEMO_FOLDER
from poslens.edit.models import LanguageModel, language_model
from poslens.edit.rebuilding import changed_config
from poslens.edit.scoring import drift, score
from poslens.errors import SettingError, SourceError, TableError
from poslens.lab.shipping import windows

WITH_TABLES = [
    "gpt2",
    "gpt_neo",
    "opt",
    "bart",
    "bert",
    "roberta",
    "mpnet",
    "distilbert",
    "electra",
]
YARN = {
    "rope_parameters": {
        "rope_type": "yarn",
        "rope_theta": 10_000.0,
        "factor": 4.0,
        "original_max_position_embeddings": POSITIONS,
    },
    "max_position_embeddings": 4 * POSITIONS,
}


def losses(model: Any, tokens: np.ndarray) -> np.ndarray:
    with language_model(model, mask=MASK) as language:
        return score(language, {"own": language.original()}, tokens)["own"].losses


@pytest.mark.parametrize("family", WITH_TABLES)
def test_the_same_rows_are_the_same_model(family: str) -> None:
    model, tokens = tiny(family), drawn()
    with language_model(model, mask=MASK) as language:
        variants = {
            "own": language.original(),
            "backwards": language.with_rows(np.ascontiguousarray(rows_of(model)[::-1])),
            "same": language.with_rows(rows_of(model)),
        }
        found = score(language, variants, tokens, against="own")
    assert np.array_equal(found["same"].losses, found["own"].losses)
    assert not found["same"].divergences.any()
    assert found["backwards"].divergences.mean() > 1e-3


@pytest.mark.parametrize("family", WITH_TABLES)
@pytest.mark.parametrize("length", [POSITIONS - 12, 2 * POSITIONS + 1])
def test_a_table_of_another_length_is_a_model_with_that_table(family: str, length: int) -> None:
    model, tokens = tiny(family), drawn(2, length)
    rows = longer(rows_of(model), length)
    with language_model(model, mask=MASK) as language:
        variant = language.with_rows(rows)
        assert language.positions(variant()) == length
        assert language.positions(model) == POSITIONS
        found = score(language, {"new": variant}, tokens)["new"]
    want = losses(with_table(family, rows), tokens)
    np.testing.assert_allclose(found.losses, want, rtol=0, atol=1e-6)


def test_a_longer_table_that_transformers_saves_and_loads(tmp_path: Path) -> None:
    rows, tokens = longer(rows_of(tiny("gpt2")), 90), drawn(2, 90)
    tiny("gpt2").save_pretrained(tmp_path / "plain")
    with_table("gpt2", rows).save_pretrained(tmp_path / "long")
    with language_model(tmp_path / "plain") as language:
        found = score(language, {"new": language.with_rows(rows)}, tokens)["new"]
    assert np.array_equal(found.losses, losses(str(tmp_path / "long"), tokens))


def test_tables_of_one_length_take_turns() -> None:
    """They share a module, whose table is filled before every batch."""
    model, tokens = tiny("gpt2"), drawn(2, 60)
    rows = longer(rows_of(model), 60)
    tables = {"one": rows, "other": rows[::-1].copy(), "third": 0.5 * rows}
    with language_model(model) as language:
        variants = {name: language.with_rows(table) for name, table in tables.items()}
        found = score(language, variants, tokens)
        assert variants["one"]() is variants["other"]()
    for name, table in tables.items():
        assert np.array_equal(found[name].losses, losses(with_table("gpt2", table), tokens))


def _scaled(kind: str, **values: float) -> dict[str, Any]:
    rope = {"rope_type": kind, "rope_theta": 10_000.0, "factor": 4.0}
    return {"rope_parameters": rope | values}


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", YARN),
        ("llama", _scaled("linear")),
        ("llama", _scaled("dynamic")),
        ("llama", _scaled("default", rope_theta=500.0)),
        ("gpt_neox", YARN),
    ],
)
def test_another_config_is_a_model_of_that_config(family: str, changes: dict[str, Any]) -> None:
    model, tokens = tiny(family), drawn(2, 150)
    with language_model(model) as language:
        variants = {"own": language.original(), "new": language.with_config(changes)}
        found = score(language, variants, tokens, against="own")
    config = type(model.config).from_dict(model.config.to_dict() | copy.deepcopy(changes))
    twin = type(model)(config).eval()
    twin.load_state_dict(model.state_dict())
    assert np.array_equal(found["new"].losses, losses(twin, tokens))
    assert found["new"].divergences.mean() > 1e-3


def test_changes_are_made_where_the_text_model_has_its_values() -> None:
    text = BASIC | {"num_key_value_heads": 3, "head_dim": 8, "pad_token_id": 0}
    vision = {"hidden_size": 48, "num_attention_heads": 6, "num_hidden_layers": 2}
    config = hf.Gemma3Config(
        text_config=hf.Gemma3TextConfig(**text).to_dict(),
        vision_config=vision | {"intermediate_size": 10, "image_size": 8, "patch_size": 4},
    )
    changed = changed_config(config, {"max_position_embeddings": 999})
    assert changed.text_config.max_position_embeddings == 999
    assert changed.vision_config.to_dict() == config.vision_config.to_dict()
    assert config.text_config.max_position_embeddings == POSITIONS
    with pytest.raises(SettingError, match="keys of its text model, got 'image_size'"):
        changed_config(config, {"image_size": 4})


def test_all_weights_but_the_table_are_shared() -> None:
    model = tiny("gpt2")
    name, _ = table_of(model)
    with language_model(model) as language:
        twins = [language.with_rows(longer(rows_of(model), length))() for length in (43, 90)]
    for twin in twins:
        own = dict(twin.named_parameters(remove_duplicate=False))
        for key, weight in model.named_parameters(remove_duplicate=False):
            assert (own[key] is weight) == (key != name)
        assert twin.lm_head.weight is twin.transformer.wte.weight
    rope = tiny("llama")
    with language_model(rope) as language:
        twin = language.with_config(YARN)()
    pointers = {weight.data_ptr() for weight in rope.parameters()}
    assert {weight.data_ptr() for weight in twin.parameters()} == pointers


@pytest.mark.parametrize("family", ["gpt2", "roberta", "llama"])
def test_a_model_is_afterwards_as_it_was(family: str) -> None:
    dropout = {"gpt2": "attn_pdrop", "roberta": "hidden_dropout_prob", "llama": "attention_dropout"}
    model = tiny(family, **{dropout[family]: 0.5}).train()
    next(iter(model.children())).eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    config, training = model.config.to_dict(), [one.training for one in model.modules()]
    identity = model.config
    torch.manual_seed(3)
    want = torch.rand(1)
    torch.manual_seed(3)
    with language_model(model, mask=MASK) as language:
        variants = {"own": language.original()}
        if family == "llama":
            variants["new"] = language.with_config(YARN)
        else:
            variants["new"] = language.with_rows(longer(rows_of(model), 90))
        found = score(language, variants, drawn(), against="own")
        again = score(language, variants, drawn(), against="own")
    assert torch.equal(torch.rand(1), want)
    assert np.array_equal(found["new"].losses, again["new"].losses)
    assert model.config is identity
    assert model.config.to_dict() == config
    assert [one.training for one in model.modules()] == training
    after = model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in state.items())
    assert not any(one._forward_pre_hooks for one in model.modules())
    assert all(weight.grad is None for weight in model.parameters())


def test_kinds() -> None:
    kinds = {}
    for family, auto in (("gpt2", ""), ("gpt2", BASE), ("bert", ""), ("bert", BASE), ("t5", None)):
        model = hf.T5EncoderModel(_t5()) if auto is None else tiny(family, auto)
        with language_model(model) as language:
            kinds[type(model).__name__] = language.kind
            assert language.vocabulary == VOCABULARY
    assert kinds == {
        "GPT2LMHeadModel": "causal",
        "GPT2Model": "headless",
        "BertForMaskedLM": "masked",
        "BertModel": "headless",
        "T5EncoderModel": "headless",
    }
    with language_model(tiny("bert", CAUSAL, is_decoder=True)) as language:
        assert language.kind == "causal"
    with (
        pytest.raises(SourceError, match="sees the tokens that it is to predict"),
        language_model(tiny("bert", CAUSAL)),
    ):
        pass


def _t5() -> hf.T5Config:
    sizes = {"d_model": 48, "d_kv": 7, "d_ff": 10, "num_layers": 2, "num_heads": 6}
    return hf.T5Config(vocab_size=VOCABULARY, **sizes)


def test_two_stacks_are_refused(tmp_path: Path) -> None:
    for model in (hf.T5ForConditionalGeneration(_t5()), hf.T5Model(_t5())):
        model.save_pretrained(tmp_path / type(model).__name__)
        for source in (model, tmp_path / type(model).__name__):
            with (
                pytest.raises(SourceError, match="got an encoder and a decoder; load one"),
                language_model(source),
            ):
                pass


@pytest.mark.parametrize("family", ["gpt2", "llama", *ENCODERS])
def test_a_folder_has_the_head_that_its_files_hold(family: str, tmp_path: Path) -> None:
    model = tiny(family)
    model.save_pretrained(tmp_path / "head")
    model.base_model.save_pretrained(tmp_path / "base")
    with language_model(tmp_path / "head") as language:
        assert language.kind == ("causal" if family in ("gpt2", "llama") else "masked")
    with language_model(tmp_path / "base") as language:
        # GPT-2's head is its token table.
        assert language.kind == ("causal" if family == "gpt2" else "headless")
        module = language.original()()
        assert not module.training
        assert module.dtype == torch.float32


def test_a_model_made_for_something_else_is_headless(tmp_path: Path) -> None:
    hf.GPT2ForSequenceClassification(tiny("gpt2").config).save_pretrained(tmp_path)
    with language_model(tmp_path) as language:
        assert language.kind == "headless"


def test_weights_that_are_missing_are_not_drawn(tmp_path: Path) -> None:
    tiny("bert").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["bert.encoder.layer.1.output.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with (
        pytest.raises(SourceError, match=r"does not hold the whole model.*layer\.1\.output\.dense"),
        language_model(tmp_path),
    ):
        pass


def _tokenizer(before: str, after: str, mask: str) -> Tokenizer:
    names = [before, after, mask, *(f"w{number}" for number in range(10, VOCABULARY))]
    ids = {name: number for number, name in enumerate(names, start=3)} | {"[UNK]": 0}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))  # noqa: S106
    tokenizer.add_special_tokens([before, after, mask])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{before} $A {after}", special_tokens=[(before, 3), (after, 4)]
    )
    return tokenizer


@pytest.mark.parametrize(
    ("mask", "settings"),
    [("[MASK]", ""), ("<hole>", '{"mask_token": "<hole>"}'),
     ("<hole>", '{"mask_token": {"content": "<hole>"}}')],
)  # fmt: skip
def test_special_tokens_are_the_tokenizers(tmp_path: Path, mask: str, settings: str) -> None:
    tiny("bert").save_pretrained(tmp_path)
    _tokenizer("[CLS]", "[SEP]", mask).save(str(tmp_path / "tokenizer.json"))
    if settings:
        (tmp_path / "tokenizer_config.json").write_text(settings)
    with language_model(tmp_path) as language:
        special = language.special
        assert (special.mask, special.before, special.after) == (5, (3,), (4,))
        tokens = drawn(2, 20)
        tokens[:, 0], tokens[:, -1] = 3, 4
        found = score(language, {"own": language.original()}, tokens, masked=99)["own"]
        assert np.array_equal(found.positions, np.tile(np.arange(1, 19), (2, 1)))
        tokens[1, 0] = 9
        assert special.around(tokens) == (0, 1)
    with language_model(tmp_path, mask=8) as language:
        assert (language.special.mask, language.special.before) == (8, (3,))


def test_minilm_has_no_head(minilm: Path) -> None:
    """Longer tables leave what its short texts become as it is."""
    tokens = np.random.default_rng(0).integers(999, 30_000, size=(2, 20))
    with language_model(minilm) as language:
        assert language.kind == "headless"
        assert (language.special.before, language.special.after) == ((101,), (102,))
        assert language.special.mask == 103
        own = language.checkpoint.tensors.read("embeddings.position_embeddings.weight").values()
        rows = np.vstack([own, own]).astype(np.float64)
        variants = {"own": language.original(), "long": language.with_rows(rows)}
        found = drift(language, variants, tokens, against="own")["long"]
        assert language.positions(variants["long"]()) == 1024
    np.testing.assert_allclose(found.cosines, 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.pooled, 1, rtol=0, atol=1e-12)


def test_a_gguf_file(tmp_path: Path) -> None:
    model = tiny("gpt2", max_position_embeddings=1024)  # which transformers takes a file to have
    write_gguf(model, tmp_path / "model.gguf")
    with language_model(tmp_path / "model.gguf") as language:
        assert language.kind == "causal"
        found = score(language, {"own": language.original()}, drawn())["own"]
    np.testing.assert_allclose(found.losses, losses(model, drawn()), rtol=0, atol=1e-5)


def test_the_demo_is_as_good_as_it_says() -> None:
    """On its own recipe, of which it ships the loss that the lab measured."""
    text = windows((DEMO_FOLDER / "training.toml").read_bytes(), 512)
    with language_model("demo") as language:
        assert (language.kind, language.vocabulary) == ("causal", 256)
        assert language.positions(language.original()()) == 512
        found = score(language, {"own": language.original()}, text.inputs)["own"]
        with torch.no_grad():
            logits = language.original()()(torch.as_tensor(text.inputs)).logits[:, -1]
    last = torch.nn.functional.cross_entropy(logits, torch.as_tensor(text.targets[:, -1]))
    mean = (511 * found.mean + float(last)) / 512  # the lab asks for one token more
    said = json.loads((DEMO_FOLDER / "metrics.json").read_text())["recipe_loss"]
    assert mean == pytest.approx(said, rel=1e-6)


def _with(model: Any) -> LanguageModel:
    with language_model(model, mask=MASK) as language:
        return language


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((5, 47)), "finite rows of 48 numbers, got shape \\(5, 47\\)"),
        (np.ones((0, 48)), "got shape \\(0, 48\\)"),
        (np.full((5, 48), np.nan), "got shape \\(5, 48\\) with NaN"),
    ],
)
def test_rows_that_are_no_table(rows: np.ndarray, message: str) -> None:
    with pytest.raises(TableError, match=message):
        _with(tiny("gpt2")).with_rows(rows)


def test_what_has_no_table_takes_none() -> None:
    with pytest.raises(SourceError, match="no position table to measure"):
        _with(tiny("llama")).with_rows(np.ones((50, 48)))
    with pytest.raises(SourceError, match="cannot be replaced: expected one among its parameters"):
        _with(tiny("xglm", CAUSAL, d_model=48, attention_heads=6, num_layers=2, ffn_dim=10)
              ).with_rows(np.ones((50, 48)))  # fmt: skip


def test_configs_that_cannot_be() -> None:
    llama = _with(tiny("llama"))
    with pytest.raises(SettingError, match="keys of the config, got 'rope_parameter'"):
        llama.with_config({"rope_parameter": {}})
    with pytest.raises(SettingError, match=r"transformers refuses this 'LlamaConfig'.*factor"):
        llama.with_config({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}})
    with pytest.raises(SourceError, match="cannot be made anew with other positions"):
        llama.with_config({"intermediate_size": 12})


def test_a_table_that_the_config_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("gpt2")
    model.config.n_positions = 40
    with pytest.raises(
        SourceError, match=r"is the length of its position table: expected a config that says 43,"
    ):
        _with(model).with_rows(np.ones((90, 48)))


def test_an_adapter_on_a_model() -> None:
    model = tiny("gpt2")
    model.transformer.h[0].mlp.extra = torch.nn.Linear(3, 3)
    assert losses(model, drawn()).shape == (3, 36)
    layer = model.transformer.h[0].mlp
    layer.c_fc = torch.nn.Sequential(layer.c_fc)
    with pytest.raises(SourceError, match="without adapters"):
        _with(model).with_rows(rows_of(model))


@pytest.mark.parametrize("source", [torch.nn.Linear(3, 3), np.ones((4, 3)), 7, None])
def test_what_is_no_model_of_transformers(source: Any) -> None:
    with (
        pytest.raises(SourceError, match="cannot measure what an edit costs"),
        language_model(source),
    ):
        pass


def test_without_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "accelerate" else plain(name)
    )
    with pytest.raises(SettingError, match="got no accelerate"), language_model("demo"):
        pass


def test_torch_is_not_imported_before_a_model_is_asked_for() -> None:
    modules = "poslens.edit.models, poslens.edit.scoring, poslens.edit.windows"
    code = f"import sys, {modules}; print(sorted({{'torch', 'transformers'}} & {{*sys.modules}}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"
