"""`read_block`: one layer's attention block of an opened checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from poslens.checkpoints.blocks.block import AttentionBlock, HeadBiases, Linear, Step
from poslens.checkpoints.blocks.entry import BlockEntry, Steps
from poslens.checkpoints.blocks.layouts import (
    bias_by_head,
    inputs_by_head,
    outputs_by_head,
    query_outputs,
)
from poslens.checkpoints.blocks.projections import Layout
from poslens.checkpoints.blocks.reader import Reader, full_name
from poslens.checkpoints.blocks.steps import LinearEntry
from poslens.checkpoints.blocks.table import BLOCKS, NO_BLOCK
from poslens.checkpoints.config import Config
from poslens.checkpoints.families.sizes import Heads
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.tensors import Tensors, listed
from poslens.errors import SourceError, quoted

LOST = "measure the table alone: kernel.* and attention.* need this block"


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
    found, heads = _found(checkpoint, part, layer)
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
    found, heads = _found(checkpoint, part, layer)
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
    found, heads = _found(checkpoint, part, 0)
    sizes = found.entry.sizes
    width = found.config.count(sizes.width, *sizes.width_keys)
    return 2 * width * (heads.query + heads.key) * heads.head_dim


def _found(checkpoint: Checkpoint, part: str | None, layer: int) -> tuple[_Found, Heads]:
    """Return where a model keeps its blocks, and their heads, once the layer is known to be one."""
    config, tensors = checkpoint.config, checkpoint.tensors
    if config is None:
        raise SourceError(
            f"cannot read the attention of {quoted(checkpoint.uri)}",
            expected="a config that says how its weights are laid out",
            got="weights without one",
            remedy="give a model folder with config.json",
        )
    found = _choose(tensors, config, part, checkpoint.uri)
    heads = found.entry.sizes.read(found.config)
    if not 0 <= layer < heads.layers:
        raise SourceError(
            f"no layer {layer} in {quoted(checkpoint.uri)}",
            expected=f"a layer from 0 to {heads.layers - 1}",
            got=f"{layer}",
            remedy="choose one of these",
        )
    refused = found.entry.refused(found.config)
    if refused:
        raise _unread(config, refused)
    return found, heads


@dataclass(frozen=True)
class _Found:
    """One part of a model that a container holds."""

    family: str
    entry: BlockEntry
    layout: Layout
    prefix: str
    config: Config


def _choose(tensors: Tensors, config: Config, part: str | None, uri: str) -> _Found:
    family = config.text("model_type")
    if family not in BLOCKS:
        raise _unread(config, NO_BLOCK.get(family, "no entry says where its projections are"))
    entries = BLOCKS[family]
    known = [entry.name for entry in entries if entry.name is not None]
    if part is not None and part not in known:
        raise SourceError(
            f"no part {quoted(part)} in {quoted(uri)}",
            expected=f"one of {', '.join(known)}" if known else "a source that has parts",
            got=quoted(part),
            remedy="choose one of these" if known else "leave --part out",
        )
    wanted = [entry for entry in entries if part in (None, entry.name)]
    names = frozenset(tensors.names())
    held = [one for entry in wanted for one in _held(family, entry, config, names)]
    if not held:
        raise SourceError(
            f"no attention block for model_type {quoted(family)} in {tensors.shown}",
            expected="a tensor such as "
            + " or ".join(quoted(_first_name(entry, config)) for entry in wanted),
            got=listed(quoted(name) for name in names) or "no tensors",
            remedy="check that these are the weights that the config describes",
        )
    if len(held) > 1:
        raise SourceError(
            f"{quoted(uri)} holds {len(held)} stacks of layers",
            expected="one to be chosen",
            got=listed(str(one.entry.name) for one in held),
            remedy=" or ".join(f"add --part {one.entry.name}" for one in held),
        )
    return held[0]


def _held(
    family: str, entry: BlockEntry, config: Config, names: frozenset[str]
) -> Iterator[_Found]:
    """Yield the first spelling of a part that the container holds, if it holds one."""
    section = entry.section(config)
    place = entry.place(section, 0)
    for prefix in entry.prefixes:
        for layout in entry.layouts:
            if full_name(prefix, layout.names()[0], place) in names:
                yield _Found(family, entry, layout, prefix, section)
                return


def _first_name(entry: BlockEntry, config: Config) -> str:
    place = entry.place(entry.section(config), 0)
    return full_name(entry.prefixes[-1], entry.layouts[0].names()[0], place)


def _unread(config: Config, reason: str) -> SourceError:
    return SourceError(
        f"cannot read the attention of model_type {quoted(config.text('model_type'))} "
        f"in {config.shown}",
        expected="a family whose projections can be read",
        got=reason,
        remedy=LOST,
    )


def _read(tensors: Tensors, found: _Found, heads: Heads, layer: int) -> AttentionBlock:
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
