"""Every measure of one table at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from poslens.axes import PerLag, Rows
from poslens.errors import UndefinedMeasureError
from poslens.geometry import cosine, cosine_fits, difference, norms, probes, shift, trajectory
from poslens.geometry.components import Components, measures, principal_components
from poslens.geometry.cosine_fits import Fit
from poslens.geometry.tokens import TokenGeometry, norm_ratio, overlap_measures
from poslens.geometry.validate import check_rows
from poslens.parallel import in_threads

NO_TOKENS = "there is no token table of the same width"


@dataclass
class TableMeasures:
    """The measures of one table, and what was computed on the way.

    Attributes
    ----------
    values
        Each measure by its contract name: a float, an int, a string, a list (by lag or component,
        or row numbers) or a mapping (from a stride or shift, as text). None where undefined.
    undefined
        Why, for each measure that is None.
    profile, fits, components
        The cosine profile, the curves fitted to it and the principal components; None where they
        are undefined.
    """

    values: dict[str, Any] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    profile: PerLag | None = None
    fits: list[Fit] = field(default_factory=list)
    components: Components | None = None

    def add(self, names: tuple[str, ...], compute: Callable[[], Mapping[str, Any]]) -> None:
        """Record the measures ``names``; where they are undefined, None and the reason."""
        try:
            found = compute()
        except UndefinedMeasureError as error:
            found = dict.fromkeys(names)
            self.undefined.update(dict.fromkeys(names, str(error)))
        self.values.update({name: found[name] for name in names})


def measures_of_table(
    rows: Rows, tokens: TokenGeometry | None = None, seed: int = 0
) -> TableMeasures:
    """Return every "Geometry of a table" measure.

    Parameters
    ----------
    rows
        The table in the view to be measured, shape (position, dim).
    tokens
        The token table in the same view; without one the measures that need it are undefined.
    seed
        Of the probes' folds and pairs.

    Raises
    ------
    TableError
        If ``rows`` is no position table: see `poslens.geometry.validate.check_rows`.
    """
    rows = check_rows(rows)
    found = TableMeasures()
    found.add(("norm.mean", "norm.cv", "norm.outlier_rows"), lambda: norms.spread(rows))
    found.add(("norm.first_ratio", "norm.tail_ratio"), lambda: norms.ends(rows))
    found.add(("norm.token_ratio",), lambda: {"norm.token_ratio": norm_ratio(rows, _given(tokens))})
    _add_cosine(found, rows)
    found.add(("difference.parallel",), lambda: {"difference.parallel": difference.parallel(rows)})
    found.add(("difference.parallel_at",), lambda: difference.by_stride(rows))
    _add_components(found, rows, tokens)
    slow: list[tuple[tuple[str, ...], Callable[[], Mapping[str, Any]]]] = [
        (("probe.position_mae", "probe.order_error"), lambda: probes.measures(rows, seed)),
        (("shift.r2", "shift.rank"), lambda: shift.linear_measures(rows)),
        (("shift.rotation_r2",), lambda: shift.rotation_measures(rows)),
        (_TRAJECTORY, lambda: trajectory.measures(rows)),
    ]
    for (names, _), result in zip(slow, in_threads([_tried(c) for _, c in slow]), strict=True):
        found.add(names, result)
    return found


def _tried(
    compute: Callable[[], Mapping[str, Any]],
) -> Callable[[], Callable[[], Mapping[str, Any]]]:
    """Compute now, in a thread, and give back what returns the result or raises its reason."""

    def run() -> Callable[[], Mapping[str, Any]]:
        try:
            value = compute()
        except UndefinedMeasureError as error:
            reason = str(error)

            def undefined() -> Mapping[str, Any]:
                raise UndefinedMeasureError(reason)

            return undefined
        return lambda: value

    return run


def _add_cosine(found: TableMeasures, rows: Rows) -> None:
    try:
        found.profile = cosine.profile(rows)
    except UndefinedMeasureError as error:
        reason = str(error)

        def profile() -> PerLag:
            raise UndefinedMeasureError(reason)
    else:
        known = found.profile
        found.fits = cosine_fits.fit_families(known)

        def profile() -> PerLag:
            return known

    found.add(_COSINE, lambda: cosine.raw_measures(profile()))
    found.add(("cosine.offset_share",), lambda: {"cosine.offset_share": cosine.offset_share(rows)})
    found.add(_CENTERED, lambda: cosine.centered_measures(rows))
    found.add(
        ("cosine.monotonicity",), lambda: {"cosine.monotonicity": cosine.monotonicity(profile())}
    )
    found.add(
        ("cosine.decay_rate", "cosine.exp_r2"), lambda: cosine_fits.exponential_measures(profile())
    )
    rate = found.values["cosine.decay_rate"]
    if rate is None and "cosine.decay_rate" not in found.undefined:
        found.undefined["cosine.decay_rate"] = (
            "no finite decay rate is best: the cosine is not above 0 at lag 1"
        )
    found.add(
        ("cosine.best_family",),
        lambda: {"cosine.best_family": cosine_fits.best_family(_fits(found, profile))},
    )


def _fits(found: TableMeasures, profile: Callable[[], PerLag]) -> list[Fit]:
    cosine_fits.require_decay(profile())
    return found.fits


def _add_components(found: TableMeasures, rows: Rows, tokens: TokenGeometry | None) -> None:
    def parts() -> Components:
        if found.components is None:
            found.components = principal_components(rows)
        return found.components

    found.add(_PCA, lambda: measures(parts()))
    found.add(_OVERLAP, lambda: overlap_measures(parts(), _given(tokens)))


def _given(tokens: TokenGeometry | None) -> TokenGeometry:
    if tokens is None:
        raise UndefinedMeasureError(NO_TOKENS)
    return tokens


_COSINE = ("cosine.profile", "cosine.adjacent", "cosine.half_lag")
_CENTERED = ("cosine.centered_profile", "cosine.centered_adjacent")
_TRAJECTORY = (
    "trajectory.straightness",
    "trajectory.linear_r2",
    "trajectory.helix_r2",
    "trajectory.turns",
    "trajectory.roughness",
    "trajectory.noise_share",
)
_PCA = (
    "pca.explained",
    "pca.n80",
    "pca.n95",
    "pca.participation_ratio",
    "pca.stable_rank",
    "pca.pc1_index_correlation",
    "pca.best_index_correlation",
    "pca.best_index_component",
)
_OVERLAP = ("tokens.subspace_overlap", "tokens.subspace_overlap_chance")
