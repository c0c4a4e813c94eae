"""What a model's scheme does inside the attention of one layer."""

from __future__ import annotations

from collections.abc import Iterable

from poslens.attention import offsets
from poslens.checkpoints.blocks import AttentionBlock
from poslens.checkpoints.description import describe_model
from poslens.checkpoints.in_attention import in_attention
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.schemes import Acting as Scheme
from poslens.errors import UndefinedMeasureError
from poslens.logits.parts import Acting


def acting(
    checkpoint: Checkpoint,
    schemes: Iterable[Scheme],
    part: str | None,
    layer: int,
    length: int,
    block: AttentionBlock,
) -> Acting:
    """Return the rotation, or the bias, of one layer.

    Parameters
    ----------
    checkpoint
        The opened source, with a config.
    schemes
        What its description says of positions.
    part
        Which stack, where a model has several; that of the block, if none is named.
    layer
        The layer, from 0.
    length
        T, the positions that the bias is to be given for.
    block
        The layer's attention block.

    Returns
    -------
    Acting
        The bias at `poslens.attention.offsets`, shape (head, offset).

    Raises
    ------
    UndefinedMeasureError
        If the scheme is no rotation and no function of distance alone (Shaw, DeBERTa, windows,
        convolutions, gated buckets).
    SettingError, TableError
        If the scheme's settings or tensors cannot be used.
    """
    config = checkpoint.config
    described = None if config is None else describe_model(checkpoint.tensors, config)
    context = None if described is None else described.context
    found = in_attention(checkpoint.tensors, schemes, part or block.part, layer, context)
    if found.beyond:
        raise UndefinedMeasureError(
            "logits are not split into content and position here, as what position adds depends "
            f"on what the tokens are: {found.beyond}"
        )
    at = offsets(length, causal=block.causal)
    return Acting(rope=found.rope, bias=found.profile(at, block.scale))
