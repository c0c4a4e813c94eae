"""Architectures that bias attention by the offset of two patches: BEiT, Swin, Swin V2.

Checked against transformers 5.23; the tests compare every entry with the model's own tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from poslens.checkpoints.config import Config
from poslens.checkpoints.families.biased import matching
from poslens.checkpoints.families.relative import require_rows
from poslens.checkpoints.schemes import ContinuousBias, RelativeTable
from poslens.checkpoints.tensors import Tensors


def window_side(config: Config, default: int = 7) -> tuple[int, int]:
    """Return the window of Swin, which is square.

    Raises
    ------
    SourceError
        If the config's value is no whole number of at least 1.
    """
    side = config.count(default, "window_size")
    return side, side


def whole_image(config: Config) -> tuple[int, int]:
    """Return the window of BEiT: all patches of the image, in rows and columns.

    Raises
    ------
    SourceError
        If the config's sizes are no whole numbers, or the image is smaller than a patch.
    """
    image, patch = _pair(config, "image_size", 224), _pair(config, "patch_size", 16)
    window = image[0] // patch[0], image[1] // patch[1]
    if min(window) < 1:
        raise config.contradiction(
            "an image holds no patch", f"an image of at least {patch}", f"{image}"
        )
    return window


def _pair(config: Config, key: str, default: int) -> tuple[int, int]:
    if isinstance(config.values.get(key), list):
        sides = config.items(key, int, fewest=2) or [default, default]
        if min(sides) >= 1:
            return sides[0], sides[1]
        raise config.contradiction(f"cannot use {key}", "sides of at least 1", str(sides[:2]))
    side = config.count(default, key)
    return side, side


def _beit_adds(config: Config) -> bool:
    own = config.switch("use_relative_position_bias", False)
    return own or config.switch("use_shared_relative_position_bias", False)


@dataclass(frozen=True)
class WindowEntry:
    """A learned number for each head and offset of two patches, as one family uses it.

    Attributes
    ----------
    window
        Rows and columns of patches that attend to each other.
    tensors
        A regular expression for the names of the tensors, shape (offset, head).
    where
        The same for people, N for a number.
    apart
        Rows beside those for offsets: BEiT has one from its class token, one to it, and one for
        the token itself.
    when
        Whether the model adds the bias at all.
    """

    window: Callable[[Config], tuple[int, int]]
    tensors: str
    where: str
    apart: int = 0
    when: Callable[[Config], bool] = lambda _: True

    @property
    def label(self) -> str:
        """Window bias."""
        return "window bias"

    def acting(self, config: Config, tensors: Tensors) -> Iterable[RelativeTable]:
        """Return the tables; nothing where the config turns them off.

        Raises
        ------
        SourceError
            If a value of the config has the wrong type, or contradicts a tensor's shape.
        """
        if not self.when(config):
            return []
        rows, columns = self.window(config)
        distances = (2 * rows - 1) * (2 * columns - 1) + self.apart
        names = matching(tensors, self.tensors)
        require_rows(config, tensors, names, distances)
        acts_on = f"added to the logits within windows of {rows}×{columns} patches"
        return [RelativeTable("window bias", distances, names, acts_on)]


@dataclass(frozen=True)
class ContinuousEntry:
    """Swin V2's network from an offset to a number a head."""

    @property
    def label(self) -> str:
        """Continuous bias."""
        return "continuous bias (a network, not a table)"

    @property
    def where(self) -> str:
        """The first weights of each layer's network."""
        return (
            "`encoder.layers.N.blocks.N.attention.self.continuous_position_bias_mlp.0.weight` "
            "and so on"
        )

    def acting(self, config: Config, tensors: Tensors) -> Iterable[ContinuousBias]:
        """Return the bias.

        Raises
        ------
        SourceError
            If a value of the config has the wrong type.
        """
        side, _ = window_side(config)
        return [ContinuousBias(side, matching(tensors, r"continuous_position_bias_mlp\.0\.weight"))]


BEIT = WindowEntry(
    whole_image,
    r"relative_position_bias\.relative_position_bias_table",
    where="`encoder.layer.N.attention.attention.relative_position_bias."
    "relative_position_bias_table`, or `encoder.relative_position_bias."
    "relative_position_bias_table` for all layers",
    apart=3,
    when=_beit_adds,
)
SWIN = WindowEntry(
    window_side,
    r"attention\.(?:self|relative_position_bias)\.relative_position_bias_table",
    where="`encoder.layers.N.blocks.N.attention.self.relative_position_bias_table`",
)
SWINV2 = ContinuousEntry()
