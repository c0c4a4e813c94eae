"""What is known of a model's positional kernels, or why nothing is."""

from __future__ import annotations

from dataclasses import dataclass

from poslens.attention import Bands, KernelMeasures, KernelPicture
from poslens.axes import Keys, PerPlane, Queries


@dataclass(frozen=True, eq=False)
class Factors:
    """Queries and keys of an added table, for null models.

    Attributes
    ----------
    queries, keys
        What positions alone give, shapes (head, position, d_head) and (key_head, position,
        d_head); the model's scale is in the queries.
    """

    queries: Queries
    keys: Keys


@dataclass(frozen=True, eq=False)
class Kernels:
    """The positional kernels of one model.

    Attributes
    ----------
    layers
        The layers that `measures` are of; the first alone where all have the same.
    measures
        One for each of these layers; empty where the kernel is not known, and `reason` says why.
    picture
        The first layer's kernels, averaged over blocks.
    relative
        Whether the scheme is a function of distance by construction.
    factors
        Of an added table; None for the others.
    wavelengths
        Of RoPE: what a rotation is called, and the wavelength of each of its planes, in positions.
    bands
        Of RoPE, at the first layer that rotates; None where mean queries and keys are not known.
    context
        The longest sequence that the model was made for; None where nothing says it.
    order
        How far the first block's attention is from not telling the order of its tokens, without
        positions and with them (`poslens.kernels.order`); None where it cannot be read.
    order_reason
        Why it cannot.
    reason
        Why there are no measures.
    note
        What was assumed.
    left_out
        What else acts by position in these layers and is in neither `measures` nor `order`, in
        one line; '' for nothing.
    """

    layers: tuple[int, ...] = ()
    measures: tuple[KernelMeasures, ...] = ()
    picture: KernelPicture | None = None
    relative: bool = False
    factors: Factors | None = None
    wavelengths: tuple[tuple[str, PerPlane], ...] = ()
    bands: Bands | None = None
    context: int | None = None
    order: tuple[float, float] | None = None
    order_reason: str = ""
    reason: str = ""
    note: str = ""
    left_out: str = ""
