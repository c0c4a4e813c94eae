"""Positional kernels of models and encodings: files and schemes brought together with the measures.

One picture for every scheme (docs/measures.md): what position alone adds to a logit, per head.
"""

from poslens.kernels.build import kernels_of
from poslens.kernels.result import Factors, Kernels

__all__ = ["Factors", "Kernels", "kernels_of"]
