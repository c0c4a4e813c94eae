"""What a source gives: a position table, where it came from, and what goes with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from poslens.axes import PerDim, Rows, TokenRows
from poslens.errors import SettingError

FEWEST_POSITIONS = 3  # a second difference needs three rows


@dataclass(frozen=True)
class Source:
    """Where a table came from.

    Attributes
    ----------
    uri
        The source string as given (``"array"`` for a NumPy array).
    revision
        The revision of a hub source; None elsewhere.
    tensor
        The tensor's name in its file; None where a file holds one unnamed array, or none was read.
    family
        The model family (``"gpt2"``) whose entry was used; None without a config.
    scheme
        ``"learned"``, ``"sinusoidal"`` (a formula, or a stored table the model does not train), or
        ``"unknown"`` where nothing says which; of a model without a table, what it has instead:
        ``"rope"``, ``"alibi"``, ``"t5"``, ``"shaw"``, ``"deberta"``, ``"window"``,
        ``"convolution"`` or ``"nope"``.
    row_offset
        Stored rows before position 0, which are not positions and were left out.
    dtype
        The stored dtype, in NumPy's words, or ``"bfloat16"``, or ggml's ``"Q4_1"`` and so on; None
        without a table.
    sha256
        Of the tensor's stored bytes (row-major, little-endian), every row included; None without
        a table.
    bytes_read
        Bytes of tensor data that were read: the table, and what goes with it.
    """

    uri: str
    revision: str | None
    tensor: str | None
    family: str | None
    scheme: str
    row_offset: int
    dtype: str | None
    sha256: str | None
    bytes_read: int


@dataclass(frozen=True, eq=False)
class PositionTable:
    """A position table in float64, and what a model's config and other tensors say about it.

    Attributes
    ----------
    rows
        p_t, shape (position, dim), finite, float64; row 0 is position ``first_position``.
    source
        Where it came from.
    tokens
        The token embedding table, shape (token, dim), float64 or float32 as it is stored
        (narrower and quantised ones as float32), times the factor by which the model scales it
        before it adds positions; None where there is none of the same width, or it was not asked
        for.
    norm_scales
        γ of each normalisation between the embedding and the first attention block, in the order
        in which they act.
    norms_centre
        Whether those normalisations subtract the mean over dimensions (LayerNorm does, RMSNorm
        does not).
    init_std
        σ of the normal distribution that the table's rows were drawn from before training.
    first_position
        The position of row 0: 0, or more after `slice_rows`.
    recognised
        In one line, what the model does with positions; empty where nothing says it.
    origin
        The opened source, from which what acts on the table can be read; None for an array.
    missing
        Why ``tokens``, ``norm_scales`` or ``init_std`` is absent, by that name, for reports.
    """

    rows: Rows
    source: Source
    tokens: TokenRows | None = None
    norm_scales: tuple[PerDim, ...] = ()
    norms_centre: bool = True
    init_std: float | None = None
    first_position: int = 0
    recognised: str = ""
    origin: object = None
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """L, the number of positions."""
        return int(self.rows.shape[0])

    @property
    def dim(self) -> int:
        """d, the number of dimensions."""
        return int(self.rows.shape[1])

    def slice_rows(self, start: int | None, stop: int | None) -> PositionTable:
        """Return the table restricted to positions ``start`` … ``stop`` - 1.

        Raises
        ------
        SettingError
            If fewer than three positions would be left, or a bound lies outside the table.
        """
        first = 0 if start is None else start
        last = self.length if stop is None else stop
        if not 0 <= first < last <= self.length or last - first < FEWEST_POSITIONS:
            raise SettingError(
                f"cannot take rows {first}:{last}",
                expected=f"START:STOP with at least {FEWEST_POSITIONS} rows within 0:{self.length}",
                got=f"{first}:{last}",
                remedy="choose a slice of the table's own positions",
            )
        return replace(
            self,
            rows=np.ascontiguousarray(self.rows[first:last]),
            first_position=self.first_position + first,
        )
