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
    "kernel": "Positional kernel",
    "attention": "Attention logits",
    "hidden": "Hidden states",
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
    "kernel.relative_share": "share of what varies along a row that distance alone sets, by head",
    "kernel.profile": "mean logit from position at each offset, by head",
    "kernel.distance_part": "the same without what is constant along rows",
    "kernel.half_distance": "distance at which the profile has lost half its range, by head",
    "kernel.symmetry": "share of the profile that is the same on both sides, by head",
    "kernel.peak_offset": "offset of the key that position favours most, by head",
    "kernel.wavelength": "positions in which a plane of the rotation turns once",
    "kernel.band_energy": "what each plane adds to the variance of the logits, by head",
    "kernel.context": "positions of the longest text that the model takes",
    "attention.share.content_content": "share of what varies along a row of logits that comes from "
    "content alone, by layer and head",
    "attention.share.position_position": "the same from position alone",
    "attention.share.content_position": "the same from the query's content and the key's position",
    "attention.share.position_content": "the same from the query's position and the key's content",
    "attention.share.bias": "the same from biases and other constant parts",
    "attention.reconstruction_error": "largest difference of the terms' sum from a logit ÷ "
    "standard deviation of the logits",
    "hidden.share.pos": "share of the variance that position alone holds, by layer",
    "hidden.share.ctx": "the same of the text that is read",
    "hidden.share.resid": "the same of what neither explains",
    "hidden.stable_rank": "total variance of the position part ÷ that of its first component, "
    "by layer",
    "hidden.relative_norm": "spectral norm of the position part ÷ that of mean, position and text, "
    "by layer",
    "hidden.incoherence": "largest |cosine| of a position part and a text part, by layer",
}

# Shown as figures; a list of a thousand numbers says nothing in a table.
DRAWN = frozenset(
    {
        "cosine.profile",
        "cosine.centered_profile",
        "pca.explained",
        "kernel.profile",
        "kernel.distance_part",
        "kernel.wavelength",
        "kernel.band_energy",
        "attention.share.content_content",
        "attention.share.position_position",
        "attention.share.content_position",
        "attention.share.position_content",
        "attention.share.bias",
        "hidden.share.pos",
        "hidden.share.ctx",
        "hidden.share.resid",
        "hidden.stable_rank",
        "hidden.relative_norm",
        "hidden.incoherence",
    }
)
