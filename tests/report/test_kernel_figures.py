"""The figures of kernels that `poslens.attention` measured, with heads of a known kind."""

from __future__ import annotations

import dataclasses
import re
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poslens.attention import offsets
from poslens.netcdf import open_study
from poslens.report import figures, glossary, html
from poslens.report.figures import Figure, drawing, heads, labels
from poslens.report.html import in_script
from poslens.study import Labelled, Study

sys.path.insert(0, str(Path(__file__).parent))

import kernel_studies as kernels
from kernel_studies import CONSTANT, DECAYING, NEXT, PREVIOUS, SELF, SINK

KERNEL = (
    figures.kernel_heads,
    figures.kernel_profiles,
    figures.head_map,
    figures.wavelengths,
)
LENGTH = 131
STUDIES = {
    "causal": lambda: kernels.learned(12, LENGTH),
    "bidirectional": lambda: kernels.learned(12, LENGTH, causal=False),
    "forty": lambda: kernels.learned(40, LENGTH),
    "one head": lambda: kernels.learned(1, LENGTH),
    "three positions": lambda: kernels.learned(6, 3, causal=False),
    "alibi": lambda: kernels.alibi(12, LENGTH),
    "rope": lambda: kernels.rope(5, 12, LENGTH),
    "rope, one layer": lambda: kernels.rope(1, 6, LENGTH, context=None),
}


@pytest.fixture(scope="module")
def made() -> dict[str, Study]:
    return {name: kernels.study_of(data()) for name, data in STUDIES.items()}


def less(study: Study, *names: str) -> Study:
    return dataclasses.replace(study, data={k: v for k, v in study.data.items() if k not in names})


def replaced(study: Study, name: str, values: np.ndarray) -> Study:
    array = dataclasses.replace(study.data[name], values=values)
    return dataclasses.replace(study, data={**study.data, name: array})


def of_kind(figure: Figure, kind: str) -> list[dict[str, Any]]:
    return [dict(trace) for trace in figure.data if trace.get("name") == kind]


@pytest.mark.parametrize("name", STUDIES)
def test_every_kernel_figure_is_valid_plotly(made: dict[str, Study], name: str) -> None:
    study, drawn = made[name], []
    for draw in KERNEL:
        figure = draw(study)
        if not figure.missing:
            drawn.append(figure.name)
            assert figure.reading.endswith(".")
            assert "nan" not in figure.reading
            assert "  " not in figure.reading
            assert len(figure.plotly().data) == len(figure.data) > 0
    assert drawn == {
        "alibi": ["kernel-profiles", "head-map"],
        "rope": ["kernel-profiles", "head-map", "wavelengths"],
        "rope, one layer": ["kernel-profiles", "head-map", "wavelengths"],
    }.get(name, ["kernel-heads", "kernel-profiles", "head-map"])


@pytest.mark.parametrize("name", STUDIES)
def test_every_colour_has_a_counterpart_on_dark_paper(made: dict[str, Study], name: str) -> None:
    script = resources.files("poslens.report").joinpath("page.js").read_text(encoding="utf-8")
    known = set(re.findall(r'"(#[0-9a-f]{6}|rgba\([^)]*\))":', script))
    drawn = [(figure.data, figure.layout) for figure in (draw(made[name]) for draw in KERNEL)]
    used = set(re.findall(r'"(#[0-9a-f]{3,6}|rgba\([^)]*\))"', in_script(drawn)))
    assert used - {"rgba(0,0,0,0)"} <= known


@pytest.mark.parametrize("name", ["causal", "bidirectional"])
def test_a_panel_is_the_picture_on_a_scale_of_its_own(made: dict[str, Study], name: str) -> None:
    study = made[name]
    figure = figures.kernel_heads(study)
    picture = study.data["kernel.picture"]
    assert len(figure.data) == 12
    for head, panel in enumerate(figure.data):
        np.testing.assert_allclose(panel["z"], picture.values[head], rtol=1e-6, atol=1e-12)
        assert panel["zmax"] == -panel["zmin"] > 0
        if head not in (CONSTANT, NEXT):
            assert panel["zmax"] == np.nanmax(np.abs(picture.values[head]))
        np.testing.assert_array_equal(panel["x"], picture.coords["key_block"])
    # 131 positions in at most 64 blocks.
    assert "Each cell averages 3 × 3 pairs" in figure.reading
    above = np.isnan(np.asarray(figure.data[0]["z"]))
    assert above.sum() == (44 * 43 / 2 if name == "causal" else 0)


def test_a_head_that_position_leaves_alone_is_pale(made: dict[str, Study]) -> None:
    panel = figures.kernel_heads(made["causal"]).data[CONSTANT]
    assert np.nanmax(np.abs(panel["z"])) < 1e-3 * panel["zmax"]


def test_titles_are_heads_and_their_shares(made: dict[str, Study]) -> None:
    study = made["causal"]
    share = study.data["kernel.relative_share"].values[0]
    titles = [note["text"] for note in figures.kernel_heads(study).layout["annotations"]]
    assert titles[PREVIOUS] == "head 0 · 1.00"
    assert titles[CONSTANT] == f"head {CONSTANT} · —"
    assert titles[SINK] == f"head {SINK} · {share[SINK]:.2f}"
    without = figures.kernel_heads(less(study, "kernel.relative_share"))
    assert [note["text"] for note in without.layout["annotations"]] == [
        f"head {head}" for head in range(12)
    ]
    assert "share" not in without.reading


def test_of_many_heads_those_with_the_widest_range_are_shown(made: dict[str, Study]) -> None:
    study = made["forty"]
    figure = figures.kernel_heads(study)
    picture = study.data["kernel.picture"].values
    spread = np.nanmax(picture, axis=(1, 2)) - np.nanmin(picture, axis=(1, 2))
    shown = [int(re.findall(r"\d+", n["text"])[0]) for n in figure.layout["annotations"]]
    assert shown == sorted(np.argsort(-spread)[:16].tolist())
    assert "Of 40 heads, the 16 with the widest range are shown" in figure.reading


@pytest.mark.parametrize("layout", ["wide", "narrow"])
@pytest.mark.parametrize("name", ["causal", "forty", "one head"])
def test_panels_do_not_overlap(made: dict[str, Study], name: str, layout: str) -> None:
    figure = figures.kernel_heads(made[name])
    places = figure.layout if layout == "wide" else figure.layout["meta"]["narrow"]["layout"]
    boxes = []
    for number in range(len(figure.data)):
        where = "" if number == 0 else str(number + 1)
        (left, right), (low, high) = (places[f"{x}axis{where}"]["domain"] for x in "xy")
        assert 0 <= left < right <= 1 + 1e-9
        assert 0 <= low < high <= 1
        boxes.append((left, right, low, high))
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[0] >= b[1] or b[0] >= a[1] or a[2] >= b[3] or b[2] >= a[3]
    columns = len({box[0] for box in boxes})
    assert columns == min(len(boxes), 4 if layout == "wide" else 2)


@pytest.mark.parametrize("name", ["causal", "bidirectional", "forty", "alibi", "rope"])
def test_a_line_is_the_whole_distance_part(made: dict[str, Study], name: str) -> None:
    study = made[name]
    array = study.data["kernel.distance_part"]
    figure = figures.kernel_profiles(study)
    lines = {
        int(re.findall(r"head (\d+)", trace["hovertemplate"])[0]): trace
        for trace in figure.data
        if trace["mode"] == "lines"
    }
    assert sorted(lines) == array.coords["head"].tolist()
    for head, line in lines.items():
        np.testing.assert_allclose(line["y"], array.values[0, head], rtol=1e-6, atol=1e-9)
        x = line["x0"] + line["dx"] * np.arange(len(line["y"]))
        np.testing.assert_array_equal(x, array.coords["offset"])
    low, high = figure.layout["xaxis"]["range"]
    assert -70 < low < -64
    assert (high > 64) == (name == "bidirectional")
    assert high < 75


def test_the_view_fits_the_near_offsets(made: dict[str, Study]) -> None:
    study = made["causal"]
    values = study.data["kernel.distance_part"].values.copy()
    values[0, SINK, :40] = 1e3  # offsets -130 … -91
    low, high = figures.kernel_profiles(replaced(study, "kernel.distance_part", values)).layout[
        "yaxis"
    ]["range"]
    near = values[0, :, -65:]
    assert low < near.min()
    assert near.max() < high < 1.2 * near.max()


def test_marks_stand_at_the_peaks(made: dict[str, Study]) -> None:
    figure = figures.kernel_profiles(made["bidirectional"])
    for kind, expected in (("previous-token", -1), ("self", 0), ("next-token", 1)):
        marks = [trace for trace in of_kind(figure, kind) if trace["mode"] == "markers"]
        assert set(marks[0]["x"].tolist()) == {expected}
    marked = sum(len(t["x"]) for t in figure.data if t["mode"] == "markers")
    assert marked == 11  # the constant head prefers nothing
    text = next(trace for trace in figure.data if trace["mode"] == "text")
    assert any(str(PREVIOUS) in each for each in text["text"])


def test_peaks_out_of_view_and_other_peaks_are_spoken_of(made: dict[str, Study]) -> None:
    study = made["causal"]
    part = np.zeros((1, 12, LENGTH))
    part[..., -1] = 1
    part[0, 5, -2] = 2
    part[0, 7, 3] = 2
    figure = figures.kernel_profiles(replaced(study, "kernel.distance_part", part))
    assert "; 1 of 10 lie beyond the view" in figure.reading
    peaks = figures.kernel_profiles(
        replaced(
            replaced(study, "kernel.distance_part", part),
            "kernel.peak_offset",
            np.array([[0, 0, 0, np.nan, 0, -1, 0, -127, 0, 0, -9, 0.0]]),
        )
    )
    assert "In head 10 it is not at the peak offset" in peaks.reading


def test_very_many_points_are_cut_at_a_distance_that_is_named(
    made: dict[str, Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poslens.report.figures.profiles._MOST_POINTS", 12 * 100)
    figure = figures.kernel_profiles(made["causal"])
    line = next(trace for trace in figure.data if trace["mode"] == "lines")
    assert line["x0"] == -99
    assert len(line["y"]) == 100
    assert "shows those up to 99. Offsets beyond, up to 130, are not drawn." in figure.reading


def test_heads_are_named_by_their_peak(made: dict[str, Study]) -> None:
    causal, both = (figures.head_map(made[name]) for name in ("causal", "bidirectional"))
    assert "Previous-token head (peak at −1): 0. " in causal.reading
    assert f"Self heads (peak at 0): {SELF}, {DECAYING}." in causal.reading
    assert "Next-token" not in causal.reading
    assert causal.reading.endswith("2 heads of 12 have no value, and no mark.")
    assert f"Next-token head (peak at +1): {NEXT}. 1 head of 12 has no value" in both.reading
    assert "No head is a previous-token head" in figures.head_map(made["alibi"]).reading


def test_a_head_is_named_from_a_share_of_one_half() -> None:
    assert heads.kind_of(0.5, -1.0).name == "previous-token"
    assert heads.kind_of(float(np.nextafter(0.5, 0)), -1.0) is heads.OTHER
    assert heads.kind_of(float("nan"), 0.0) is heads.OTHER
    assert heads.kind_of(1.0, -2.0) is heads.OTHER
    assert heads.kind_of(1.0, float("nan")) is heads.OTHER


def test_marks_lie_at_peak_and_share(made: dict[str, Study]) -> None:
    study = made["bidirectional"]
    share, peak = (
        study.data[f"kernel.{name}"].values[0] for name in ("relative_share", "peak_offset")
    )
    figure = figures.head_map(study)
    found: dict[int, tuple[float, float]] = {}
    for trace in figure.data:
        if trace["mode"] == "markers":
            for text, x, y in zip(trace["text"], trace["x"], trace["y"], strict=True):
                found[int(re.findall(r"head (\d+)", text)[0])] = (float(x), float(y))
    assert sorted(found) == [head for head in range(12) if head != CONSTANT]
    for head, (x, y) in found.items():
        assert np.sign(x) * (2 ** abs(x) - 1) == pytest.approx(peak[head], rel=1e-5)
        assert y == pytest.approx(share[head], rel=1e-6)
    ticks = dict(
        zip(
            figure.layout["xaxis"]["ticktext"],
            figure.layout["xaxis"]["tickvals"],
            strict=True,
        )
    )
    assert (ticks["0"], ticks["−1"], ticks["+1"]) == (0, -1, 1)
    assert ticks["−64"] == pytest.approx(-np.log2(65))


def test_heads_at_one_place_have_one_label() -> None:
    x, y = np.array([0, 0, 0, 0, 0, 0, 5.0]), np.array([1, 1, 1, 1, 1, 1, 0.2])
    index = np.array([0, 1, 2, 5, 7, 9, 8])
    places = labels.merged(x, y, index, 10.0, 1.0)
    assert places == [(0.0, 1.0, "0–2, 5, 7 +1"), (5.0, 0.2, "8")]


def test_layers_make_a_map_of_peaks(made: dict[str, Study]) -> None:
    study = made["rope"]
    peak = study.data["kernel.peak_offset"].values
    figure = figures.head_map(study)
    heat = figure.data[0]
    np.testing.assert_allclose(heat["z"], -np.log2(1 - peak), rtol=1e-6)
    assert heat["colorscale"] is drawing.SEQUENTIAL
    assert heat["zmax"] == 0
    layer, head = np.nonzero(peak == -1)
    marks = of_kind(figure, "previous-token")[0]
    np.testing.assert_array_equal(marks["y"], layer)
    np.testing.assert_array_equal(marks["x"], head)
    assert set(head[layer == 2]) >= {0}
    assert "L2H0" in figure.reading
    assert heat["text"][2][0] == "layer 2, head 0: peak offset −1, relative share 1.000"


def test_a_map_with_keys_on_both_sides_has_a_neutral_middle() -> None:
    k = offsets(33, causal=False)
    layers = [
        kernels.relative_kernel(np.exp(-((k - np.array([[at], [-at]])) ** 2) / 4.0), causal=False)
        for at in (1, 3)
    ]
    study = kernels.study_of(kernels.data_of(layers))
    study = replaced(study, "kernel.peak_offset", np.array([[1.0, -1.0], [3.0, np.nan]]))
    heat = figures.head_map(study).data[0]
    assert heat["zmin"] == -heat["zmax"] == -2
    assert heat["colorscale"] is drawing.DIVERGING
    assert np.isnan(heat["z"][1, 1])
    assert heat["text"][1][1] == ""


def test_wavelengths_are_counted_against_the_context(made: dict[str, Study]) -> None:
    study = made["rope"]
    expected = study.data["kernel.wavelength"].values
    figure = figures.wavelengths(study)
    marks = figure.data[0]
    np.testing.assert_allclose(marks["y"], expected[:-1], rtol=1e-6)
    np.testing.assert_array_equal(marks["x"], np.arange(31))
    slow = int((expected[:-1] > 4096).sum())
    assert f"{slow} of 31 never complete a turn within the context of 4,096" in figure.reading
    assert "; 1 plane does not turn at all." in figure.reading
    line = figure.layout["shapes"][0]
    assert (line["y0"], line["y1"]) == (4096, 4096)
    energy = study.data["kernel.band_energy"].values
    share = (energy / energy.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(marks["customdata"], share[:-1], rtol=1e-5)
    slow_share = share[expected > 4096].sum()
    assert f"{100 * slow_share:.0f} % lies in planes longer than the context" in figure.reading
    area = np.asarray(marks["marker"]["size"], dtype=float) ** 2
    large = share[:-1] > 0.1 * share.max()
    np.testing.assert_allclose(area[large] / area.max(), share[:-1][large] / share.max(), rtol=1e-5)


def test_without_a_context_or_energy_nothing_is_said_of_them(made: dict[str, Study]) -> None:
    study = less(made["rope"], "kernel.context", "kernel.band_energy")
    figure = figures.wavelengths(study)
    assert "shapes" not in figure.layout
    assert "context" not in figure.reading
    assert "Areas" not in figure.reading
    assert figure.data[0]["marker"]["size"] == 7


def test_several_rotations_have_a_line_in_the_legend_each(made: dict[str, Study]) -> None:
    lengths = np.full((2, 32), np.nan)
    lengths[0] = np.geomspace(6, 9e4, 32)
    lengths[1, :16] = np.geomspace(6, 900, 16)
    study = made["rope"]
    named = Labelled(
        ("rotation", "plane"),
        lengths,
        {"rotation": np.array(["<b>global</b>", "local"]), "plane": np.arange(32)},
    )
    study = dataclasses.replace(study, data={**study.data, "kernel.wavelength": named})
    figure = figures.wavelengths(study)
    assert [(t["name"], len(t["y"])) for t in figure.data] == [
        ("&lt;b&gt;global&lt;/b&gt;", 32),
        ("local", 16),
    ]
    assert len({t["marker"]["symbol"] for t in figure.data}) == 2
    assert "local: the planes turn once in 6 to 900 positions; every one completes" in (
        figure.reading
    )
    assert "Areas" not in figure.reading  # whose planes they would be is not said


def test_a_study_without_a_kernel_leaves_its_figures_out(made: dict[str, Study]) -> None:
    bare = dataclasses.replace(made["causal"], length=8, dim=4, data={})
    assert all(draw(bare).optional and draw(bare).missing for draw in KERNEL)
    page = html.page(bare)
    assert 'id="title-kernel-heads"' not in page
    assert 'id="title-wavelengths"' not in page
    why = "the attention block is not known"
    told = dataclasses.replace(bare, undefined={"kernel.relative_share": why})
    page = html.page(told)
    assert page.count(f"Not drawn: {why}.") == 1
    assert 'id="title-kernel-heads"' in page
    assert figures.wavelengths(told).missing == "the study holds no data for it"


def test_heads_without_any_value_have_no_map(made: dict[str, Study]) -> None:
    study = made["causal"]
    nothing = np.full((1, 12), np.nan)
    study = replaced(
        replaced(study, "kernel.relative_share", nothing), "kernel.peak_offset", nothing
    )
    figure = figures.head_map(study)
    assert figure.missing == "position favours no key in any head"
    assert figures.kernel_heads(study).missing == ""
    assert "largest value." in figures.kernel_profiles(study).reading


@pytest.mark.parametrize("name", ["causal", "rope"])
def test_a_saved_study_gives_the_same_page(
    made: dict[str, Study], name: str, tmp_path: Path
) -> None:
    made[name].save(tmp_path / "study.nc")
    again = open_study(tmp_path / "study.nc")
    assert html.page(again) == html.page(made[name])


def test_every_measure_of_the_kernel_has_a_meaning(made: dict[str, Study]) -> None:
    assert "kernel" in glossary.GROUPS
    names = {name for study in made.values() for name in study.data} - {"kernel.picture"}
    assert names <= set(glossary.MEANINGS)
