"""Which of a model's stacks a container holds, under which names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from poslens.checkpoints.blocks.entry import BlockEntry
from poslens.checkpoints.blocks.gguf import GGUF_BLOCKS
from poslens.checkpoints.blocks.projections import Layout
from poslens.checkpoints.blocks.reader import full_name
from poslens.checkpoints.blocks.table import BLOCKS, NO_ATTENTION, NO_BLOCK
from poslens.checkpoints.config import Config
from poslens.checkpoints.families.sizes import Heads
from poslens.checkpoints.finding import find_tables
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.tensors import Tensors, listed
from poslens.errors import SourceError, quoted

CONVERTED = "give the model that it was converted from"
LOST = "kernel.* and attention.* need this block"


@dataclass(frozen=True)
class Found:
    """One part of a model that a container holds.

    Attributes
    ----------
    family
        The ``model_type``.
    entry
        What the part's entry says.
    layout
        Under which names the projections stand.
    prefix
        What stands before all names.
    config
        The part's own section of the config.
    """

    family: str
    entry: BlockEntry
    layout: Layout
    prefix: str
    config: Config


def find_block(checkpoint: Checkpoint, part: str | None, layer: int) -> tuple[Found, Heads]:
    """Return where a model keeps its blocks, and their heads, once the layer is known to be one.

    Raises
    ------
    SourceError
        As `read_block`.
    """
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
        raise _unread(tensors, config, refused)
    return found, heads


def require_attention(checkpoint: Checkpoint) -> None:
    """Require a model that has attention, as far as its kind tells.

    Raises
    ------
    SourceError
        If it is one of the kinds that have none.
    """
    family = "" if checkpoint.config is None else checkpoint.config.text("model_type")
    if NO_BLOCK.get(family) == NO_ATTENTION:
        raise SourceError(
            f"there is no attention to follow through the layers of {quoted(checkpoint.uri)}",
            expected="a transformer",
            got=f"model_type {quoted(family)}, {NO_ATTENTION}",
            remedy="leave --layers out; poslens.hidden.follow splits its hidden states alone",
        )


def _choose(tensors: Tensors, config: Config, part: str | None, uri: str) -> Found:
    family = config.text("model_type")
    if family not in BLOCKS:
        reason = NO_BLOCK.get(family, "no entry says where its projections are")
        raise _unread(tensors, config, reason)
    entries = BLOCKS[family] if tensors.architecture is None else _in_gguf(tensors)
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
            remedy="check that these are the weights that the config describes"
            if tensors.architecture is None
            else CONVERTED,
        )
    if len(held) > 1:
        raise SourceError(
            f"{quoted(uri)} holds {len(held)} stacks of layers",
            expected="one to be chosen",
            got=listed(str(one.entry.name) for one in held),
            remedy=" or ".join(f"add --part {one.entry.name}" for one in held),
        )
    return held[0]


def _in_gguf(tensors: Tensors) -> tuple[BlockEntry, ...]:
    """Return the entries of a container that has its own names of tensors.

    Raises
    ------
    SourceError
        If they are not known for this architecture.
    """
    architecture = str(tensors.architecture)
    if architecture not in GGUF_BLOCKS:
        raise SourceError(
            f"attention blocks of this architecture are not read from GGUF: {tensors.shown}",
            expected=f"one of {', '.join(GGUF_BLOCKS)}",
            got=quoted(architecture),
            remedy=CONVERTED,
        )
    return GGUF_BLOCKS[architecture]


def _held(family: str, entry: BlockEntry, config: Config, names: frozenset[str]) -> Iterator[Found]:
    """Yield the first spelling of a part that the container holds, if it holds one."""
    section = entry.section(config)
    place = entry.place(section, 0)
    for prefix in entry.prefixes:
        for layout in entry.layouts:
            if full_name(prefix, layout.names()[0], place) in names:
                yield Found(family, entry, layout, prefix, section)
                return


def _first_name(entry: BlockEntry, config: Config) -> str:
    place = entry.place(entry.section(config), 0)
    return full_name(entry.prefixes[-1], entry.layouts[0].names()[0], place)


def _unread(tensors: Tensors, config: Config, reason: str) -> SourceError:
    alone = "measure the table alone: " if find_tables(tensors, config) else ""
    return SourceError(
        f"cannot read the attention of model_type {quoted(config.text('model_type'))} "
        f"in {config.shown}",
        expected="a family whose projections can be read",
        got=reason,
        remedy=alone + LOST,
    )
