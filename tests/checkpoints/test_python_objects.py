"""Models, state dicts and tensors from Python give what their files give."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from torch import nn

import poslens
from poslens.checkpoints import PositionTable, load_table
from poslens.checkpoints.description import describe_model
from poslens.checkpoints.python_objects import open_object
from poslens.errors import SourceError, TableError

W = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
SIZES = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}


def same(got: PositionTable, expected: PositionTable) -> None:
    """All but the source's name, and how the dtype of a file's other tensors was stored."""
    np.testing.assert_array_equal(got.rows, expected.rows)
    assert (got.tokens is None) == (expected.tokens is None)
    if got.tokens is not None:
        np.testing.assert_array_equal(got.tokens, expected.tokens)
    np.testing.assert_array_equal(got.norm_scales, expected.norm_scales)
    assert (got.init_std, got.missing) == (expected.init_std, expected.missing)
    for key in ("family", "scheme", "row_offset", "dtype", "sha256", "bytes_read"):
        assert getattr(got.source, key) == getattr(expected.source, key), key


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "made",
    [
        lambda w: w,
        lambda w: w.clone().requires_grad_(),
        lambda w: nn.Parameter(w),
        lambda w: w.T.contiguous().T,
        lambda w: torch.stack([w, w], dim=2)[..., 0],
        lambda w: w[None],
        lambda w: w[:, :1].expand(9, 6),
    ],
)
def test_a_tensor(made: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype) -> None:
    tensor = made(W.to(dtype))
    table = load_table(tensor)
    values = tensor.detach().reshape(9, 6)
    np.testing.assert_array_equal(table.rows, values.double().numpy())
    stored = values.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    assert table.source.sha256 == hashlib.sha256(stored).hexdigest()
    assert (table.source.uri, table.source.dtype) == ("tensor", str(dtype).removeprefix("torch."))
    assert (table.source.scheme, table.source.bytes_read) == ("unknown", len(stored))


def test_a_tensor_gives_what_its_array_gives() -> None:
    assert load_table(W).source.sha256 == load_table(W.numpy()).source.sha256
    by_tensor, by_array = (poslens.analyze(source, nulls=0) for source in (W, W.numpy()))
    assert by_tensor.measures == by_array.measures


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.arange(12).reshape(4, 3), r"got dtype 'int64'"),
        (torch.eye(4).to_sparse(), r"got dtype 'sparse_coo float32'"),
        (torch.empty(4, 3, device="meta"), r"got dtype 'meta float32'"),
        (torch.ones(4, 3, dtype=torch.complex64).conj(), r"got dtype 'complex64'"),
        (torch.ones(4, 3).to(torch.float8_e5m2), r"got dtype 'float8_e5m2'"),
        (torch.ones(4), r"is not a position table: .* got shape \(4,\)"),
        (torch.tensor(1.0), r"got shape \(\)"),
        (torch.full((4, 3), math.nan), r"tensor 'tensor' of the tensor holds NaN"),
        (torch._neg_view(torch.ones(4, 3)), r"whose values torch can give to NumPy, got .*negativ"),
    ],
)
def test_tensors_that_are_no_tables(tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(TableError, match=message):
        load_table(tensor)


def test_a_state_dict() -> None:
    state = {"wte": W[:5], "wpe": W, "step": torch.tensor(3), "note": "text", 3: W}
    table = load_table(state)
    np.testing.assert_array_equal(table.rows, W.double())
    assert (table.source.uri, table.source.tensor) == ("state dict", "wpe")
    arrays = {"wpe": W.numpy(), "wte": W.numpy()[:5]}
    assert load_table(arrays).source.sha256 == table.source.sha256


def test_a_checkpoint_that_torch_loaded() -> None:
    """As nanoGPT saves it, with the prefix of torch.compile."""
    state = {f"_orig_mod.transformer.{name}.weight": W for name in ("wpe", "wte")}
    arguments = {"n_layer": 1, "n_head": 2, "n_embd": 6, "block_size": 9, "vocab_size": 9}
    checkpoint = {"model": state, "model_args": arguments, "best_val_loss": torch.tensor(1.0)}
    table = load_table(checkpoint)
    assert (table.source.family, table.source.tensor) == ("gpt2", "transformer.wpe.weight")
    assert table.tokens is not None
    assert table.missing == {"norm_scales": "no tensor 'transformer.h.0.ln_1.weight'"}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, r"no state dict in the state dict: .* got a mapping of nothing"),
        ({"a": 1, "b": [W]}, r"got a mapping of 'a', 'b'"),
        ({"m0": W, "m1": W}, r"no tensor in the state dict looks .* 'm1' .*; pass one of its tens"),
        (
            {"a.wpe": W, "b.wpe": W},
            r"several tensors in the state dict .*; pass one of its",
        ),
    ],
)
def test_mappings_without_one_table(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        load_table(mapping)


class Model(nn.Module):
    """A model of one's own, whose table is found by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.wpe = nn.Embedding(9, 6)
        self.mlp = nn.Linear(6, 6)
        self.register_buffer("mask", torch.ones(9, 9).tril())


def test_a_module() -> None:
    model = Model()
    table = load_table(model)
    np.testing.assert_array_equal(table.rows, model.wpe.weight.detach().double())
    assert (table.source.uri, table.source.tensor) == ("Model", "wpe.weight")
    assert table.source.family is None
    for wrapped in (torch.compile(model, backend="eager"), nn.DataParallel(model)):
        assert load_table(wrapped).source.sha256 == table.source.sha256
    with pytest.raises(SourceError, match=r"no part 'text' in 'Model'"):
        load_table(model, part="text")
    with pytest.raises(SourceError, match=r"no state dict in the 'ReLU'"):
        load_table(nn.ReLU())


def test_tensors_are_read_when_asked_for_and_not_before() -> None:
    """The other tensors have no values at all, and could not be copied."""
    model = Model()
    with torch.device("meta"):
        model.mlp = nn.Linear(2**20, 2**20)
    opened = open_object(model)
    assert opened is not None
    assert opened.tensors.entry("mlp.weight").shape == (2**20, 2**20)
    with torch.no_grad():
        model.wpe.weight.fill_(2.0)
    assert set(opened.tensors.read("wpe.weight").values().ravel()) == {2.0}
    assert load_table(model).rows[0, 0] == 2.0


def test_what_is_no_model() -> None:
    for other in (None, 3, "x", Path("x"), np.eye(3), [W], nn.Linear, object()):
        assert open_object(other) is None


BERT = {"hidden_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2}
BERT |= {"intermediate_size": 7, "vocab_size": 13, "max_position_embeddings": 11}
MODELS: dict[str, Callable[[], tuple[hf.PreTrainedModel, str | None]]] = {
    "gpt2": lambda: (
        hf.GPT2LMHeadModel(
            hf.GPT2Config(n_layer=1, n_head=2, n_embd=6, n_positions=11, vocab_size=13, **SIZES)
        ),
        None,
    ),
    "bare gpt2": lambda: (
        hf.GPT2Model(
            hf.GPT2Config(n_layer=1, n_head=2, n_embd=6, n_positions=11, vocab_size=13, **SIZES)
        ),
        None,
    ),
    "bert": lambda: (hf.BertForMaskedLM(hf.BertConfig(**BERT)), None),
    "roberta": lambda: (hf.RobertaModel(hf.RobertaConfig(**BERT)), None),
    "opt": lambda: (
        hf.OPTForCausalLM(
            hf.OPTConfig(
                **{"hidden_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2},
                **{"ffn_dim": 7, "vocab_size": 13, "word_embed_proj_dim": 6},
                **{"max_position_embeddings": 11, "init_std": 0.5},
            )
        ),
        None,
    ),
    "clip": lambda: (
        hf.CLIPModel(
            hf.CLIPConfig(
                text_config={**BERT, "projection_dim": 4, **SIZES},
                vision_config={**BERT, "image_size": 6, "patch_size": 2, "projection_dim": 4},
            )
        ),
        "vision",
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_of_transformers_is_as_its_folder(
    tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    model, part = MODELS[name]()
    model = model.to(dtype)
    model.save_pretrained(tmp_path)
    expected = load_table(tmp_path, part=part)
    assert expected.source.family is not None
    for given in (model, nn.DataParallel(model)):
        got = load_table(given, part=part)
        same(got, expected)
    assert load_table(model, part=part).source.uri == type(model).__name__
    assert load_table(model, part=part, tokens=False).tokens is None


def test_a_model_is_described_as_its_folder() -> None:
    model, _ = MODELS["gpt2"]()
    opened = open_object(model)
    assert opened is not None
    assert opened.config is not None
    described = describe_model(opened.tensors, opened.config)
    assert described is not None
    assert (described.family, described.context, described.opening_bytes) == ("gpt2", 11, 0)


def test_a_model_of_several_tables() -> None:
    model, _ = MODELS["clip"]()
    with pytest.raises(SourceError, match=r"'CLIPModel' holds 2 position tables: .* --part text"):
        load_table(model)


def test_a_model_without_a_table() -> None:
    config = hf.LlamaConfig(
        **{"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
        **{"intermediate_size": 7, "vocab_size": 13, **SIZES},
    )
    with pytest.raises(
        SourceError, match=r"in the 'LlamaModel'.* got 'llama': RoPE.*, pass one of"
    ):
        load_table(hf.LlamaModel(config))


@dataclass
class Cfg:
    """What bears on positions in TransformerLens' config."""

    n_ctx: int = 9
    positional_embedding_type: str = "standard"
    normalization_type: str | None = "LN"
    init_weights: bool = True
    init_mode: str = "gpt2"
    initializer_range: float = 0.3


class Named(nn.Module):
    """A component with its parameters."""

    def __init__(self, **parameters: torch.Tensor) -> None:
        super().__init__()
        for name, value in parameters.items():
            setattr(self, name, nn.Parameter(value))


class HookedTransformer(nn.Module):
    """The parameters and ``cfg`` of TransformerLens 2.18, by their names there.

    A stand-in, because the package is not installed with the tests: it asks for a dozen others.
    """

    def __init__(self, cfg: Cfg) -> None:
        super().__init__()
        self.cfg = cfg
        self.embed, self.pos_embed = Named(W_E=W[:5] + 1), Named(W_pos=W)
        block = nn.Module()
        with_weights = cfg.normalization_type in ("LN", "RMS")
        block.ln1 = Named(w=W[0], b=W[1]) if with_weights else nn.Identity()
        self.blocks = nn.ModuleList([block])


@pytest.mark.parametrize(
    ("normalization", "scales", "centre"),
    [
        ("LN", [W[0].double().numpy()], True),
        ("LNPre", [np.ones(6)], True),
        ("RMS", [W[0].double().numpy()], False),
        ("RMSPre", [np.ones(6)], False),
        (None, [], True),
    ],
)
def test_a_hooked_transformer(
    normalization: str | None, scales: list[np.ndarray], centre: bool
) -> None:
    table = load_table(HookedTransformer(Cfg(normalization_type=normalization)))
    np.testing.assert_array_equal(table.rows, W.double())
    np.testing.assert_array_equal(table.tokens, W[:5] + 1)
    np.testing.assert_array_equal(table.norm_scales, scales)
    assert (table.norms_centre, table.init_std) == (centre, 0.3)
    assert (table.source.uri, table.source.tensor) == ("HookedTransformer", "pos_embed.W_pos")
    assert (table.source.family, table.source.scheme) == ("transformer_lens", "learned")


def test_a_hooked_transformer_that_was_loaded_has_no_known_sigma() -> None:
    """Its loader leaves ``initializer_range`` at a default that drew nothing."""
    for cfg in (Cfg(init_weights=False), Cfg(init_mode="xavier_uniform")):
        assert load_table(HookedTransformer(cfg)).init_std is None


def test_other_positions_of_transformer_lens_are_not_described() -> None:
    opened = open_object(HookedTransformer(Cfg(positional_embedding_type="shortformer")))
    assert opened is not None
    assert opened.config is None


class TransformerBridge(nn.Module):
    """The names and ``cfg`` of TransformerLens 4.3, which wraps a model of transformers."""

    def __init__(self, cfg: Cfg) -> None:
        super().__init__()
        self.cfg, self.config = cfg, hf.OPTConfig()
        self.embed, self.pos_embed = Named(weight=W[:5]), Named(weight=W)


@pytest.mark.parametrize(("n_ctx", "reserved"), [(9, 0), (7, 2)])
def test_a_transformer_bridge(n_ctx: int, reserved: int) -> None:
    """Like its own ``W_pos``: without the two rows that OPT stores before position 0."""
    table = load_table(TransformerBridge(Cfg(n_ctx=n_ctx)))
    np.testing.assert_array_equal(table.rows, W[reserved:].double())
    np.testing.assert_array_equal(table.tokens, W[:5])
    assert table.source.row_offset == reserved
    assert table.missing["norm_scales"] == "no tensor 'blocks.0.ln1.w'"


def test_an_analysis_of_a_model_is_that_of_its_folder(tmp_path: Path) -> None:
    model, _ = MODELS["gpt2"]()
    model.save_pretrained(tmp_path)
    given, loaded = (poslens.analyze(s, nulls=0, view="effective") for s in (model, tmp_path))
    assert given.measures == loaded.measures
    assert given.source.uri == "GPT2LMHeadModel"
