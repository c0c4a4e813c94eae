"""What an analysis gives a model to read: contexts of a text, or tokens drawn in their place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from poslens.checkpoints import Description, PositionTable
from poslens.checkpoints.blocks import read_embedding
from poslens.checkpoints.gguf_file import GgufFile
from poslens.checkpoints.opening import Checkpoint
from poslens.draws import Progress
from poslens.errors import SettingError, quoted
from poslens.text import Contexts, Tokenizer, drawn_contexts, text_contexts, tokenizer_of
from poslens.text.tokenizer import TOKENIZER

DEFAULT_TEXT = "pydoc_data.topics"
CONTEXTS, LENGTH = 32, 256  # where nothing else is asked for and the model takes as many
NO_CONFIG = "needs the model's attention projections; a position table alone does not decide it"


@dataclass(frozen=True)
class Reading:
    """What was asked of texts.

    Attributes
    ----------
    text
        A file in UTF-8; None for the text that every Python has, where a text is needed.
    contexts, length
        How many contexts, and how many tokens each has; None for the defaults.
    tokens
        Ids to take in place of any text, shape (context, position).
    layers
        Whether position is followed through every layer.
    head
        (layer, head) whose logits are shown; None for the one that bears most of the position.
    """

    text: str | os.PathLike[str] | None = None
    contexts: int | None = None
    length: int | None = None
    tokens: np.ndarray | None = field(default=None, compare=False)
    layers: bool = False
    head: tuple[int, int] | None = None

    @property
    def asked(self) -> bool:
        """Whether anything was, so that what cannot be done is an error, and not left out."""
        return self.layers or any(
            one is not None
            for one in (self.text, self.contexts, self.length, self.tokens, self.head)
        )

    def check(self) -> None:
        """Check what can be checked before anything is opened.

        Raises
        ------
        SettingError
            If a number cannot be used, tokens are given beside a text, or a head of a layer is
            asked for that is not looked at.
        """
        self._check_head()
        for name, value in (("contexts", self.contexts), ("length", self.length)):
            if value is not None and (type(value) is not int or value < 1):
                raise SettingError(
                    f"the number for --{name} cannot be used",
                    expected="a whole number from 1",
                    got=quoted(value),
                )
        if self.tokens is None:
            return
        if self.text is not None or self.contexts is not None or self.length is not None:
            raise SettingError(
                "tokens are given, and a text as well",
                expected="one of them",
                got="both",
                remedy="leave text, contexts and length out",
            )
        tokens = np.asarray(self.tokens)
        if tokens.ndim != 2 or tokens.size == 0 or not np.issubdtype(tokens.dtype, np.integer):
            raise SettingError(
                "these tokens cannot be used",
                expected="whole numbers of shape (context, position)",
                got=f"shape {tokens.shape} of dtype {tokens.dtype}",
                remedy="pass one row of token ids for each context",
            )

    def _check_head(self) -> None:
        head = self.head
        if head is None:
            return
        if len(head) != 2 or not all(type(one) is int and one >= 0 for one in head):
            raise SettingError(
                "this head cannot be used",
                expected="(layer, head), both counted from 0",
                got=quoted(head),
            )
        if head[0] > 0 and not self.layers:
            raise SettingError(
                "the logits of this head are not looked at",
                expected="a head of layer 0, or --layers",
                got=f"layer {head[0]}, head {head[1]}",
                remedy="add --layers",
            )

    def contexts_for(
        self,
        opened: Checkpoint,
        description: Description,
        table: PositionTable | None,
        part: str | None,
        seed: int,
        report: Progress,
    ) -> Contexts:
        """Return what the model reads: the text that was asked for, else drawn tokens.

        Raises
        ------
        PosLensError
            If the text, or the model's tokenizer or vocabulary, cannot be read or used.
        """
        if self.tokens is not None:
            tokens = np.asarray(self.tokens).astype(np.int64)
            count, length = tokens.shape
            return Contexts(tokens, f"{count} contexts of {length} tokens that were given")
        count = self.contexts or CONTEXTS
        length = self.length or min(LENGTH, _longest(description, table))
        if not self.asked:
            return drawn_contexts(read_embedding(opened, part).vocabulary, count, length, seed)
        return text_contexts(self._tokenizer(opened), count, length, self.text, report)

    def _tokenizer(self, opened: Checkpoint) -> Tokenizer:
        """Open the tokenizer beside the weights; of a GGUF file that is to run, the one in it."""
        inside = isinstance(opened.tensors, GgufFile) and opened.beside(TOKENIZER) is None
        if not (self.layers and inside):
            return tokenizer_of(opened)
        from poslens.hidden import tokenizer_in

        return tokenizer_in(opened.uri)

    def record(self, contexts: Contexts) -> dict[str, Any]:
        """Return what a study's settings say of what was read: nothing where nobody asked."""
        if not self.asked:
            return {}
        text = DEFAULT_TEXT if self.text is None else os.fspath(self.text)
        count, length = contexts.tokens.shape
        head = {} if self.head is None else {"head": self.head}
        return head | {
            "text": text if self.tokens is None else "tokens",
            "contexts": count,
            "length": length,
            "layers": self.layers,
        }


def _longest(description: Description, table: PositionTable | None) -> int:
    if table is not None:
        return table.length  # its first row is that of the first token, sliced or not
    return description.context or LENGTH
