"""`read_block`: one layer's attention block of an opened checkpoint."""

from __future__ import annotations

import numpy as np

from poslens.checkpoints.blocks.block import AttentionBlock, HeadBiases, Linear, Step
from poslens.checkpoints.blocks.entry import Steps
from poslens.checkpoints.blocks.found import Found, find_block
from poslens.checkpoints.blocks.layouts import (
    bias_by_head,
    inputs_by_head,
    outputs_by_head,
    query_outputs,
)
from poslens.checkpoints.blocks.reader import Reader
from poslens.checkpoints.blocks.steps import LinearEntry
from poslens.checkpoints.families.sizes import Heads
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.tensors import Tensors
from poslens.errors import SourceError

# Numbers of a block that is read for a claim by the way; of a large model it has 500 MB.
MOST_READ = 2**24


def read_block(checkpoint: Checkpoint, part: str | None = None, layer: int = 0) -> AttentionBlock:
    """Read the attention block of one layer, and what acts before it.

    Tensors are read one after the other, and each is parted by head as it comes: at most one is
    held as it is stored beside those that are ready.

    Parameters
    ----------
    checkpoint
        An opened source, with a config.
    part
        Which stack, where a model has several: ``"encoder"`` or ``"decoder"``, ``"text"`` or
        ``"vision"``.
    layer
        Which layer, from 0.

    Returns
    -------
    AttentionBlock
        Projections, biases and norms in float64.

    Raises
    ------
    SourceError
        If there is no config, its family is not known here, it does not describe the tensors
        that are there, several parts are there and none is chosen, or the layer is not there.
    """
    found, heads = find_block(checkpoint, part, layer)
    return _read(checkpoint.tensors, found, heads, layer)


def read_biases(checkpoint: Checkpoint, part: str | None = None, layer: int = 0) -> HeadBiases:
    """Read the biases of one layer's queries and keys, and no matrix.

    Parameters
    ----------
    checkpoint, part, layer
        As in `read_block`.

    Raises
    ------
    SourceError
        As `read_block`.
    """
    found, heads = find_block(checkpoint, part, layer)
    entry, config = found.entry, found.config
    reader = Reader(checkpoint.tensors, config, found.prefix, entry.place(config, layer))
    biased = entry.biases(config, layer)
    stored = found.layout.biases.biases(reader, heads, biased)
    queries, keys, _ = map(bias_by_head, stored, (heads.query, heads.key, heads.key))
    return HeadBiases(
        layer=layer,
        queries=queries,
        keys=np.repeat(keys, heads.query // heads.key, axis=0),
        scale=entry.scale(config, heads.head_dim, layer),
        causal=entry.causal(config),
        exist={"query", "key"} <= biased,
        normalised=entry.head_norms(config, layer) is not None,
    )


def block_numbers(checkpoint: Checkpoint, part: str | None = None) -> int:
    """Return how many numbers the four projections of a block hold, before any is read.

    Parameters
    ----------
    checkpoint, part
        As in `read_block`.

    Raises
    ------
    SourceError
        As `read_block`.
    """
    found, heads = find_block(checkpoint, part, 0)
    sizes = found.entry.sizes
    width = found.config.count(sizes.width, *sizes.width_keys)
    return 2 * width * (heads.query + heads.key) * heads.head_dim


def require_small(checkpoint: Checkpoint, part: str | None = None) -> None:
    """Require a block that is not too much to read, perhaps from afar, where nobody asked for it.

    Parameters
    ----------
    checkpoint, part
        As in `read_block`.

    Raises
    ------
    SourceError
        If its projections are larger than `MOST_READ`; and as `read_block`.
    """
    numbers = block_numbers(checkpoint, part)
    if numbers > MOST_READ:
        raise SourceError(
            "the first attention block is not read for this",
            expected=f"projections of at most {MOST_READ:,} numbers",
            got=f"{numbers:,}",
        )


def _read(tensors: Tensors, found: Found, heads: Heads, layer: int) -> AttentionBlock:
    entry, config, layout = found.entry, found.config, found.layout
    reader = Reader(tensors, config, found.prefix, entry.place(config, layer))
    dim = config.count(entry.sizes.width, *entry.sizes.width_keys)
    biased = entry.biases(config, layer)
    embedding = entry.embedding(config, dim) if layer == 0 else ()
    steps = (*embedding, *entry.before(config, layer))
    norms = entry.head_norms(config, layer)
    tokens = entry.token_projection(config, dim) if layer == 0 else None
    reader.fetch(
        [
            *layout.names(),
            *(name for step in steps for name in step.names()),
            *(norms.names(heads) if norms else ()),
            *(tokens[1].names() if tokens else ()),
        ]
    )
    counts = (heads.query, heads.key, heads.key)
    weights = layout.weights.weights(reader, heads, dim, transposed=layout.transposed)
    queries, keys, values = map(inputs_by_head, weights, counts)
    biases = layout.biases.biases(reader, heads, biased)
    query_bias, key_bias, value_bias = map(bias_by_head, biases, counts)
    output = reader.array(layout.output, (dim, query_outputs(heads)), transposed=layout.transposed)
    output_bias = reader.array_or_zeros(layout.output_bias, (dim,), exists="output" in biased)
    width = entry.embedding_width(config, dim) if layer == 0 else dim
    query_norm, key_norm = norms.read(reader, heads) if norms else (None, None)
    return AttentionBlock(
        family=found.family,
        part=entry.name,
        layer=layer,
        queries=queries,
        keys=keys,
        values=values,
        output=outputs_by_head(output, heads.query),
        query_bias=query_bias,
        key_bias=key_bias,
        value_bias=value_bias,
        output_bias=output_bias.astype(np.float64),
        biased=biased,
        scale=entry.scale(config, heads.head_dim, layer),
        causal=entry.causal(config),
        path=_path(reader, steps, width, dim),
        token_factor=entry.token_factor(config, dim) if layer == 0 else 1.0,
        token_projection=_token_projection(reader, tokens, dim),
        query_norm=query_norm,
        key_norm=key_norm,
        soft_cap=entry.soft_cap(config),
        clip=entry.clip(config),
        bytes_read=reader.bytes_read,
    )


def _path(reader: Reader, entries: Steps, width: int, dim: int) -> tuple[Step, ...]:
    steps: list[Step] = []
    for entry in entries:
        step = entry.read(reader, width, dim)
        width = dim if isinstance(step, Linear) else width
        steps.append(step)
    return tuple(steps)


def _token_projection(
    reader: Reader, tokens: tuple[int, LinearEntry] | None, dim: int
) -> Linear | None:
    return None if tokens is None else tokens[1].read(reader, tokens[0], dim)
