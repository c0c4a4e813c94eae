"""Windows of attention: which keys the models themselves hide from which queries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from block_files import BASIC, GROUPED, block_of, configure, saved
from block_models import Case, build

from poslens.errors import SourceError

LENGTH = 23
FULL, SLIDES = "full_attention", "sliding_attention"
EXPERTS = {
    "num_experts": 2,
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
    "intermediate_size": 12,
}
WINDOW = {"sliding_window": 5}
ON = WINDOW | {"use_sliding_window": True}
NEO = {
    "vocab_size": 37,
    "hidden_size": 60,
    "num_layers": 3,
    "num_heads": 6,
    "max_position_embeddings": 71,
    "window_size": 7,
}
ENDS = {"cls_token_id": 1, "sep_token_id": 2}


def causal(family: str, values: dict[str, Any] = GROUPED, **more: Any) -> Case:
    return Case(family, values | {"num_hidden_layers": 3}, "", "", more=more)


CASES = [
    causal("llama"),
    causal("mistral", **WINDOW),
    causal("mistral", sliding_window=None),
    causal("mixtral", **WINDOW | EXPERTS),
    causal("mixtral", **EXPERTS),
    causal("starcoder2", **WINDOW),
    causal("phi3", **WINDOW),
    causal("phi3"),
    causal("qwen2", **WINDOW),
    causal("qwen2", **ON),
    causal("qwen2", **ON, max_window_layers=1),
    causal("qwen2", **ON, layer_types=[SLIDES, FULL, SLIDES]),
    causal("qwen2_moe", **ON | EXPERTS, max_window_layers=2),
    causal("qwen3", **ON, max_window_layers=2),
    causal("qwen3_moe", **ON | EXPERTS),
    causal("gemma2", **WINDOW),
    causal("gemma2", **WINDOW, layer_types=[FULL, SLIDES, FULL]),
    causal("gemma3_text", GROUPED | {"head_dim": 10}, **WINDOW, num_hidden_layers=7),
    causal("gemma3_text", **WINDOW, layer_types=[SLIDES, FULL, FULL]),
    causal("gpt_oss", **WINDOW | EXPERTS),
    causal("cohere"),
    causal("cohere2", **WINDOW, num_hidden_layers=5),
    causal("smollm3", **ON, no_rope_layers=[0, 1, 0]),
    causal("smollm3", **WINDOW, no_rope_layers=[0, 1, 0]),
    causal(
        "llama4_text",
        **EXPERTS | {"intermediate_size_mlp": 10},
        attention_chunk_size=6,
        no_rope_layers=[1, 0, 1],
    ),
    Case("gpt_neo", NEO | {"attention_types": [[["global", "local"], 1], [["local"], 1]]}, "", ""),
    Case("modernbert", BASIC | {"hidden_size": 72} | ENDS, "", "", more={"local_attention": 8}),
    Case(
        "modernbert",
        BASIC | {"hidden_size": 72} | ENDS,
        "",
        "",
        more={"local_attention": 8, "layer_types": [SLIDES, FULL, SLIDES]},
    ),
]


def seen_by_layer(model: torch.nn.Module) -> list[np.ndarray]:
    """Which key each query may attend to in each layer, shape (query, key)."""
    given: list[torch.Tensor] = []
    plain = torch.nn.functional.softmax

    def keep(x: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        given.append(x)
        return plain(x, *rest, **more)

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(torch.nn.functional, "softmax", keep)
        model(input_ids=5 + torch.arange(LENGTH)[None] % 32)
    # gpt_oss has a column for its sink.
    matrices = [x[0, 0, :, :LENGTH] for x in given if x.ndim == 4 and x.shape[2] == LENGTH]
    return [(one > -1e30).numpy() for one in matrices]


def longest_whole(seen: np.ndarray, *, causal: bool) -> int | None:
    """Up to how many positions no key is hidden; None if it is so for all."""
    wanted = np.tri(LENGTH, dtype=bool) if causal else np.ones_like(seen)
    whole = [n for n in range(1, LENGTH + 1) if seen[:n, :n][wanted[:n, :n]].all()]
    return None if len(whole) == LENGTH else len(whole)


@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_of_every_layer(case: Case, silent: bool, tmp_path: Path) -> None:
    model = build(case, head=False)
    layers = seen_by_layer(model)
    folder = saved(model, tmp_path, silent=silent)
    assert len(layers) == model.config.num_hidden_layers
    for layer, seen in enumerate(layers):
        block = block_of(folder, layer=layer)
        want = longest_whole(seen, causal=block.causal)
        assert want == (None if block.window is None or block.window >= LENGTH else block.window)


def reaches(model: torch.nn.Module, length: int, part: str | None = None) -> bool:
    """Whether the last token of a text is told of its first one."""
    stack = model if part is None else model.get_submodule(part)
    ids = 5 + torch.arange(length)[None] * 7 % 30
    other = ids.clone()
    other[0, 0] = 36
    with torch.no_grad():
        first, second = (stack(input_ids=one).last_hidden_state[0, -1] for one in (ids, other))
    return not torch.equal(first, second)


LONGT5 = {
    "vocab_size": 37,
    "d_model": 18,
    "d_kv": 5,
    "d_ff": 10,
    "num_heads": 6,
    "num_layers": 1,
    "decoder_start_token_id": 0,
    "local_radius": 9,
}


@pytest.mark.parametrize(
    ("family", "values", "part", "longest"),
    [
        ("longformer", BASIC | {"num_hidden_layers": 1, "attention_window": 8}, None, 5),
        ("longformer", BASIC | {"num_hidden_layers": 1, "attention_window": [12]}, None, 7),
        ("longt5", LONGT5, "encoder", 10),
    ],
)
def test_of_models_that_make_no_square_matrix(
    family: str, values: dict[str, Any], part: str | None, longest: int, tmp_path: Path
) -> None:
    model = build(Case(family, values, "", ""), head=False)
    assert block_of(saved(model, tmp_path, silent=True), part).window == longest
    assert [reaches(model, length, part) for length in (longest, longest + 1)] == [True, False]


def test_big_bird_is_sparse_beyond_a_length(tmp_path: Path) -> None:
    sizes = {"block_size": 2, "num_random_blocks": 1, "num_hidden_layers": 1}
    case = Case("big_bird", BASIC | sizes, "", "", more={"attention_type": "block_sparse"})
    model = build(case, head=False)
    folder = saved(model, tmp_path, silent=False)
    assert block_of(folder).window == 14
    full = build(Case("big_bird", BASIC | sizes, "", "", more={"attention_type": "original_full"}),
                 head=False)  # fmt: skip
    full.load_state_dict(model.state_dict())
    assert block_of(saved(full, tmp_path / "full", silent=False)).window is None
    for length, alike in ((14, True), (16, False)):
        model.set_attention_type("block_sparse")  # a short text makes it full for good
        ids = 5 + torch.arange(length)[None]
        with torch.no_grad():
            one, other = (each(input_ids=ids).last_hidden_state for each in (model, full))
        assert torch.allclose(one, other, atol=1e-5) is alike


def test_the_window_of_gemma_3_that_sees_both_sides(tmp_path: Path) -> None:
    values = GROUPED | WINDOW | {"num_hidden_layers": 1, "use_bidirectional_attention": True}
    model = build(Case("gemma3_text", values, "", ""), head=False)
    folder = saved(model, tmp_path, silent=False)
    written = 5 // 2 + 1
    assert block_of(folder).window == written
    assert longest_whole(seen_by_layer(model)[0], causal=False) == written


def test_values_that_cannot_be_used(tmp_path: Path) -> None:
    case = Case("gpt_neo", NEO | {"attention_types": [[["global", "local", "local"], 1]]}, "", "")
    folder = saved(build(case, head=False), tmp_path, silent=False)
    configure(folder, attention_layers=None, attention_types=[["global", 3]])
    with pytest.raises(SourceError, match="cannot use attention_types"):
        block_of(folder)
    configure(folder, attention_types=[[["global"], "many"]])
    with pytest.raises(SourceError, match="cannot use attention_types"):
        block_of(folder)
