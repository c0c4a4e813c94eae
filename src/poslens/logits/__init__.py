"""Logits split into content and position, from a model's blocks and the tokens of a text."""

from poslens.logits.acting import acting
from poslens.logits.first import FirstLogits, first_block_logits, reconstruction_error
from poslens.logits.parts import Acting, Stream, logit_parts

__all__ = [
    "Acting",
    "FirstLogits",
    "Stream",
    "acting",
    "first_block_logits",
    "logit_parts",
    "reconstruction_error",
]
