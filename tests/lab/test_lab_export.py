"""Exported models against transformers: logits, one step of training, and what PosLens reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from lab_models import ENCODINGS, SHAPE, model, tokens
from torch.nn.functional import cross_entropy

import poslens
from poslens.encodings import T5, Alibi, Encoding, Learned, Linear, Nope, Rope, Shaw
from poslens.errors import LabError, OutputError
from poslens.lab.export import byte_tokenizer, export
from poslens.lab.model import Decoder
from poslens.lab.recipe import Recipe
from poslens.lab.shape import Shape
from poslens.lab.train import optimiser

hf.utils.logging.disable_progress_bar()
hf.utils.logging.set_verbosity_error()

BARE = replace(SHAPE, biases=False)
TABLES = ["learned", "sinusoidal", "concatenated", "whisper"]
ROTATIONS = ["rope", "rope, interleaved", "rope, in part"]


def loaded(made: Decoder, folder: Path, kind: str) -> hf.PreTrainedModel:
    export(made, folder)
    theirs, report = hf.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert type(theirs).__name__ == kind
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert sum(w.numel() for w in theirs.parameters()) >= sum(w.numel() for w in made.parameters())
    return theirs.eval()


def require_equal_logits(made: Decoder, theirs: hf.PreTrainedModel, length: int) -> None:
    ids = tokens(2, length)
    with torch.no_grad():
        ours = made(ids)
        assert ours.std() > 0.3
        torch.testing.assert_close(ours, theirs(ids).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("shape", [SHAPE, BARE])
def test_an_added_table_is_gpt2s(name: str, shape: Shape, tmp_path: Path) -> None:
    made = model(ENCODINGS[name], shape)
    theirs = loaded(made, tmp_path / "out", "GPT2LMHeadModel")
    require_equal_logits(made, theirs, 97 if name == "learned" else 71)


@pytest.mark.parametrize("name", ROTATIONS)
def test_rope_is_gpt_neoxs(name: str, tmp_path: Path) -> None:
    made = model(ENCODINGS[name])
    require_equal_logits(made, loaded(made, tmp_path / "out", "GPTNeoXForCausalLM"), 200)


def test_alibi_without_biases_is_mpts(tmp_path: Path) -> None:
    made = model(Alibi(6), replace(BARE, context=200))
    require_equal_logits(made, loaded(made, tmp_path / "out", "MptForCausalLM"), 200)


def test_alibi_with_biases_is_blooms_but_for_its_first_norm() -> None:
    """BLOOM normalises its embeddings, and its GELU is the approximate one: both taken out here."""
    made = model(Alibi(6))
    config = hf.BloomConfig(
        vocab_size=256, hidden_size=60, n_layer=2, n_head=6, bos_token_id=None, eos_token_id=None
    )
    theirs = hf.BloomForCausalLM(config).eval()
    theirs.transformer.word_embeddings_layernorm = torch.nn.Identity()
    with torch.no_grad():
        theirs.transformer.word_embeddings.weight.copy_(made.tokens.weight)
        copied(theirs.transformer.ln_f, made.norm)
        for mine, one in zip(made.layers, theirs.transformer.h, strict=True):
            one.mlp.gelu_impl = torch.nn.GELU()
            copied(one.input_layernorm, mine.attention_norm)
            copied(one.post_attention_layernorm, mine.mlp_norm)
            copied(one.self_attention.dense, mine.attention_out)
            copied(one.mlp.dense_h_to_4h, mine.mlp_in)
            copied(one.mlp.dense_4h_to_h, mine.mlp_out)
            together = one.self_attention.query_key_value  # of each head in turn
            for name, ours in mine.attention_in.named_parameters():
                by_head = ours.unflatten(0, (3, 6, 10)).transpose(0, 1).flatten(0, 2)
                getattr(together, name).copy_(by_head)
    require_equal_logits(made, theirs, 200)


def copied(theirs: torch.nn.Module, ours: torch.nn.Module) -> None:
    theirs.load_state_dict(ours.state_dict())


def test_a_step_of_training_is_that_of_gpt2(tmp_path: Path) -> None:
    """In float64, with the same AdamW: the same gradients, and the same weights after two steps."""
    made = model(Learned.drawn(71, 60, std=0.3))
    theirs = loaded(made, tmp_path / "out", "GPT2LMHeadModel").double()
    made = made.double()
    recipe = Recipe(decay=0.1, rate=1e-2)
    owned = theirs.transformer.wpe.weight
    decayed = [w for w in theirs.parameters() if w.ndim == 2 and w is not owned]
    others = [w for w in theirs.parameters() if w.ndim != 2 or w is owned]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    torchs = torch.optim.AdamW(groups, lr=1e-2, betas=recipe.betas)
    ours = optimiser(made, recipe)
    for seed in range(2):
        ids = tokens(3, 72).roll(seed, 1)
        for logits in (made(ids[:, :-1]), theirs(ids[:, :-1]).logits):
            cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        torch.testing.assert_close(made.position.table.grad, owned.grad, rtol=0, atol=1e-14)
        for one in (ours, torchs):
            one.step()
            one.zero_grad()
    export(made.float(), tmp_path / "after")
    after = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "after").state_dict()
    for name, weight in theirs.state_dict().items():
        torch.testing.assert_close(after[name], weight.float(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("encoding", "shape", "match"),
    [
        (Nope(), SHAPE, "with Nope.*got nope"),
        (T5.drawn(6, causal=True), SHAPE, "got t5"),
        (Shaw.drawn(10, 4), SHAPE, "got shaw"),
        (Alibi(6), SHAPE, r"got alibi; train it with Shape\(biases=False\)"),
        (Alibi(6, max_bias=4.0), BARE, "max_bias=4.0.*got alibi"),
        (Rope(10, scaling=Linear(2.0)), SHAPE, "RoPE without scaling"),
    ],
)
def test_what_no_architecture_is(
    encoding: Encoding, shape: Shape, match: str, tmp_path: Path
) -> None:
    with pytest.raises(LabError, match=match):
        export(Decoder(shape, encoding), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(OutputError, match="a folder that is empty or not there, got files in it"):
        export(Decoder(SHAPE, Rope(10)), tmp_path)
    with pytest.raises(OutputError, match="cannot export to"):
        export(Decoder(SHAPE, Rope(10)), tmp_path / "mine" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_ids_are_bytes(tmp_path: Path) -> None:
    text = "Größe\n\t 東京 \x00\x7f 👍🏽 " + "".join(map(chr, range(32, 1200)))
    for tokenizer in (byte_tokenizer(), exported_tokenizer(tmp_path)):
        assert tokenizer.encode(text).ids == list(text.encode())
        assert tokenizer.decode(list(text.encode())) == text
        assert sorted(tokenizer.get_vocab().values()) == list(range(256))


def exported_tokenizer(folder: Path) -> object:
    export(Decoder(SHAPE, Rope(10)), folder / "out")
    theirs = hf.AutoTokenizer.from_pretrained(folder / "out")
    assert theirs("aé")["input_ids"] == list("aé".encode())
    return theirs.backend_tokenizer


def test_no_tokenizer_where_tokens_are_no_bytes(tmp_path: Path) -> None:
    export(Decoder(replace(SHAPE, vocabulary=17), Rope(10)), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"config.json", "model.safetensors"}


def test_poslens_reads_what_the_lab_writes(tmp_path: Path) -> None:
    made = model(Learned.drawn(71, 60, std=0.3))
    export(made, tmp_path / "gpt2")
    table = poslens.load_table(str(tmp_path / "gpt2"))
    np.testing.assert_array_equal(table.rows, made.position.trained().rows)
    for name, kind in {"rope": "rope", "learned": "learned"}.items():
        export(model(ENCODINGS[name]), tmp_path / name)
        assert kind in str(poslens.describe(str(tmp_path / name))).lower()
    export(model(Alibi(6), BARE), tmp_path / "mpt")
    assert "alibi" in str(poslens.describe(str(tmp_path / "mpt"))).lower()
    config = json.loads((tmp_path / "mpt" / "config.json").read_text())
    assert config["attn_config"]["alibi_bias_max"] == 8
