"""Logits split into content and position, from a model's blocks and the tokens of a text."""

from poslens.logits.parts import Acting, Stream, logit_parts

__all__ = ["Acting", "Stream", "logit_parts"]
