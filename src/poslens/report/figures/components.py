"""How the variance spreads over principal components."""

from __future__ import annotations

import numpy as np

from poslens.axes import COMPONENT, LEADING_COMPONENT
from poslens.report import words
from poslens.report.figures import drawing
from poslens.report.figures.drawing import Figure, Trace
from poslens.study import Study

_NAME, _TITLE = "scree", "Variance by principal component"
_LEAST_SHOWN = 12


def scree(study: Study) -> Figure:
    """Explained share of each component, their running sum, and the surrogate null's band."""
    empty = drawing.absent(study, _NAME, _TITLE, "pca.explained")
    if empty:
        return empty
    array = study.data["pca.explained"]
    component, shares = drawing.along(array, COMPONENT), array.values
    running = np.cumsum(shares)
    n80, n95 = drawing.number(study, "pca.n80"), drawing.number(study, "pca.n95")
    null = study.data.get("pca.null_surrogate")
    traces: list[Trace] = []
    if null is not None:
        along = drawing.along(null, LEADING_COMPONENT)
        traces += drawing.quantile_band(null, along, "phase-randomised, 5–95 %")
    each = drawing.line(component, shares, "share of each component", drawing.BLUE)
    total = drawing.line(component, running, "running sum", drawing.VERMILION, dash="dash")
    traces += [{**each, "mode": "lines+markers", "marker": {"size": 6}}, total]
    if n80 is not None:
        # A pair of empty-bodied marks on the sum: how many components make 80 and 95 %.
        marks = [n for n in (n80, n95) if n is not None]
        at = np.searchsorted(component, marks).clip(max=component.size - 1)
        mark = drawing.points(
            component[at], running[at], "80 % and 95 %", drawing.VERMILION, symbol="diamond", size=9
        )
        mark |= {"mode": "markers+text", "text": [words.shown(n) for n in marks]}
        traces.append({**mark, "textposition": "top center", "cliponaxis": False})
    shown = max(_LEAST_SHOWN, 1.25 * (n95 or component.size))
    last = float(min(component[-1], shown)) + 0.5
    layout = drawing.layout(
        420,
        xaxis=drawing.axis("component", range=[float(component[0]) - 0.5, last]),
        yaxis=drawing.axis("share of the variance", tickformat=".0%", range=[-0.02, 1.09]),
    )
    return Figure(_NAME, _TITLE, _reading(study, shares, n80, n95), traces, layout)


def _reading(study: Study, shares: np.ndarray, n80: float | None, n95: float | None) -> str:
    text = f"The first component holds {words.percent(float(shares[0]))} of the variance"
    if n80 is not None and n95 is not None:
        text += f"; 80 % takes {words.counted(int(n80), 'component')} and 95 % takes "
        text += f"{words.shown(n95)} of {shares.size:,}"
    effective = drawing.number(study, "pca.participation_ratio")
    text += f" (participation ratio {words.shown(effective)})." if effective is not None else "."
    null = study.data.get("pca.null_surrogate")
    if null is None:
        return text
    low, middle, high = drawing.quantiles(null)
    size = min(shares.size, high.size)
    above = shares[:size] > high[:size]
    lead = int(np.argmin(above)) if not above.all() else size
    text += " Tables with the same power spectrum in each dimension but independent phases put "
    text += f"{words.percent(float(middle[0]))} into their first component; "
    if lead:
        stand = "component stands" if lead == 1 else f"{lead} components stand"
        return text + f"here the first {stand} above that band."
    where = "below" if shares[0] < low[0] else "inside"
    return text + f"here the first component lies {where} that band, so its size is no discovery."
