"""h = μ + pos_t + ctx_c + resid: hidden states of one layer split over contexts and positions.

Song & Zhong 2023 (arXiv:2310.04861), section 2: μ is the mean over contexts and positions, pos_t
the mean over contexts less μ, ctx_c the mean over positions less μ, and resid the rest. The four
are orthogonal, so that squared lengths add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float

from poslens.axes import PerDim, Rows
from poslens.errors import TableError, UndefinedMeasureError

Gram = Float[np.ndarray, "size size"]

# Vectors shorter than this, as a share of what hidden states measure, are rounding of zero.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Shares:
    """Shares of the variance of hidden states about μ; they sum to 1.

    Attributes
    ----------
    pos, ctx, resid
        Of positions, of contexts, and of the rest.
    """

    pos: float
    ctx: float
    resid: float


class HiddenSplit:
    """The split of one layer, added up over contexts.

    Rows are centred over their context before anything is summed, and means are updated, not
    summed (Welford 1962, Chan et al. 1979): an offset that all hidden states share costs no digits.
    What is held is a table of positions, and of contexts their means, but never more than d of
    them: from then on their d × d Gram matrix.
    """

    def __init__(self) -> None:
        self.contexts = 0
        self._mean = self._position = self._origin = np.empty(0)
        self._means: list[PerDim] = []
        self._gram: Gram | None = None
        self._of_context = self._of_rest = 0.0  # squared lengths
        self._largest = self._incoherence = 0.0
        self._met = False

    def add(self, states: Float[np.ndarray, "position dim"]) -> None:
        """Add the hidden states of one context.

        Raises
        ------
        TableError
            If their shape is another than before, there is but one position, or a value is not
            finite.
        """
        rows = np.asarray(states, dtype=np.float64)
        if self.contexts == 0:
            self._begin(rows)
        self._require_like(rows)
        mean = rows.mean(axis=0)
        rows = rows - mean
        mean += rows.mean(axis=0)  # what rounding left in the mean of a large offset
        rows -= rows.mean(axis=0)
        self.contexts += 1
        weight = (self.contexts - 1) / self.contexts
        change = rows - self._position
        self._of_rest += weight * float(np.vdot(change, change))
        self._position += change / self.contexts
        step = mean - self._mean
        self._of_context += weight * float(step @ step)
        self._mean += step / self.contexts
        self._keep(mean - self._origin)
        self._largest = max(self._largest, float(np.abs(states).max()))

    def meet(self, context_mean: PerDim) -> None:
        """Compare pos_t with one context's ctx_c, once all contexts have been added.

        Parameters
        ----------
        context_mean
            The mean of its hidden states over positions.
        """
        context = np.asarray(context_mean, dtype=np.float64) - self._mean
        length, lengths = np.linalg.norm(context), np.linalg.norm(self._position, axis=1)
        present = lengths > self._zero
        if length > self._zero and present.any():
            cosines = self._position[present] @ context / (lengths[present] * length)
            self._incoherence = max(self._incoherence, float(np.abs(cosines).max()))
            self._met = True

    @property
    def mean(self) -> PerDim:
        """μ, shape (dim,)."""
        return self._mean

    @property
    def position(self) -> Rows:
        """pos_t, shape (position, dim); they sum to 0."""
        return self._position

    def shares(self) -> Shares:
        """Return how much of the variance about μ is of positions, of contexts, and of neither.

        Raises
        ------
        UndefinedMeasureError
            If there are fewer than two contexts, all of which would count as position, or the
            hidden states do not vary.
        """
        self._require_contexts()
        parts = np.array(
            [
                self.contexts * np.vdot(self._position, self._position),
                len(self._position) * self._of_context,
                self._of_rest,
            ]
        )
        total = parts.sum()
        if total <= self.contexts * len(self._position) * self._zero**2:
            raise UndefinedMeasureError("the hidden states are the same in all contexts")
        return Shares(*(float(part) for part in parts / total))

    def stable_rank(self) -> float:
        """Return ‖pos‖_F² ÷ ‖pos‖_2²: how many directions pos_t fills.

        Raises
        ------
        UndefinedMeasureError
            If pos_t is 0 throughout.
        """
        return float(np.vdot(self._position, self._position) / self._position_square())

    def relative_norm(self) -> float:
        """Return ‖pos‖_2 ÷ ‖μ + pos + ctx‖_2, rows over all contexts and positions.

        Raises
        ------
        UndefinedMeasureError
            If hidden states are 0 throughout.
        """
        if self._largest == 0:
            raise UndefinedMeasureError("the hidden states are 0")
        length = len(self._position)
        # Rows whose Gram matrix is that of all contexts × positions: the three are orthogonal.
        rows = np.vstack(
            [
                np.sqrt(self.contexts * length) * self._mean,
                np.sqrt(self.contexts) * self._position,
            ]
        )
        whole = _largest_square(np.vstack([rows, np.sqrt(length) * self._context_rows()]))
        return float(np.sqrt(self.contexts * _largest_square(self._position) / whole))

    def incoherence(self) -> float:
        """Return the largest |cos| between a pos_t and a ctx_c; vectors that are 0 are left out.

        Raises
        ------
        UndefinedMeasureError
            If no context that was met, or no position, differs from μ.
        """
        if not self._met:
            raise UndefinedMeasureError("no context's mean, or no position's, differs from μ")
        return self._incoherence

    @property
    def _zero(self) -> float:
        return _ROUNDING * self._largest * float(np.sqrt(self._mean.size))

    def _begin(self, rows: Rows) -> None:
        if rows.ndim != 2 or rows.shape[0] < 2 or rows.shape[1] == 0:
            raise TableError(
                "cannot tell positions from contexts",
                expected="hidden states of at least 2 positions",
                got=f"shape {rows.shape}",
                remedy="take longer contexts",
            )
        self._position, self._mean = np.zeros(rows.shape), np.zeros(rows.shape[1])
        self._origin = rows.mean(axis=0)

    def _require_like(self, rows: Rows) -> None:
        if rows.shape != self._position.shape:
            raise TableError(
                "contexts differ in shape",
                expected=f"hidden states of shape {self._position.shape}, as those before",
                got=f"{rows.shape}",
                remedy="take contexts of one length",
            )
        if not np.isfinite(rows).all():
            raise TableError(
                "hidden states are not finite",
                expected="finite numbers",
                got=f"{int(np.count_nonzero(~np.isfinite(rows)))} that are not",
                remedy="load the model in float32",
            )

    def _require_contexts(self) -> None:
        if self.contexts < 2:
            raise UndefinedMeasureError(
                "one context alone does not tell positions from what stands there"
            )

    def _position_square(self) -> float:
        largest = _largest_square(self._position)
        if largest <= self._zero**2:
            raise UndefinedMeasureError("the mean hidden state is the same at every position")
        return largest

    def _keep(self, mean: PerDim) -> None:
        """Keep a context's mean, about the first one's."""
        self._means.append(mean)
        if len(self._means) > mean.size:
            rows = np.array(self._means)
            gram = rows.T @ rows
            self._gram = gram if self._gram is None else self._gram + gram
            self._means = []

    def _context_rows(self) -> Float[np.ndarray, "some_context dim"]:
        """Return rows whose Gram matrix is that of all ctx_c."""
        shift = self._mean - self._origin
        if self._gram is None:
            return np.array(self._means) - shift
        gram = self._gram - self.contexts * np.outer(shift, shift)
        if self._means:
            gram += np.array(self._means).T @ np.array(self._means)
        values, vectors = np.linalg.eigh(gram)
        return np.asarray(np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T)


def _largest_square(rows: Rows) -> float:
    """Return the square of the spectral norm, from the smaller Gram matrix."""
    gram = rows @ rows.T if rows.shape[0] < rows.shape[1] else rows.T @ rows
    last = len(gram) - 1
    (largest,) = scipy.linalg.eigh(gram, eigvals_only=True, subset_by_index=[last, last])
    return float(max(largest, 0.0))
