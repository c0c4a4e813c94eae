"""`compress` and `extend`, end to end: what is reported is what the written folder does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from edit_sources import BYTES, POSITIONS, losses_by_hand, run, saved, text_file
from safetensors.numpy import load_file
from written_models import bytes_of

import poslens
from poslens.edit.card import HEADING
from poslens.edit.claim import claim_rank
from poslens.edit.record import compression_record, extension_record, to_json
from poslens.edit.results import Extension
from poslens.edit.scores import Scores
from poslens.edit.written import write_compressed, write_extended
from poslens.errors import SettingError

LONG = 86  # twice the positions of a tiny model


def drawn(contexts: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(BYTES, size=(contexts, length))


def scores_of(found: Extension, method: str) -> Scores:
    scores = next(one.scores for one in found.tried if one.method == method)
    assert scores is not None
    return scores


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("gpt2", tmp_path_factory.mktemp("gpt2") / "model")


def test_the_claim_is_the_loss_ratio_of_numpys_svd(gpt2: Path, tmp_path: Path) -> None:
    tokens = drawn(6, POSITIONS)
    found = poslens.compress(str(gpt2), tokens=tokens, rank=5)
    rows = poslens.load_table(str(gpt2)).rows
    rank = claim_rank(*rows.shape)
    assert rank == 5
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    model = hf.GPT2LMHeadModel.from_pretrained(gpt2)
    table = torch.as_tensor((left[:, :rank] * values[:rank]) @ right[:rank])
    model.transformer.wpe.weight.data = table.float()
    model.save_pretrained(tmp_path / "by_hand")
    before, after = (losses_by_hand(one, tokens).mean() for one in (gpt2, tmp_path / "by_hand"))
    assert found.claim.value == pytest.approx(after / before - 1, abs=1e-6)
    assert found.chosen.error == pytest.approx(
        np.sqrt((values[rank:] ** 2).sum() / (values**2).sum()), rel=1e-9
    )
    assert found.factors.keys()
    assert sum(one.size for one in found.factors.values()) == found.chosen.numbers
    np.save(tmp_path / "rows.npy", found.rows)
    assert np.array_equal(poslens.load_table(tmp_path / "rows.npy").rows, found.rows)


@pytest.mark.parametrize("method", ["svd", "cosine", "spline", "cosine+svd", "spline+svd"])
def test_at_full_rank_nothing_changes(gpt2: Path, method: str) -> None:
    found = poslens.compress(str(gpt2), tokens=drawn(2, POSITIONS), method=method, rank=POSITIONS)
    scores, original = found.chosen.scores, found.original
    assert scores is not None
    assert original is not None
    assert scores.divergences is not None
    np.testing.assert_allclose(scores.losses, original.losses, rtol=0, atol=1e-6)
    np.testing.assert_allclose(scores.divergences, 0, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.rows, found.table.rows, rtol=0, atol=1e-6)


def test_a_tolerance_takes_the_smallest_rank_within_it() -> None:
    found = poslens.compress("demo", contexts=3, length=96, tolerance=0.02)
    original, rank = found.original, found.chosen.rank
    assert original is not None
    known = {
        one.rank: one.scores.mean / original.mean - 1
        for one in found.tried
        if one.method == "svd" and one.scores is not None
    }
    assert 1 < rank < 64
    assert known[rank - 1] > 0.02  # so that halving ended
    assert all(rise <= 0.02 for one, rise in known.items() if one >= rank)
    rungs = {2**power for power in range(8)} | {160, claim_rank(512, 160)}
    assert len(known.keys() - rungs) <= 5  # between two rungs, those that halving asks for
    beside = [one for one in found.tried if one.method != "svd" and one.scores is not None]
    assert {one.method for one in beside} == {"cosine", "spline", "cosine+svd", "spline+svd"}
    assert all(one.numbers <= found.chosen.numbers for one in beside)
    for one in (found.chosen, *beside):
        assert one.scores is not None
        assert one.scores.divergences is not None


def test_what_is_compressed_and_written_reads_as_it_was_measured(
    gpt2: Path, tmp_path: Path
) -> None:
    tokens = drawn(3, POSITIONS)
    before = bytes_of(gpt2)
    found = poslens.compress(str(gpt2), tokens=tokens, method="spline+svd", rank=7)
    written = write_compressed(found, tmp_path / "out")
    assert found.chosen.scores is not None
    new = losses_by_hand(tmp_path / "out", tokens)
    np.testing.assert_allclose(new, found.chosen.scores.losses, rtol=0, atol=1e-5)
    again = poslens.load_table(str(tmp_path / "out")).rows
    np.testing.assert_allclose(again, found.rows, rtol=0, atol=1e-6)
    factors = load_file(tmp_path / "out/position_factors.safetensors")
    assert sum(one.size for one in factors.values()) == found.chosen.numbers
    assert written.edited == ("transformer.wpe.weight",)
    assert bytes_of(gpt2) == before
    card = (tmp_path / "out/README.md").read_text()
    assert "spline+svd, rank 7" in card
    assert str(tmp_path) not in card
    assert str(gpt2.parent) not in card


@pytest.mark.parametrize("method", ["linear", "cubic_keep_first", "hierarchical", "repeat_last"])
def test_what_is_extended_and_written_reads_as_it_was_measured(
    gpt2: Path, tmp_path: Path, method: str
) -> None:
    tokens = drawn(2, LONG)
    found = poslens.extend(str(gpt2), LONG, tokens=tokens, method=method)
    write_extended(found, tmp_path / "out")
    new = losses_by_hand(tmp_path / "out", tokens)
    np.testing.assert_allclose(new, scores_of(found, method).losses, rtol=0, atol=1e-5)
    old, rows = (poslens.load_table(str(one)).rows for one in (gpt2, tmp_path / "out"))
    if method == "linear":
        assert np.array_equal(rows[::2], old)
    model = hf.GPT2LMHeadModel.from_pretrained(tmp_path / "out")
    made = model.generate(torch.as_tensor(tokens[:1, :40]), max_new_tokens=30, min_new_tokens=30)
    assert made.shape == (1, 70)  # beyond 43


@pytest.mark.parametrize("style", ["of transformers 5", "of transformers 4"])
@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_rotations_are_written_as_they_were_measured(
    tmp_path: Path, family: str, style: str
) -> None:
    source = saved(family, tmp_path / "source")
    if style == "of transformers 4":
        values = json.loads((source / "config.json").read_text())
        base = values.pop("rope_parameters")["rope_theta"]
        older = {"llama": {"rope_theta": base}, "gpt_neox": {"rotary_emb_base": base}}[family]
        values |= older | {"rope_scaling": None, "rotary_pct": 0.5}
        (source / "config.json").write_text(json.dumps(values))
    tokens = drawn(2, LONG)
    found = poslens.extend(str(source), LONG, tokens=tokens)
    names = [one.method for one in found.tried]
    assert names == ["unchanged", "linear", "ntk", "dynamic", "yarn", "cut", "sliding"]
    for method in ("linear", "ntk", "dynamic", "yarn"):
        one = poslens.extend(str(source), LONG, method=method)
        write_extended(one, tmp_path / method)
        new = losses_by_hand(tmp_path / method, tokens)
        np.testing.assert_allclose(new, scores_of(found, method).losses, rtol=0, atol=1e-5)
    distinct = {round(scores_of(found, name).mean, 6) for name in names[:5]}
    assert len(distinct) == 5


def test_the_text_model_of_several_parts_is_scaled_in_its_section(tmp_path: Path) -> None:
    text = {"hidden_size": 48, "intermediate_size": 10, "num_hidden_layers": 6,
            "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 8,
            "vocab_size": BYTES, "max_position_embeddings": POSITIONS}  # fmt: skip
    config = hf.Gemma3Config(text_config=text, vision_config={"num_hidden_layers": 1})
    torch.manual_seed(0)
    hf.Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path / "source")
    found = poslens.extend(str(tmp_path / "source"), LONG, method="linear")
    write_extended(found, tmp_path / "out")
    new = hf.AutoConfig.from_pretrained(tmp_path / "out").text_config
    assert new.max_position_embeddings == LONG
    assert new.rope_parameters["full_attention"]["factor"] == 2.0
    assert new.rope_parameters["full_attention"]["rope_type"] == "linear"
    assert new.rope_parameters["sliding_attention"]["rope_type"] == "default"


def test_alibi_is_measured_as_it_is(tmp_path: Path) -> None:
    source = saved("bloom", tmp_path / "source")
    tokens = drawn(2, LONG)
    found = poslens.extend(str(source), LONG, tokens=tokens, trained=POSITIONS)
    assert [one.method for one in found.tried] == ["unchanged", "cut", "sliding"]
    own = losses_by_hand(source, tokens)
    np.testing.assert_allclose(scores_of(found, "unchanged").losses, own, rtol=0, atol=1e-5)
    with pytest.raises(SettingError, match="nothing to write for a longer context"):
        write_extended(found, tmp_path / "out")


def test_mpt_reads_as_far_as_its_config_says(tmp_path: Path) -> None:
    """Its biases end there, though ALiBi has a value for every distance."""
    source, text = saved("mpt", tmp_path / "source"), text_file(tmp_path)
    tokens = drawn(2, LONG)
    with pytest.raises(RuntimeError, match="must match"):
        losses_by_hand(source, tokens)
    long = hf.MptForCausalLM.from_pretrained(source, max_seq_len=LONG)
    long.save_pretrained(tmp_path / "long")
    own = losses_by_hand(tmp_path / "long", tokens)
    found = poslens.extend(str(source), LONG, tokens=tokens, method="unchanged")
    assert (found.trained, found.scheme) == (POSITIONS, "alibi")
    assert found.tried[0].about.startswith("only max_seq_len of the config")
    model = hf.MptForCausalLM.from_pretrained(source)
    for one in (found, poslens.extend(model, LONG, tokens=tokens)):
        np.testing.assert_allclose(scores_of(one, "unchanged").losses, own, rtol=0, atol=1e-5)
    assert model.config.max_seq_len == POSITIONS
    done = run(
        "extend", source, "--to", LONG, "--text", text, "--contexts", 2,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "unchanged" in done.stdout
    before, after = (json.loads((one / "config.json").read_text())
                     for one in (source, tmp_path / "out"))  # fmt: skip
    assert after == before | {"max_seq_len": LONG}
    np.testing.assert_array_equal(losses_by_hand(tmp_path / "out", tokens), own)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_encoders_predict_what_is_masked(tmp_path: Path, family: str) -> None:
    source, text = saved(family, tmp_path / "source"), text_file(tmp_path)
    done = run(
        "extend", source, "--to", LONG, "--text", text, "--contexts", 2, "--json", "-",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert record["trained"] == POSITIONS
    assert all(one["within"] and one["beyond"] for one in record["tried"])
    assert {one["tokens"] for one in record["tried"]} == {64}
    table = poslens.load_table(str(tmp_path / "out"))
    assert table.length == LONG
    model = hf.AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        logits = model(input_ids=torch.as_tensor(100 + drawn(1, LONG) % 100)).logits
    assert logits.isfinite().all()


@pytest.mark.parametrize("tied", [True, False])
def test_sharded_and_tied_weights(tmp_path: Path, tied: bool) -> None:
    source = saved("gpt2", tmp_path / "source", shard="40KB", tie_word_embeddings=tied)
    assert len(list(source.glob("*.safetensors"))) > 1
    tokens = drawn(2, LONG)
    done = run("extend", source, "--to", LONG, "--method", "tile", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "* tile: " in done.stdout
    found = poslens.extend(str(source), LONG, tokens=tokens)
    new = losses_by_hand(tmp_path / "out", tokens)
    np.testing.assert_allclose(new, scores_of(found, "tile").losses, rtol=0, atol=1e-5)


def test_two_tables_of_one_length_become_longer_together(tmp_path: Path) -> None:
    sizes: dict[str, int] = {"d_model": 24}
    for stack in ("encoder", "decoder"):
        sizes |= {f"{stack}_layers": 1, f"{stack}_ffn_dim": 8, f"{stack}_attention_heads": 6}
    config = hf.BartConfig(vocab_size=61, max_position_embeddings=POSITIONS, **sizes)
    hf.BartForConditionalGeneration(config).save_pretrained(tmp_path / "source")
    found = poslens.extend(str(tmp_path / "source"), LONG, part="encoder", method="tile")
    write_extended(found, tmp_path / "out")
    for part in ("encoder", "decoder"):
        old = poslens.load_table(str(tmp_path / "source"), part=part).rows
        new = poslens.load_table(str(tmp_path / "out"), part=part).rows
        assert np.array_equal(new, np.concatenate([old, old]))


def test_minilm_moves_and_is_written(minilm: Path, tmp_path: Path) -> None:
    found = poslens.compress(str(minilm), text=text_file(tmp_path), contexts=2, length=24, rank=54)
    assert found.original is None
    assert found.claim.verdict.value == "not applicable"
    moved = {(one.method, one.rank): one.drift for one in found.tried}
    full, chosen, one = (moved["svd", rank] for rank in (384, 54, 1))
    assert full is not None
    assert chosen is not None
    assert one is not None
    np.testing.assert_allclose(full.cosines, 1, rtol=0, atol=1e-9)
    assert chosen.pooled.mean() > one.pooled.mean()
    assert moved["cosine", 126] is not None
    done = run("extend", minilm, "--to", 1024, "--method", "tile", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    old, new = (poslens.load_table(str(each)).rows for each in (minilm, tmp_path / "out"))
    assert np.array_equal(new, np.concatenate([old, old]))
    short, long = "A sentence of a few words.", "word " * 900
    pooled = [mean_pooled(folder, short) for folder in (minilm, tmp_path / "out")]
    np.testing.assert_allclose(pooled[1], pooled[0], rtol=0, atol=1e-6)
    far = mean_pooled(tmp_path / "out", long)
    assert np.isfinite(far).all()
    assert np.abs(far - mean_pooled(minilm, long)).max() > 1e-4  # which cuts at 512


def mean_pooled(folder: Path, text: str) -> np.ndarray:
    """The embedding of a text, as sentence-transformers makes it of such a folder."""
    tokens = hf.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt", truncation=True)
    with torch.no_grad():
        states = hf.AutoModel.from_pretrained(folder)(**tokens).last_hidden_state
    return np.asarray(torch.nn.functional.normalize(states.mean(dim=1)).numpy()[0])


def test_tokens_that_tell_nothing(gpt2: Path) -> None:
    for length, words in ((POSITIONS, "longer"), (LONG + 1, "shorter")):
        with pytest.raises(SettingError, match=f"44 to 86 tokens, got {length}; pass {words}"):
            poslens.extend(str(gpt2), LONG, tokens=drawn(2, length))


def test_a_shorter_trained_length_begins_from_its_rows(gpt2: Path) -> None:
    found = poslens.extend(str(gpt2), LONG, trained=29, method="tile")
    rows = poslens.load_table(str(gpt2)).rows[:29]
    assert found.rows is not None
    assert np.array_equal(found.rows, np.concatenate([rows, rows, rows])[:LONG])


def test_the_same_seed_gives_the_same_bytes(gpt2: Path) -> None:
    tokens = drawn(5, LONG)
    short = tokens[:, :POSITIONS]
    compressed = [
        to_json(compression_record(poslens.compress(str(gpt2), tokens=short, seed=seed)))
        for seed in (3, 3, 4)
    ]
    extended = [
        to_json(extension_record(poslens.extend(str(gpt2), LONG, tokens=tokens, seed=seed)))
        for seed in (3, 3, 4)
    ]
    for first, second, other in (compressed, extended):
        assert first == second
        assert first != other


def test_record_alone_on_standard_output_and_page(gpt2: Path, tmp_path: Path) -> None:
    text, page = text_file(tmp_path), tmp_path / "page.html"
    read = ("--text", text, "--contexts", 5)
    done = run("compress", gpt2, *read, "--html", page, "--json", "-")
    record = json.loads(done.stdout)
    assert record["kind"] == "compression"
    assert record["settings"]["size"] == 0.25
    assert record["settings"]["length"] == POSITIONS
    assert "layers" not in record["settings"]
    assert page.read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    done = run("extend", gpt2, "--to", LONG, *read, "--html", page, "--json", tmp_path / "e.json")
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))
    assert record["chosen"] == record["recommendation"]["method"]
    assert f"* {record['chosen']}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert page.read_text(encoding="utf-8").lower().startswith("<!doctype html>")


def test_no_edit_is_needed_where_a_window_does_better(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("extend", "demo", "--to", 640, "--contexts", 5, "--method", "tile", "--out", out)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert (
        "sliding (a window of 512 tokens that moves by 128) needs no edit, and its loss is" in said
    )
    assert "chosen: tile" in said
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "needs no edit" in card
    assert "Recommended: " in card
    without = run("extend", "demo", "--to", 640, "--method", "tile", "--out", tmp_path / "plain")
    assert "* chosen" in without.stdout
    section = (tmp_path / "plain/README.md").read_text(encoding="utf-8").split(HEADING)[1]
    assert "Method: tile" in section
    assert "oss" not in section


def test_a_model_too_narrow_for_the_claim(tmp_path: Path) -> None:
    source = tmp_path / "source"
    hf.GPT2LMHeadModel(
        hf.GPT2Config(n_embd=3, n_head=3, n_layer=1, vocab_size=260, n_positions=POSITIONS)
    ).save_pretrained(source)
    found = poslens.compress(str(source), tokens=drawn(2, POSITIONS), rank=2)
    assert found.original is not None
    assert found.claim.verdict.value == "not applicable"
    assert "no rank that takes a quarter" in found.claim.note
