"""The positional kernel: the part of a logit that positions alone decide, per head.

Two kinds of kernel, one set of measures (`kernel.*`, docs/measures.md): products q_t·k_s of an
added table's queries and keys (`factored_kernel`), and functions f(s - t) of distance, such as
ALiBi's (`relative_kernel`). Neither makes the L×L matrix. This room knows NumPy and SciPy, no
files.
"""

from poslens.attention.bands import Bands, rope_bands
from poslens.attention.kernel import KernelMeasures, factored_kernel, relative_kernel
from poslens.attention.permuted import permuted_shares
from poslens.attention.picture import KernelPicture, kernel_picture
from poslens.attention.sums import offsets

__all__ = [
    "Bands",
    "KernelMeasures",
    "KernelPicture",
    "factored_kernel",
    "kernel_picture",
    "offsets",
    "permuted_shares",
    "relative_kernel",
    "rope_bands",
]
