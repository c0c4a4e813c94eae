"""The positional kernel: the part of a logit that positions alone decide, per head.

Two kinds of kernel, one set of measures (`kernel.*`, docs/measures.md): products q_t·k_s of an
added table's queries and keys (`factored_kernel`), and functions f(s - t) of distance, such as
ALiBi's (`relative_kernel`). Neither makes the L×L matrix. This room knows NumPy and SciPy, no
files.
"""

from poslens.attention.bands import Bands, HeadMeans, rope_bands
from poslens.attention.combined import with_relative
from poslens.attention.factored import factored_sums
from poslens.attention.kernel import (
    KernelMeasures,
    factored_kernel,
    measures_of_sums,
    relative_kernel,
)
from poslens.attention.pairs import at_pairs
from poslens.attention.permuted import permuted_shares
from poslens.attention.picture import KernelPicture, kernel_picture, relative_picture
from poslens.attention.sums import offsets
from poslens.attention.terms import TERMS, LogitParts, Split, TermSums, term_logits, term_sums

__all__ = [
    "TERMS",
    "Bands",
    "HeadMeans",
    "KernelMeasures",
    "KernelPicture",
    "LogitParts",
    "Split",
    "TermSums",
    "at_pairs",
    "factored_kernel",
    "factored_sums",
    "kernel_picture",
    "measures_of_sums",
    "offsets",
    "permuted_shares",
    "relative_kernel",
    "relative_picture",
    "rope_bands",
    "term_logits",
    "term_sums",
    "with_relative",
]
