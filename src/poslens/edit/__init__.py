"""Act on positions: a table in fewer numbers, a longer context, and what either costs.

`poslens.compress` and `poslens.extend` are the ways in. The room's parts, in the order in which
they are used: methods (`compression`, `extension`, `rope`) turn rows into rows and know NumPy and
SciPy only; `scoring` runs a model with each variant (torch and transformers, imported when a model
is asked for); `results` holds what was found; `writing` writes a checkpoint that transformers
loads. Names are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poslens.edit.compression import Compressor, compressor
    from poslens.edit.extension import extended
    from poslens.edit.record import compression_record, extension_record
    from poslens.edit.results import Candidate, Compression, Extension, Recommendation, Tried
    from poslens.edit.scores import Drift, Scores
    from poslens.edit.written import write_compressed, write_extended

__all__ = [
    "Candidate",
    "Compression",
    "Compressor",
    "Drift",
    "Extension",
    "Recommendation",
    "Scores",
    "Tried",
    "compression_record",
    "compressor",
    "extended",
    "extension_record",
    "write_compressed",
    "write_extended",
]

_HOMES = {
    "Candidate": "results",
    "Compression": "results",
    "Compressor": "compression",
    "Drift": "scores",
    "Extension": "results",
    "Recommendation": "results",
    "Scores": "scores",
    "Tried": "results",
    "compression_record": "record",
    "compressor": "compression",
    "extended": "extension",
    "extension_record": "record",
    "write_compressed": "written",
    "write_extended": "written",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'poslens.edit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"poslens.edit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
