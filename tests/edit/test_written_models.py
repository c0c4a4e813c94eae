"""Written checkpoints, as transformers loads and runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers
from written_models import (
    LENGTH,
    VOCAB,
    Build,
    bart,
    bert,
    bytes_of,
    gpt2,
    loaded,
    longer,
    longer_edit,
    opened,
    opt,
    raw_tensors,
    roberta,
    saved,
)

from poslens.checkpoints import describe, load_table
from poslens.edit.placing import table_edit, values_edit
from poslens.edit.writing import write_checkpoint

CONTAINERS = ("safetensors", "sharded safetensors", "bin", "sharded bin")
MORE = 11


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("build", [gpt2, opt, bert, roberta, bart])
def test_transformers_loads_the_edit_and_all_else_as_it_was(
    tmp_path: Path, build: Build, container: str
) -> None:
    torch.manual_seed(0)
    model = build()
    source = saved(model, tmp_path / "source", container)
    before = bytes_of(source)
    edit = longer_edit(source, MORE, "encoder" if build is bart else None)
    written = write_checkpoint(opened(source), edit, tmp_path / "out")

    _, state = loaded(type(model), tmp_path / "out")
    assert ("sharded" in container) == (tmp_path / "out/model.safetensors.index.json").exists()
    for name, tensor in model.state_dict().items():
        if name in written.edited:
            np.testing.assert_array_equal(state[name][: len(tensor)], tensor)
            assert len(state[name]) == len(tensor) + MORE
        else:
            assert torch.equal(state[name], tensor), name
    for part in ("encoder", "decoder") if build is bart else (None,):
        old, new = (load_table(str(one), part=part).rows for one in (source, tmp_path / "out"))
        np.testing.assert_array_equal(new, longer(old, MORE).astype(np.float32))
    assert bytes_of(source) == before
    context = describe(str(tmp_path / "out")).context
    assert context == LENGTH + MORE


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("container", ["safetensors", "bin"])
def test_rows_are_rounded_as_torch_rounds_them(
    tmp_path: Path, dtype: torch.dtype, container: str
) -> None:
    source = saved(roberta().to(dtype), tmp_path / "source", container)
    checkpoint = opened(source)
    rows = load_table(str(source)).rows
    # Numbers of float32: from float64, torch rounds twice to the narrow dtypes.
    noise = np.random.default_rng(0).standard_normal(rows.shape) * 1e-3
    rows = (rows + noise).astype(np.float32).astype(np.float64)
    edit = table_edit(checkpoint, None, rows, "x")
    write_checkpoint(checkpoint, edit, tmp_path / "out")
    name = "roberta.embeddings.position_embeddings.weight"
    stored = raw_tensors(tmp_path / "out")[name]
    whole = torch.from_numpy(edit.tensors[name]).to(dtype)
    assert stored == (str(dtype), whole.view(torch.uint8).numpy().tobytes())
    before = load_table(str(source)).source.row_offset
    assert before == 2
    np.testing.assert_array_equal(edit.tensors[name][before:], rows)


@pytest.mark.parametrize("build", [gpt2, opt])
def test_it_generates_beyond_the_old_limit(tmp_path: Path, build: Build) -> None:
    model = build()
    source = saved(model, tmp_path / "source")
    write_checkpoint(opened(source), longer_edit(source, 30), tmp_path / "out")
    new, _ = loaded(type(model), tmp_path / "out")
    ids = torch.arange(LENGTH - 3)[None] % VOCAB
    out = new.generate(ids, max_new_tokens=25, do_sample=False, eos_token_id=None)
    assert out.shape == (1, LENGTH + 22)
    short = torch.arange(LENGTH)[None] % VOCAB
    with torch.no_grad():
        assert torch.equal(new(short).logits, model.eval()(short).logits)


def tokenizer(folder: Path, limit: int) -> None:
    made = Tokenizer(models.WordLevel({str(n): n for n in range(VOCAB)}, unk_token="0"))  # noqa: S106
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.enable_truncation(limit)
    fast = hf.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=limit)
    fast.save_pretrained(folder)


def test_the_tokenizer_truncates_at_the_new_length(tmp_path: Path) -> None:
    source = saved(gpt2(), tmp_path / "source")
    tokenizer(source, LENGTH)
    text = " ".join(["3"] * 200)
    own = hf.AutoTokenizer.from_pretrained(source)
    assert len(own(text, truncation=True).input_ids) == LENGTH
    write_checkpoint(opened(source), longer_edit(source, MORE), tmp_path / "out")
    new = hf.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert len(new(text, truncation=True).input_ids) == LENGTH + MORE
    bare = Tokenizer.from_file(str(tmp_path / "out/tokenizer.json"))
    assert bare.truncation["max_length"] == LENGTH + MORE


def test_the_demo_model(tmp_path: Path) -> None:
    checkpoint = opened("demo")
    rows = load_table("demo").rows
    write_checkpoint(
        checkpoint, table_edit(checkpoint, None, np.tile(rows, (2, 1)), "## Twice"), tmp_path / "m"
    )
    assert checkpoint.folder is not None
    source = checkpoint.folder
    old, _ = loaded(hf.GPT2LMHeadModel, source)
    new, state = loaded(hf.GPT2LMHeadModel, tmp_path / "m")
    assert new.config.n_positions == 1024
    assert torch.equal(state["transformer.wpe.weight"][512:], state["transformer.wpe.weight"][:512])
    ids = torch.arange(512)[None] % 256
    with torch.no_grad():
        assert torch.equal(new(ids).logits, old(ids).logits)
        assert new(torch.arange(600)[None] % 256).logits.isfinite().all()


def mean_pooled(folder: Path, text: str) -> tuple[np.ndarray, int]:
    """The mean of the states over tokens, and how many there are."""
    model = hf.AutoModel.from_pretrained(folder).eval()
    tokens = hf.AutoTokenizer.from_pretrained(folder)
    ids = tokens(text, truncation=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**ids).last_hidden_state[0]
    return states.mean(dim=0).numpy(), states.shape[0]


def test_minilm_reads_twice_as_far(tmp_path: Path, minilm: Path) -> None:
    checkpoint = opened(minilm)
    rows = load_table(str(minilm), tokens=False).rows
    edit = table_edit(checkpoint, None, np.concatenate([rows, rows]), "## Twice")
    out = tmp_path / "out"
    written = write_checkpoint(checkpoint, edit, out)
    assert written.edited[1] == "embeddings.position_ids"
    loaded(hf.BertModel, out)
    short, long = "A sentence of a few words.", "word " * 900
    old, new = (mean_pooled(folder, short)[0] for folder in (minilm, out))
    np.testing.assert_allclose(new, old, rtol=0, atol=1e-6)
    pooled, count = mean_pooled(out, long)
    assert count == 902  # with the two special tokens
    assert np.isfinite(pooled).all()
    assert mean_pooled(minilm, long)[1] == 512
    assert json.loads((out / "sentence_bert_config.json").read_text())["max_seq_length"] == 1024
    original, new_tensors = raw_tensors(minilm), raw_tensors(out)
    assert original.keys() == new_tensors.keys()
    changed = {name for name in original if original[name] != new_tensors[name]}
    assert changed == set(written.edited)
    assert (out / "1_Pooling/config.json").read_bytes() == (
        minilm / "1_Pooling/config.json"
    ).read_bytes()


LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 7000.0}


@pytest.mark.parametrize("style", ["of transformers 5", "of transformers 4"])
def test_rotary_parameters_are_what_transformers_reads(tmp_path: Path, style: str) -> None:
    config = hf.LlamaConfig(
        vocab_size=VOCAB, hidden_size=48, intermediate_size=10, num_hidden_layers=2,
        num_attention_heads=6, max_position_embeddings=LENGTH,
    )  # fmt: skip
    model = hf.LlamaForCausalLM(config)
    source = saved(model, tmp_path / "source")
    if style == "of transformers 4":
        values = json.loads((source / "config.json").read_text())
        del values["rope_parameters"]
        values |= {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}, "rope_theta": 5000.0}
        (source / "config.json").write_text(json.dumps(values))
    changes = {"rope_parameters": LINEAR, "max_position_embeddings": 2 * LENGTH}
    checkpoint = opened(source)
    edit = values_edit(checkpoint, None, changes, 2 * LENGTH, "## Linear")
    write_checkpoint(checkpoint, edit, tmp_path / "out")
    new, state = loaded(hf.LlamaForCausalLM, tmp_path / "out")
    assert {key: new.config.rope_parameters[key] for key in LINEAR} == LINEAR
    assert new.config.max_position_embeddings == 2 * LENGTH
    frequencies = new.model.rotary_emb.inv_freq
    np.testing.assert_allclose(frequencies, 7000.0 ** (-np.arange(4) / 4) / 2, rtol=1e-6)
    assert all(torch.equal(state[name], one) for name, one in model.state_dict().items())
    source_weights = (source / "model.safetensors").read_bytes()
    assert (tmp_path / "out/model.safetensors").read_bytes() == source_weights
    (scheme,) = describe(str(tmp_path / "out")).schemes
    assert scheme.base == 7000.0
    assert scheme.scaling["factor"] == 2.0


def test_a_table_that_is_stored_twice_changes_twice(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    source = saved(gpt2(), tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    table = tensors["transformer.wpe.weight"]
    save_file({**tensors, "wpe.weight": table.clone()}, source / "model.safetensors")
    named = f"{source}::wpe.weight"
    rows = load_table(named).rows
    edit = table_edit(opened(named), None, longer(rows, MORE), "x")
    assert set(edit.tensors) == {"wpe.weight", "transformer.wpe.weight"}
    write_checkpoint(opened(named), edit, tmp_path / "out")
    found = raw_tensors(tmp_path / "out")
    assert found["wpe.weight"] == found["transformer.wpe.weight"]
