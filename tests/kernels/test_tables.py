"""Kernels of added tables against the explicit matrix of transformers' own weights, in float64."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers as hf
from kernel_matrices import agrees
from kernel_models import BASIC, LENGTH, SPECIAL, build, kernels, saved, studied, weights_of
from numpy.testing import assert_allclose
from rich.console import Console

from poslens.report import html
from poslens.report.terminal import print_claims

Weights = dict[str, np.ndarray]
Three = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows as the projections see them, W_Q, W_K


def normed(rows: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return (rows - rows.mean(axis=1, keepdims=True)) * scale


def gpt2(w: Weights) -> Three:
    query, key, _ = np.split(w["h.0.attn.c_attn.weight"], 3, axis=1)
    return normed(w["wpe.weight"], w["h.0.ln_1.weight"]), query, key


def bert(w: Weights) -> Three:
    rows = normed(w["embeddings.position_embeddings.weight"], w["embeddings.LayerNorm.weight"])
    at = "encoder.layer.0.attention.self."
    return rows, w[f"{at}query.weight"].T, w[f"{at}key.weight"].T


def albert(w: Weights) -> Three:
    rows = normed(w["embeddings.position_embeddings.weight"], w["embeddings.LayerNorm.weight"])
    at = "encoder.albert_layer_groups.0.albert_layers.0.attention."
    wide = rows @ w["encoder.embedding_hidden_mapping_in.weight"].T
    return wide, w[f"{at}query.weight"].T, w[f"{at}key.weight"].T


def mpnet(w: Weights) -> Three:
    rows = w["embeddings.position_embeddings.weight"][2:]
    at = "encoder.layer.0.attention.attn."
    seen = normed(rows, w["embeddings.LayerNorm.weight"])
    return seen, w[f"{at}q.weight"].T, w[f"{at}k.weight"].T


def _layers(table: str, at: str, norm: str, first: int = 0) -> Callable[[Weights], Three]:
    def three(w: Weights) -> Three:
        rows = normed(w[f"{table}.weight"][first:], w[f"{at}{norm}.weight"])
        return rows, w[f"{at}self_attn.q_proj.weight"].T, w[f"{at}self_attn.k_proj.weight"].T

    return three


def opt_350m(w: Weights) -> Three:
    at = "decoder.layers.0.self_attn."
    rows = w["decoder.embed_positions.weight"][2:]
    return rows, w[f"{at}q_proj.weight"].T, w[f"{at}k_proj.weight"].T


GPT2 = SPECIAL | {"vocab_size": 37, "n_embd": 42, "n_layer": 2, "n_head": 6, "n_positions": LENGTH}
TWELVE = BASIC | {"hidden_size": 36, "num_attention_heads": 12}
WHISPER = SPECIAL | {
    "vocab_size": 37,
    "d_model": 42,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 10,
    "decoder_ffn_dim": 10,
    "max_target_positions": LENGTH,
    "max_source_positions": 31,
    "num_mel_bins": 5,
    "decoder_start_token_id": 3,
}
VISION = {
    "hidden_size": 42, "num_hidden_layers": 1, "num_attention_heads": 6, "intermediate_size": 10,
    "image_size": 9, "patch_size": 3,
}  # fmt: skip
OPT_350M = {"do_layer_norm_before": False, "word_embed_proj_dim": 17}
DECODER, TEXT = "decoder.layers.0.", "text_model.encoder.layers.0."
CASES: list[tuple[str, str, dict[str, Any], Callable[[Weights], Three], bool, str | None]] = [
    ("gpt2", "gpt2", GPT2, gpt2, True, None),
    ("gpt2-12", "gpt2", GPT2 | {"n_embd": 36, "n_head": 12}, gpt2, True, None),
    ("bert", "bert", BASIC, bert, False, None),
    ("bert-12", "bert", TWELVE, bert, False, None),
    ("bert-decoder", "bert", BASIC | {"is_decoder": True}, bert, True, None),
    ("opt", "opt", BASIC | {"ffn_dim": 10}, _layers("decoder.embed_positions", DECODER,
     "self_attn_layer_norm", 2), True, None),
    ("opt-350m", "opt", BASIC | {"ffn_dim": 10} | OPT_350M, opt_350m, True, None),
    ("albert", "albert", BASIC | {"embedding_size": 17}, albert, False, None),
    ("whisper", "whisper", WHISPER, _layers("decoder.embed_positions", DECODER,
     "self_attn_layer_norm"), True, "decoder"),
    ("clip", "clip", {"text_config": BASIC, "vision_config": VISION},
     _layers("text_model.embeddings.position_embedding", TEXT, "layer_norm1"), True, "text"),
    ("mpnet", "mpnet", BASIC | {"max_position_embeddings": LENGTH + 2}, mpnet, False, None),
]  # fmt: skip


def explicit(model: hf.PreTrainedModel, three: Callable[[Weights], Three], heads: int = 6) -> Any:
    """p̃_tᵀ W_Q W_Kᵀ p̃_s ÷ √d_k at [head, t, s]; of MPNet with its buckets."""
    rows, query, key = three(weights_of(model))
    assert rows.shape[0] == LENGTH
    parted = [(rows @ one).reshape(LENGTH, heads, -1).transpose(1, 0, 2) for one in (query, key)]
    K = parted[0] @ parted[1].transpose(0, 2, 1) / np.sqrt(parted[0].shape[2])
    if three is mpnet:
        K = K + buckets(model)
    return K


def buckets(model: hf.PreTrainedModel) -> np.ndarray:
    import torch

    bias = model.encoder.compute_position_bias(torch.zeros(1, LENGTH, 1))[0]
    return bias.detach().double().numpy()


@pytest.mark.parametrize(
    ("name", "family", "values", "three", "causal", "part"), CASES, ids=[one[0] for one in CASES]
)
def test_every_measure_is_that_of_the_matrix(
    name: str,
    family: str,
    values: dict[str, Any],
    three: Callable[[Weights], Three],
    causal: bool,
    part: str | None,
    tmp_path: Path,
) -> None:
    model = build(family, values)
    K = explicit(model, three, 12 if name.endswith("-12") else 6)
    study = studied(saved(model, tmp_path), part=part)
    agrees(study, K, causal=causal)
    assert max(study.measures["kernel.relative_share"]) < 0.9  # a random table's is no 1
    assert not [name for name in study.undefined if name.startswith("kernel.")]
    without, with_positions = kernels(tmp_path, part).order
    assert without <= 1e-12
    assert with_positions > 1e-3


@pytest.mark.parametrize(("family", "three"), [("bert", bert), ("mpnet", mpnet)])
def test_a_slice_of_rows(family: str, three: Callable[[Weights], Three], tmp_path: Path) -> None:
    more = LENGTH + 2 if family == "mpnet" else LENGTH
    model = build(family, BASIC, max_position_embeddings=more)
    study = studied(saved(model, tmp_path), rows=(5, 40))
    agrees(study, explicit(model, three)[:, 5:40, 5:40], causal=False, first=5)
    assert study.data["kernel.picture"].coords["block"][0] == 5


def test_a_view_does_not_fold_the_norm_in_twice(tmp_path: Path) -> None:
    model = build("bert", BASIC)
    study = studied(saved(model, tmp_path), view="effective")
    agrees(study, explicit(model, bert), causal=False)


def test_constants_of_the_block_do_not_matter(tmp_path: Path) -> None:
    """β, and the biases of queries and keys, are the same at every position."""
    import torch

    model = build("bert", BASIC)
    plain = studied(saved(model, tmp_path / "a"))
    with torch.no_grad():
        model.embeddings.LayerNorm.bias += 2
        model.encoder.layer[0].attention.self.query.bias -= 3
        model.encoder.layer[0].attention.self.key.bias += 1
    other = studied(saved(model, tmp_path / "b"))
    for name in ("kernel.profile", "kernel.relative_share"):
        assert_allclose(other.measures[name], plain.measures[name], rtol=0, atol=0)


def test_projections_that_the_config_does_not_describe(tmp_path: Path) -> None:
    saved(build("bert", BASIC), tmp_path, num_attention_heads=5)
    study = studied(tmp_path)
    assert study.measures["kernel.relative_share"] is None
    assert "got hidden size 42 and 5 heads" in study.undefined["kernel.relative_share"]
    assert study.claim("attention.learns_distance").note == study.undefined["kernel.profile"]
    assert study.measures["norm.mean"] is not None  # the rest of the study stays


@pytest.mark.parametrize("family", ["deberta", "deberta-v2"])
@pytest.mark.parametrize("kinds", [["c2p"], ["c2p", "p2c"]])
def test_terms_of_distance_and_content_are_said_to_be_left_out(
    family: str, kinds: list[str], tmp_path: Path
) -> None:
    values = BASIC | {"relative_attention": True, "pos_att_type": kinds, "type_vocab_size": 0}
    model = build(family, values, position_biased_input=True)
    study = studied(saved(model, tmp_path))
    acts_on = ["content against positions", "positions against content"][: len(kinds)]
    left_out = f"disentangled attention, {2 * LENGTH} distances in one tensor, "
    left_out += " and ".join(acts_on)
    assert study.data["kernel.note"].values == f"the table's kernel alone, without {left_out}"
    assert study.measures["kernel.relative_share"] is not None

    learns = study.claim("attention.learns_distance")
    assert (learns.verdict, learns.value) == ("not applicable", None)
    assert learns.note.startswith("speaks of all that attention does by position")
    assert learns.note.endswith(f"of the table alone, without {left_out}")
    order = study.claim("order.blind_without_position")
    assert order.value == kernels(tmp_path).order[1]
    assert order.note.endswith(f" with the table alone, without {left_out}")
    written = io.StringIO()
    print_claims(study, Console(file=written, width=500))
    for shown in (written.getvalue(), html.page(study)):
        assert " ".join(shown.split()).count(left_out) >= 2


@pytest.mark.parametrize("family", ["deberta", "deberta-v2"])
def test_without_such_terms_the_table_is_all(family: str, tmp_path: Path) -> None:
    model = build(family, BASIC, relative_attention=False, position_biased_input=True)
    study = studied(saved(model, tmp_path))
    assert "kernel.note" not in study.data
    assert study.claim("attention.learns_distance").value is not None
    assert study.claim("order.blind_without_position").note.endswith(" with them")


def test_a_table_alone_has_no_kernel() -> None:
    import poslens

    study = poslens.analyze(np.random.default_rng(0).normal(size=(31, 12)), nulls=0)
    for name in ("profile", "relative_share", "half_distance", "symmetry", "peak_offset"):
        assert study.measures[f"kernel.{name}"] is None
        assert "needs the model's attention" in study.undefined[f"kernel.{name}"]
    for claim in ("order.blind_without_position", "attention.learns_distance"):
        note = study.claim(claim).note
        assert note.count("needs the model's attention") == 1
        assert note.endswith("a position table alone does not decide it")
