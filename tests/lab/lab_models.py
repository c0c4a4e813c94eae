"""Small models of every scheme, at sizes at which schemes and layouts differ."""

from __future__ import annotations

import torch

from poslens.encodings import (
    T5,
    Alibi,
    Concatenated,
    Encoding,
    Learned,
    Nope,
    Rope,
    Shaw,
    Sinusoidal,
    Whisper,
)
from poslens.lab.model import Decoder
from poslens.lab.shape import Shape

# 6 heads: not a power of two, where ALiBi's rules differ. 71: odd, and more than a block of 64.
SHAPE = Shape(layers=2, heads=6, width=60, context=71, vocabulary=256)

ENCODINGS: dict[str, Encoding] = {
    "learned": Learned.drawn(97, 60, std=0.5, seed=1),
    "sinusoidal": Sinusoidal(60),
    "concatenated": Concatenated(60),
    "whisper": Whisper(60),
    "rope": Rope(10),
    "rope, interleaved": Rope(10, base=500.0, pairing="interleaved"),
    "rope, in part": Rope(10, rotary_dim=6),
    "alibi": Alibi(6),
    "t5": T5.drawn(6, buckets=14, max_distance=40, causal=True, std=0.5, seed=1),
    "t5, both ways": T5.drawn(6, buckets=14, max_distance=40, std=0.5, seed=1),
    "shaw": Shaw.drawn(10, before=19, after=0, std=0.5, seed=1),
    "shaw, far": Shaw.drawn(10, before=100, after=3, std=0.5, seed=1),
    "nope": Nope(),
}


def model(encoding: Encoding, shape: Shape = SHAPE, *, seed: int = 0) -> Decoder:
    """A model whose biases and norms are not at their initial 0 and 1, nor any two alike."""
    made = Decoder(shape, encoding, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return made


def tokens(contexts: int, length: int, vocabulary: int = SHAPE.vocabulary) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(vocabulary, (contexts, length), generator=generator)
