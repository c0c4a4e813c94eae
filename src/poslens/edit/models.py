"""`language_model`: a model that predicts tokens, and the same with other positions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from poslens.axes import NewRows, Rows
from poslens.checkpoints.finding import Found, choose_table, find_tables
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.python_objects import open_object
from poslens.checkpoints.tensors import listed
from poslens.edit.gaps import Gaps, gaps_of
from poslens.edit.kinds import PROBLEM, Kind, kind_of, loaded_with_head
from poslens.edit.lengths import length_of, parts_with
from poslens.edit.rebuilding import changed_config, config_of_length, rebuilt
from poslens.edit.special import Special, special_in, special_of
from poslens.errors import SourceError, TableError, quoted
from poslens.hidden.frameworks import require_frameworks
from poslens.hidden.model import chosen_stack, evaluating, not_a_model, vocabulary_of

if TYPE_CHECKING:
    import torch

# Puts a model into a state, and returns the module that reads; called before every batch.
Variant: TypeAlias = Callable[[], Any]


class LanguageModel:
    """A model, and variants of it that share its weights: made by `language_model`.

    Attributes
    ----------
    kind
        ``"causal"`` predicts each token from those before it, ``"masked"`` from those on both
        sides, ``"denoising"`` by a decoder from what an encoder reads on both sides,
        ``"headless"`` predicts none.
    gaps
        What a decoder is given; None of a model of one stack.
    part
        ``"text"`` of a model that sees images too; ``"encoder"`` or ``"decoder"`` of one that has
        both, whose table is replaced; None for any other.
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
            raise not_a_model(model, PROBLEM)
        self.part, stack, _ = chosen_stack(model.base_model, part)
        self.kind, self.special = kind, special
        self.gaps = _gaps(model, kind)
        self.checkpoint: Checkpoint = opened
        self.vocabulary = vocabulary_of(model if self.part is None else stack, opened.uri)
        self._model = model
        # By the length and names of the tables that are its own.
        self._by_length: dict[tuple[int, frozenset[str]], Any] = {}

    def original(self) -> Variant:
        """Return the model as it is."""
        return lambda: self._model

    def with_rows(
        self, rows: Rows, others: Mapping[str | None, NewRows] = MappingProxyType({})
    ) -> Variant:
        """Return the model with another position table, of any length.

        Parameters
        ----------
        rows
            From position 0 on, shape (position, dim). Rows that the model stores before these
            stay as they are.
        others
            The same of other parts, by their names: an encoder's and a decoder's table are as long
            as one number of their config says.

        Raises
        ------
        SourceError
            If the model adds no table of its own, or cannot be made anew with a longer one.
        TableError
            If the rows are not as wide as its own, or not finite, or those of another part are
            missing or of another length.
        """
        import torch

        tables = {self.part: rows, **others}
        found = {part: self._found(part) for part in tables}
        for part, some in tables.items():
            self._check_rows(found[part], some, len(rows))
        twin = self._of_length(len(rows), list(found.values()))
        new = []
        for part, some in tables.items():
            own = _positions(twin, found[part])
            new.append((own, torch.from_numpy(np.ascontiguousarray(some)).to(own.dtype)))

        def put() -> Any:
            for own, values in new:
                own.copy_(values)
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
            # Of an encoder and a decoder that both read, both have to read as far.
            if one.tensor is not None
            and (self.part is None or self.gaps or one.part.name == self.part)
        ]
        return min(found, default=None)

    def _found(self, part: str | None) -> Found:
        checkpoint, config = self.checkpoint, self.checkpoint.config
        if config is None:
            raise not_a_model(self._model, PROBLEM)
        found = choose_table(checkpoint.tensors, config, part, checkpoint.uri)
        names = {name for name, _ in self._model.named_parameters(remove_duplicate=False)}
        if found.tensor not in names:
            raise SourceError(
                f"the position table of {checkpoint.tensors.shown} cannot be replaced",
                expected="one among its parameters",
                got="one that is computed",
                remedy="give a model with a learned table",
            )
        return found

    def _check_rows(self, found: Found, rows: Rows, length: int) -> None:
        width = self._model.get_parameter(str(found.tensor)).shape[-1]
        if rows.shape[0] < 1 or rows.shape != (length, width) or not np.isfinite(rows).all():
            raise TableError(
                f"these rows are no position table for {self.checkpoint.tensors.shown}",
                expected=f"finite rows of {width} numbers"
                + ("" if len(rows) == length else f", as many as of the other part: {length}"),
                got=f"shape {rows.shape}" + ("" if np.isfinite(rows).all() else " with NaN or ∞"),
            )

    def _of_length(self, length: int, found: Sequence[Found]) -> Any:
        """Return the model with tables of its own of this length; they hold no positions yet."""
        tables = frozenset(str(one.tensor) for one in found)
        if (length, tables) not in self._by_length:
            twin = rebuilt(self._model, self._config_of(length, found), tables)
            for one in found:
                own, before = (_stored(model, one) for model in (twin, self._model))
                offset = one.part.offset(one.config)
                if len(own) != offset + length:
                    raise SourceError(
                        f"the {quoted(type(twin).__name__)} takes no table of {length} positions",
                        expected=f"{offset + length} rows",
                        got=f"{len(own)}",
                    )
                own[:offset] = before[:offset]
            self._by_length[length, tables] = twin
        return self._by_length[length, tables]

    def _config_of(self, length: int, found: Sequence[Found]) -> Any:
        checkpoint, config = self.checkpoint, self.checkpoint.config
        stored = len(_stored(self._model, found[0]))
        number = None if config is None else length_of(found[0], stored, config)
        if config is None or number is None:
            raise SourceError(
                f"no value of {checkpoint.tensors.shown} is the length of its position table",
                expected=f"a config that says {stored}, or how many of these are positions",
                remedy="give a model whose table is as long as its config says",
            )
        together = parts_with(number, checkpoint.tensors, config)
        missing = [one for one in together if one not in {each.part.name for each in found}]
        if missing and length != len(_positions(self._model, found[0])):
            raise TableError(
                f"the tables of {checkpoint.tensors.shown} have one length in the config",
                expected=f"{length} rows for each of {listed(map(quoted, together))}",
                got=f"none for {listed(map(quoted, missing))}",
                remedy="pass those as well",
            )
        return config_of_length(self._model.config, number.values(length))


def _stored(model: Any, found: Found) -> torch.Tensor:
    """Return a table of a model as it is stored, shape (row, dim)."""
    table: torch.Tensor = model.get_parameter(str(found.tensor)).data
    return table.reshape(-1, table.shape[-1])


def _positions(model: Any, found: Found) -> torch.Tensor:
    """Return a table of a model from position 0 on, shape (position, dim)."""
    return _stored(model, found)[found.part.offset(found.config) :]


def _gaps(model: Any, kind: Kind) -> Gaps | None:
    name = quoted(type(model).__name__)
    return gaps_of(model.config, f"the {name}") if kind == "denoising" else None


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
        ``"text"`` of a model that sees images too; of one that has both, ``"encoder"`` (the
        default) or ``"decoder"``, whose table is replaced.
    mask
        The id that stands for a token that is to be predicted; by default the tokenizer says it,
        which a model that is passed does not have.

    Raises
    ------
    SettingError
        If torch, transformers or accelerate is not installed.
    SourceError
        If there is no such model, it cannot be loaded, is not one of transformers, or has both an
        encoder and a decoder and was not trained to fill gaps.
    """
    require_frameworks("accelerate")
    special: Special | None = None
    if isinstance(source, str | os.PathLike):
        model, kind = loaded_with_head(source)
        gaps = _gaps(model, kind)
        special = special_in(source, () if gaps is None else gaps.masks)
    else:
        model, kind = source, kind_of(source)
    special = special or special_of(model.config)
    if mask is not None:
        special = replace(special, mask=mask)
    language = LanguageModel(model, kind, part, special)
    with evaluating(model):
        yield language
