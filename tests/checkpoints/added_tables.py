"""What a transformers model itself adds for each position, and how a table is compared with it.

Each model is tiny and freshly initialised, with odd sizes and decoy values in its config; the
LayerNorm weights are made distinguishable before it is saved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from transformers.models.deberta.modeling_deberta import DebertaLayerNorm

from poslens.checkpoints import load_table
from poslens.checkpoints.table import PositionTable

hf.utils.logging.disable_progress_bar()
hf.utils.logging.set_verbosity_error()

LAYER_NORMS = (torch.nn.LayerNorm, DebertaLayerNorm)
VOCAB, WIDTH, LENGTH, SIGMA = 37, 42, 103, 0.057
SPECIAL = {"bos_token_id": 3, "eos_token_id": 4}
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
PATCHES = 81
OF_PATCHES = ("pixels", "captioned", "spectrogram")  # inputs whose patches the adder adds to

# Rounding in float32: of sums, of values of at most 1, and of angles of at most LENGTH.
SUMS, STORED, ANGLES = 2e-6, 6e-8, 1e-5


@dataclass(frozen=True)
class Case:
    """A model, and what is to be found in it.

    ``adder`` is the module whose output is added for each position; ``trunk`` the module within
    which the normalisations before the first attention are counted; ``silenced`` are modules whose
    weights are zero while the model is observed, so that nothing but positions leaves the adder;
    ``summed`` says that the model adds the table to token vectors themselves; ``atol`` is for
    tables that the model computes in float32, and ours in float64.
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
    tokens: bool = True
    stored: bool = True
    atol: float = 0
    silenced: tuple[str, ...] = ()
    summed: bool = True
    missing: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join(filter(None, (self.family, self.part, self.adder)))


@dataclass
class Observed:
    """What happened in one forward pass.

    ``added`` are the vectors of the positions, shape (position, dim); ``entering`` what the first
    normalisation or attention after them receives; ``norms`` the γ that act before attention.
    """

    added: np.ndarray
    entering: np.ndarray
    norms: list[np.ndarray]


def forward_inputs(case: Case) -> dict[str, torch.Tensor]:
    """Real inputs as long as the model takes; token ids avoid the special ones."""
    ids = token_ids(case)[None]
    pixels = torch.linspace(-1, 1, 3 * 27 * 27).reshape(1, 3, 27, 27)
    sound = torch.linspace(-1, 1, 5 * 4 * LENGTH).reshape(1, 5, 4 * LENGTH)
    mel = sound[:, :, : 2 * LENGTH]
    two_towers = case.family in ("clip", "siglip")
    if two_towers and case.tokens:
        return {"input_ids": ids, "pixel_values": pixels}
    return {
        "text": {"input_ids": ids},
        "pixels": {"pixel_values": pixels}
        | ({"input_ids": ids[:, :5]} if two_towers and case.part else {}),
        "captioned": {"pixel_values": pixels, "decoder_input_ids": ids[:, :5]},
        "captions": {"pixel_values": pixels, "decoder_input_ids": ids},
        "spectrogram": {"input_values": mel.transpose(1, 2)},
        "sound": {"input_features": mel},
        "speech": {"input_features": mel, "decoder_input_ids": ids[:, :71]},
        "frames": {"input_features": sound.transpose(1, 2), "decoder_input_ids": ids[:, :71]},
        "pairs": {"input_ids": ids, "decoder_input_ids": ids},
    }[case.inputs]


def token_ids(case: Case) -> torch.Tensor:
    return 5 + torch.arange(case.positions) % (VOCAB - 5)


def patches_of(module: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The vectors to which a vision model adds its table."""
    if hasattr(module, "patch_embedding"):
        patch = module.patch_embedding
    else:
        patch = module.patch_embeddings.projection
    if pixels.dim() == 3:  # a spectrogram: frames × bins
        pixels = pixels.unsqueeze(1).transpose(2, 3)
    vectors = patch(pixels).flatten(2).transpose(1, 2)
    return module.norm(vectors) if hasattr(module, "norm") else vectors


def is_attention(module: torch.nn.Module) -> bool:
    """Whether this is the innermost of modules called attention, which may wrap a LayerNorm."""
    called = [type(one).__name__.endswith("Attention") for one in module.modules()]
    return called[0] and sum(called) == 1


def observe(model: torch.nn.Module, case: Case) -> Observed:
    """Run the model; follow what it adds at each position until the first attention."""
    added: list[torch.Tensor] = []
    entering: list[torch.Tensor] = []
    norms: list[np.ndarray] = []
    attended: list[bool] = []
    inputs = forward_inputs(case)

    def take_added(module: torch.nn.Module, _: object, out: Any) -> Any:
        vectors, *rest = out if isinstance(out, tuple) else (out,)
        # Nothing else has a gradient, so that whatever has one depends on the positions.
        marked = vectors.detach().requires_grad_()
        if case.inputs in OF_PATCHES:
            pixels = next(iter(inputs.values()))
            vectors = vectors[:, -case.positions :] - patches_of(module, pixels)
        added.append(vectors.reshape(-1, vectors.shape[-1])[: case.positions])
        return (marked, *rest) if isinstance(out, tuple) else marked

    def follow(values: tuple[Any, ...], named: dict[str, Any]) -> bool:
        given = [one for one in (*values, *named.values()) if isinstance(one, torch.Tensor)]
        follows = bool(given) and given[0].requires_grad
        if follows:
            entering.append(given[0].reshape(-1, given[0].shape[-1]))
        return follows

    def take_norm(module: torch.nn.LayerNorm, values: Any, named: Any) -> None:
        if not attended and follow(values, named):
            γ = torch.ones(module.normalized_shape) if module.weight is None else module.weight
            norms.append(γ.numpy().copy())

    def stop(_: object, values: Any, named: Any) -> None:
        if not attended and follow(values, named):
            attended.append(True)

    model.requires_grad_(False)
    model.get_submodule(case.adder).register_forward_hook(take_added)
    for module in model.get_submodule(case.trunk).modules():
        if isinstance(module, LAYER_NORMS):
            module.register_forward_pre_hook(take_norm, with_kwargs=True)
        elif is_attention(module):
            module.register_forward_pre_hook(stop, with_kwargs=True)
    for name in case.silenced:
        model.get_submodule(name).weight.zero_()
    model.eval()(**inputs)
    assert attended
    return Observed(
        added[0].detach().numpy(), entering[0][: case.positions].detach().numpy(), norms
    )


def saved(model: hf.PreTrainedModel, folder: Path) -> str:
    """Save a model whose LayerNorms differ, and none of whose tables is zero."""
    for index, module in enumerate(model.modules()):
        if isinstance(module, LAYER_NORMS) and module.weight is not None:
            torch.nn.init.normal_(module.weight, 1 + index / 100, 0.1)
    for name, parameter in model.named_parameters():
        if name.endswith("position_embeddings") and not parameter.any():
            torch.nn.init.normal_(parameter, std=SIGMA)
    model.save_pretrained(folder)
    return str(folder)


def types_of(model: torch.nn.Module) -> np.ndarray | float:
    """The vector that a model of two segments adds to every token of the first."""
    found = [
        module.weight[0].detach().numpy()
        for name, module in model.named_modules()
        if name.endswith("token_type_embeddings")
    ]
    return found[0] if found else 0.0


def check(case: Case, folder: Path) -> None:
    """Require that the table, and what stands beside it, is what the model itself uses."""
    torch.manual_seed(0)
    model = case.build()
    source = saved(model, folder)
    table = load_table(source, part=case.part)
    types = types_of(model.get_submodule(case.trunk))
    seen = observe(model, case)

    assert table.rows.shape == (case.positions, WIDTH)
    pixels = case.inputs in OF_PATCHES
    # Patches are added and subtracted again in float32.
    np.testing.assert_allclose(table.rows, seen.added, rtol=0, atol=SUMS if pixels else case.atol)
    assert len(seen.norms) == case.norms
    assert len(table.norm_scales) == case.norms
    for γ, acting in zip(table.norm_scales, seen.norms, strict=True):
        np.testing.assert_array_equal(γ, acting)
    assert table.norms_centre
    assert (table.source.family, table.source.scheme) == (case.family, case.scheme)
    assert table.source.row_offset == case.offset
    assert table.source.dtype == ("float32" if case.stored else "float64")
    assert (table.source.tensor is not None) is case.stored
    check_tokens(case, table, seen, types)
    check_initial_sigma(case, table)
    for key, reason in case.missing.items():
        assert reason in table.missing[key]


def check_tokens(
    case: Case, table: PositionTable, seen: Observed, types: np.ndarray | float
) -> None:
    """Require that token and position vectors make up what enters the first norm or attention."""
    if not case.tokens:
        assert table.tokens is None
        assert case.missing.get("tokens", "reads no tokens") in table.missing["tokens"]
        return
    assert table.tokens is not None
    assert table.tokens.dtype == np.float32
    assert table.tokens.shape == (VOCAB, WIDTH)
    if case.summed and not case.silenced:
        together = table.tokens[token_ids(case)] + table.rows + types
        np.testing.assert_allclose(together, seen.entering, rtol=0, atol=SUMS + case.atol)


def check_initial_sigma(case: Case, table: PositionTable) -> None:
    if case.std:
        assert table.init_std == pytest.approx(case.std)
        # Fresh from transformers: about 3,000 draws give σ within 1.3 %, so 6 % is safe.
        assert table.rows.std() == pytest.approx(case.std, rel=0.06)
    else:
        assert table.init_std is None
        assert ("formula" if case.std is None else "zeros") in table.missing["init_std"]
