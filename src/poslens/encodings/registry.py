"""Every scheme by its name, and every scaling of RoPE by its own.

Adding a scheme is one module and one line here: its encoding string follows from its builder's
signature.
"""

from __future__ import annotations

from collections.abc import Callable

from poslens.encodings.alibi import Alibi
from poslens.encodings.deberta import Deberta
from poslens.encodings.learned import Learned
from poslens.encodings.nope import Nope
from poslens.encodings.protocol import Encoding
from poslens.encodings.rope import Rope
from poslens.encodings.rope_per_plane import Llama3, LongRope, Yarn
from poslens.encodings.rope_scaling import Dynamic, Linear, Proportional, Scaling, Unscaled
from poslens.encodings.shaw import Shaw
from poslens.encodings.sinusoids import Concatenated, Sinusoidal, Whisper
from poslens.encodings.t5 import T5

ENCODINGS: dict[str, type[Encoding]] = {
    scheme.name: scheme
    for scheme in (
        Sinusoidal,
        Concatenated,
        Whisper,
        Learned,
        Rope,
        Alibi,
        T5,
        Shaw,
        Deberta,
        Nope,
    )
}

SCALINGS: dict[str, type[Scaling]] = {
    scaling.rope_type: scaling
    for scaling in (Unscaled, Linear, Dynamic, Yarn, LongRope, Llama3, Proportional)
}


def builder(name: str) -> Callable[..., Encoding]:
    """Return what builds a scheme from numbers and words alone.

    That is its ``drawn`` where it owns trained numbers, which are then as before training.
    """
    scheme = ENCODINGS[name]
    build: Callable[..., Encoding] = getattr(scheme, "drawn", scheme)
    return build
