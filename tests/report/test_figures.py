"""Every figure from a study made by hand: its numbers, its sentence, and what is missing."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
import pytest

from poslens.errors import UndefinedMeasureError
from poslens.report import figures
from poslens.report.figures import FIGURES, Figure, drawing
from poslens.report.html import in_script
from poslens.study import Study

MakeStudy = Callable[..., Study]


def trace(figure: Figure, name: str) -> dict[str, Any]:
    found = [each for each in figure.data if name in str(each.get("name"))]
    assert found, [each.get("name") for each in figure.data]
    return dict(found[-1])


def less(study: Study, *groups: str) -> Study:
    kept = {k: v for k, v in study.data.items() if not k.startswith(groups)}
    return dataclasses.replace(study, data=kept)


@pytest.mark.parametrize(("length", "dim"), [(3, 4), (3, 1), (5, 2), (64, 12), (131, 24)])
@pytest.mark.parametrize("nulls", [0, 99])
def test_every_figure_is_valid_plotly(
    make_study: MakeStudy, length: int, dim: int, nulls: int
) -> None:
    study = make_study(length, dim, nulls=nulls)
    for draw in FIGURES:
        figure = draw(study)
        assert re.fullmatch(r"[a-z-]+", figure.name)
        if figure.missing:
            assert figure.name == "shift" or figure.optional
            continue
        assert figure.reading.endswith(".")
        assert "nan" not in figure.reading
        assert len(figure.plotly().data) == len(figure.data) > 0


def test_no_two_figures_share_a_name(make_study: MakeStudy) -> None:
    names = [draw(make_study()).name for draw in FIGURES]
    assert len(set(names)) == len(FIGURES) == 17


def test_outliers_are_marked_at_their_position(make_study: MakeStudy) -> None:
    study = make_study(first=100)
    figure = figures.row_norms(study)
    marked = trace(figure, "outlier")
    assert marked["x"].tolist() == [101]
    assert marked["y"] == pytest.approx(study.data["norm.row"].values[[1]], rel=1e-6)
    assert "1 row lies far from the median (101)" in figure.reading


def test_a_band_is_the_5_and_95_per_cent_quantiles(make_study: MakeStudy) -> None:
    low, high = figures.row_norms(make_study()).data[:2]
    assert (low["y"].tolist(), high["y"].tolist()) == ([3.0, 3.0], [4.0, 4.0])
    assert high["fill"] == "tonexty"
    low, high = figures.parallelism(make_study()).data[:2]
    assert low["y"] == pytest.approx(-0.52)
    assert high["y"] == pytest.approx(-0.48)


def test_without_null_draws_no_band_is_drawn_or_spoken_of(make_study: MakeStudy) -> None:
    for draw in FIGURES:
        figure = draw(make_study(nulls=0))
        assert not any("5–95" in str(each.get("name")) for each in figure.data)
        assert not re.search("random|Gaussian|phases", figure.reading), figure.reading


def test_the_best_family_stands_out(make_study: MakeStudy) -> None:
    figure = figures.lag_profile(make_study())
    best = trace(figure, "best fit")
    assert best["name"] == "damped cosine (best fit)"
    fitted = [each for each in figure.data if each["line"]["color"] == drawing.MUTED]
    assert len(fitted) == 4
    assert all(each["line"]["width"] < best["line"]["width"] for each in fitted)
    assert len({each["line"]["dash"] for each in fitted}) == 4
    assert "badly (R² 0.310)" in figure.reading


def test_line_and_helix_show_their_r2_and_curves(make_study: MakeStudy) -> None:
    study = make_study()
    figure = figures.line_and_helix(study)
    assert trace(figure, "line, R² 0.120")["legendgroup"]
    helix = [t for t in figure.data if "helix of 0.375 turns, R² 0.600" in t["name"]]
    assert len(helix) == 3
    for index, each in enumerate(helix):
        expected = study.data["trajectory.helix_fit"].values[:, index]
        assert each["y"] == pytest.approx(expected, abs=1e-6)
    assert "fits badly: it explains 12 % of the variance" in figure.reading
    assert "p = 1.000: walks without a plan are usually straighter" in figure.reading


def test_scree_marks_80_and_95_per_cent(make_study: MakeStudy) -> None:
    study = make_study()
    figure = figures.scree(study)
    marked = trace(figure, "80 % and 95 %")
    running = np.cumsum(study.data["pca.explained"].values)
    assert marked["x"].tolist() == [study.measures["pca.n80"], study.measures["pca.n95"]]
    assert marked["y"][0] == pytest.approx(running[marked["x"][0] - 1], rel=1e-6)
    assert marked["y"][0] >= 0.8


def test_shift_says_what_a_random_walk_scores(make_study: MakeStudy) -> None:
    figure = figures.shift(make_study())
    assert trace(figure, "rotation")["x"].tolist() == [1, 8]
    assert "0.450 at k = 1, 0.100 at k = 8" in figure.reading
    assert "scores 0.985 to 0.995 at k = 8, more than this table" in figure.reading


def test_blocks_are_named_in_the_heatmap(make_study: MakeStudy) -> None:
    study = make_study(8, 4)
    matrix = dataclasses.replace(
        study.data["cosine.matrix"], coords={"block": 4 * np.arange(8), "key_block": np.arange(8)}
    )
    blocked = dataclasses.replace(study, data={**study.data, "cosine.matrix": matrix})
    figure = figures.cosine_heatmap(blocked)
    assert figure.reading.startswith("Each cell averages 4 × 4 pairs")
    assert (figure.data[0]["zmin"], figure.data[0]["zmax"]) == (-1, 1)


def test_an_absent_figure_says_why_and_cannot_be_drawn(make_study: MakeStudy) -> None:
    study = dataclasses.replace(
        less(make_study(), "cosine.", "norm."), undefined={"cosine.adjacent": "row 3 is zero"}
    )
    assert figures.cosine_heatmap(study).missing == "row 3 is zero"
    assert figures.row_norms(study).missing == "the study holds no data for it"
    with pytest.raises(UndefinedMeasureError, match="no figure 'lag-profile': row 3 is zero"):
        figures.lag_profile(study).plotly()


def test_names_from_data_are_text_to_plotly(make_study: MakeStudy) -> None:
    study = make_study()
    fit = study.data["cosine.fit"]
    hostile = np.array(['<a href="javascript:x">', "</script>", "<b>", "&amp;", "a\nb"])
    fit = dataclasses.replace(fit, coords={**fit.coords, "family": hostile})
    figure = figures.lag_profile(dataclasses.replace(study, data=study.data | {"cosine.fit": fit}))
    names = [str(each["name"]) for each in figure.data]
    assert "&lt;/script&gt;" in names
    assert "&amp;amp;" in names
    assert not any("<" in name or "\n" in name for name in names)


def test_every_colour_has_a_counterpart_on_dark_paper(make_study: MakeStudy) -> None:
    script = resources.files("poslens.report").joinpath("page.js").read_text(encoding="utf-8")
    known = set(re.findall(r'"(#[0-9a-f]{6}|rgba\([^)]*\))":', script))
    drawn = "".join(in_script([draw(make_study()).data for draw in FIGURES]))
    drawn += in_script([draw(make_study()).layout for draw in FIGURES])
    drawn += in_script(drawing.CYCLE)
    used = set(re.findall(r'"(#[0-9a-f]{3,6}|rgba\([^)]*\))"', drawn)) - {"rgba(0,0,0,0)"}
    assert used == known, (used - known, known - used)


def test_arrays_are_written_as_typed_bytes() -> None:
    values = np.array([[1.5, -2.0], [np.nan, 3.0]])
    record = json.loads(in_script({"z": values, "x": np.arange(3), "one": np.float64(2.5)}))
    decoded = np.frombuffer(base64.b64decode(record["z"]["bdata"]), "<f4")
    np.testing.assert_array_equal(decoded, values.ravel().astype("<f4"))
    assert record["z"]["shape"] == "2, 2"
    assert record["x"]["dtype"] == "i4"
    assert record["one"] == 2.5
