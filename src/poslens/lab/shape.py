"""The sizes of a model, the same for every scheme that is compared."""

from __future__ import annotations

from dataclasses import dataclass

from poslens.encodings.validate import require_count, require_number
from poslens.errors import SettingError


@dataclass(frozen=True)
class Shape:
    """A decoder in GPT-2's form.

    Attributes
    ----------
    layers, heads, width
        Blocks, heads of each, and d, a multiple of the heads.
    context
        T, the positions of a training window.
    vocabulary
        Tokens; 256 where they are bytes.
    biases
        Whether linear maps and norms have them, as in GPT-2. MPT, the architecture of
        transformers that has ALiBi and this form otherwise, has none.
    dropout
        The share of the embeddings, and of what each block adds to them, that is set to 0.

    Raises
    ------
    SettingError
        If a size is out of its range, or the heads do not divide the width.
    """

    layers: int = 4
    heads: int = 4
    width: int = 128
    context: int = 512
    vocabulary: int = 256
    biases: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("layers", "heads", "width", "context", "vocabulary"):
            require_count(name, getattr(self, name))
        require_number("dropout", self.dropout, most=0.99)
        if self.width % self.heads:
            raise SettingError(
                "the heads do not divide the width",
                expected=f"a width that is a multiple of {self.heads}",
                got=f"{self.width}",
            )

    @property
    def head_dim(self) -> int:
        """d_k."""
        return self.width // self.heads
