"""How fast the planes of a rotation turn."""

from __future__ import annotations

import numpy as np

from poslens.axes import PLANE, ROTATION
from poslens.report import words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Layout, Trace
from poslens.study import Study

_NAME, _TITLE = "wavelengths", "How far apart positions come round again"
_LOOKS = (
    (drawing.BLUE, "circle"),
    (drawing.VERMILION, "diamond"),
    (drawing.GREEN, "triangle-up"),
    (drawing.MUTED, "square"),
)
_SMALLEST, _LARGEST = 5.0, 26.0  # pixels across


def wavelengths(study: Study) -> Figure:
    """The wavelength of each plane that RoPE turns, against the context length."""
    wanted = "kernel.wavelength"
    empty = drawing.absent(study, _NAME, _TITLE, wanted, related=wanted, optional=True)
    if empty:
        return empty
    array = study.data[wanted]
    values = np.atleast_2d(np.asarray(array.values, dtype=np.float64))
    names = [""]
    if array.dims[0] == ROTATION:
        names = [words.visible(name) for name in drawing.along(array, ROTATION)]
    plane = drawing.along(array, PLANE)
    context = _context(study)
    energy = _energy(study, values)
    traces: list[Trace] = []
    for number, (name, lengths) in enumerate(zip(names, values, strict=True)):
        turning = np.isfinite(lengths)  # one that does not turn has no place on a log scale
        colour, symbol = _LOOKS[number % len(_LOOKS)]
        marks = drawing.points(
            plane[turning], lengths[turning], name or "plane", colour, symbol=symbol
        )
        marks["hovertemplate"] = "plane %{x}: once in %{y:,.4~g} positions<extra></extra>"
        if energy is not None:
            marks["marker"]["size"] = _sizes(energy[turning])
            marks["marker"]["line"] = {"color": drawing.PAPER, "width": 0.5}
            marks["customdata"] = drawing.float32(energy[turning])
            marks["hovertemplate"] = (
                "plane %{x}: once in %{y:,.4~g} positions, %{customdata:.1%} of the kernel's energy"
                "<extra></extra>"
            )
        traces.append({**marks, "showlegend": bool(name)})
    layout = drawing.layout(
        420,
        hovermode="closest",
        xaxis=drawing.axis("plane"),
        yaxis=drawing.axis(
            "positions in a turn (log scale)", type="log", dtick=1, exponentformat="power"
        ),
    )
    if context is not None:
        layout |= _context_line(context)
    reading = _reading(names, values, context, energy)
    return Figure(_NAME, _TITLE, reading, traces, layout)


def _context(study: Study) -> float | None:
    array = study.data.get("kernel.context")
    return None if array is None or not np.isfinite(array.values) else float(array.values)


def _energy(study: Study, values: np.ndarray) -> np.ndarray | None:
    """The mean over heads of each plane's share of the kernel's energy, shape (plane,).

    None where the study has none, or has planes of several rotations.
    """
    array = study.data.get("kernel.band_energy")
    if array is None or values.shape[0] > 1 or array.values.shape[-1] != values.shape[1]:
        return None
    whole = array.values.sum(axis=-1, keepdims=True)
    heads = array.values[whole[:, 0] > 0] / whole[whole[:, 0] > 0]
    return np.asarray(heads.mean(axis=0)) if heads.size else None


def _sizes(energy: np.ndarray) -> np.ndarray:
    """Diameters of marks whose areas are as the energies, but that can all be seen."""
    return drawing.float32(np.maximum(_SMALLEST, _LARGEST * np.sqrt(energy / energy.max())))


def _context_line(context: float) -> Layout:
    shape = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": context, "y1": context}
    label = {
        "text": f"context of {words.shown(context)} positions",
        "xref": "paper",
        "x": 0,
        "xanchor": "left",
        "y": float(np.log10(context)),  # annotations on a log axis stand at its exponents
        "yanchor": "bottom",
        "yshift": 2,
        "showarrow": False,
        "font": {"color": drawing.MUTED, "size": 12},
    }
    return {
        "shapes": [{**shape, "line": {"color": drawing.MUTED, "width": 1.5, "dash": "dash"}}],
        "annotations": [label],
    }


def _reading(
    names: list[str], values: np.ndarray, context: float | None, energy: np.ndarray | None
) -> str:
    text = "In each plane, queries and keys turn by a fixed angle from one position to the next. "
    text += "Short waves tell neighbours apart and soon repeat; long ones tell far positions apart."
    for name, lengths in zip(names, values, strict=True):
        text += " " + _of_rotation(name, lengths[~np.isnan(lengths)], context)
    if energy is None:
        return text
    text += " Areas show how much each plane adds to what varies in the kernel (the mean over "
    text += "heads)"
    if context is None:
        return text + "."
    slow = float(energy[values[0] > context].sum())
    return text + f"; {words.percent(slow)} lies in planes longer than the context."


def _of_rotation(name: str, lengths: np.ndarray, context: float | None) -> str:
    turning = lengths[np.isfinite(lengths)]
    whose = f"{name}: " if name else ""
    if not turning.size:
        return f"{whose}no plane turns."
    low, high = words.shown(float(turning.min())), words.shown(float(turning.max()))
    text = f"{whose}{'t' if name else 'T'}he planes turn once in {low} to {high} positions"
    if context is not None:
        slow = int(np.count_nonzero(turning > context))
        ever = "never completes" if slow == 1 else "never complete"
        text += (
            f"; {slow} of {turning.size} {ever} a turn" if slow else "; every one completes a turn"
        )
        text += f" within the context of {words.shown(context)}"
    still = int(lengths.size - turning.size)
    if still:
        text += (
            f"; {words.counted(still, 'plane')} {'does' if still == 1 else 'do'} not turn at all"
        )
    return text + "."
