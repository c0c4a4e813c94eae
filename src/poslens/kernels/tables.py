"""Kernels of added tables: p̃_tᵀ W_Q W_Kᵀ p̃_s, scaled as the model scales its logits."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from poslens.attention import (
    KernelMeasures,
    factored_sums,
    kernel_picture,
    measures_of_sums,
    relative_picture,
    with_relative,
)
from poslens.axes import HeadOffsets, Rows
from poslens.checkpoints.blocks import AttentionBlock, Norm
from poslens.errors import TableError
from poslens.kernels.result import Factors, Kernels


def table_kernels(
    rows: Rows,
    block: AttentionBlock,
    beside: HeadOffsets | None,
    context: int | None,
    beyond: str = "",
) -> Kernels:
    """Return the kernels of a table in its first attention block.

    Parameters
    ----------
    rows
        The table as stored, shape (position, width).
    block
        The first attention block.
    beside
        What the same block adds by distance (MPNet's buckets), shape (head, offset); None for
        nothing.
    context
        The longest sequence that the config names.
    beyond
        What else acts by position in the block and is left out (DeBERTa's terms of distance and
        content), in one line; '' for nothing.

    Raises
    ------
    TableError
        If the table and the block do not fit each other.
    """
    factors = table_factors(rows, block)
    sums = factored_sums(factors.queries, factors.keys, causal=block.causal)
    picture = kernel_picture(factors.queries, factors.keys, causal=block.causal)
    if beside is not None:
        sums = with_relative(sums, beside)
        picture = picture + relative_picture(beside, causal=block.causal)
    measures: KernelMeasures = measures_of_sums(sums)
    return Kernels(
        layers=(block.layer,),
        measures=(measures,),
        picture=picture,
        factors=factors if beside is None else None,
        context=context,
        note=_note(beside, beyond),
        left_out=beyond,
    )


def _note(beside: HeadOffsets | None, beyond: str) -> str:
    if beyond:
        return f"the table's kernel alone, without {beyond}"
    return "" if beside is None else "the table's kernel with the bias by distance added"


def table_factors(rows: Rows, block: AttentionBlock) -> Factors:
    """Return what positions alone give to queries and keys.

    Constants, such as β and the projections' biases, are not of positions and are left out.

    Raises
    ------
    TableError
        If the table and the block do not fit each other.
    """
    seen = folded(rows, block)
    if seen.shape[1] != block.queries.shape[1]:
        raise TableError(
            "the position table does not fit the first attention block",
            expected=f"rows of {block.queries.shape[1]} dimensions",
            got=f"{seen.shape[1]}",
            remedy="check that the config describes these weights",
        )
    queries = np.einsum("td,hdk->htk", seen, block.queries, optimize=True) * block.scale
    keys = np.einsum("td,hdk->htk", seen, block.keys, optimize=True)
    return Factors(queries, keys)


def folded(
    rows: Float[np.ndarray, "position width"], block: AttentionBlock
) -> Float[np.ndarray, "position dim"]:
    """Return the effective table: what the projections see of it, normalisation frozen.

    A norm's division depends on the token as well; what is left of it is linear: centred over
    dimensions, and multiplied by γ.

    Raises
    ------
    TableError
        If a step does not fit the rows.
    """
    for step in block.path:
        width = step.scale.size if isinstance(step, Norm) else step.weight.shape[0]
        if rows.shape[1] != width:
            raise TableError(
                "the position table does not fit what acts before the first attention block",
                expected=f"rows of {width} dimensions",
                got=f"{rows.shape[1]}",
                remedy="check that the config describes these weights",
            )
        if isinstance(step, Norm):
            centred = rows - rows.mean(axis=1, keepdims=True) if step.centre else rows
            rows = centred * step.scale
        else:
            rows = rows @ step.weight
    return np.asarray(rows)
