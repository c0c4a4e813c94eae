"""Every entry of the table of blocks against queries, keys, values and output of the model itself.

Each model is tiny, with every weight drawn anew. Positions are all 0 in models that rotate, so that
nothing acts on queries and keys after their norms; `test_block_attention` has real positions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from block_cases_decoders import CASES as DECODERS
from block_cases_encoders import CASES as ENCODERS
from block_cases_llamas import CASES as LLAMAS
from block_cases_others import CASES as OTHERS
from block_files import block_of, saved
from block_models import EPSILONS, Case, Seen, build, close, observe
from block_numpy import gathered, vectors_of
from containers import config_of
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

from poslens.checkpoints.blocks import BLOCKS, AttentionBlock
from poslens.checkpoints.blocks.entry import BlockEntry
from poslens.checkpoints.blocks.steps import NormEntry
from poslens.checkpoints.config import Config

CASES = [*ENCODERS, *DECODERS, *LLAMAS, *OTHERS]


def biases_of(block: AttentionBlock, model: torch.nn.Module, tokens: int) -> np.ndarray | float:
    """What the model adds to its logits by position."""
    heads = block.queries.shape[0]
    if block.family == "bloom":
        mask = torch.ones(1, tokens)
        return build_alibi_tensor(mask, heads, torch.float32).double().numpy()
    if block.family == "mpt":
        return build_mpt_alibi_tensor(heads, tokens).double().numpy()
    return 0.0


def agrees(block: AttentionBlock, seen: Seen, case: Case, model: torch.nn.Module) -> None:
    queries, keys, values = vectors_of(block, seen.rows)
    scale = block.scale if case.watched is None else 1.0
    for got, want in ((queries * scale, seen.queries), (keys, seen.keys), (values, seen.values)):
        if want.shape[0] != got.shape[0]:  # already repeated for the heads that share them
            got = np.repeat(got, block.shared_by, axis=0)
        close(got, want)
    bias = biases_of(block, model, seen.rows.shape[0])
    close(gathered(block, queries, keys, values, bias), seen.output)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_bare_model_whose_config_says_no_default(case: Case, tmp_path: Path) -> None:
    model = build(case, head=False)
    block = block_of(saved(model, tmp_path, silent=True), case.part, case.layer)
    assert (block.family, block.part, block.layer) == (case.family, case.part, case.layer)
    agrees(block, observe(model, case), case, model)


@pytest.mark.parametrize("case", [case for case in CASES if case.head], ids=str)
def test_a_model_with_a_head_and_a_larger_epsilon(case: Case, tmp_path: Path) -> None:
    known = hf.AutoConfig.for_model(case.family).to_dict()
    changed = {key: 0.03 for key in EPSILONS if key in known}
    model = build(case, head=True, **changed)
    block = block_of(saved(model, tmp_path, silent=False), case.part, case.layer)
    agrees(block, observe(model, case), case, model)


def test_every_entry_is_tested() -> None:
    entries = {(family, entry.name) for family, known in BLOCKS.items() for entry in known}
    tested = {(case.family, case.part) for case in CASES}
    assert tested == entries


@pytest.mark.parametrize("family", BLOCKS)
def test_a_silent_config_means_what_transformers_fills_in(family: str) -> None:
    filled = hf.AutoConfig.for_model(family).to_dict()
    if filled.get("num_key_value_heads", 0) is None:
        # Nemotron's class leaves it unset, and cannot build a model from its own defaults.
        filled["num_key_value_heads"] = filled["num_attention_heads"]
    for entry in BLOCKS[family]:
        silent, full = (entry.section(config_of(values)) for values in ({}, filled))
        assert facts(entry, silent) == facts(entry, full)


def facts(entry: BlockEntry, config: Config) -> list[object]:
    """All that an entry says without reading a tensor."""
    heads, dim = entry.sizes.read(config), config.count(entry.sizes.width, *entry.sizes.width_keys)
    steps = (*entry.embedding(config, dim), *entry.before(config, 1))
    head_norms = entry.head_norms(config, 0)
    return [
        heads,
        dim,
        steps,
        [step.epsilon.read(config) for step in steps if isinstance(step, NormEntry)],
        [entry.biases(config, layer) for layer in (0, heads.layers - 1)],
        [entry.scale(config, heads.head_dim, layer) for layer in (0, 1)],
        [entry.place(config, layer) for layer in (0, 1)],
        entry.causal(config),
        entry.embedding_width(config, dim),
        entry.token_factor(config, dim),
        entry.token_projection(config, dim),
        head_norms,
        head_norms and head_norms.epsilon.read(config),
        entry.soft_cap(config),
        entry.clip(config),
        entry.refused(config),
    ]
