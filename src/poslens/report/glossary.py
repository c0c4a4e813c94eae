"""What each measure means, in a few words, and the groups in which they are shown."""

from __future__ import annotations

from collections.abc import Mapping

# By the first part of a measure's name, in the order of the page.
GROUPS: Mapping[str, str] = {
    "norm": "Norms",
    "cosine": "Cosine similarity",
    "difference": "Differences",
    "trajectory": "Trajectory",
    "pca": "Principal components",
    "shift": "Shift",
    "probe": "Probes",
    "tokens": "Beside the tokens",
}

MEANINGS: Mapping[str, str] = {
    "norm.mean": "mean length of a row",
    "norm.cv": "standard deviation of the lengths ÷ their mean",
    "norm.outlier_rows": "rows over six scaled median deviations from the median",
    "norm.first_ratio": "first row ÷ median row",
    "norm.tail_ratio": "last twentieth of the rows ÷ median row",
    "norm.token_ratio": "median position ÷ median token",
    "cosine.adjacent": "mean cosine of neighbours",
    "cosine.centered_adjacent": "the same with the mean row removed",
    "cosine.offset_share": "share of squared length in an offset that all rows share",
    "cosine.half_lag": "distance at which the mean cosine is first at most 0.5",
    "cosine.monotonicity": "Spearman correlation of distance and mean cosine",
    "cosine.decay_rate": "rate of the best exponential, per position",
    "cosine.exp_r2": "how well that exponential fits",
    "cosine.best_family": "family of curves with the lowest AICc",
    "difference.parallel": "mean cosine of successive differences",
    "difference.parallel_at": "the same by stride",
    "trajectory.straightness": "distance of the ends ÷ length of the path",
    "trajectory.linear_r2": "share of the variance on a straight line",
    "trajectory.helix_r2": "share of the variance on the best helix",
    "trajectory.turns": "turns of that helix",
    "trajectory.roughness": "von Neumann ratio: 0 smooth, 1 unordered",
    "trajectory.noise_share": "share of the variance that is rough noise",
    "pca.n80": "components for 80 % of the variance",
    "pca.n95": "components for 95 % of the variance",
    "pca.participation_ratio": "effective number of components",
    "pca.stable_rank": "total variance ÷ that of the first component",
    "pca.pc1_index_correlation": "correlation of the first component with position, |r|",
    "pca.best_index_correlation": "the largest such |r| of ten components",
    "pca.best_index_component": "which component has it",
    "shift.rotation_r2": "held-out R² of one rotation, by shift",
    "shift.r2": "held-out R² of one linear map, by shift",
    "shift.rank": "rank of that map, by shift",
    "probe.position_mae": "mean error of a linear probe for the position",
    "probe.order_error": "error rate of a probe for the order of two positions",
    "tokens.subspace_overlap": "overlap of leading position and token directions",
    "tokens.subspace_overlap_chance": "the overlap that chance gives",
}

# Shown as figures; a list of a thousand numbers says nothing in a table.
DRAWN = frozenset({"cosine.profile", "cosine.centered_profile", "pca.explained"})
