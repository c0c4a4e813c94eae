"""Text for a model to read: its own tokenizer, and contexts of token ids.

A text of any size is read in pieces, and no further than the contexts that are asked for.
`text_contexts` and `drawn_contexts` give what a measure needs, with a line on where it is from;
the rest are their parts. The library tokenizers is imported when a tokenizer is opened.
"""

from poslens.text.contexts import (
    Contexts,
    contexts_of_text,
    drawn_contexts,
    drawn_tokens,
    text_contexts,
)
from poslens.text.reading import default_text, read_text
from poslens.text.tokenizer import Tokenizer, token_words, tokenizer_of

__all__ = [
    "Contexts",
    "Tokenizer",
    "contexts_of_text",
    "default_text",
    "drawn_contexts",
    "drawn_tokens",
    "read_text",
    "text_contexts",
    "token_words",
    "tokenizer_of",
]
