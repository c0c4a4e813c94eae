"""The figures of a study. Each function takes a `poslens.study.Study` and returns a `Figure`.

>>> from poslens.report import figures
>>> [draw.__name__ for draw in figures.FIGURES][:2]
['row_norms', 'cosine_heatmap']
"""

from __future__ import annotations

from collections.abc import Callable

from poslens.report.figures.components import scree
from poslens.report.figures.cosine import cosine_heatmap, lag_profile
from poslens.report.figures.difference import parallelism
from poslens.report.figures.drawing import Figure
from poslens.report.figures.heads import head_map
from poslens.report.figures.kernel import kernel_heads
from poslens.report.figures.layered_paths import layered_paths
from poslens.report.figures.norms import row_norms
from poslens.report.figures.one_head import one_head
from poslens.report.figures.profiles import kernel_profiles
from poslens.report.figures.rotation import wavelengths
from poslens.report.figures.shares import share_map, share_stack
from poslens.report.figures.shift import shift
from poslens.report.figures.states import hidden_states
from poslens.report.figures.trajectory import line_and_helix, trajectory
from poslens.study import Study

__all__ = [
    "FIGURES",
    "Figure",
    "cosine_heatmap",
    "head_map",
    "hidden_states",
    "kernel_heads",
    "kernel_profiles",
    "lag_profile",
    "layered_paths",
    "line_and_helix",
    "one_head",
    "parallelism",
    "row_norms",
    "scree",
    "share_map",
    "share_stack",
    "shift",
    "trajectory",
    "wavelengths",
]

# In the order in which a page shows them.
FIGURES: tuple[Callable[[Study], Figure], ...] = (
    row_norms,
    cosine_heatmap,
    lag_profile,
    parallelism,
    trajectory,
    line_and_helix,
    scree,
    shift,
    kernel_heads,
    kernel_profiles,
    head_map,
    wavelengths,
    share_map,
    share_stack,
    one_head,
    hidden_states,
    layered_paths,
)
