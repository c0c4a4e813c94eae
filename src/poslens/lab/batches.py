"""What a model is trained on: batches that are a function of seed and step alone."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Int

from poslens.encodings.validate import require_count
from poslens.errors import LabError

IGNORED = -100  # a target on which nothing depends; torch's word for it

Ids: TypeAlias = Int[np.ndarray, "context position"]


class Batch(NamedTuple):
    """Tokens, and what should be said at each of them.

    Attributes
    ----------
    inputs, targets
        Ids, shape (context, position); a target may be `IGNORED`.
    """

    inputs: Ids
    targets: Ids


@runtime_checkable
class Batches(Protocol):
    """A source of batches.

    Its `repr` says all that the batches depend on but the seed: a run that goes on compares it.

    Attributes
    ----------
    vocabulary
        Ids are below it.
    """

    @property
    def vocabulary(self) -> int:
        """Tokens that there are."""

    def batch(self, contexts: int, length: int, seed: int, step: int) -> Batch:
        """Return the batch of one step: so many contexts of so many positions."""


def require_fitting(batches: Batches, vocabulary: int) -> None:
    """Require that a model of this vocabulary can read the batches.

    Raises
    ------
    LabError
        If it cannot.
    """
    if batches.vocabulary > vocabulary:
        raise LabError(
            f"the model cannot read {batches!r}",
            expected=f"a vocabulary of at least {batches.vocabulary}",
            got=f"{vocabulary}",
        )


def require_batch(contexts: int, length: int) -> None:
    """Require whole numbers of contexts and positions.

    Raises
    ------
    SettingError
        If there are none.
    """
    require_count("contexts", contexts)
    require_count("length", length)
