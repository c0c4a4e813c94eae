"""What enters the first layer: tokens, types and the table against the model's own sum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from block_cases_decoders import CASES as DECODERS
from block_cases_encoders import CASES as ENCODERS
from block_cases_llamas import CASES as LLAMAS
from block_cases_others import CASES as OTHERS
from block_files import BASIC, edit, saved, written
from block_models import Case, build, close, given, observe
from safetensors.numpy import load_file

from poslens.checkpoints import load_table
from poslens.checkpoints.blocks import Embedding, read_embedding
from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.finding import find_tables
from poslens.checkpoints.names import parse_source
from poslens.checkpoints.opening import open_located
from poslens.errors import SourceError

# Of the others, one of each kind: what they differ in is not in the embedding.
FIRST_OF_KIND = {(case.family, case.part): case for case in reversed([*LLAMAS, *OTHERS])}
CASES = [case for case in (*DECODERS, *ENCODERS, *FIRST_OF_KIND.values()) if case.layer == 0]
READS_TEXT = [
    case
    for case in CASES
    if case.inputs in ("text", "bare", "both", "pair", "speech")
    and case.part != "vision"
    and not (case.inputs == "speech" and case.part == "encoder")
]
SEES_OR_HEARS = [case for case in CASES if case not in READS_TEXT]


def embedding_of(folder: Path, part: str | None = None) -> Embedding:
    return read_embedding(open_located(parse_source(str(folder)), str(folder)), part)


def vectors_of(embedding: Embedding, ids: np.ndarray) -> np.ndarray:
    found, places = np.unique(ids, return_inverse=True)
    return embedding.tokens(found)[places]


@pytest.mark.parametrize("case", READS_TEXT, ids=str)
def test_the_sum_is_the_models_own(case: Case, tmp_path: Path) -> None:
    model = build(case, head=False)
    with torch.no_grad():  # row 0 of types is what acts, in every model that has them
        for name, weight in model.named_parameters():
            if "type_embeddings" in name:
                weight.normal_(0, 1)
    seen = observe(model, case)
    inputs = given(case)
    name = "decoder_input_ids" if case.part == "decoder" else "input_ids"
    folder = saved(model, tmp_path, silent=True)
    opened = open_located(parse_source(str(folder)), str(folder))
    embedding = read_embedding(opened, case.part)
    total = vectors_of(embedding, inputs[name][0].numpy()) + embedding.constant
    tables = find_tables(opened.tensors, opened.config)
    if any(one.part.name == case.part for one in tables):
        total = total + load_table(str(folder), part=case.part).rows[: len(total)]
    assert np.abs(seen.rows).max() > 0.1
    close(total, seen.rows)


@pytest.mark.parametrize("case", SEES_OR_HEARS, ids=str)
def test_what_sees_or_hears_reads_no_tokens(case: Case, tmp_path: Path) -> None:
    folder = saved(build(case, head=False), tmp_path, silent=True)
    with pytest.raises(SourceError, match=r"reads no tokens.*choose another part, or a model of"):
        embedding_of(folder, case.part)


BERT_TYPES = "embeddings.token_type_embeddings.weight"
WORDS = "embeddings.word_embeddings.weight"
SHARED = {"vocab_size": 37, "d_model": 42, "encoder_layers": 1, "decoder_layers": 1}


def test_types_are_constant(tmp_path: Path) -> None:
    """A vector added to all types changes the constant part, and no token's."""
    folder, ids = written("bert", tmp_path), np.arange(37)
    before = embedding_of(folder)
    tokens, vector = before.tokens(ids), np.random.default_rng(0).normal(size=60)
    edit(folder, lambda tensors: tensors.update({BERT_TYPES: tensors[BERT_TYPES] + vector}))
    after = embedding_of(folder)
    assert np.array_equal(after.tokens(ids), tokens)
    np.testing.assert_allclose(after.constant - before.constant, vector, rtol=0, atol=1e-12)


def test_ernies_tasks_are_constant_too(tmp_path: Path) -> None:
    folder = written("ernie", tmp_path, use_task_id=True)
    tensors = load_file(folder / "model.safetensors")
    tasks = tensors["embeddings.task_type_embeddings.weight"][0].astype(np.float64)
    want = tasks + tensors[BERT_TYPES][0]
    assert np.array_equal(embedding_of(folder).constant, want)


def test_no_rows_are_read_that_are_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written("bert", tmp_path)
    want = load_file(folder / "model.safetensors")[WORDS].astype(np.float64)
    embedding, plain, read = embedding_of(folder), LocalFile.read, []
    monkeypatch.setattr(
        LocalFile, "read", lambda self, *span: read.append(span) or plain(self, *span)
    )
    ids = np.array([3, 7, 8, 9, 36])
    assert np.array_equal(embedding.tokens(ids), want[ids])
    assert [stop - start for start, stop in read] == [60 * 4, 3 * 60 * 4, 60 * 4]
    assert embedding.tokens(ids[:0]).shape == (0, 60)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_rows_of_every_dtype(dtype: torch.dtype, tmp_path: Path) -> None:
    model = build(Case("bert", BASIC, "", ""), head=False).to(dtype)
    embedding = embedding_of(saved(model, tmp_path, silent=False))
    ids = np.array([0, 5, 6, 30])
    want = model.embeddings.word_embeddings.weight.detach()[ids].double().numpy()
    assert np.array_equal(embedding.tokens(ids), want)


@pytest.mark.parametrize("kind", ["shards", "torch"])
def test_rows_from_other_containers(kind: str, tmp_path: Path) -> None:
    model = build(Case("bert", BASIC, "", ""), head=False)
    folder = saved(model, tmp_path, silent=False)
    if kind == "shards":
        model.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
        folder = tmp_path / "parts"
        assert len(list(folder.glob("model-*.safetensors"))) > 1
    else:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    ids = np.array([0, 5, 6, 36])
    want = model.embeddings.word_embeddings.weight.detach()[ids].double().numpy()
    assert np.array_equal(embedding_of(folder).tokens(ids), want)


def test_the_vocabulary_is_the_tables(tmp_path: Path) -> None:
    assert embedding_of(written("gpt_neox", tmp_path)).vocabulary == 37


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    def spoil(tensors: dict[str, np.ndarray]) -> None:
        tensors[WORDS][7, 3] = np.nan

    embedding = embedding_of(edit(written("bert", tmp_path), spoil))
    assert np.isfinite(embedding.tokens(np.array([6, 8]))).all()
    with pytest.raises(SourceError, match=r"holds NaN or infinite values: .* got 1 that are not"):
        embedding.tokens(np.array([6, 7]))


def test_a_table_that_the_config_does_not_describe(tmp_path: Path) -> None:
    def narrow(tensors: dict[str, np.ndarray]) -> None:
        tensors[WORDS] = tensors[WORDS][:, :59]

    folder = edit(written("bert", tmp_path / "a"), narrow)
    with pytest.raises(SourceError, match="expected rows of 60 dimensions"):
        embedding_of(folder)

    def lose(tensors: dict[str, np.ndarray]) -> None:
        del tensors[BERT_TYPES]

    folder = edit(written("bert", tmp_path / "b"), lose)
    with pytest.raises(SourceError, match=f"no tensor '{BERT_TYPES}'"):
        embedding_of(folder)

    def count(tensors: dict[str, np.ndarray]) -> None:
        tensors[WORDS] = np.ones((37, 60), dtype=np.int32)

    folder = edit(written("bert", tmp_path / "c"), count)
    with pytest.raises(SourceError, match="convert the weights to float32"):
        embedding_of(folder)


def test_one_of_two_stacks_is_chosen(tmp_path: Path) -> None:
    folder = written("bart", tmp_path, SHARED | {"encoder_attention_heads": 6,
                                                 "decoder_attention_heads": 6,
                                                 "pad_token_id": 1})  # fmt: skip
    with pytest.raises(SourceError, match="add --part encoder or add --part decoder"):
        embedding_of(folder)
    assert embedding_of(folder, "decoder").vocabulary == 37
