"""`TextModel`: a model of transformers that reads token ids, and shows its hidden states."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from poslens.axes import Tokens
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.python_objects import open_object
from poslens.errors import PosLensError, SourceError, quoted
from poslens.hidden.frameworks import require_frameworks
from poslens.hidden.loading import loaded
from poslens.logits.embedded import check_tokens

if TYPE_CHECKING:
    import torch

    from poslens.hidden.softmax import See

Ids = Int[np.ndarray, "position"]
States = Float[np.ndarray, "position dim"]


class TextModel:
    """One stack of layers of a model, ready to read: made by `text_model`.

    Attributes
    ----------
    part
        ``"encoder"`` or ``"decoder"`` of a model that has both, ``"text"`` of one that sees images
        too; None for a model of one stack.
    checkpoint
        The model's tensors and config.
    """

    def __init__(self, model: Any, part: str | None) -> None:
        opened = open_object(model)
        if opened is None:
            raise not_a_model(model)
        self.checkpoint: Checkpoint = opened
        base = model.base_model
        self.part, self._stack, self._encoder = chosen_stack(base, part)
        self._accepts = frozenset(inspect.signature(self._stack.forward).parameters)
        self._first_position = first_position(self._stack)
        self._vocabulary = vocabulary_of(self._stack, opened.uri)
        self._implementation = self._stack.config._attn_implementation  # of its modules for good

    def check(self, tokens: Tokens) -> None:
        """Require contexts from which the model's hidden states can be split.

        Raises
        ------
        SettingError
            If there are fewer than two, they are shorter than three tokens, or an id is outside
            the vocabulary.
        """
        check_tokens(tokens, self._vocabulary, None)

    def states(self, ids: Ids) -> list[States]:
        """Return what enters each layer, and last what leaves the model.

        These are the ``hidden_states`` of transformers: most models normalise the last.

        Raises
        ------
        SourceError
            If the model cannot read the tokens, or shows no hidden states.
        """
        found = getattr(self._run(self._stack, self._inputs(ids)), "hidden_states", None)
        if not found or any(one.shape[:2] != (1, ids.size) for one in found):
            raise SourceError(
                f"no hidden states come from the {quoted(self.checkpoint.uri)}",
                expected="one row per token from every layer, with output_hidden_states=True",
                got="shapes " + ", ".join(str(tuple(one.shape)) for one in found[:2])
                if found
                else "none",
                remedy="give a text model whose layers all see all tokens",
            )
        return [_array(one[0]) for one in found]

    def logits(self, ids: Ids, layers: int, see: See) -> None:
        """Run the model on one context and hand on each layer's own attention logits.

        Parameters
        ----------
        ids
            Of one context.
        layers
            How many layers there are.
        see
            Called with the layer and what it hands to softmax, shape (head, query_pos, key_pos),
            NaN where a mask is.

        Raises
        ------
        SourceError
            If the model cannot read the tokens, or its layers do not each hand one such array to
            softmax.
        """
        from poslens.hidden.softmax import AttentionLogits

        every = 1 if self._encoder is None else 2  # a decoder's second reads the encoder
        inputs = self._inputs(ids)
        with AttentionLogits(ids.size, every, see) as seen:
            self._run(self._stack, inputs)
        if seen.failure is not None:
            raise seen.failure
        if seen.count != layers * every:
            raise SourceError(
                f"cannot see the attention logits of the {quoted(self.checkpoint.uri)}",
                expected=f"{layers * every} arrays (head, {ids.size}, {ids.size}) given to softmax",
                got=str(seen.count),
                remedy="attention.* of this model is not to be had, hidden.* do not need it"
                if self._implementation == "eager"
                else 'load the model with attn_implementation="eager"',
            )

    def _inputs(self, ids: Ids) -> dict[str, Any]:
        """Return what the stack is called with; a decoder's encoder reads the same tokens."""
        import torch

        device = next(self._stack.parameters()).device
        tokens = torch.as_tensor(np.ascontiguousarray(ids), device=device)[None]
        inputs: dict[str, Any] = {
            "input_ids": tokens,
            "attention_mask": torch.ones_like(tokens),
            "output_hidden_states": True,
            "return_dict": True,
        }
        if "use_cache" in self._accepts:
            inputs["use_cache"] = False
        if "position_ids" in self._accepts and self._first_position:
            inputs["position_ids"] = (
                self._first_position + torch.arange(ids.size, device=device)[None]
            )
        if self._encoder is not None:
            asked = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            inputs["encoder_hidden_states"] = self._run(self._encoder, asked)[0]
        return inputs

    def _run(self, stack: Any, inputs: dict[str, Any]) -> Any:
        import torch

        try:
            with torch.no_grad():
                return stack(**inputs)
        except PosLensError:
            raise
        except Exception as error:  # whatever a model does with tokens that it does not expect
            raise SourceError(
                f"the {quoted(self.checkpoint.uri)} cannot read these tokens",
                expected="a text model, and contexts no longer than its positions",
                got=quoted(f"{type(error).__name__}: {error}"),
                remedy="choose shorter contexts, or a model that reads token ids",
            ) from error


@contextmanager
def text_model(source: Any, part: str | None = None) -> Iterator[TextModel]:
    """Give a model that is ready to read; afterwards it is as it was.

    Parameters
    ----------
    source
        A model of transformers, as it is and where it is; or a folder, a model on the hub, or a
        GGUF file, which is loaded in float32.
    part
        ``"encoder"`` (the default) or ``"decoder"`` of a model that has both.

    Raises
    ------
    SettingError
        If torch or transformers is not installed.
    SourceError
        If there is no such model or part, it cannot be loaded, or it is not one of transformers.
    """
    require_frameworks()
    model = loaded(source)
    if not is_pretrained(model):
        raise not_a_model(model)
    text = TextModel(model, part)
    with _reading(model):
        yield text


@contextmanager
def _reading(model: Any) -> Iterator[None]:
    """Make a model one that drops nothing out and shows its logits, for a while."""
    # Not by set_attn_implementation, which refuses models such as Falcon that have one attention
    # for all implementations.
    configs = {id(one.config): one.config for one in model.modules() if is_pretrained(one)}
    before = [(config, config._attn_implementation) for config in configs.values()]
    try:
        for config in configs.values():
            config._attn_implementation = "eager"
        with evaluating(model):
            yield
    finally:
        for config, implementation in before:
            config._attn_implementation = implementation


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Make a model one that drops nothing out, for a while."""
    training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, was in training.items():
            module.training = was


def is_pretrained(model: object) -> bool:
    """Whether it is a model of transformers."""
    import transformers

    return isinstance(model, transformers.PreTrainedModel)


def not_a_model(model: object, problem: str = "cannot follow hidden states") -> SourceError:
    """Return the error that says what a model is."""
    return SourceError(
        problem,
        expected="a model of transformers, its folder, its name on the hub, or a GGUF file",
        got=type(model).__name__,
        remedy="load it with AutoModel.from_pretrained, or measure its weights alone",
    )


def chosen_stack(base: Any, part: str | None) -> tuple[str | None, Any, Any]:
    """Return a part's name, its stack of layers, and the encoder that its stack reads.

    Raises
    ------
    SourceError
        If there is no such part.
    """
    if hasattr(base, "encoder") and hasattr(base, "decoder"):
        stacks = {"encoder": base.encoder, "decoder": base.decoder}
        readers = {"decoder": base.encoder}
    elif hasattr(base, "text_model") and hasattr(base, "vision_model"):
        stacks, readers = {"text": base.text_model}, {}
    else:
        stacks, readers = {}, {}
    chosen = part or next(iter(stacks), None)
    if chosen is not None and chosen not in stacks:
        raise SourceError(
            f"no part {quoted(chosen)} that reads text in the {quoted(type(base).__name__)}",
            expected=f"one of {', '.join(stacks)}" if stacks else "a source that has parts",
            got=quoted(chosen),
            remedy="choose one of these" if stacks else "leave --part out",
        )
    return (None, base, None) if chosen is None else (chosen, stacks[chosen], readers.get(chosen))


def vocabulary_of(stack: Any, uri: str) -> int:
    """Return how many tokens a stack knows, which is then one that is there and reads text.

    Raises
    ------
    SourceError
        If it reads none, or its weights are not there.
    """
    try:
        size = getattr(stack.get_input_embeddings(), "num_embeddings", None)
    except (AttributeError, NotImplementedError):
        size = None
    if size is None or next(stack.parameters()).is_meta:
        raise SourceError(
            f"the {quoted(uri)} reads no text",
            expected="a model with an embedding of token ids, and with its weights",
            got="none" if size is None else "one without weights",
            remedy="choose a text model" if size is None else "load its weights",
        )
    return int(size)


def first_position(stack: Any) -> int:
    """Return the position id of the first token: RoBERTa's kin count on from that of padding.

    They would take a padding token in the text for padding, if they numbered positions themselves.
    """
    for name, module in stack.named_modules():
        if (
            name.endswith("position_embeddings")
            and getattr(module, "padding_idx", None) is not None
        ):
            return int(module.padding_idx) + 1
    return 0


def _array(tensor: torch.Tensor) -> States:
    values = tensor.detach().cpu()
    return np.asarray((values if values.element_size() == 8 else values.float()).numpy())
