"""Tiny transformers models, and what their first attention block computes for a random input."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import transformers as hf

from poslens.checkpoints.blocks import AttentionBlock, read_block
from poslens.checkpoints.names import parse_source
from poslens.checkpoints.opening import open_located

hf.utils.logging.disable_progress_bar()
hf.utils.logging.set_verbosity_error()

TOKENS = 7
EPSILONS = ("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps", "norm_eps", "norm_epsilon")

Watch = Callable[..., AbstractContextManager[None]]


@dataclass(frozen=True)
class Case:
    """A family, and the modules of its model that show what its block computes.

    Module names are those within the base model, with ``{layer}`` for the layer's number.

    Attributes
    ----------
    attention
        The module whose queries, keys and values are watched.
    output
        The module whose output is the block's, before anything is added to it.
    first
        The module that is given the sum of embeddings, or the residual stream; None where that
        is the attention itself.
    watched
        How its queries, keys and values are seen, where not `at_the_interface`; they are then
        seen before they are scaled.
    tokens
        How many of them are real, where the model pads its input.
    """

    family: str
    values: dict[str, Any]
    attention: str
    output: str
    first: str | None = None
    watched: Watch | None = None
    base: str | None = None
    head: str | None = None
    inputs: str = "text"
    part: str | None = None
    layer: int = 0
    tokens: int | None = None
    unrotated: bool = False
    more: dict[str, Any] = field(default_factory=dict)
    prepared: Callable[[torch.nn.Module], None] = lambda _: None

    def named(self, name: str) -> str:
        return name.format(layer=self.layer)

    def __str__(self) -> str:
        extra = "-".join(str(value) for value in self.more.values())
        return "-".join(filter(None, (self.family, self.part, extra, str(self.layer or ""))))


@dataclass
class Seen:
    """What the model computed, of embeddings or the residual stream: shapes (token, dim) and
    (head, token, d_head).
    """

    rows: np.ndarray
    queries: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    output: np.ndarray


def build(case: Case, *, head: bool, **changed: Any) -> hf.PreTrainedModel:
    """Build the model, every weight drawn anew so that no two norms or biases are alike."""
    torch.manual_seed(0)
    config = hf.AutoConfig.for_model(case.family, **_copied(case.values | case.more | changed))
    base = (
        getattr(hf, str(case.head))
        if head
        else getattr(hf, case.base or hf.MODEL_MAPPING[type(config)].__name__)
    )
    model = base._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight += 0.3 * torch.randn_like(weight)
            elif weight.ndim == 2:
                weight.normal_(0, 0.3)
    case.prepared(model)
    return model


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(values))  # transformers writes into them


def saved(model: hf.PreTrainedModel, folder: Path, *, silent: bool) -> Path:
    """Save a model; where ``silent``, without any value of its config that is the default."""
    model.save_pretrained(folder)
    path = folder / "config.json"
    values = json.loads(path.read_text())
    for key, value in list(values.items()):
        if isinstance(value, dict) and value.get("model_type"):
            values[key] = _unusual(value)
    path.write_text(json.dumps(_unusual(values) if silent else values))
    return folder


def _unusual(values: dict[str, Any]) -> dict[str, Any]:
    # Some configs refuse to be built from nothing, or fill in other values from those given.
    defaults = hf.AutoConfig.for_model(values["model_type"]).to_dict()
    kept = {"model_type", "text_config", "vision_config", "num_key_value_heads"}
    return {k: v for k, v in values.items() if k in kept or v != defaults.get(k, object())}


def block_of(folder: Path, part: str | None = None, layer: int = 0) -> AttentionBlock:
    """The block that is read from a saved model."""
    return read_block(open_located(parse_source(str(folder)), str(folder)), part, layer)


def module(model: torch.nn.Module, name: str) -> torch.nn.Module:
    """The module of the base model, whatever stands before its name here."""
    (found,) = [
        one for path, one in model.named_modules() if path == name or path.endswith(f".{name}")
    ]
    return found


def given(case: Case) -> dict[str, torch.Tensor]:
    """A random input; token ids avoid the special ones."""
    generator = torch.Generator().manual_seed(1)
    ids = 5 + torch.randint(32, (1, TOKENS), generator=generator)
    pixels = torch.randn((1, 3, 9, 9), generator=generator)
    inputs = {
        "text": {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        "bare": {"input_ids": ids},
        "pixels": {"pixel_values": pixels},
        "both": {"input_ids": ids, "pixel_values": pixels},
        "pair": {"input_ids": ids, "decoder_input_ids": ids.flip(1)},
        "speech": {
            "input_features": torch.randn((1, 5, 2 * TOKENS), generator=generator),
            "decoder_input_ids": ids,
        },
        "sound": {"input_values": torch.randn((1, 40), generator=generator)},
    }[case.inputs]
    if case.unrotated:
        inputs |= {"position_ids": torch.zeros_like(ids)}
    return inputs


def observe(model: hf.PreTrainedModel, case: Case, **inputs: torch.Tensor) -> Seen:
    """Run the model on a random input and return what its attention block computed."""
    attention = module(model, case.named(case.attention))
    kept: dict[str, Any] = {}

    def keep_rows(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kept.setdefault("rows", args[0] if args else kwargs["hidden_states"])

    def keep_output(_: torch.nn.Module, __: object, out: torch.Tensor) -> None:
        kept.setdefault("output", out)

    first = attention if case.first is None else module(model, case.named(case.first))
    hooks = [
        first.register_forward_pre_hook(keep_rows, with_kwargs=True),
        module(model, case.named(case.output)).register_forward_hook(keep_output),
    ]

    def keep(*three: torch.Tensor) -> None:
        for name, one in zip("qkv", three, strict=True):
            kept.setdefault(name, one)

    with (case.watched or at_the_interface)(attention, keep), torch.no_grad():
        model(**(given(case) | inputs))
    for hook in hooks:
        hook.remove()
    queries, keys, values = (_by_head(kept[name], attention) for name in ("q", "k", "v"))
    rows, output = (kept[name].reshape(-1, kept[name].shape[-1]) for name in ("rows", "output"))
    tokens = slice(case.tokens)
    seen = (rows[tokens], *(one[:, tokens] for one in (queries, keys, values)), output[tokens])
    return Seen(*(one.detach().double().numpy() for one in seen))


def _by_head(vectors: torch.Tensor, attention: torch.nn.Module) -> torch.Tensor:
    """Shape (head, token, d_head), from that or from (token, head × d_head)."""
    if vectors.ndim == 4:
        return vectors[0]
    names = ("num_attention_heads", "num_heads", "n_heads", "n_head")
    heads = next(getattr(attention, name) for name in names if hasattr(attention, name))
    width = vectors.shape[-1]
    return vectors.reshape(-1, heads, width // heads).transpose(0, 1)


Three = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Keep = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None]


@contextmanager
def at_the_interface(attention: torch.nn.Module, keep: Keep) -> Iterator[None]:
    """Watch the function that most models hand queries, keys and values to."""
    source = sys.modules[type(attention).__module__]
    plain = source.eager_attention_forward

    def seen(self: torch.nn.Module, q: torch.Tensor, *rest: Any, **more: Any) -> Any:
        if self is attention:
            scaling = more.get("scaling")
            keep(q * (q.shape[-1] ** -0.5 if scaling is None else scaling), rest[0], rest[1])
        return plain(self, q, *rest, **more)

    with mock.patch.object(source, "eager_attention_forward", seen):
        yield


def by_projections(*names: str) -> Watch:
    """Watch three projections, or one that holds all queries, then all keys, then all values."""

    @contextmanager
    def watch(attention: torch.nn.Module, keep: Keep) -> Iterator[None]:
        outs: list[torch.Tensor] = []

        def add(_: torch.nn.Module, __: object, out: torch.Tensor) -> None:
            outs.append(out.clone())  # Longformer divides it where it stands

        hooks = [attention.get_submodule(name).register_forward_hook(add) for name in names]
        yield
        for hook in hooks:
            hook.remove()
        keep(*(outs[:3] if len(names) == 3 else outs[0].chunk(3, -1)))

    return watch


def by_method(name: str, three: Callable[[tuple[Any, ...], Any], Three]) -> Watch:
    """Watch a method; ``three`` finds queries, keys and values in its arguments and result."""

    @contextmanager
    def watch(attention: torch.nn.Module, keep: Keep) -> Iterator[None]:
        plain = getattr(attention, name)

        def called(*args: Any, **more: Any) -> Any:
            out = plain(*args, **more)
            keep(*three(args, out))
            return out

        with mock.patch.object(attention, name, called):
            yield

    return watch


ATTN = by_method("_attn", lambda args, _: args[:3])
RESHAPE = by_method("_reshape", lambda _, out: out)
SPLIT_HEADS = by_method("_split_heads", lambda _, out: tuple(one.transpose(1, 2) for one in out))


@contextmanager
def in_deberta(attention: torch.nn.Module, keep: Keep) -> Iterator[None]:
    """Watch the first version of DeBERTa, which adds its biases after parting the heads."""
    plain, outs = attention.transpose_for_scores, []

    def called(x: torch.Tensor) -> torch.Tensor:
        outs.append(plain(x))
        return outs[-1]

    with mock.patch.object(attention, "transpose_for_scores", called):
        yield
    q, k, v = outs[0].chunk(3, -1)
    keep(q + outs[1], k, v + outs[2])


def softmax_of(block: AttentionBlock, logits: np.ndarray) -> np.ndarray:
    """Attention from scaled logits, shape (head, query, key)."""
    if block.soft_cap is not None:
        logits = block.soft_cap * np.tanh(logits / block.soft_cap)
    if block.causal:
        logits = np.where(np.tri(logits.shape[-1], dtype=bool), logits, -np.inf)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def vectors_of(block: AttentionBlock, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Queries, keys and values before any rotation, shape (head, token, d_head)."""
    x = block.block_input(rows)
    vectors = [
        np.einsum("td,hde->hte", x, weight) + bias[:, None]
        for weight, bias in (
            (block.queries, block.query_bias),
            (block.keys, block.key_bias),
            (block.values, block.value_bias),
        )
    ]
    if block.clip is not None:
        vectors = [np.clip(one, -block.clip, block.clip) for one in vectors]
    queries, keys, values = vectors
    if block.query_norm is not None and block.key_norm is not None:
        queries, keys = block.query_norm(queries), block.key_norm(keys)
    return queries, keys, values


def gathered(
    block: AttentionBlock,
    queries: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    bias: np.ndarray | float = 0.0,
) -> np.ndarray:
    """What the block adds to the stream, shape (token, dim)."""
    keys, values = (np.repeat(one, block.shared_by, axis=0) for one in (keys, values))
    attention = softmax_of(block, block.scale * queries @ keys.transpose(0, 2, 1) + bias)
    return np.einsum("hte,hed->td", attention @ values, block.output) + block.output_bias
