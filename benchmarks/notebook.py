"""The usual notebook on a position table, as functions: the peer that PosLens is timed against.

It is what a researcher writes today with scikit-learn, SciPy and matplotlib: whole matrices of
cosines, a library PCA, a library regression. It is meant as a fair peer, vectorised throughout,
and it imports nothing of PosLens.

    python benchmarks/notebook.py table.npy --plots DIR

loads a table, measures it, prints the numbers and draws the four usual plots.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from scipy.optimize import curve_fit
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import cosine_similarity

mpl.use("Agg")
import matplotlib.pyplot as plt


def measure(table: np.ndarray) -> dict[str, Any]:
    """Return the notebook's numbers under the names that PosLens gives them."""
    return measure_and_keep(table)[0]


def measure_and_keep(table: np.ndarray) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Measure, and keep the arrays that the plots need, as the cells of a notebook do."""
    length = len(table)
    positions = np.arange(length)

    norms = np.linalg.norm(table, axis=1)

    similarity = cosine_similarity(table)
    profile = np.array([np.diagonal(similarity, k).mean() for k in range(length)])

    lags = np.arange(length // 2 + 1)
    # The default tolerances leave the rate good to 1e-5; these let results be compared to 1e-6.
    (rate,), _ = curve_fit(
        lambda k, alpha: np.exp(-alpha * k),
        lags,
        profile[lags],
        p0=[0.01],
        bounds=(0, np.inf),
        ftol=1e-14,
        xtol=1e-14,
        gtol=1e-14,
    )
    exp_r2 = r2_score(profile[lags], np.exp(-rate * lags))

    between_differences = cosine_similarity(np.diff(table, axis=0))

    pca = PCA()
    scores = pca.fit_transform(table)
    explained = pca.explained_variance_ratio_

    line = LinearRegression().fit(positions[:, None], table)
    # One R² for the whole table: residual over total variation, all dimensions together.
    linear_r2 = r2_score(table, line.predict(positions[:, None]), multioutput="variance_weighted")

    measures = {
        "norm.mean": norms.mean(),
        "norm.cv": norms.std() / norms.mean(),
        "cosine.profile": profile,
        "cosine.decay_rate": rate,
        "cosine.exp_r2": exp_r2,
        "difference.parallel": np.diagonal(between_differences, 1).mean(),
        "pca.explained": explained,
        "pca.n80": int(np.argmax(np.cumsum(explained) >= 0.8)) + 1,
        "pca.pc1_index_correlation": abs(np.corrcoef(positions, scores[:, 0])[0, 1]),
        "trajectory.linear_r2": linear_r2,
    }
    return measures, {"norms": norms, "similarity": similarity, "scores": scores}


def plot(measures: dict[str, Any], kept: dict[str, np.ndarray], folder: Path) -> None:
    """Draw norms, the cosine heatmap, the first two components and the scree, as PNG files."""
    positions = np.arange(len(kept["norms"]))

    fig, ax = plt.subplots()
    ax.plot(positions, kept["norms"])
    ax.set(xlabel="position", ylabel="norm", title="Norms")
    _save(fig, folder / "norms.png")

    fig, ax = plt.subplots()
    image = ax.imshow(kept["similarity"], cmap="RdBu_r", vmin=-1, vmax=1)
    fig.colorbar(image, label="cosine")
    ax.set(xlabel="position", ylabel="position", title="Cosine similarity")
    _save(fig, folder / "cosine.png")

    fig, ax = plt.subplots()
    points = ax.scatter(kept["scores"][:, 0], kept["scores"][:, 1], c=positions, s=8)
    fig.colorbar(points, label="position")
    ax.set(xlabel="PC1", ylabel="PC2", title="Principal components")
    _save(fig, folder / "pca.png")

    fig, ax = plt.subplots()
    ax.plot(np.cumsum(measures["pca.explained"])[:50], marker=".")
    ax.axhline(0.8, ls=":")
    ax.set(xlabel="component", ylabel="share of variance, running sum", title="Scree")
    _save(fig, folder / "scree.png")


def _save(fig: plt.Figure, path: Path) -> None:
    fig.tight_layout()
    fig.savefig(path)
    plt.close(fig)


def main() -> None:
    """Load a table, measure it, print the numbers, draw the plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="an .npy file of position rows")
    parser.add_argument("--plots", type=Path, default=Path(), help="folder for the PNG files")
    arguments = parser.parse_args()

    table = np.load(arguments.table, allow_pickle=False).astype(np.float64)
    measures, kept = measure_and_keep(table)
    for name, value in measures.items():
        if np.ndim(value) == 0:
            print(f"{name:28} {value:.6g}")
    arguments.plots.mkdir(parents=True, exist_ok=True)
    plot(measures, kept, arguments.plots)


if __name__ == "__main__":
    main()
