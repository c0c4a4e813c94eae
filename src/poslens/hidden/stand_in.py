"""Until logits.acting lands."""

from __future__ import annotations

from typing import Any

from poslens.checkpoints.blocks import AttentionBlock
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.schemes import Alibi, BucketedBias, Rotary
from poslens.encodings import Rope
from poslens.encodings.rope_config import scaling_from
from poslens.logits import Acting


def acting(
    checkpoint: Checkpoint,
    schemes: Any,
    part: str | None,
    layer: int,
    length: int,
    block: AttentionBlock,
) -> Acting:
    from poslens.kernels.biases import alibi_profile, bucket_profiles

    for r in schemes:
        if isinstance(r, Rotary) and layer in r.layers:
            return Acting(
                rope=Rope(
                    head_dim=r.head_dim,
                    base=r.base,
                    rotary_dim=r.rotary_dim,
                    pairing=r.pairing,
                    scaling=scaling_from(r.scaling, None),
                )
            )
        if isinstance(r, Alibi):
            return Acting(bias=alibi_profile(r, length, block.scale))
        if isinstance(r, BucketedBias) and part in (None, r.part):
            p = bucket_profiles(r, checkpoint.tensors, length)
            return Acting(bias=p.get(layer, p[0]))
    return Acting()
