"""The path that the rows trace, and how well a line and a helix follow it."""

from __future__ import annotations

import numpy as np

from poslens.axes import COMPONENT, POSITION, TURNS
from poslens.report import words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Layout, Trace
from poslens.study import Labelled, Study

DRAWN = 3  # components


def trajectory(study: Study) -> Figure:
    """The rows in their first three principal components, coloured by position; to be turned."""
    name, title = "trajectory", "The path of the rows in PC1–PC3"
    empty = drawing.absent(study, name, title, "trajectory.scores")
    if empty:
        return empty
    array = study.data["trajectory.scores"]
    position, scores = drawing.along(array, POSITION), array.values
    layout = drawing.layout(
        600, scene=scene(scores, position), margin={"l": 0, "r": 0, "t": 0, "b": 0}
    )
    return Figure(name, title, _path_reading(study), [path(scores, position)], layout)


def path(scores: np.ndarray, position: np.ndarray) -> Trace:
    """Return the path through scores, shape (position, component), coloured by position."""
    colour = {
        "color": drawing.float32(position),
        "colorscale": drawing.SEQUENTIAL,
        "showscale": False,
    }
    bar = drawing.colour_bar("position", -0.02)
    x, y, z = (drawing.float32(column) for column in _three(scores).T)
    return {
        "type": "scatter3d",
        "mode": "lines+markers",
        "x": x,
        "y": y,
        "z": z,
        "line": {**colour, "width": 2.5},
        "marker": {**colour, "size": 2.5, "showscale": True, "colorbar": bar},
        "customdata": position,
        "hovertemplate": "position %{customdata}<br>PC1 %{x:.3g}, PC2 %{y:.3g}, PC3 %{z:.3g}"
        "<extra></extra>",
        "showlegend": False,
    }


def ends(scores: np.ndarray, position: np.ndarray) -> list[Layout]:
    """Return labels of the first and the last position."""
    # With a ground of their own: text inside the scene would be crossed by the path.
    return [
        {
            **{letter: float(score) for letter, score in zip("xyz", row, strict=True)},
            "text": f"position {at}",
            "bgcolor": drawing.PAPER,
            "bordercolor": drawing.MUTED,
            "borderpad": 3,
            "arrowcolor": drawing.INK,
            "arrowhead": 2,
            "arrowwidth": 1.5,
            "ax": sideways,
            "ay": -50,
        }
        for row, at, sideways in zip(
            drawing.float32(_three(scores)[[0, -1]]), position[[0, -1]], (-70, 70), strict=True
        )
    ]


def scene(scores: np.ndarray, position: np.ndarray) -> Layout:
    """Return the space of a path: its axes on one scale, its ends labelled, to be turned."""
    found: Layout = {f"{letter}axis": _scene_axis(f"PC{i + 1}") for i, letter in enumerate("xyz")}
    flat = np.ptp(_three(scores), axis=0).min() <= 0
    found |= {"aspectmode": "cube" if flat else "data"}
    found |= {"annotations": ends(scores, position), "dragmode": "orbit"}
    found["camera"] = {
        "eye": {"x": 1.5, "y": 1.5, "z": 0.75},
        "center": {"x": 0, "y": 0, "z": -0.15},
    }
    return found


def _scene_axis(title: str) -> Layout:
    return {
        "title": {"text": title},
        "gridcolor": drawing.GRID,
        "zerolinecolor": drawing.GRID,
        "linecolor": drawing.MUTED,
        "showbackground": False,
        "showspikes": False,
    }


def _three(scores: np.ndarray) -> np.ndarray:
    """Scores on exactly three components: a table of fewer dimensions lies flat."""
    scores = scores[:, :DRAWN]
    return np.pad(scores, ((0, 0), (0, DRAWN - scores.shape[1])))


def _path_reading(study: Study) -> str:
    text = "Turn it by dragging."
    explained = study.data.get("pca.explained")
    if explained is not None:
        share = float(explained.values[:DRAWN].sum())
        text += f" These three components hold {words.percent(share)} of the variance"
        text += "." if share >= 0.5 else ": most of what sets positions apart is not in view."
    straight = drawing.number(study, "trajectory.straightness")
    if straight is not None:
        text += f" The way from the first row to the last is {words.percent(straight)} of the"
        text += " length of the path"
        text += ": nearly straight." if straight >= 0.9 else "."
    rough = drawing.number(study, "trajectory.roughness")
    if rough is not None:
        kind = "smooth" if rough <= 0.25 else "rough"
        text += f" Roughness {words.shown(rough)} (0 smooth, 1 unordered): a {kind} path."
    return text


def line_and_helix(study: Study) -> Figure:
    """PC scores against position with the fitted line and helix, and R² for each turn number."""
    name, title = "line-helix", "A line and a helix through the path"
    wanted = ("trajectory.scores", "trajectory.linear_fit", "trajectory.helix_fit")
    empty = drawing.absent(study, name, title, *wanted)
    if empty:
        return empty
    scores, line, helix = (study.data[array] for array in wanted)
    position = drawing.along(scores, POSITION)
    components = [int(c) for c in drawing.along(scores, COMPONENT)]
    r2 = {kind: drawing.number(study, f"trajectory.{kind}_r2") for kind in ("linear", "helix")}
    turns = drawing.number(study, "trajectory.turns")
    named = {
        "linear": f"line, R² {words.shown(r2['linear'])}",
        "helix": f"helix of {_turned(turns)}, R² {words.shown(r2['helix'])}",
    }
    grid = study.data.get("trajectory.helix_r2")
    panels = len(components) + (grid is not None)
    layout = drawing.layout(150 * panels + 110)
    traces: list[Trace] = []
    tops = _panels(panels, extra=grid is not None)
    for index, component in enumerate(components):
        where = "" if index == 0 else str(index + 1)
        rows = drawing.points(position, scores.values[:, index], "rows", drawing.BLUE, size=3)
        lined = drawing.line(
            position, line.values[:, index], named["linear"], drawing.GREEN, width=2.5, dash="dash"
        )
        wound = drawing.line(
            position, helix.values[:, index], named["helix"], drawing.VERMILION, width=2.5
        )
        for trace in (rows, lined, wound):
            group = {"legendgroup": trace["name"], "showlegend": index == 0}
            traces.append({**trace, **group, "xaxis": f"x{where}", "yaxis": f"y{where}"})
        last = index == len(components) - 1
        layout[f"xaxis{where}"] = drawing.axis(
            "position" if last else "", anchor=f"y{where}", showticklabels=last
        ) | ({"matches": "x"} if index else {})
        layout[f"yaxis{where}"] = drawing.axis(
            f"PC{component}", domain=tops[index], anchor=f"x{where}"
        )
    if grid is not None:
        traces += _turns_panel(grid, turns, r2["helix"], layout, panels, tops[-1])
    return Figure(name, title, _fit_reading(study, r2, turns), traces, layout)


def _panels(count: int, *, extra: bool) -> list[list[float]]:
    """Vertical extents from the top, with room for an axis title above the last if it is extra."""
    gap, room = 0.03, 0.1
    free = 1 - gap * (count - 1) - (room if extra else 0)
    height = free / count
    tops = [1 - index * (height + gap) for index in range(count)]
    if extra:
        tops[-1] -= room
    return [[max(0.0, top - height), top] for top in tops]


def _turns_panel(
    grid: Labelled,
    turns: float | None,
    best: float | None,
    layout: Layout,
    number: int,
    extent: list[float],
) -> list[Trace]:
    where = {"xaxis": f"x{number}", "yaxis": f"y{number}", "showlegend": False}
    along = drawing.along(grid, TURNS)
    traces = [{**drawing.line(along, grid.values, "R²", drawing.VERMILION), **where}]
    if turns is not None and best is not None:
        at = drawing.points(
            np.array([turns]), np.array([best]), "best", drawing.VERMILION, symbol="diamond", size=9
        )
        traces.append({**at, **where})
    layout[f"xaxis{number}"] = drawing.axis("turns of the helix", anchor=f"y{number}")
    layout[f"yaxis{number}"] = drawing.axis(
        "helix R²", domain=extent, anchor=f"x{number}", rangemode="tozero"
    )
    return traces


def _turned(turns: float | None) -> str:
    """How often a helix turns: exactly, since the number comes from a grid of eighths."""
    return words.NOTHING if turns is None else f"{turns:g} turn" + "s" * (turns != 1)


def _fit_reading(study: Study, r2: dict[str, float | None], turns: float | None) -> str:
    line, helix = r2["linear"], r2["helix"]
    text = ""
    if line is not None:
        how = "well" if line >= 0.9 else "badly" if line < 0.5 else "in part"
        text = f"A straight line fits {how}: it explains {words.percent(line)} of the variance. "
    if helix is not None and turns is not None:
        text += f"The best helix, of {_turned(turns)}, explains {words.percent(helix)}"
        gain = helix - (line or 0.0)
        text += ". " if gain >= 0.1 else ", little more. "
    claim = next((c for c in study.claims if c.id == "trajectory.linear" and c.null), None)
    if claim is not None and claim.p_value is not None:
        name = words.visible(claim.null).replace("_", " ")
        text += f"Against a {name}, the line has p = {words.p_text(claim.p_value)}"
        text += ": walks without a plan are usually straighter." if claim.p_value > 0.5 else "."
    return text.strip()
