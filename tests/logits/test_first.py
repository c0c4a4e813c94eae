"""What follows from the formula, and the real MiniLM."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from anatomies import BASIC, GPT2, GROUPED, T5
from float64_models import build, in_float64, row_centred, saved
from numpy.testing import assert_allclose
from safetensors.numpy import load_file, save_file
from split_models import opened, split, table_in

from annotations import unchecked
from poslens.attention import TERMS, Bands, at_pairs, offsets
from poslens.checkpoints.blocks import read_embedding
from poslens.encodings import Rope
from poslens.logits import first
from poslens.logits.embedded import embedded

LENGTH = 43
TOKENS = np.random.default_rng(5).integers(5, 61, (4, LENGTH))
TEXT = (
    "The committee met on Tuesday to discuss the bridge, which had been closed since the flood. "
    "Nobody knew who had ordered the repairs; the engineer, asked twice, answered neither time."
)
QUIET = lambda *_: None  # noqa: E731


def edit(folder: Path, name: str, change: np.ndarray | float) -> Path:
    """Add to a tensor of a saved model."""
    tensors = load_file(folder / "model.safetensors")
    tensors[name] = tensors[name] + change
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("causal", [False, True])
def test_a_constant_added_to_every_key_is_not_seen(causal: bool, tmp_path: Path) -> None:
    folder = saved(build("bert", BASIC | {"is_decoder": causal}), tmp_path)
    before = split(folder, TOKENS)
    name = "encoder.layer.0.attention.self.key.bias"
    after = split(edit(folder, name, np.random.default_rng(0).normal(size=48)), TOKENS)
    assert before.means.causal is causal
    assert_allclose(after.sums.shares(), before.sums.shares(), rtol=0, atol=1e-9)


def test_a_table_of_zeros_has_no_share(tmp_path: Path) -> None:
    folder = saved(build("gpt2", GPT2), tmp_path)
    table = table_in(folder)
    found = split(folder, TOKENS, table=replace(table, rows=np.zeros_like(table.rows)))
    shares = dict(zip(TERMS, found.sums.shares(), strict=True))
    for name in ("position_position", "content_position", "position_content"):
        assert np.array_equal(shares[name], np.zeros(6))
    assert_allclose(shares["content_content"] + shares["bias"], 1, rtol=0, atol=1e-9)


def test_types_are_constant(tmp_path: Path) -> None:
    """The same vector added to the types of all tokens is in the constant part alone."""
    folder = saved(build("bert", BASIC), tmp_path)
    vector = np.random.default_rng(0).normal(size=48)
    table = table_in(folder)
    before = embedded(read_embedding(opened(folder)), table, TOKENS, QUIET).stream(2)
    edit(folder, "embeddings.token_type_embeddings.weight", vector)
    after = embedded(read_embedding(opened(folder)), table, TOKENS, QUIET).stream(2)
    assert np.array_equal(after.content, before.content)
    assert np.array_equal(after.position, before.position)
    assert_allclose(after.constant - before.constant, vector[None], rtol=0, atol=1e-12)


def test_sums_are_added_up_over_texts(tmp_path: Path) -> None:
    folder = saved(build("bert", BASIC), tmp_path)
    whole = split(folder, TOKENS)
    one, rest = split(folder, TOKENS[:1]), split(folder, TOKENS[1:])
    together = one.sums + rest.sums
    assert_allclose(whole.sums.covariances, together.covariances, rtol=1e-12)
    assert_allclose(whole.sums.variances, together.variances, rtol=1e-12)
    assert_allclose(4 * whole.means.keys, one.means.keys + 3 * rest.means.keys, atol=1e-12)
    assert np.array_equal(whole.picture, split(folder, TOKENS[:1], head=whole.head).picture)


def test_the_head_that_is_shown_is_where_position_has_most(tmp_path: Path) -> None:
    found = split(saved(build("gpt2", GPT2), tmp_path), TOKENS)
    shares = dict(zip(TERMS, found.sums.shares(), strict=True))
    position = sum(share for name, share in shares.items() if "position" in name)
    assert found.head == int(np.argmax(position))


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_of_one_token_alone_rope_leaves_the_kernel_of_means(family: str, tmp_path: Path) -> None:
    values = GROUPED if family == "llama" else BASIC | {"rotary_pct": 0.5}
    folder = saved(build(family, values), tmp_path)
    found = split(folder, np.full((2, LENGTH), 7), head=4)
    content, position, *mixed, bias = found.sums.shares()
    assert_allclose(position, 1, rtol=0, atol=1e-9)
    assert_allclose([content, *mixed, bias], 0, rtol=0, atol=1e-9)
    size, turned = (10, 10) if family == "llama" else (8, 4)
    kernel = bands(Rope(size, rotary_dim=turned), found.means).profile(offsets(LENGTH, causal=True))
    want = row_centred(at_pairs(kernel[4:5], LENGTH, causal=True), causal=True)[0]
    got = found.picture[TERMS.index("position_position")]
    assert_allclose(got, want, rtol=0, atol=1e-9 * np.nanstd(want))


def bands(rope: Rope, means: object) -> Bands:
    planes = np.conj(rope.planes(means.queries)) * rope.planes(means.keys) * means.scale
    rest = slice(rope.rotated, None)
    still = means.scale * np.sum(means.queries[:, rest] * means.keys[:, rest], axis=1)
    return Bands(rope.frequencies(), planes, still)


def test_the_table_may_be_a_part_of_the_models(tmp_path: Path) -> None:
    """Tokens stand where the positions do that are analysed."""
    model = build("bert", BASIC)
    folder = saved(model, tmp_path)
    table = table_in(folder).slice_rows(9, 60)
    with in_float64() as mode:
        ids = torch.tensor(TOKENS[:1])
        model(input_ids=ids, position_ids=torch.arange(9, 9 + LENGTH)[None])
    own = row_centred(mode.softmaxed[0][0].numpy(), causal=False)
    for head in range(6):
        picture = split(folder, TOKENS, table=table, head=head).picture
        assert_allclose(picture.sum(0), own[head], rtol=0, atol=1e-9 * np.std(own))


def test_of_a_long_text_the_beginning_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = np.random.default_rng(0).integers(5, 61, (2, 71))
    folder = saved(build("mpnet", BASIC | {"max_position_embeddings": 80}), tmp_path)
    found = split(folder, tokens, head=1)
    assert found.picture.shape == (5, 64, 64)
    assert np.abs(found.picture.sum(axis=2)).max() > 1e-3  # rows go on beyond what is shown
    monkeypatch.setattr(first, "COMPARED", 17)
    short = split(folder, tokens, head=1)
    assert short.picture.shape == (5, 17, 17)
    assert_allclose(short.picture.sum(axis=2), 0, rtol=0, atol=1e-9)
    assert short.reconstruction_error <= 1e-11
    assert np.array_equal(short.sums.covariances, found.sums.covariances)
    less = found.picture[:, :17, :17]
    want = less - less.mean(axis=2, keepdims=True)
    assert_allclose(short.picture, want, rtol=0, atol=1e-9 * np.abs(want).max())


def test_notes_say_what_position_is(tmp_path: Path) -> None:
    of_table = split(saved(build("gpt2", GPT2), tmp_path / "a"), TOKENS)
    assert of_table.note == "position is the table that is added to the tokens"
    by_means = split(saved(build("t5", T5), tmp_path / "b"), TOKENS, "encoder")
    mean = "position is the mean over 4 contexts at each position, less that over positions"
    assert by_means.note == mean
    turned = split(saved(build("llama", GROUPED), tmp_path / "c"), TOKENS)
    assert (
        turned.note == f"{mean}; what is constant before the rotation counts as position after it"
    )


def test_t5_without_a_part_is_its_encoder(tmp_path: Path) -> None:
    folder = saved(build("t5", T5), tmp_path)
    chosen, left = split(folder, TOKENS, "encoder"), split(folder, TOKENS)
    assert np.array_equal(left.sums.covariances, chosen.sums.covariances)


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    folder = saved(build("llama", GROUPED), tmp_path)
    split(folder, TOKENS, progress=lambda *one: told.append(one))
    steps = [(done, 4) for done in range(1, 5)]
    assert [one[1:] for one in told if one[0] == "mean token vectors"] == steps
    assert [one[1:] for one in told if one[0] == "attention logits"] == steps


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_memory_does_not_grow_with_texts(family: str, tmp_path: Path) -> None:
    """Each of 72 more texts may leave a few numbers, far from its vectors."""
    config = GPT2 if family == "gpt2" else GROUPED
    folder = saved(build(family, config), tmp_path)

    def peak_of(count: int) -> int:
        tokens = np.resize(TOKENS, (count, LENGTH))
        tracemalloc.start()
        with unchecked():
            split(folder, tokens)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_of(2)  # imports and caches
    few = peak_of(6)
    vectors = 8 * LENGTH * 42  # bytes of one text at the width of these models
    # The least of two: what texts hold is in both, and a table of the whole process that grows
    # (7.7 MB were seen) in one alone.
    assert min(peak_of(78), peak_of(78)) - few < 72 * vectors / 2


@pytest.fixture(scope="module")
def minilm_model(minilm: Path) -> hf.PreTrainedModel:
    return hf.AutoModel.from_pretrained(minilm, attn_implementation="eager").eval()


def test_minilm(minilm: Path, minilm_model: hf.PreTrainedModel) -> None:
    ids = hf.AutoTokenizer.from_pretrained(minilm)(2 * TEXT)["input_ids"]
    tokens = np.array([ids[:LENGTH], ids[::-1][:LENGTH]])
    softmaxed: list[torch.Tensor] = []
    plain = torch.nn.functional.softmax

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(
            torch.nn.functional,
            "softmax",
            lambda x, *rest, **more: softmaxed.append(x) or plain(x, *rest, **more),
        )
        minilm_model(input_ids=torch.tensor(tokens[:1]))
    assert softmaxed[0].dtype == torch.float32
    own = row_centred(softmaxed[0][0].double().numpy(), causal=False)
    for head in range(12):
        found = split(minilm, tokens, head=head)
        error = np.abs(found.picture.sum(axis=0) - own[head]).max()
        assert error <= 1e-4 * own.std()
    assert found.reconstruction_error <= 1e-11
    assert_allclose(found.sums.shares().sum(axis=0), 1, rtol=0, atol=1e-9)
