"""One line for people about each claim's value: what the number means on this table."""

from __future__ import annotations

import numpy as np

from poslens.claims.evidence import Evidence, NotApplicableError
from poslens.geometry.frequencies import pair_frequencies


def nothing(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """No reading: the claim says why it does not apply."""
    return ""


def frequencies(evidence: Evidence, value: float) -> str:
    """How many pairs of dimensions are pure waves, and from which frequency to which."""
    found = pair_frequencies(evidence.raw)
    pure = int((found.impurity <= 1e-3).sum())
    if pure < found.values.size or value > 0.5:
        return f"{pure} of {found.values.size} dimension pairs are one pure frequency"
    first, last = found.values[0], found.values[-1]
    return f"{pure} {found.layout} pairs, from {first:.3g} to {last:.3g} rad per position"


def shift(evidence: Evidence, value: float) -> str:
    """Which shift is worst, and how well any linear map does there."""
    scores = evidence.measures.values["shift.rotation_r2"]
    worst = next(k for k, score in scores.items() if score == value)
    linear = (evidence.measures.values["shift.r2"] or {}).get(worst)
    any_map = f"; any linear map R² {linear:.3g}" if linear is not None else ""
    tested = "/".join(scores)
    return f"worst of k = {tested} is k = {worst}: rotation R² {value:.3g}{any_map}"


def parameters(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """Where the table comes from."""
    return "the table is a fixed formula"


def untrained(evidence: Evidence, value: float) -> str:
    """How many rows look fresh."""
    count = round(value * evidence.raw.shape[0])
    return f"{count} of {evidence.raw.shape[0]} rows still look like N(0, {evidence.init_std:g}²)"


def norm_cv(evidence: Evidence, value: float) -> str:
    """Spread of the norms, and the outliers that make it."""
    outliers = evidence.measures.values["norm.outlier_rows"]
    named = ", ".join(str(row) for row in outliers[:3]) + (" …" if len(outliers) > 3 else "")
    extra = (
        f"; {len(outliers)} outlier row{'s' * (len(outliers) != 1)}: {named}" if outliers else ""
    )
    return f"norms scatter by {value:.2g} of their mean{extra}"


def tail(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """The end of the table beside the rest."""
    return f"the last 5 % of rows are {value:.3g}× as long as the median row"


def token_ratio(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """Positions beside tokens."""
    return f"the median position is {value:.3g}× as long as the median token"


def neighbours(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """How much of the similarity is an offset that all rows share."""
    values = evidence.measures.values
    centered = values["cosine.centered_adjacent"]
    about = f", about the mean row {centered:.3g}" if centered is not None else ""
    return f"offset common to all rows: {values['cosine.offset_share']:.0%}{about}"


def decays(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """Where the similarity has halved, and whether it comes back."""
    values = evidence.measures.values
    profile, half = values["cosine.profile"], values["cosine.half_lag"]
    length = len(profile)
    if half >= length:
        return f"the cosine stays above 0.5 at every distance (lowest {min(profile):.2g})"
    later = profile[half : length // 2 + 1] or [profile[half]]
    peak = max(later)
    text = f"the cosine is at most 0.5 from distance {half} on"
    if peak > 0.5:
        return f"falls to 0.5 by distance {half}, back at {peak:.2f} at {half + later.index(peak)}"
    return text


def exponential(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """The decay rate and the family that fits best."""
    values = evidence.measures.values
    rate, family = values["cosine.decay_rate"], values["cosine.best_family"]
    decay = f"best rate {rate:.3g} per position" if rate is not None else "no finite rate fits"
    return decay + (f"; best family: {family}" if family else "")


def parallel(evidence: Evidence, value: float) -> str:
    """The stride that noise allows, and what the differences as they are show, and where best."""
    values, found = evidence.measures.values, evidence.differences
    every = values["difference.parallel_at"]
    at = {stride: value for stride, value in every.items() if value is not None}
    best = max(at, key=lambda stride: at[stride])
    sense = "anti-parallel" if value < 0 else "parallel"
    how = "noise at every stride" if found.all_noise else f"at stride {found.stride}, less noise"
    asis = f"as they are: {values['difference.parallel']:.2g}, best stride {best}: {at[best]:.2g}"
    return f"cos {value:.2g} ({sense}; {how}); {asis}"


def linear(evidence: Evidence, value: float) -> str:
    """What a line explains, and what a helix adds."""
    values = evidence.measures.values
    helix, turns = values["trajectory.helix_r2"], values["trajectory.turns"]
    return f"a line explains {value:.0%}, a helix of {turns:g} turns {helix:.0%}"


def pc1(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """The component that follows the index best."""
    values = evidence.measures.values
    best, which = values["pca.best_index_correlation"], values["pca.best_index_component"]
    return f"closest to the index is PC{which}, |r| = {best:.2g}"


def few_components(evidence: Evidence, value: float) -> str:
    """Components for 80 and 95 %."""
    return f"80 % of the variance takes {value:g}, 95 % {evidence.value('pca.n95'):g} components"


def low_dimensional(evidence: Evidence, value: float) -> str:
    """Effective against available dimensions."""
    return f"{value:.3g} effective dimensions of {min(evidence.rows.shape)}"


def noise(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """The rough part of the variance."""
    return f"{value:.2g} of the variance is rough from one row to the next"


def smooth(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """A step beside a step between strangers."""
    return f"squared steps are {value:.2g} of those between random rows"


def order(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """How far two orders of the same tokens are apart, with positions and without."""
    without, with_positions = evidence.kernel.order or (0.0, 0.0)
    left_out = evidence.kernel.left_out
    them = f"the table alone, without {left_out}" if left_out else "them"
    return (
        f"two orders of the same tokens differ by {without:.1g} of the output without positions, "
        f"by {with_positions:.2g} with {them}"
    )


def learns_distance(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """How many heads are mostly functions of distance, and which look at the previous token."""
    shares, peaks = evidence.kernel.shares, evidence.kernel.peaks
    above = sum(share is not None and share >= 0.5 for share in shares)
    previous = [
        head
        for head, (share, peak) in enumerate(zip(shares, peaks, strict=True))
        if peak == -1 and share is not None and share >= 0.5
    ]
    text = f"{above} of {len(shares)} heads are mostly a function of distance"
    return text + (f"; previous-token heads: {', '.join(map(str, previous))}" if previous else "")


def distance_only(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """Over how many heads."""
    known = sum(share is not None for share in evidence.kernel.shares)
    return f"the smallest share over {known} heads"


def four_terms(evidence: Evidence, value: float) -> str:  # noqa: ARG001
    """What the article's four terms leave to the products with constants."""
    try:
        rest = float(np.median(evidence.logits.of_constants()))
    except NotApplicableError:
        return ""
    return (
        f"the largest difference, in standard deviations of the logits; beside the four terms, "
        f"products with constants hold {rest:.0%} of the variance in the median head"
    )


def position_contributes(evidence: Evidence, value: float) -> str:
    """The heads with most and with least, what was taken off, and on which tokens."""
    logits, chance = evidence.logits, evidence.logits.by_chance()
    shares = logits.of_position() - chance
    span = f"{shares.min():z.0%} to {shares.max():z.0%} over {shares.size} heads"
    less = (
        f", less {np.median(chance):.2g} that {logits.averaged} contexts show by chance"
        if logits.averaged is not None
        else ""
    )
    return f"{value:z.0%} of the variance in the median head, {span}{less}; {logits.tokens}"
