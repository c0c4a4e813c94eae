"""In which layers the claims on geometry hold: what the terminal, notebooks and the page say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from poslens.claims.claim import Claim, Verdict
from poslens.report import aligned, sections, words
from poslens.study import LayerStudy, Study

TITLE = "Claims by layer"
_MANY = 20  # layers whose columns are narrow
_SAID = (Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.INCONCLUSIVE)


def said(study: Study) -> dict[str, str]:
    """Return in which layers each claim has which verdict, by the claim's id.

    Only claims that apply in one layer at least: ``supported in layers 0–4; contradicted in 5, 6``.
    """
    return {
        name: _sentence(row, study.layers) for name, row in aligned.tested(study.layers).items()
    }


def _sentence(row: Sequence[Claim | None], layers: Sequence[LayerStudy]) -> str:
    numbers = [layer.layer for layer in layers]
    found: Mapping[Verdict, list[int]] = {
        verdict: [
            number
            for number, claim in zip(numbers, row, strict=True)
            if claim is not None and claim.verdict == verdict
        ]
        for verdict in _SAID
    }
    parts: list[str] = []
    for verdict, at in found.items():
        if not at:
            continue
        if len(at) == len(numbers) > 1:
            return f"{verdict} in every layer"
        # The word stands once: all that follows is of layers too.
        noun = "" if parts else "layer " if len(at) == 1 else "layers "
        parts.append(f"{verdict} in {noun}{runs(at)}")
    return "; ".join(parts)


def runs(numbers: Sequence[int]) -> str:
    """Return ascending numbers in few characters: ``0–4, 7, 9, 10``."""
    breaks = [at for at, (a, b) in enumerate(pairwise(numbers), start=1) if b != a + 1]
    edges = [0, *breaks, len(numbers)]
    parts = [numbers[start:stop] for start, stop in pairwise(edges)]
    return ", ".join(_run(part) for part in parts if part)


def _run(part: Sequence[int]) -> str:
    if len(part) < 3:
        return ", ".join(str(number) for number in part)
    return f"{part[0]}–{part[-1]}"


def section(study: Study) -> str:
    """Return the grid of verdicts as an HTML table: a row for each claim, a column for each layer.

    Nothing where the study has no layers, or no claim applies in any.
    """
    rows = aligned.tested(study.layers)
    if not rows:
        return ""
    numbers = "".join(f'<th scope="col">{layer.layer}</th>' for layer in study.layers)
    sentences = said(study)
    body = "".join(
        f'<tr><th scope="row"><code class="id">{_name(name)}</code>'
        f'<span class="said">{sections.text(sentences[name])}</span></th>'
        f"{''.join(_cell(claim, layer) for claim, layer in zip(row, study.layers, strict=True))}"
        "</tr>"
        for name, row in rows.items()
    )
    kind = "layers many" if len(study.layers) > _MANY else "layers"
    signs = " · ".join(f"{words.symbol(verdict)} {verdict}" for verdict in Verdict)
    return (
        f'<h3 id="claims-by-layer" class="by-layer">{TITLE}</h3>'
        f'<p class="reading">{sections.text(_reading(rows, study.layers))}</p>'
        '<div class="scroll" role="region" tabindex="0" aria-labelledby="claims-by-layer">'
        f'<table class="{kind}"><thead><tr><th scope="col">Layer</th>'
        f'{numbers}</tr></thead><tbody>{body}</tbody></table></div><p class="signs">{signs}</p>'
    )


def _name(name: str) -> str:
    return sections.breakable(sections.text(name).replace(".", ".<wbr>"))


def _cell(claim: Claim | None, layer: LayerStudy) -> str:
    if claim is None:
        return "<td></td>"
    # The sign is for the eye; a pointer and a screen reader get the words and the value.
    told = f"layer {layer.layer}: {claim.verdict}"
    if aligned.applies(claim):
        told += f", {words.shown(claim.value, claim.bar)} ({words.bar_text(claim.bar)})"
    told = sections.text(told)
    return (
        f'<td class="{sections.verdict_class(claim.verdict)}" title="{told}">'
        f'<i aria-hidden="true">{words.symbol(claim.verdict)}</i>'
        f'<span class="unseen">{told}</span></td>'
    )


def _reading(rows: Mapping[str, Sequence[Claim | None]], layers: Sequence[LayerStudy]) -> str:
    text = "The statements on geometry, tested on what position alone sets in the hidden states of "
    text += "each layer."
    counts = [_supported(row[at] for row in rows.values()) for at in range(len(layers))]
    low, high = counts.index(min(counts)), counts.index(max(counts))
    of = words.counted(len(rows), "claim")
    if counts[low] == counts[high]:
        where = "every layer" if len(layers) > 1 else f"layer {layers[0].layer}"
        verb = "is" if counts[high] == 1 else "are"
        return f"{text} In {where}, {counts[high]} of {of} {verb} supported."
    text += f" Of {of}, most are supported in layer {layers[high].layer} ({counts[high]}) and "
    return text + f"fewest in layer {layers[low].layer} ({counts[low]})."


def _supported(column: Iterable[Claim | None]) -> int:
    return sum(claim is not None and claim.verdict == Verdict.SUPPORTED for claim in column)
