"""Tiny transformers models, and what their first attention block computes for a random input."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch
import transformers as hf

hf.utils.logging.disable_progress_bar()
hf.utils.logging.set_verbosity_error()

TOKENS = 7
EPSILONS = ("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps", "norm_eps", "norm_epsilon")

SPECIAL = {"bos_token_id": 3, "eos_token_id": 4, "pad_token_id": 0}
BASIC = SPECIAL | {
    "vocab_size": 37,
    "hidden_size": 42,
    "intermediate_size": 10,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": 71,
}
LLAMA = BASIC | {"hidden_size": 60, "num_key_value_heads": 3}
VISION = {
    "hidden_size": 42,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "intermediate_size": 10,
    "image_size": 9,
    "patch_size": 3,
}
LLAMA_LIKE = {
    "attention": "layers.{layer}.self_attn",
    "output": "layers.{layer}.self_attn.o_proj",
    "first": "layers.{layer}.input_layernorm",
    "unrotated": True,
}

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


def llama(family: str, head: str, values: dict[str, Any] = LLAMA, **more: Any) -> Case:
    return Case(family, values, head=head, **LLAMA_LIKE | more)


def unbiased(model: torch.nn.Module) -> None:
    for name, weight in model.named_parameters():
        if "relative_attention_bias" in name:
            torch.nn.init.zeros_(weight)


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


def build(
    case: Case, *, head: bool, implementation: str = "eager", **changed: Any
) -> hf.PreTrainedModel:
    """Build the model, every weight drawn anew so that no two norms or biases are alike."""
    torch.manual_seed(0)
    config = hf.AutoConfig.for_model(case.family, **_copied(case.values | case.more | changed))
    base = (
        getattr(hf, str(case.head))
        if head
        else getattr(hf, case.base or hf.MODEL_MAPPING[type(config)].__name__)
    )
    model = base._from_config(config, attn_implementation=implementation).eval()
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


def module(model: torch.nn.Module, name: str) -> torch.nn.Module:
    """The module of the base model, whatever stands before its name here."""
    (found,) = [
        one for path, one in model.named_modules() if path == name or path.endswith(f".{name}")
    ]
    return found


def close(got: np.ndarray, want: np.ndarray) -> None:
    """Require agreement up to what float32, in which the model computes, can give."""
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


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
