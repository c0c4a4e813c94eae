"""A small decoder in GPT-2's form that takes any position encoding; nothing else differs."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.nn import functional

from poslens.encodings import Encoding
from poslens.encodings.validate import INIT_STD
from poslens.errors import LabError
from poslens.lab.positions import Attend, position_for
from poslens.lab.seeds import Stream, generator
from poslens.lab.shape import Shape


class Block(nn.Module):
    """Attention, then two layers four times as wide between, each added to what came in."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        width = shape.width
        self.attention_norm = nn.LayerNorm(width, bias=shape.biases)
        self.attention_in = _linear(width, 3 * width, shape)  # queries, keys, values
        self.attention_out = _linear(width, width, shape)
        self.mlp_norm = nn.LayerNorm(width, bias=shape.biases)
        self.mlp_in = _linear(width, 4 * width, shape)
        self.mlp_out = _linear(4 * width, width, shape)

    def attended(self, x: Tensor, attend: Attend) -> Tensor:
        """Return what attention adds, shape (batch, position, dim)."""
        heads = self.attention_in(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each (batch, head, position, d_head)
        added: Tensor = self.attention_out(attend(q, k, v).transpose(1, 2).flatten(2))
        return added

    def transformed(self, x: Tensor) -> Tensor:
        """Return what the two layers add, shape (batch, position, dim)."""
        added: Tensor = self.mlp_out(functional.gelu(self.mlp_in(self.mlp_norm(x))))
        return added


class Decoder(nn.Module):
    """Tokens to logits, each position seeing those before it.

    Norms come before what they feed and once more at the end, the last map is the token table, and
    GELU is the exact one. The only random numbers are those of `seed` and of the generator that is
    given for dropout.

    Parameters
    ----------
    shape
        Sizes.
    encoding
        How the model knows where a token is; what it owns begins as the encoding has it.
    seed
        Of all other weights, which are the same for every encoding.

    Raises
    ------
    LabError
        If the encoding does not fit the shape, or a table is shorter than the context.
    """

    def __init__(self, shape: Shape, encoding: Encoding, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.utils.skip_init(nn.Embedding, shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width, bias=shape.biases)
        self._draw(generator(seed, Stream.WEIGHTS))
        self.position = position_for(encoding, shape)
        self._require_length(shape.context)

    @torch.no_grad()
    def _draw(self, rng: np.random.Generator) -> None:
        """GPT-2's: N(0, 0.02²), less for what adds to the residual stream; norms 1, biases 0."""
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                into_stream = name.endswith("_out.weight")
                std = INIT_STD / (np.sqrt(2 * self.shape.layers) if into_stream else 1)
                weight.copy_(torch.from_numpy(rng.normal(0.0, std, weight.shape)))
            else:
                weight.fill_(1.0 if name.endswith("norm.weight") else 0.0)

    @property
    def layers(self) -> list[Block]:
        """The blocks, from the first to the last."""
        return [block for block in self.blocks if isinstance(block, Block)]

    @property
    def longest(self) -> int | None:
        """The most positions that the model can read; None where there is no end."""
        return self.position.longest

    def forward(
        self, tokens: Int[Tensor, "batch position"], dropping: Generator | None = None
    ) -> Float[Tensor, "batch position token"]:
        """Return the logits of the token after each position.

        Parameters
        ----------
        tokens
            Ids.
        dropping
            What decides on dropout; None for none, as in evaluation.

        Raises
        ------
        LabError
            If there are more positions than the model has.
        """
        length = tokens.shape[1]
        self._require_length(length)
        x = self.tokens(tokens)
        rows = self.position.rows(length, x)
        x = self._dropped(x if rows is None else x + rows, dropping)
        attend = self.position.attending(length, x)
        for block in self.layers:
            x = x + self._dropped(block.attended(x, attend), dropping)
            x = x + self._dropped(block.transformed(x), dropping)
        return functional.linear(self.norm(x), self.tokens.weight)

    def _dropped(self, x: Tensor, dropping: Generator | None) -> Tensor:
        if dropping is None or self.shape.dropout == 0:
            return x
        kept = 1 - self.shape.dropout
        chance = torch.rand(x.shape, generator=dropping, device=x.device)
        return x * ((chance < kept) / kept).to(x.dtype)

    def _require_length(self, length: int) -> None:
        if self.longest is not None and length > self.longest:
            raise LabError(
                "the position table is too short",
                expected=f"at most {self.longest} positions",
                got=f"{length}",
                remedy="make the table longer, or evaluate with a sliding window",
            )


def _linear(into: int, out: int, shape: Shape) -> nn.Linear:
    # Without torch's own draws, which would move its global generator.
    linear: nn.Linear = nn.utils.skip_init(nn.Linear, into, out, bias=shape.biases)
    return linear
