"""The figures of models that read a text, on logits and states made by NumPy."""

from __future__ import annotations

import dataclasses
import re
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poslens.report import figures, glossary, html
from poslens.report.figures import drawing, terms
from poslens.report.html import in_script
from poslens.study import PROFILES, Labelled, Study, open_study

sys.path.insert(0, str(Path(__file__).parent))

import layer_studies as layered
from layer_studies import PARTS, TERMS

OF_TEXT = (
    figures.share_map,
    figures.share_stack,
    figures.one_head,
    figures.hidden_states,
    figures.layered_paths,
)
SIZES = {
    "six": (6, 12, {}),
    "thirty": (30, 9, {}),
    "one layer": (1, 12, {}),
    "one head": (3, 1, {"causal": False, "length": 7}),
    "twenty heads": (1, 20, {"length": 64}),
}


@pytest.fixture(scope="module")
def made() -> dict[str, Study]:
    return {
        name: layered.model(layers, heads, **options)  # type: ignore[arg-type]
        for name, (layers, heads, options) in SIZES.items()
    }


def replaced(study: Study, name: str, values: np.ndarray) -> Study:
    array = dataclasses.replace(study.data[name], values=values)
    return dataclasses.replace(study, data={**study.data, name: array})


def less(study: Study, *names: str) -> Study:
    return dataclasses.replace(study, data={k: v for k, v in study.data.items() if k not in names})


def at(layout: dict[str, Any], axis: str, number: int) -> dict[str, Any]:
    return dict(layout[f"{axis}axis{number + 1 if number else ''}"])


@pytest.mark.parametrize("name", SIZES)
def test_every_figure_is_valid_plotly(made: dict[str, Study], name: str) -> None:
    for draw in OF_TEXT:
        figure = draw(made[name])
        assert not figure.missing
        assert re.fullmatch(r"[a-z-]+", figure.name)
        assert figure.reading.endswith(".")
        assert not re.search(r"nan|  |None", figure.reading)
        assert len(figure.plotly().data) == len(figure.data) > 0


@pytest.mark.parametrize("name", SIZES)
def test_every_colour_has_a_counterpart_on_dark_paper(made: dict[str, Study], name: str) -> None:
    script = resources.files("poslens.report").joinpath("page.js").read_text(encoding="utf-8")
    known = set(re.findall(r'"(#[0-9a-f]{6}|rgba\([^)]*\))":', script))
    drawn = [(figure.data, figure.layout) for figure in (draw(made[name]) for draw in OF_TEXT)]
    used = set(re.findall(r'"(#[0-9a-f]{3,6}|rgba\([^)]*\))"', in_script(drawn)))
    assert used - {"rgba(0,0,0,0)"} <= known


def test_a_study_without_a_text_leaves_them_out(made: dict[str, Study]) -> None:
    bare = dataclasses.replace(made["six"], length=8, dim=4, data={}, measures={})
    assert all(draw(bare).optional and draw(bare).missing for draw in OF_TEXT)
    assert 'id="title-share-map"' not in html.page(bare)
    why = "the source has no tokenizer"
    told = dataclasses.replace(
        bare, undefined={"attention.share.bias": why, "hidden.share.pos": why}
    )
    assert html.page(told).count(f"Not drawn: {why}.") == 2  # one for the logits, one for states


@pytest.mark.parametrize("name", ["six", "thirty", "one head"])
def test_maps_are_the_shares_on_one_scale(made: dict[str, Study], name: str) -> None:
    study = made[name]
    figure = figures.share_map(study)
    shares = study.data["attention.share"]
    assert len(figure.data) == len(TERMS)
    for number, heat in enumerate(figure.data):
        np.testing.assert_allclose(heat["z"], shares.values[:, :, number], rtol=1e-6)
        assert heat["zmax"] == -heat["zmin"] == figure.data[0]["zmax"] >= 1
        assert heat["zmid"] == 0
        assert heat["colorscale"] is drawing.DIVERGING
        mean = shares.values[:, :, number].mean()
        title = figure.layout["annotations"][number]["text"]
        assert title.startswith(TERMS[number].replace("_", " · "))
        assert title.endswith(f"mean {mean:.2f}".replace("-", "−"))
    assert f"one scale to ±{figure.data[0]['zmax']:g}" in figure.reading


def test_one_layer_is_one_map_with_the_values_in_its_cells(made: dict[str, Study]) -> None:
    study = made["one layer"]
    figure = figures.share_map(study)
    shares = study.data["attention.share"].values[0]
    (heat,) = figure.data
    np.testing.assert_allclose(heat["z"], shares.T, rtol=1e-6)
    assert figure.layout["yaxis"]["ticktext"] == [term.replace("_", " · ") for term in TERMS]
    written = {(note["y"], note["x"]): note["text"] for note in figure.layout["annotations"]}
    assert len(written) == 5 * 12
    assert written[1, 3] == f"{shares[3, 1]:.2f}".replace("-", "−")
    many = figures.share_map(made["twenty heads"])
    assert many.layout["annotations"] == []  # no room


def test_the_map_names_the_head_that_position_rules(made: dict[str, Study]) -> None:
    study = made["six"]
    values = study.data["attention.share"].values.copy()
    values[3, 7] = [0.05, 0.93, 0.0, 0.0, 0.02]
    values[2, 1] = np.nan  # logits without any differences
    figure = figures.share_map(replaced(study, "attention.share", values))
    assert "Position · position has most in head 7 of layer 3, 93 %" in figure.reading
    at_least = int((values[..., 1] >= 0.5).sum())
    assert f"it has at least half in {at_least} of 71 heads. 1 head of 72 has no value." in (
        figure.reading
    )
    mean = np.nanmean(values[..., 0])
    assert f"On average over the heads, {100 * mean:.0f} % from content · content" in figure.reading
    values[..., 1] = 0.1
    low = figures.share_map(replaced(study, "attention.share", values))
    assert "it has half in none of 71" in low.reading


def test_a_few_shares_far_beyond_one_do_not_set_the_scale(made: dict[str, Study]) -> None:
    study = made["thirty"]
    values = study.data["attention.share"].values.copy()
    values[4, 2] = [9.0, -8.5, 0.2, 0.2, 0.1]
    figure = figures.share_map(replaced(study, "attention.share", values))
    assert {heat["zmax"] for heat in figure.data} == {1.0}
    assert "one scale to ±1; 2 values beyond have the colour of its ends." in figure.reading
    assert figure.data[0]["z"][4, 2] == 9.0  # the hover still tells it


def test_the_end_of_a_scale() -> None:
    assert terms.scale_end(np.array([np.nan])) == (1.0, 0)
    assert terms.scale_end(np.zeros(3)) == (1.0, 0)
    assert terms.scale_end(np.array([-3.0, 2.0, np.nan])) == (3.0, 0)
    values = np.append(np.linspace(-0.4, 1, 999), -50.0)
    end, beyond = terms.scale_end(values)
    assert end == pytest.approx(np.quantile(np.abs(values), 0.99))
    assert beyond == (np.abs(values) > end).sum() == 10


@pytest.mark.parametrize("layout", ["wide", "narrow"])
@pytest.mark.parametrize("name", ["six", "thirty", "one head"])
@pytest.mark.parametrize("draw", [figures.share_map, figures.one_head])
def test_panels_do_not_overlap(made: dict[str, Study], draw: Any, name: str, layout: str) -> None:
    figure = draw(made[name])
    places = figure.layout if layout == "wide" else figure.layout["meta"]["narrow"]["layout"]
    boxes = [
        (*at(places, "x", number)["domain"], *at(places, "y", number)["domain"])
        for number in range(len(figure.data))
    ]
    for i, a in enumerate(boxes):
        assert 0 <= a[0] < a[1] <= 1 + 1e-9
        assert 0 <= a[2] < a[3] <= 1
        for b in boxes[:i]:
            assert a[0] >= b[1] or b[0] >= a[1] or a[2] >= b[3] or b[2] >= a[3]


@pytest.mark.parametrize("name", ["six", "one layer"])
def test_stacks_are_means_over_heads_or_the_heads(made: dict[str, Study], name: str) -> None:
    study = made[name]
    figure = figures.share_stack(study)
    shares = study.data["attention.share"].values
    expected = shares.mean(axis=1) if name == "six" else shares[0]
    assert figure.layout["barmode"] == "relative"  # negative parts go below zero
    for number, bars in enumerate(figure.data):
        np.testing.assert_allclose(bars["y"], expected[:, number], rtol=1e-6, atol=1e-9)
        assert bars["marker"]["color"] == terms.COLOURS[TERMS[number]]
    np.testing.assert_allclose(np.sum([bars["y"] for bars in figure.data], axis=0), 1, atol=1e-6)
    assert len(set(terms.COLOURS.values())) == len(TERMS)
    part = expected[:, 1:4].sum(axis=1)
    kind = "layer" if name == "six" else "head"
    assert f"{100 * part.max():.0f} % in {kind} {part.argmax()}, where they have most" in (
        figure.reading
    )


def test_layers_without_shares_have_no_bar(made: dict[str, Study]) -> None:
    study = made["six"]
    values = study.data["attention.share"].values.copy()
    values[2] = np.nan
    values[4, 5:] = np.nan
    figure = figures.share_stack(replaced(study, "attention.share", values))
    assert figure.data[0]["x"].tolist() == [0, 1, 3, 4, 5]
    assert figure.data[0]["y"][3] == pytest.approx(values[4, :5, 0].mean(), rel=1e-6)
    nothing = replaced(study, "attention.share", np.full_like(values, np.nan))
    for draw in (figures.share_map, figures.share_stack):
        assert draw(nothing).missing == "the logits vary along the rows of no head"


def test_axes_in_another_order_make_no_difference(made: dict[str, Study]) -> None:
    study = made["six"]
    turned = {
        name: Labelled(array.dims[::-1], array.values.transpose(), array.coords)
        for name, array in study.data.items()
        if array.values.ndim > 1
    }
    other = dataclasses.replace(study, data={**study.data, **turned})
    for draw in OF_TEXT:
        assert in_script(draw(other).data) == in_script(draw(study).data)
        assert draw(other).reading == draw(study).reading


@pytest.mark.parametrize("name", ["six", "one head"])
def test_a_heads_panels_are_its_terms_and_their_sum(made: dict[str, Study], name: str) -> None:
    study = made[name]
    figure = figures.one_head(study)
    logits = study.data["attention.logits"].values
    for number, panel in enumerate(figure.data):
        expected = logits[number] if number < 5 else logits.astype(np.float64).sum(axis=0)
        np.testing.assert_allclose(panel["z"], expected, rtol=1e-5, atol=1e-6)
        assert panel["zmax"] == -panel["zmin"] == figure.data[0]["zmax"]
    causal = name == "six"
    assert np.isnan(figure.data[5]["z"][0, 1]) == causal
    titles = [note["text"] for note in figure.layout["annotations"]]
    share = study.data["attention.share"].values[0, 1 if causal else 0]
    if causal:
        assert figure.title == "The logits of layer 0, head 1 on one text"
        assert titles[1] == f"position · position, share {share[1]:.2f}"
    assert titles[-1] == "sum"


def test_cells_name_their_tokens(made: dict[str, Study]) -> None:
    study = made["six"]
    index = np.arange(48)
    tokens = np.array(["<s>", "\n", " and", *(f"t{i}" for i in range(3, 48))])
    named = Labelled(("query_pos",), tokens, {"query_pos": index})
    study = dataclasses.replace(study, data={**study.data, "attention.logits_token": named})
    figure = figures.one_head(study)
    assert figure.data[3]["text"][2][1] == "query  and<br>key \\n"
    assert figure.data[3]["text"][2][0] == "query  and<br>key &lt;s&gt;"
    assert figure.data[3]["text"][1][2] == ""  # it may not look there
    axis = figure.layout["xaxis4"]
    labels = dict(zip(axis["tickvals"], axis["ticktext"], strict=True))
    assert labels[0] == "&lt;s&gt;"
    assert labels[3] == "t3"
    assert len(labels) == 16  # as many as have room
    without = figures.one_head(less(study, "attention.logits_token", "attention.logits_place"))
    assert without.data[3]["text"][2][1] == "query 2<br>key 1"
    assert without.title == "The logits of one head on one text"
    assert "share" not in without.reading


def test_the_offset_of_the_largest_logits_is_told(made: dict[str, Study]) -> None:
    study = made["six"]
    logits = np.where(np.tri(70), 0.0, np.nan)[None].repeat(5, axis=0)
    rows = np.arange(1, 70)
    logits[1, rows, rows - 1] = 5
    logits[1, 9, 8], logits[1, 9, 0] = 0, 5  # another key
    logits[1, 20] = np.where(np.isfinite(logits[1, 20]), 2.0, np.nan)  # favours nothing
    index = np.arange(70)
    array = Labelled(
        ("term", "query_pos", "key_pos"),
        logits,
        {"term": np.array(TERMS), "query_pos": index, "key_pos": index},
    )
    figure = figures.one_head(
        dataclasses.replace(study, data={**study.data, "attention.logits": array})
    )
    assert "most often at offset −1, in 61 of 62 rows." in figure.reading
    assert "The first 64 of 70 tokens are drawn." in figure.reading
    assert figure.data[0]["z"].shape == (64, 64)
    flat = figures.one_head(replaced(study, "attention.logits", np.zeros((5, 48, 48))))
    assert "largest logit" not in flat.reading
    assert flat.data[0]["zmax"] == 1


def test_states_are_stacked_and_their_sizes_below(made: dict[str, Study]) -> None:
    study = made["six"]
    figure = figures.hidden_states(study)
    shares = study.data["hidden.share"].values
    for number, bars in enumerate(figure.data[: len(PARTS)]):
        assert bars["type"] == "bar"
        np.testing.assert_allclose(bars["y"], shares[:, number], rtol=1e-6)
    lines = {trace["name"]: trace for trace in figure.data[3:]}
    for name in ("stable_rank", "incoherence", "relative_norm"):
        line = lines[name.replace("_", " ")]
        np.testing.assert_allclose(line["y"], study.data[f"hidden.{name}"].values, rtol=1e-6)
    assert lines["stable rank"]["yaxis"] == "y2"
    assert lines["incoherence"]["yaxis"] == lines["relative norm"]["yaxis"] == "y3"
    assert "Position holds 60 % of the variance in layer 0 and 15 % in layer 6." in figure.reading
    assert "not at right angles in every layer" in figure.reading
    apart = replaced(study, "hidden.incoherence", np.full(7, 0.04))
    assert (
        "at most 0.0400: they are nearly at right angles." in figures.hidden_states(apart).reading
    )


def test_states_without_their_sizes_are_drawn_alone(made: dict[str, Study]) -> None:
    study = less(made["six"], "hidden.stable_rank", "hidden.incoherence", "hidden.relative_norm")
    values = study.data["hidden.share"].values.copy()
    values[3, 0], values[0] = 0.9, np.nan
    figure = figures.hidden_states(replaced(study, "hidden.share", values))
    assert len(figure.data) == 3
    assert "yaxis2" not in figure.layout
    assert figure.reading.endswith("15 % in layer 6; most, 90 %, in layer 3.")


@pytest.mark.parametrize("name", ["six", "thirty"])
def test_each_step_of_the_slider_shows_one_layer(made: dict[str, Study], name: str) -> None:
    study = made[name]
    figure = figures.layered_paths(study)
    scores = study.data["hidden.scores"].values
    assert [trace["visible"] for trace in figure.data] == [i == 0 for i in range(len(scores))]
    for trace, expected in zip(figure.data, scores, strict=True):
        found = np.stack([trace[letter] for letter in "xyz"], axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    steps = figure.layout["sliders"][0]["steps"]
    share = study.data["hidden.explained"].values.sum(axis=1)
    for layer, step in enumerate(steps):
        shown, changed = step["args"]
        assert step["method"] == "update"
        assert np.flatnonzero(shown["visible"]).tolist() == [layer]
        title = f"Layer {layer}: {100 * share[layer]:.0f} % of the variance in PC1–PC3"
        assert changed["title.text"] == title
        first, last = changed["scene.annotations"]
        assert (first["text"], last["text"]) == ("position 0", "position 127")
        np.testing.assert_allclose([last[k] for k in "xyz"], scores[layer, -1], rtol=1e-6)
    assert figure.layout["title"]["text"] == steps[0]["args"][1]["title.text"]


def test_layers_without_components_have_no_step(made: dict[str, Study]) -> None:
    study = less(made["six"], "hidden.explained")
    scores = study.data["hidden.scores"].values.copy()
    scores[0] = np.nan
    scores[3, :, 2] = 0  # a flat path
    figure = figures.layered_paths(replaced(study, "hidden.scores", scores))
    steps = figure.layout["sliders"][0]["steps"]
    assert [step["label"] for step in steps] == ["1", "2", "3", "4", "5", "6"]
    assert steps[2]["args"][1]["scene.aspectmode"] == "cube"
    assert steps[1]["args"][1]["scene.aspectmode"] == "data"
    assert figure.layout["title"]["text"] == "Layer 1"
    assert "variance" not in figure.reading
    nothing = figures.layered_paths(replaced(study, "hidden.scores", np.full_like(scores, np.nan)))
    assert nothing.missing == "no layer has components"
    one = Labelled(("layer", "position", "component"), scores[1:2], {"layer": np.array([11])})
    alone = figures.layered_paths(
        dataclasses.replace(study, data={**study.data, "hidden.scores": one})
    )
    assert alone.layout["sliders"] == []
    assert "slider" not in alone.reading


def test_lists_over_layers_are_drawn_and_not_listed(made: dict[str, Study]) -> None:
    study = made["thirty"]
    lists = {name for name, value in study.measures.items() if isinstance(value, list)}
    assert lists <= set(glossary.DRAWN) & set(PROFILES)
    assert set(study.measures) <= set(glossary.MEANINGS)
    page = html.page(study).split('id="measures"')[1]
    assert "attention.reconstruction_error" in page
    assert "Attention logits" in page
    assert "attention.share" not in page.split("<script")[0]
    gone = dataclasses.replace(
        study,
        measures={"hidden.share.pos": None, "other.lists": [[1.0, 2.0], [3.0, 4.0]]},
        undefined={"hidden.share.pos": "needs the extra torch"},
    )
    page = html.page(gone).split('id="measures"')[1].split("<script")[0]
    assert "needs the extra torch" in page
    assert "2 rows of numbers" in page


@pytest.mark.parametrize("name", ["six", "one layer"])
def test_a_saved_study_gives_the_same_page(
    made: dict[str, Study], name: str, tmp_path: Path
) -> None:
    made[name].save(tmp_path / "study.nc")
    again = open_study(tmp_path / "study.nc")
    assert again == made[name]
    assert html.page(again) == html.page(made[name])
