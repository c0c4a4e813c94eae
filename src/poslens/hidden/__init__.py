"""Position in hidden states and attention logits, at every layer of a model that runs.

torch and transformers are imported when a model is asked for, and not before.
"""

from poslens.hidden.layers import follow
from poslens.hidden.loading import tokenizer_in
from poslens.hidden.model import TextModel, text_model
from poslens.hidden.result import HiddenStates
from poslens.hidden.split import HiddenSplit, Shares

__all__ = [
    "HiddenSplit",
    "HiddenStates",
    "Shares",
    "TextModel",
    "follow",
    "text_model",
    "tokenizer_in",
]
