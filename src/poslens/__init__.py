"""PosLens: how does this model know where a token is?

Public names are imported when first used, so that ``import poslens`` costs almost nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from poslens._version import __version__

if TYPE_CHECKING:
    from poslens import claims, edit, encodings, errors, geometry, lab, nulls
    from poslens.analysis import analyze
    from poslens.checkpoints import Description, PositionTable, describe, load_table
    from poslens.claims import Claim, Verdict
    from poslens.comparison import Comparison, compare
    from poslens.edit.compress import compress
    from poslens.edit.extend import extend
    from poslens.errors import PosLensError
    from poslens.netcdf import open_study
    from poslens.study import Study

__all__ = [
    "Claim",
    "Comparison",
    "Description",
    "PosLensError",
    "PositionTable",
    "Study",
    "Verdict",
    "__version__",
    "analyze",
    "claims",
    "compare",
    "compress",
    "describe",
    "edit",
    "encodings",
    "errors",
    "extend",
    "geometry",
    "lab",
    "load_table",
    "nulls",
    "open_study",
]

_HOMES = {
    "Claim": "poslens.claims",
    "Comparison": "poslens.comparison",
    "Description": "poslens.checkpoints",
    "PosLensError": "poslens.errors",
    "PositionTable": "poslens.checkpoints",
    "Study": "poslens.study",
    "Verdict": "poslens.claims",
    "analyze": "poslens.analysis",
    "compare": "poslens.comparison",
    "compress": "poslens.edit.compress",
    "describe": "poslens.checkpoints",
    "extend": "poslens.edit.extend",
    "load_table": "poslens.checkpoints",
    "open_study": "poslens.netcdf",
}
_ROOMS = {"claims", "edit", "encodings", "errors", "geometry", "lab", "nulls"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"poslens.{name}")
    raise AttributeError(f"module 'poslens' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
