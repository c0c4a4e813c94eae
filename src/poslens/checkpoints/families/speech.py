"""Speech models, beside Whisper: a convolution for positions, or tables that are computed.

Checked against transformers 5.23; the tests compare every entry with the model's own modules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from poslens.checkpoints.config import Config
from poslens.checkpoints.families.added import rows_up_to_padding
from poslens.checkpoints.families.biased import BucketedEntry, Stack, matching
from poslens.checkpoints.families.computed import after_padding, computed, root_of_width
from poslens.checkpoints.families.entry import Family, Part
from poslens.checkpoints.schemes import Convolution
from poslens.checkpoints.tensors import Tensors


@dataclass(frozen=True)
class ConvolutionEntry:
    """The convolution of wav2vec 2.0 (Baevski et al. 2020, section 2) as one family uses it.

    Attributes
    ----------
    width, width_key
        Frames of a kernel where the config is silent, and its key for them.
    depth, depth_key
        Convolutions one after the other, and the config's key for them; None where there is one.
    """

    width: int = 128
    width_key: str = "num_conv_pos_embeddings"
    depth: int = 1
    depth_key: str | None = None

    @property
    def label(self) -> str:
        """Convolution."""
        return "convolution (not a table)"

    @property
    def where(self) -> str:
        """The kernels, however they are normalised."""
        layer = "layers.N." if self.depth_key else ""
        return (
            f"`encoder.pos_conv_embed.{layer}conv.weight`, or its parts under weight normalisation"
        )

    def acting(self, config: Config, tensors: Tensors) -> Iterable[Convolution]:
        """Return the convolution.

        Raises
        ------
        SourceError
            If a value of the config has the wrong type, or contradicts a tensor's shape.
        """
        record = Convolution(
            width=config.count(self.width, self.width_key),
            groups=config.count(16, "num_conv_pos_embedding_groups"),
            depth=config.count(self.depth, self.depth_key) if self.depth_key else 1,
        )
        kernels = matching(
            tensors,
            r"pos_conv_embed\.(?:layers\.[0-9]+\.)?conv\."
            r"(?:weight|weight_v|parametrizations\.weight\.original1)",
        )
        for name in kernels:
            shape = tensors.entry(name).shape
            if len(shape) != 3 or shape[0] != record.groups * shape[1] or shape[2] != record.width:
                raise config.contradiction(
                    f"tensor {tensors.entry(name)} does not fit the values",
                    f"a kernel of {record.width} frames in {record.groups} groups",
                    f"shape {shape}",
                )
        return [record]


def _computed(stack: str, length: int) -> Part:
    source = "source" if stack == "encoder" else "target"
    return Part(
        name=stack,
        position=(f"{stack}.embed_positions.weights",),
        prefixes=("", "model."),
        tokens=(f"{stack}.embed_tokens.weight",) if stack == "decoder" else (),
        norms=lambda _: ((f"{stack}.layers.0.self_attn_layer_norm.weight",),),
        offset=rows_up_to_padding,
        scheme=lambda _: "sinusoidal",
        token_factor=root_of_width("scale_embedding", True),
        formula=computed(after_padding, length, 256, (f"max_{source}_positions",)),
    )


CONVOLUTION = ConvolutionEntry()
DATA2VEC_AUDIO = ConvolutionEntry(
    width=19, width_key="conv_pos_kernel_size", depth=5, depth_key="num_conv_pos_embeddings"
)
WAVLM = BucketedEntry(
    (Stack(r"encoder\.layers\.0\.attention\.rel_attn_embed\.weight", bidirectional=True),),
    heads=12,
    heads_keys=("num_attention_heads",),
    max_distance_keys=("max_bucket_distance",),
    buckets=320,
    max_distance=800,
    buckets_keys=("num_buckets",),
    gated=True,
    where="`encoder.layers.0.attention.rel_attn_embed.weight`",
)

FAMILIES: dict[str, Family] = {
    "data2vec-audio": Family(mechanisms=(DATA2VEC_AUDIO,), context=()),
    "hubert": Family(mechanisms=(CONVOLUTION,), context=()),
    "speech_to_text": Family(
        (_computed("encoder", 6000), _computed("decoder", 1024)),
        context=("max_target_positions",),
    ),
    "unispeech": Family(mechanisms=(CONVOLUTION,), context=()),
    "unispeech-sat": Family(mechanisms=(CONVOLUTION,), context=()),
    "wav2vec2": Family(mechanisms=(CONVOLUTION,), context=()),
    "wavlm": Family(mechanisms=(CONVOLUTION, WAVLM), context=()),
}
