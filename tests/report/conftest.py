"""A study made by hand, so that what the report shows is tested apart from what measures it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from poslens.checkpoints.table import Source
from poslens.claims.claim import Claim, Verdict
from poslens.study import Labelled, Settings, Study

QUANTILES = np.array([0.05, 0.5, 0.95])
MakeStudy = Callable[..., Study]


def _band(middle: np.ndarray, axis: str, at: np.ndarray, half: float = 0.02) -> Labelled:
    values = np.stack([middle - half, middle, middle + half])
    return Labelled(("quantile", axis), values, {"quantile": QUANTILES, axis: at})


def _made(length: int = 64, dim: int = 12, *, nulls: int = 99, first: int = 0) -> Study:
    """A smooth noisy curve, and plausible arrays around it, computed with NumPy alone."""
    rng = np.random.default_rng(length)
    time = np.linspace(0, 1, length)[:, None]
    rows = np.cos(2 * np.pi * time * np.arange(1, 4) + np.arange(3)) @ rng.standard_normal((3, dim))
    rows = rows + 1.0 + 0.05 * rng.standard_normal((length, dim))
    norms = np.linalg.norm(rows, axis=1)
    matrix = (rows / norms[:, None]) @ (rows / norms[:, None]).T
    profile = np.array([np.diagonal(matrix, k).mean() for k in range(length)])
    centred = rows - rows.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    explained = s**2 / (s**2).sum()
    shown = min(3, s.size)
    scores = (u * s)[:, :shown]
    line = np.stack([np.polyval(np.polyfit(time[:, 0], c, 1), time[:, 0]) for c in scores.T], 1)
    position, lag = first + np.arange(length), np.arange(length)
    fit_lag = np.arange(length // 2 + 1)
    stride = 2 ** np.arange(max(1, int(np.log2(max(2, (length - 1) // 2)))))
    parallel = np.cos(np.linspace(0.5, 2.5, stride.size))
    shift = np.array([k for k in (1, 8, 64) if length > 4 * k], dtype=int)
    components = 1 + np.arange(s.size)
    in_space = {"position": position, "component": 1 + np.arange(shown)}
    families = np.array(["exponential", "exponential+floor", "power", "damped_cosine", "linear"])
    data = {
        "norm.row": Labelled(("position",), norms, {"position": position}),
        "cosine.matrix": Labelled(
            ("block", "key_block"), matrix, {"block": position, "key_block": position}
        ),
        "cosine.profile": Labelled(("lag",), profile, {"lag": lag}),
        "cosine.centered_profile": Labelled(("lag",), profile - 0.3, {"lag": lag}),
        "cosine.fit": Labelled(
            ("family", "fit_lag"),
            np.exp(-np.outer(0.02 * np.arange(1, 6), fit_lag)),
            {"family": families, "fit_lag": fit_lag},
        ),
        "difference.parallel_at": Labelled(("stride",), parallel, {"stride": stride}),
        "trajectory.scores": Labelled(("position", "component"), scores, in_space),
        "trajectory.linear_fit": Labelled(("position", "component"), line, in_space),
        "trajectory.helix_fit": Labelled(("position", "component"), 0.9 * scores, in_space),
        "trajectory.helix_r2": Labelled(
            ("turns",), np.array([0.2, 0.6, 0.3]), {"turns": np.array([0.25, 0.375, 0.5])}
        ),
        "pca.explained": Labelled(("component",), explained, {"component": components}),
        "shift.rotation_r2": Labelled(("shift",), 0.9 / (1 + shift), {"shift": shift}),
        "shift.r2": Labelled(("shift",), 0.95 - 0.001 * shift, {"shift": shift}),
        "shift.rank": Labelled(("shift",), 2.0 + 0 * shift, {"shift": shift}),
    }
    if nulls:
        data |= {
            "norm.null_gaussian": Labelled(
                ("quantile",), np.array([3.0, 3.5, 4.0]), {"quantile": QUANTILES}
            ),
            "cosine.null_permutation": _band(0.1 + 0 * fit_lag, "fit_lag", fit_lag),
            "difference.null_permutation": _band(-0.5 + 0 * parallel, "stride", stride),
            "pca.null_surrogate": _band(
                explained[: min(5, s.size)] / 2, "leading_component", components[:5]
            ),
            "shift.null_random_walk": _band(0.99 + 0.0 * shift, "shift", shift, 0.005),
        }
    if shift.size == 0:
        data = {name: array for name, array in data.items() if not name.startswith("shift.")}
    cumulative = np.cumsum(explained)
    measures = {
        "norm.mean": float(norms.mean()),
        "norm.cv": float(norms.std() / norms.mean()),
        "norm.outlier_rows": [1],
        "cosine.profile": profile.tolist(),
        "cosine.adjacent": float(profile[1]),
        "cosine.half_lag": length,
        "cosine.offset_share": 0.25,
        "cosine.centered_adjacent": float(profile[1]) - 0.3,
        "cosine.exp_r2": 0.31,
        "cosine.best_family": "damped_cosine",
        "difference.parallel_at": dict(zip(map(str, stride), parallel.tolist(), strict=True)),
        "trajectory.straightness": 0.04,
        "trajectory.linear_r2": 0.12,
        "trajectory.helix_r2": 0.6,
        "trajectory.turns": 0.375,
        "trajectory.roughness": 0.11,
        "pca.explained": explained.tolist(),
        "pca.n80": int(np.searchsorted(cumulative, 0.8)) + 1,
        "pca.n95": int(np.searchsorted(cumulative, 0.95)) + 1,
        "pca.participation_ratio": 3.21,
        "shift.rank": {"1": 2},
        "tokens.subspace_overlap": None,
    }
    return Study(
        source=Source(
            uri="some/folder/of/a-model",
            revision=None,
            tensor="wpe.weight",
            family="gpt2",
            scheme="learned",
            row_offset=0,
            dtype="float32",
            sha256="ab" * 32,
            bytes_read=4 * length * dim,
        ),
        length=length,
        dim=dim,
        measures=measures,
        claims=_CLAIMS if nulls else tuple(_without_null(claim) for claim in _CLAIMS),
        settings=Settings(nulls=nulls, seed=3, bars={"norm.stable": 0.15}),
        data=data,
        undefined={
            "tokens.subspace_overlap": "the source has no token table",
            "shift.rotation_r2": f"needs more than 4 rows, got {length}",
        },
        versions={"poslens": "0.1.0", "numpy": "2.4.6"},
    )


_CLAIMS = (
    Claim(
        "sinusoid.no_parameters",
        "2.1",
        "The encoding needs no learned parameters",
        Verdict.NOT_APPLICABLE,
        None,
        "<= 0",
        note="this table is learned",
    ),
    Claim(
        "norm.stable",
        "3.1",
        "The norm is about the same at every position",
        Verdict.INCONCLUSIVE,
        0.1504,
        "<= 0.15",
        (0.1313, 0.1702),
        note="norms scatter by 0.15 of their mean",
    ),
    Claim(
        "cosine.neighbours_alike",
        "3.2",
        "Neighbouring positions are similar",
        Verdict.SUPPORTED,
        0.98765,
        ">= 0.7",
        (0.981, 0.992),
        "permutation",
        0.01,
        "offset common to all rows: 25%",
    ),
    Claim(
        "trajectory.linear",
        "4, 8.1",
        "Positions lie along a straight line",
        Verdict.CONTRADICTED,
        0.12,
        ">= 0.9",
        None,
        "random_walk",
        1.0,
        "a line explains 12%; a random walk comes closer: 0.58 … 0.64",
    ),
)


def _without_null(claim: Claim) -> Claim:
    return Claim(claim.id, claim.section, claim.statement, claim.verdict, claim.value, claim.bar)


@pytest.fixture(scope="session")
def make_study() -> MakeStudy:
    """Build a study of a given ``length``, ``dim``, ``nulls`` and ``first`` position."""
    return _made
