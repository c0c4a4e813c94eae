"""`kernels_of`: an opened source to its positional kernels, whatever its scheme."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from poslens.attention import HeadMeans, at_pairs, offsets
from poslens.axes import Rows
from poslens.checkpoints import Description, PositionTable
from poslens.checkpoints.blocks import (
    AttentionBlock,
    Norm,
    read_biases,
    read_block,
    require_small,
)
from poslens.checkpoints.in_attention import InAttention, in_attention, part_meant
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.schemes import (
    AddedTable,
    Alibi,
    BareTable,
    BucketedBias,
    NoPosition,
    RelativeTable,
    Rotary,
)
from poslens.checkpoints.sources import NamedEncoding, Opened
from poslens.errors import PosLensError
from poslens.kernels.biases import alibi_profile, bucket_profiles, profile_kernels, shaw_profile
from poslens.kernels.named import DEFAULT_LENGTH, named_kernels
from poslens.kernels.order import TOKENS, Positions, order_deviations
from poslens.kernels.result import Kernels
from poslens.kernels.rotations import rotation_kernels
from poslens.kernels.tables import table_kernels

# A kernel of distance alone says at two thousand positions what it says at a hundred thousand.
MOST_POSITIONS = 2048
# Profiles of all layers are kept: of eighty layers with sixty-four heads 32 MB.
MOST_NUMBERS, FEWEST_POSITIONS = 4_000_000, 256

NO_ORDER = "what its scheme does to tokens is not computed here"
NO_CONFIG = "needs the model's attention projections; a position table alone does not decide it"


def kernels_of(
    opened: Opened | None,
    description: Description | None,
    table: PositionTable | None,
    part: str | None = None,
    seed: int = 0,
    means: HeadMeans | None = None,
) -> Kernels:
    """Return the kernels of a source; where they are not known, only why.

    Parameters
    ----------
    opened
        The source; None for a table without one.
    description
        What it does with positions.
    table
        Its position table, with the positions that are analysed; None where it adds none.
    part
        Which stack, where a model has several.
    seed
        Of the tokens and the reordering by which `Kernels.order` is measured.
    means
        Mean queries and keys of one layer over a text, from which a rotation's kernel there is
        then taken.
    """
    if isinstance(opened, NamedEncoding):
        return named_kernels(opened.spec, None if table is None else table.rows)
    if not isinstance(opened, Checkpoint) or opened.config is None or description is None:
        return Kernels(reason=NO_CONFIG)
    model = _Model(opened, description, part, seed, means)
    try:
        return model.of_table(table) if table is not None else model.of_schemes()
    except PosLensError as error:
        without = any(isinstance(one, NoPosition) for one in description.schemes)
        relative = table is None and not without
        return Kernels(relative=relative, reason=str(error), context=description.context)


class _Model:
    """One model's schemes, and its attention blocks where these can be read."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        description: Description,
        part: str | None,
        seed: int,
        means: HeadMeans | None,
    ) -> None:
        self.checkpoint, self.part, self.seed, self.means = checkpoint, part, seed, means
        self.schemes, self.context = description.schemes, description.context
        self.length = min(self.context or DEFAULT_LENGTH, MOST_POSITIONS)

    def of_table(self, table: PositionTable) -> Kernels:
        added = {one.tensor: one for one in self.schemes if isinstance(one, AddedTable)}
        if table.source.tensor not in added:
            return Kernels(reason=NO_CONFIG)
        part = self.part or added[table.source.tensor].part
        block = read_block(self.checkpoint, part)
        inside, at = self._in_attention(block.part), offsets(table.length, causal=block.causal)
        beside = inside.profile(at, block.scale)
        found = table_kernels(table.rows, block, beside, self.context, inside.beyond)
        count = min(TOKENS, table.length)
        positions = Positions(
            table=table.rows[:count],
            bias=None if beside is None else at_pairs(beside, count, causal=block.causal),
        )
        content = self._content(count, table)
        return _with_order(found, lambda: order_deviations(block, content, positions, self.seed))

    def _content(self, count: int, table: PositionTable | None, width: int = 0) -> Rows:
        """Return vectors of tokens drawn with the seed; of a normal distribution without any."""
        rng = np.random.default_rng(self.seed)
        if table is None or table.tokens is None:
            size = table.dim if table is not None else width
            return rng.standard_normal((count, size))
        chosen = rng.choice(table.tokens.shape[0], size=count)
        return table.tokens[chosen].astype(np.float64)

    def _in_attention(self, part: str | None) -> InAttention:
        return in_attention(self.checkpoint.tensors, self.schemes, part, 0, self.context)

    def of_schemes(self) -> Kernels:
        return _with_order(self._known(), self._order)

    def _order(self) -> tuple[float, float] | None:
        """Measure what the first block's attention knows of order; None where nothing acts."""
        part = part_meant(self.schemes, self.part)
        require_small(self.checkpoint, part)
        block = self._block(part=part)
        positions = self._positions(block)
        if positions is None:
            return None
        content = self._content(TOKENS, None, _width(block))
        return order_deviations(block, content, positions, self.seed)

    def _positions(self, block: AttentionBlock) -> Positions | None:
        found, at = self._in_attention(block.part), np.arange(TOKENS)
        if found.rope is not None:
            rope = found.rope
            return Positions(rotation=lambda vectors: rope.rotate(vectors, at, TOKENS))
        profile = found.profile(offsets(TOKENS, causal=block.causal), block.scale)
        if profile is None:
            return None
        return Positions(bias=at_pairs(profile, TOKENS, causal=block.causal))

    def _known(self) -> Kernels:
        if all(isinstance(one, BareTable) for one in self.schemes):
            return Kernels(reason="nothing says what the model does with positions")
        rotations = [one for one in self.schemes if isinstance(one, Rotary)]
        if rotations:
            return self._rotations(rotations)
        for record in self.schemes:
            if isinstance(record, Alibi):
                scale = self._scale() if record.scaled else 1.0
                profile = alibi_profile(record, self.length, scale)
                return profile_kernels(
                    {0: profile},
                    causal=not record.symmetric,
                    context=self.context,
                    note="the same in all layers",
                )
            if isinstance(record, BucketedBias) and self._meant(record):
                return self._buckets(record)
            if isinstance(record, RelativeTable) and record.word == "shaw" and record.tensors:
                return self._shaw(record)
            if isinstance(record, NoPosition):
                return Kernels(context=self.context, reason="the model adds nothing by position")
        return Kernels(
            relative=True,
            context=self.context,
            reason="its terms depend on what the tokens are; their means need text",
        )

    def _rotations(self, rotations: list[Rotary]) -> Kernels:
        turned = rotations[0].layers
        reason, layers = "", []
        try:
            layers = [read_biases(self.checkpoint, self.part, layer) for layer in turned]
        except PosLensError as error:
            reason = str(error)
        length = self._length(len(turned) * rotations[0].query_heads)
        return rotation_kernels(rotations, layers, length, self.context, reason, self.means)

    def _shaw(self, record: RelativeTable) -> Kernels:
        tensors, count = self.checkpoint.tensors, len(record.tensors)
        layers = [read_biases(self.checkpoint, self.part, layer) for layer in range(count)]
        length = self._length(count * layers[0].queries.shape[0])
        profiles = {one.layer: shaw_profile(record, tensors, one, length) for one in layers}
        return profile_kernels(
            profiles,
            causal=layers[0].causal,
            context=self.context,
            note="from the biases of queries, in place of means over text",
        )

    def _length(self, heads: int) -> int:
        """Return how many positions to look at, fewer where there are very many heads."""
        return min(self.length, max(FEWEST_POSITIONS, MOST_NUMBERS // heads))

    def _buckets(self, record: BucketedBias) -> Kernels:
        return profile_kernels(
            bucket_profiles(record, self.checkpoint.tensors, self.length),
            causal=not record.bidirectional,
            context=self.context,
            note=f"of the {record.part}" if record.part else "",
        )

    def _meant(self, record: BucketedBias) -> bool:
        return bool(record.tensors) and not record.gated and self.part in (None, record.part)

    def _scale(self) -> float:
        """What the first block's logits are multiplied by, with no matrix read for it."""
        return read_biases(self.checkpoint, self.part).scale

    def _block(self, layer: int = 0, part: str | None = None) -> AttentionBlock:
        return read_block(self.checkpoint, part or self.part, layer)


def _with_order(found: Kernels, measure: Callable[[], tuple[float, float] | None]) -> Kernels:
    """Add what attention knows of order, or why it is not known; the kernels stay either way."""
    try:
        order = measure()
    except PosLensError as error:
        return replace(found, order_reason=str(error))
    return replace(found, order=order, order_reason="" if order else found.reason or NO_ORDER)


def _width(block: AttentionBlock) -> int:
    """The width of what enters a block."""
    first = block.path[0] if block.path else None
    if first is None:
        return int(block.queries.shape[1])
    return int(first.scale.size if isinstance(first, Norm) else first.weight.shape[0])
