"""Tables that a model computes from its config, where its checkpoint stores none."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from poslens.axes import Rows
from poslens.checkpoints.config import Config
from poslens.checkpoints.families.added import rows_up_to_padding
from poslens.checkpoints.families.entry import Formula, Spellings
from poslens.encodings.sinusoidal import concatenated_rows, tensor2tensor_rows

# A config is a file's own: what it asks to be computed must have a bound (512 MiB in float64).
MOST_ENTRIES = 2**26

Table = Callable[[int, int], Rows]


def computed(
    table: Callable[[Config], Table],
    length: int,
    width: int,
    length_keys: Spellings = ("max_position_embeddings",),
    width_keys: Spellings = ("d_model",),
) -> Callable[[Config], Formula]:
    """Return how a family's config says its table.

    Parameters
    ----------
    table
        From the config, the function from positions and dimensions to the table.
    length, width
        Positions and dimensions where the config is silent.
    length_keys, width_keys
        The config's keys for them.

    Raises
    ------
    SourceError
        By the function returned: if a value has the wrong type, or the table would be too large.
    """

    def formula(config: Config) -> Formula:
        positions = config.count(length, *length_keys)
        dim = config.count(width, *width_keys)
        if positions * dim > MOST_ENTRIES or dim < 2:
            raise config.contradiction(
                "cannot compute the position table",
                f"at least 2 dimensions, and at most {MOST_ENTRIES} entries",
                f"{positions} × {dim}",
            )
        return Formula(positions, dim, table(config))

    return formula


def concatenated(_: Config) -> Table:
    """Return the table of Marian, Pegasus and CTRL: the paper's, sines first."""
    return lambda length, dim: concatenated_rows(np.arange(length), dim)


def after_padding(config: Config) -> Table:
    """Return the table of M2M-100: tensor2tensor's, counted from ``pad_token_id`` + 1."""
    first = rows_up_to_padding(config)
    return lambda length, dim: tensor2tensor_rows(np.arange(first, first + length), dim)


def after_two(config: Config) -> Table:
    """Return the table of XGLM: tensor2tensor's, counted from 2, with a row of zeros for padding.

    The row is number ``pad_token_id``, which is no position with the usual 1.
    """
    padding = config.integer("pad_token_id", 1)

    def table(length: int, dim: int) -> Rows:
        rows = tensor2tensor_rows(np.arange(2, 2 + length), dim)
        if 2 <= padding < 2 + length:
            rows[padding - 2] = 0
        return rows

    return table


def root_of_width(key: str, default: bool) -> Callable[[Config, int], float]:
    """Return the factor √d of token vectors, which a switch of the config turns on.

    Raises
    ------
    SourceError
        By the function returned: if the switch is neither true nor false.
    """
    return lambda config, dim: math.sqrt(dim) if config.switch(key, default) else 1.0
