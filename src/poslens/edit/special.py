"""Which tokens of a model are not text: the mask, and those that are put around every text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from poslens.axes import Tokens
from poslens.checkpoints.gguf_file import GgufFile
from poslens.checkpoints.json_object import json_object
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.sources import open_any
from poslens.errors import SourceError
from poslens.hidden import tokenizer_in
from poslens.text import tokenizer_of

_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
_MASKS = ("[MASK]", "<mask>")  # what it is called where nothing says it


@dataclass(frozen=True)
class Special:
    """A model's special tokens.

    Attributes
    ----------
    mask
        The id that stands for a token that is to be predicted; None where none is known.
    before, after
        The ids that are put around every text, such as [CLS] and [SEP].
    """

    mask: int | None = None
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    def around(self, tokens: Tokens) -> tuple[int, int]:
        """Return how many tokens stand before and after the text in all these contexts.

        That is as many as are put there, or none where some context has others there.
        """
        before, after = len(self.before), len(self.after)
        if tokens.shape[1] <= before + after:
            return 0, 0
        begins = bool((tokens[:, :before] == np.array(self.before, np.int64)).all())
        ends = bool((tokens[:, tokens.shape[1] - after :] == np.array(self.after, np.int64)).all())
        return before if begins else 0, after if ends else 0


def special_in(source: Any) -> Special | None:
    """Return the special tokens of the tokenizer beside a source's weights, or in its GGUF file.

    None where there is no tokenizer that can be read.
    """
    try:
        opened = open_any(source, Access())
        if not isinstance(opened, Checkpoint):
            return None
        if isinstance(opened.tensors, GgufFile):
            tokenizer, named = tokenizer_in(source), []
        else:
            tokenizer = tokenizer_of(opened)
            named = [_mask_in(opened, name) for name in _SETTINGS]
    except SourceError:
        return None
    found = [tokenizer.number(word) for word in (*named, *_MASKS) if word]
    mask = next((number for number in found if number is not None), None)
    return Special(mask, tokenizer.before, tokenizer.after)


def special_of(config: Any) -> Special:
    """Return what a model's config says of its special tokens: no mask, as none does."""
    both = (getattr(config, key, None) for key in ("bos_token_id", "eos_token_id"))
    before, after = ((one,) if type(one) is int else () for one in both)
    return Special(None, before, after)


def _mask_in(opened: Checkpoint, name: str) -> str:
    """Return what a file calls the mask, which it writes as a string or an object; or ''."""
    source = opened.beside(name)
    token = None if source is None else json_object(source).get("mask_token")
    called = token.get("content") if isinstance(token, Mapping) else token
    return called if isinstance(called, str) else ""
