"""The logits of one head on one text, term by term."""

from __future__ import annotations

import numpy as np

from poslens.axes import HEAD, KEY_POS, LAYER, QUERY_POS, TERM
from poslens.report import words
from poslens.report.figures import drawing, panels, terms
from poslens.report.figures.drawing import Figure, Layout, Trace
from poslens.report.figures.heads import signed
from poslens.study import Study

_NAME, _TITLE = "one-head", "The logits of one head on one text"
_LOGITS, _TOKENS, _PLACE = "attention.logits", "attention.logits_token", "attention.logits_place"
_MOST = 64  # tokens that are drawn
_BELOW = 176  # pixels below the panels, for tokens, their title and the colour bar
_LABEL = 12  # pixels that a token takes
_SUM = "sum"


def one_head(study: Study) -> Figure:
    """The matrices of each term and of their sum in one head, with the text's tokens."""
    empty = drawing.absent(study, _NAME, _TITLE, _LOGITS, optional=True)
    if empty:
        return empty
    array = study.data[_LOGITS]
    values = np.transpose(
        array.values, [array.dims.index(dim) for dim in (TERM, QUERY_POS, KEY_POS)]
    )[:, :_MOST, :_MOST]
    names = [str(term) for term in drawing.along(array, TERM)]
    whole = values.sum(axis=0, dtype=np.float64)  # NaN where the query may not look
    matrices = [*values, whole]
    end, beyond = terms.scale_end(np.stack(matrices))
    tokens = _tokens(study, whole.shape[0])
    place = _place(study)
    shares = _shares(study, place)
    titles = [_panel_title(name, shares) for name in [*names, _SUM]]
    traces = [
        _panel(matrix, title, tokens, end, number)
        for number, (matrix, title) in enumerate(zip(matrices, [*names, _SUM], strict=True))
    ]
    layout = _layout(titles, tokens, traces)
    title = _TITLE
    if place is not None:
        title = f"The logits of layer {place[0]}, head {place[1]} on one text"
    reading = _reading(whole, names, shares, (end, beyond), array.values.shape[1])
    return Figure(_NAME, title, reading, traces, layout)


def _tokens(study: Study, count: int) -> list[str]:
    """The text's tokens as data; their indices where the study does not have them all."""
    array = study.data.get(_TOKENS)
    if array is None or array.values.size < count:
        return [str(index) for index in range(count)]
    return [words.visible(token) for token in array.values.tolist()[:count]]


def _place(study: Study) -> tuple[int, int] | None:
    array = study.data.get(_PLACE)
    return None if array is None else (int(array.values[0]), int(array.values[1]))


def _shares(study: Study, place: tuple[int, int] | None) -> dict[str, float]:
    """The shares of the terms in this head, over all texts of the study."""
    array = study.data.get(terms.SHARE)
    if array is None or place is None:
        return {}
    layers, heads = (drawing.along(array, dim).tolist() for dim in (LAYER, HEAD))
    if place[0] not in layers or place[1] not in heads:
        return {}
    at = np.transpose(array.values, [array.dims.index(dim) for dim in (LAYER, HEAD, TERM)])
    of = at[layers.index(place[0]), heads.index(place[1])].tolist()
    names = [str(term) for term in drawing.along(array, TERM)]
    return {name: share for name, share in zip(names, of, strict=True) if np.isfinite(share)}


def _panel_title(name: str, shares: dict[str, float]) -> tuple[str, ...]:
    shown = drawing.plain(terms.name(name))
    return (shown, f"share {terms.share_text(shares[name])}") if name in shares else (shown,)


def _panel(matrix: np.ndarray, name: str, tokens: list[str], end: float, number: int) -> Trace:
    index = np.arange(len(tokens))
    shown = [drawing.plain(token) for token in tokens]
    return {
        "type": "heatmap",
        "x": index,
        "y": index,
        "z": drawing.float32(matrix),
        "zmin": -end,
        "zmid": 0,
        "zmax": end,
        "colorscale": drawing.DIVERGING,
        "showscale": False,
        "hoverongaps": False,
        "text": [
            [
                f"query {query}<br>key {key}" if seen else ""
                for key, seen in zip(shown, row.tolist(), strict=True)
            ]
            for query, row in zip(shown, np.isfinite(matrix), strict=True)
        ],
        "hovertemplate": f"{drawing.plain(terms.name(name))}<br>%{{text}}<br>%{{z:+.3g}} against "
        "the row's mean<extra></extra>",
        "xaxis": f"x{panels.suffix(number)}",
        "yaxis": f"y{panels.suffix(number)}",
    }


def _layout(titles: list[tuple[str, ...]], tokens: list[str], traces: list[Trace]) -> Layout:
    wide, narrow = (
        panels.grid(
            [between.join(title) for title in titles],
            columns=min(columns, len(titles)),
            height=side,
            below=_BELOW,
            x={"title": "key", "tickangle": -90, **_labelled(tokens, side, letters)},
            y={"title": "query", "autorange": "reversed", **_labelled(tokens, side, letters)},
            square=True,
        )
        for columns, side, letters, between in ((3, 236, 12, ", "), (2, 128, 7, "<br>"))
    )
    bar = drawing.colour_bar("logit against the mean of its row", panels.bar_at(wide, _BELOW, 124))
    traces[0] |= {"showscale": True, "colorbar": bar}
    own = {"layout": narrow, "colorbar": {"y": panels.bar_at(narrow, _BELOW, 124)}}
    layout = drawing.layout(**wide, meta={"narrow": own})
    layout["margin"] = {**layout["margin"], "b": _BELOW}
    return layout


def _labelled(tokens: list[str], side: int, letters: int) -> Layout:
    """The tokens as labels of an axis so long, in pixels: as many as have room, cut short."""
    step = max(1, -(-_LABEL * len(tokens) // side))
    at = range(0, len(tokens), step)
    return {
        "tickvals": list(at),
        "ticktext": [drawing.plain(_short(tokens[index], letters)) for index in at],
        "tickfont": {"size": 10},
    }


def _short(token: str, letters: int) -> str:
    shown = token.strip() or "␣" * len(token)
    return shown if len(shown) <= letters else shown[: letters - 1] + "…"


def _reading(
    whole: np.ndarray,
    names: list[str],
    shares: dict[str, float],
    scale: tuple[float, int],
    length: int,
) -> str:
    end, beyond = scale
    text = f"Each term's part of the logits of {words.counted(len(whole), 'token')}, and their sum"
    text += ", the query's part named first; orange where it raises a logit above its row's mean, "
    text += f"blue where it lowers it, on one scale to ±{words.shown(end)}"
    if beyond:
        text += f", beyond which {words.counted(beyond, 'cell')} "
        text += ("lies" if beyond == 1 else "lie") + " in the colour of its ends"
    text += "."
    text += " Not every token has room beside the panels; a cell names its own."
    if length > len(whole):
        text += f" The first {len(whole)} of {length} tokens are drawn."
    known = {name: share for name, share in shares.items() if name in names}
    if known:
        most = max(known, key=lambda name: known[name])
        text += f" Over all texts, {terms.name(most)} has the largest share in this head, "
        text += f"{words.percent(known[most])}."
    return text + _favoured(whole)


def _favoured(whole: np.ndarray) -> str:
    """The offset at which the largest logit of a row lies most often."""
    finite = np.isfinite(whole)
    high, low = (np.where(finite, whole, end) for end in (-np.inf, np.inf))
    # A first token that sees itself alone, and a row without differences, favour nothing.
    choosing = np.flatnonzero(high.max(axis=1) > low.min(axis=1))
    if choosing.size == 0:
        return ""
    offset = high[choosing].argmax(axis=1) - choosing
    found, counts = np.unique(offset, return_counts=True)
    best = int(counts.argmax())
    return (
        f" The largest logit of a row lies most often at offset {signed(int(found[best]))}, in "
        f"{counts[best]} of {words.counted(choosing.size, 'row')}."
    )
