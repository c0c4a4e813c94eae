"""`language_model`: a model that predicts tokens, and the same with other positions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np

from poslens.axes import Rows
from poslens.checkpoints.finding import Found, choose_table, find_tables
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.python_objects import open_object
from poslens.edit.lengths import length_of
from poslens.edit.rebuilding import changed_config, config_of_length, rebuilt
from poslens.edit.special import Special, special_in, special_of
from poslens.errors import SourceError, TableError, quoted
from poslens.hidden.frameworks import require_frameworks
from poslens.hidden.loading import config_of, loaded_as, names_gguf, require_whole
from poslens.hidden.model import (
    chosen_stack,
    evaluating,
    is_pretrained,
    not_a_model,
    vocabulary_of,
)

Kind: TypeAlias = Literal["causal", "masked", "headless"]
# Puts a model into a state, and returns the module that reads; called before every batch.
Variant: TypeAlias = Callable[[], Any]

_AUTO = {"causal": "AutoModelForCausalLM", "masked": "AutoModelForMaskedLM"}


class LanguageModel:
    """A model, and variants of it that share its weights: made by `language_model`.

    Attributes
    ----------
    kind
        ``"causal"`` predicts each token from those before it, ``"masked"`` from those on both
        sides, ``"headless"`` predicts none.
    part
        ``"text"`` of a model that sees images too; None for any other.
    checkpoint
        The model's tensors and config, of this moment.
    vocabulary
        The number of token ids that it reads.
    special
        Its mask, and the tokens that are put around a text.
    """

    def __init__(self, model: Any, kind: Kind, part: str | None, special: Special) -> None:
        opened = open_object(model)
        if opened is None or opened.config is None:
            raise not_a_model(model, _PROBLEM)
        _require_one_stack(model, quoted(opened.uri))
        self.part, stack, _ = chosen_stack(model.base_model, part)
        self.kind, self.special = kind, special
        self.checkpoint: Checkpoint = opened
        self.vocabulary = vocabulary_of(model if self.part is None else stack, opened.uri)
        self._model = model
        self._by_length: dict[int, tuple[Any, Any]] = {}  # a model, and its own table

    def original(self) -> Variant:
        """Return the model as it is."""
        return lambda: self._model

    def with_rows(self, rows: Rows) -> Variant:
        """Return the model with another position table, of any length.

        Parameters
        ----------
        rows
            From position 0 on, shape (position, dim). Rows that the model stores before these
            stay as they are.

        Raises
        ------
        SourceError
            If the model adds no table of its own, or cannot be made anew with a longer one.
        TableError
            If the rows are not as wide as its own, or not finite.
        """
        found = self._found()
        table = self._model.get_parameter(str(found.tensor))
        offset = found.part.offset(found.config)
        if rows.shape[0] < 1 or rows.shape[1] != table.shape[-1] or not np.isfinite(rows).all():
            raise TableError(
                f"these rows are no position table for {self.checkpoint.tensors.shown}",
                expected=f"finite rows of {table.shape[-1]} numbers",
                got=f"shape {rows.shape}" + ("" if np.isfinite(rows).all() else " with NaN or ∞"),
            )
        twin, own = self._of_length(len(rows), str(found.tensor), offset)
        import torch

        values = torch.from_numpy(np.ascontiguousarray(rows)).to(own.dtype)

        def put() -> Any:
            own.data.reshape(-1, own.shape[-1])[offset:] = values
            return twin

        return put

    def with_config(self, changes: Mapping[str, object]) -> Variant:
        """Return the model with other values in its config, such as another scaling of RoPE.

        Parameters
        ----------
        changes
            By their keys in the config, or in its section of the text model where it has one.

        Raises
        ------
        SettingError
            If the config has no such values, or transformers refuses them.
        SourceError
            If the model cannot be made anew with them.
        """
        twin = rebuilt(self._model, changed_config(self._model.config, changes))
        return lambda: twin

    def positions(self, module: Any) -> int | None:
        """Return how many positions a variant's module reads; None where its tables set no bound.

        Raises
        ------
        SourceError
            If a value of its config has the wrong type.
        """
        opened = open_object(module)
        if opened is None or opened.config is None:
            return None
        found = [
            opened.tensors.entry(one.tensor).shape[-2] - one.part.offset(one.config)
            for one in find_tables(opened.tensors, opened.config)
            if one.tensor is not None and (self.part is None or one.part.name == self.part)
        ]
        return min(found, default=None)

    def _found(self) -> Found:
        checkpoint, config = self.checkpoint, self.checkpoint.config
        if config is None:
            raise not_a_model(self._model, _PROBLEM)
        found = choose_table(checkpoint.tensors, config, self.part, checkpoint.uri)
        names = {name for name, _ in self._model.named_parameters(remove_duplicate=False)}
        if found.tensor not in names:
            raise SourceError(
                f"the position table of {checkpoint.tensors.shown} cannot be replaced",
                expected="one among its parameters",
                got="one that is computed",
                remedy="give a model with a learned table",
            )
        return found

    def _of_length(self, length: int, name: str, offset: int) -> tuple[Any, Any]:
        """Return the model with a table of its own of this length, and that table."""
        if length not in self._by_length:
            table = self._model.get_parameter(name)
            config = self._config_of(length, table.shape[-2])
            twin = rebuilt(self._model, config, table=name)
            own = twin.get_parameter(name)
            rows, before = (one.data.reshape(-1, one.shape[-1]) for one in (own, table))
            if len(rows) != offset + length:
                raise SourceError(
                    f"the {quoted(type(twin).__name__)} takes no table of {length} positions",
                    expected=f"{offset + length} rows",
                    got=f"{len(rows)}",
                )
            rows[:offset] = before[:offset]
            self._by_length[length] = twin, own
        return self._by_length[length]

    def _config_of(self, length: int, stored: int) -> Any:
        checkpoint, config = self.checkpoint, self.checkpoint.config
        number = None if config is None else length_of(self._found(), stored, config)
        if number is None:
            raise SourceError(
                f"no value of {checkpoint.tensors.shown} is the length of its position table",
                expected=f"a config that says {stored}, or how many of these are positions",
                remedy="give a model whose table is as long as its config says",
            )
        return config_of_length(self._model.config, number.values(length))


@contextmanager
def language_model(
    source: Any, part: str | None = None, mask: int | None = None
) -> Iterator[LanguageModel]:
    """Give a model whose predictions can be measured; afterwards it is as it was.

    Its config, and what its files hold, say what it predicts: a checkpoint without the weights of
    a head, as those of sentence encoders are, is headless.

    Parameters
    ----------
    source
        A model of transformers, as it is and where it is; or a folder, a model on the hub, or a
        GGUF file, which is loaded in float32.
    part
        ``"text"`` of a model that sees images too.
    mask
        The id that stands for a token that is to be predicted; by default the tokenizer says it,
        which a model that is passed does not have.

    Raises
    ------
    SettingError
        If torch, transformers or accelerate is not installed.
    SourceError
        If there is no such model, it cannot be loaded, is not one of transformers, or has both an
        encoder and a decoder.
    """
    require_frameworks("accelerate")
    special: Special | None = None
    if isinstance(source, str | os.PathLike):
        model, kind = _loaded(source)
        special = special_in(source)
    else:
        model, kind = source, _kind(source)
    special = special or special_of(model.config)
    if mask is not None:
        special = replace(special, mask=mask)
    language = LanguageModel(model, kind, part, special)
    with evaluating(model):
        yield language


_PROBLEM = "cannot measure what an edit costs"


def _loaded(source: str | os.PathLike[str]) -> tuple[Any, Kind]:
    """Load a model with the head that its files hold."""
    # A GGUF file's config takes as long to read as its weights, and its kin of BERT have no head.
    kind: Kind = "causal"
    if not names_gguf(source):
        config = config_of(source)
        if getattr(config, "is_encoder_decoder", False):
            raise _two_stacks(quoted(os.fspath(source)))
        kind = _expected(config)
    if kind in _AUTO:
        model, missing = loaded_as(_AUTO[kind], source)
        # What is not the head's is missed again, and said, without it.
        if not missing:
            return model, kind
    model, missing = loaded_as("AutoModel", source)
    require_whole(missing, source)
    return model, "headless"


def _expected(config: Any) -> Kind:
    """Return what a model of this config predicts, if its files hold the head."""
    import transformers

    causal = _classes(transformers.MODEL_FOR_CAUSAL_LM_MAPPING, config)
    masked = _classes(transformers.MODEL_FOR_MASKED_LM_MAPPING, config)
    without = _classes(transformers.MODEL_MAPPING, config)
    trained = _classes(transformers.MODEL_FOR_PRETRAINING_MAPPING, config)
    known = {one.__name__ for one in (*causal, *masked, *without, *trained)}
    if config.architectures and not known.intersection(config.architectures):
        return "headless"  # made for something else, such as to classify
    if masked and not (causal and _reads_one_way(config)):
        return "masked"
    return "causal" if causal else "headless"


def _kind(model: Any) -> Kind:
    """Return what a model that is there predicts."""
    import transformers

    if not is_pretrained(model):
        raise not_a_model(model, _PROBLEM)
    config = model.config
    masked = isinstance(model, _classes(transformers.MODEL_FOR_MASKED_LM_MAPPING, config))
    causal = isinstance(model, _classes(transformers.MODEL_FOR_CAUSAL_LM_MAPPING, config))
    if not masked and not causal:
        return "headless"
    if not causal:
        return "masked"
    if not _classes(transformers.MODEL_FOR_MASKED_LM_MAPPING, config) or _reads_one_way(config):
        return "causal"
    if masked:
        return "masked"
    raise SourceError(
        f"the {quoted(type(model).__name__)} sees the tokens that it is to predict",
        expected="a config with is_decoder true",
        got="false",
        remedy="load it with AutoModelForMaskedLM",
    )


def _reads_one_way(config: Any) -> bool:
    """Whether a model whose class can read both ways reads from left to right."""
    return bool(getattr(config, "is_decoder", False) or getattr(config, "causal", False))


def _classes(mapping: Any, config: Any) -> tuple[type, ...]:
    """Return the classes of a mapping for a config: one, several or none."""
    if type(config) not in mapping:
        return ()
    found = mapping[type(config)]
    return found if isinstance(found, tuple) else (found,)


def _require_one_stack(model: Any, shown: str) -> None:
    if hasattr(model.base_model, "encoder") and hasattr(model.base_model, "decoder"):
        raise _two_stacks(shown)


def _two_stacks(shown: str) -> SourceError:
    return SourceError(
        f"cannot measure predictions of {shown}",
        expected="a model of one stack, which reads a text and predicts its tokens",
        got="an encoder and a decoder",
        remedy="load one of the two, and pass it",
    )
