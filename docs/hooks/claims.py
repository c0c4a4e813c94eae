"""What the site says of each claim beside its prose: the rule, the demo's verdict, and pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import examples

from poslens.claims.claim import Claim, Verdict
from poslens.claims.rules import RULES, Rule
from poslens.report import figures, sections, words
from poslens.report.figures import Figure, overlaid
from poslens.report.glossary import MEANINGS
from poslens.study import Study

Draw = Callable[[Study], Figure]


@dataclass(frozen=True)
class Shown:
    """What illustrates a claim.

    Attributes
    ----------
    measures
        The measures that its value is made of; empty where it is made of none.
    draw
        The figure.
    examples
        What is drawn, by name in `examples.EXAMPLES`: first where the claim holds, if it is decided
        on any, then where it does not.
    value
        What is held against the bar, where that is no measure as it is; ``{}`` is the measures.
    told
        What the figure is of, where that is more than the example.
    """

    measures: tuple[str, ...]
    draw: Draw
    examples: tuple[str, ...]
    value: str = ""
    told: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure on a page: its id, and what stands above it as HTML."""

    id: str
    figure: Figure
    caption: str


def _beside(_: Study) -> Figure:
    """Kernels of schemes of distance beside that of the demo's learned table."""
    names = ("alibi", "rope", "demo")
    labels = [examples.EXAMPLES[name].words for name in names]
    return overlaid.kernel_profiles([examples.study(name) for name in names], labels)


SHOWN: dict[str, Shown] = {
    "order.blind_without_position": Shown(
        (),
        figures.share_stack,
        ("demo", "faded"),
        "how far attention is from commuting with a reordering of its tokens, with positions, as a "
        "share of its output; 0 if it does not commute without them (above 0.00001)",
    ),
    "sinusoid.many_frequencies": Shown(
        (),
        figures.wavelengths,
        ("rope",),
        "the larger of two departures: of any pair of dimensions from one pure wave (1 - R²), and "
        "of any step between the logarithms of neighbouring frequencies from the mean step "
        "(relative)",
    ),
    "sinusoid.linear_shift": Shown(
        ("shift.rotation_r2",),
        figures.shift,
        ("sinusoidal", "demo"),
        "{} at the worst of the shifts 1, 8 and 64",
    ),
    "sinusoid.no_parameters": Shown(
        (), figures.trajectory, ("sinusoidal",), "trained numbers in the table"
    ),
    "learned.trained_rows": Shown(
        (),
        figures.row_norms,
        ("demo", "fresh"),
        "the share of rows whose norm and whose cosine with the next row both lie in the 1–99 % "
        "range of fresh N(0, σ²) rows",
    ),
    "norm.stable": Shown(("norm.cv",), figures.row_norms, ("sinusoidal", "uneven", "demo")),
    "norm.no_tail_explosion": Shown(
        ("norm.tail_ratio",), figures.row_norms, ("sinusoidal", "demo")
    ),
    "norm.below_tokens": Shown(("norm.token_ratio",), figures.row_norms, ("demo", "long")),
    "cosine.neighbours_alike": Shown(
        ("cosine.adjacent",), figures.cosine_heatmap, ("demo", "shuffled")
    ),
    "cosine.decays": Shown(
        ("cosine.profile",),
        figures.lag_profile,
        ("demo", "helix"),
        value="of {}: minus its correlation with the falling curve nearest to it",
    ),
    "cosine.exponential": Shown(
        ("cosine.exp_r2",), figures.lag_profile, ("decaying", "demo", "fresh")
    ),
    "difference.parallel": Shown(
        ("difference.parallel",),
        figures.parallelism,
        ("line", "fresh", "demo"),
        value="{}, at the shortest stride that noise allows and less what noise adds to it",
    ),
    "trajectory.linear": Shown(("trajectory.linear_r2",), figures.line_and_helix, ("line", "demo")),
    "pca.pc1_is_position": Shown(
        ("pca.pc1_index_correlation",), figures.trajectory, ("demo", "helix")
    ),
    "pca.few_components": Shown(("pca.n80",), figures.scree, ("line", "demo", "helix")),
    "pca.low_dimensional": Shown(("pca.participation_ratio",), figures.scree, ("demo", "fresh")),
    "attention.four_terms": Shown(("attention.reconstruction_error",), figures.one_head, ("demo",)),
    "attention.position_contributes": Shown(
        (
            "attention.share.position_position",
            "attention.share.content_position",
            "attention.share.position_content",
        ),
        figures.share_stack,
        ("demo", "faded"),
        "the sum of {} in the first layer, less what contexts show by chance, median over heads",
    ),
    "attention.learns_distance": Shown(
        ("kernel.relative_share",),
        figures.kernel_heads,
        ("demo", "shuffled"),
        "{} in the first layer, median over heads",
    ),
    "relative.distance_only": Shown(
        ("kernel.relative_share",),
        figures.kernel_profiles,
        ("alibi", "t5"),
        "{}, the smallest of any head",
    ),
    "relative.extrapolates": Shown(
        (),
        _beside,
        ("alibi",),
        "perplexity at 4× the trained length over that at 1×, divided by the same of the learned "
        "table; the largest of any relative scheme and seed",
        "two schemes of distance, and the demo's learned table",
    ),
    "trajectory.small_noise": Shown(
        ("trajectory.noise_share",), figures.trajectory, ("helix", "noisy")
    ),
    "trajectory.smooth": Shown(("trajectory.roughness",), figures.trajectory, ("demo", "shuffled")),
    "training.stabler": Shown(
        (),
        figures.cosine_heatmap,
        ("smooth", "fresh"),
        "variance over seeds of the held-out loss, begun smooth ÷ begun as noise",
    ),
    "memory.compressible": Shown(
        (),
        figures.scree,
        ("demo",),
        "the relative increase of the model's loss with a table of rank k, k·(L + d) ≤ L·d ÷ 4",
    ),
}

_RULES = {rule.id: rule for rule in RULES}
_OF_RUNS = {"relative.extrapolates": "≤ 1", "training.stabler": "≤ 1"}
_OF_EDITS = {"memory.compressible": "≤ 0.01"}
_ELSEWHERE = {
    "relative.extrapolates": "decided by `poslens lab`, over seeds",
    "training.stabler": "decided by `poslens lab`, over seeds",
    "memory.compressible": "decided by `poslens compress`, on a text",
}


def heading(claim: str) -> str:
    """Return the heading of a claim's section: its statement, with the claim as its anchor."""
    return f"## {_RULES[claim].statement} {{ #{claim} data-toc-label='{claim}' }}"


def facts(claim: str) -> str:
    """Return the rule of a claim as a Markdown list of terms, and the demo's verdict."""
    rule, shown = _RULES[claim], SHOWN[claim]
    rows = [
        ("claim", f"`{claim}`, article § {rule.section}"),
        ("value", _value(shown)),
        ("bar", _bar(rule)),
        ("interval", _interval(rule)),
        ("null model", _null(rule)),
        ("on the demo", _on_demo(claim)),
    ]
    return "\n\n".join(f"{name}\n:   {text}" for name, text in rows if text) + "\n"


def _value(shown: Shown) -> str:
    links = {name: f"[`{name}`](../reference/measures.md#{name})" for name in shown.measures}
    told = shown.value or f"{{}}: {MEANINGS[shown.measures[0]]}"
    return told.format(", ".join(links.values()))


def _bar(rule: Rule) -> str:
    if rule.bar is None:
        return {**_OF_RUNS, **_OF_EDITS}[rule.id]
    unit = " · min(L, d)" if rule.bar_unit else ""
    return words.bar_text(f"{rule.relation} {rule.bar:.6g}") + unit


def _interval(rule: Rule) -> str:
    if rule.id in _OF_RUNS:
        return "95 %, over seeds"
    if rule.id in _OF_EDITS:
        return "95 %, bootstrap over contexts"
    if rule.interval is None:
        return "none: the value alone decides"
    return "95 %, moving-block bootstrap over positions"


def _null(rule: Rule) -> str:
    if rule.null is None:
        return "none" if rule.measure else ""
    name = f"[{rule.null.null.replace('_', ' ')}](index.md#null-models)"
    return f"{name}, " + ("p ≤ 0.01 needed" if rule.null.decides else "reported, does not decide")


def _on_demo(claim: str) -> str:
    found = examples.study("demo").claim(claim)
    if found.verdict is Verdict.NOT_APPLICABLE:
        return f"{_said(found.verdict)}: {_ELSEWHERE.get(claim, found.note)}"
    value = f"{words.shown(found.value, found.bar)}, bar {words.bar_text(found.bar)}"
    return f"{_said(found.verdict)}: {value}"


def _said(verdict: Verdict) -> str:
    return sections.verdict("span", verdict)


def table(pages: Mapping[str, str]) -> str:
    """Return every claim, its statement and the demo's verdict as a Markdown table.

    Parameters
    ----------
    pages
        The page of each claim, beside the one that holds the table.
    """
    lines = ["| § | statement | on the demo |", "|---|---|---|"]
    for rule in RULES:
        verdict = _said(examples.study("demo").claim(rule.id).verdict)
        link = f"[{rule.statement}]({pages[rule.id]}#{rule.id})<br>`{rule.id}`"
        lines.append(f"| {rule.section} | {link} | {verdict} |")
    return "\n".join(lines) + "\n"


def pictures(claim: str) -> list[Picture]:
    """Return the figures of a claim, each with its example's verdict."""
    shown = SHOWN[claim]
    found = []
    for name in shown.examples:
        study = examples.study(name)
        figure = shown.draw(study)
        if figure.missing:
            raise ValueError(f"no figure of {claim} on {name}: {figure.missing}")
        mark = re.sub(r"[._]", "-", f"{claim}-{name}")
        told = shown.told or examples.EXAMPLES[name].words
        found.append(Picture(mark, figure, _caption(study.claim(claim), told, figure)))
    return found


def _caption(claim: Claim, told: str, figure: Figure) -> str:
    head = f"<strong>{sections.text(told[0].upper() + told[1:])}</strong>"
    reading = f"<p>{sections.text(figure.title)}. {sections.text(figure.reading)}</p>"
    if claim.verdict is Verdict.NOT_APPLICABLE:
        return f"<p>{head}</p>{reading}"
    numbers = [words.shown(claim.value, claim.bar), f"bar {words.bar_text(claim.bar)}"]
    if claim.interval is not None:
        numbers.append(f"interval {words.interval_text(claim)}")
    if claim.p_value is not None:
        numbers.append(words.null_text(claim))
    note = f"<p>{sections.text(claim.note)}</p>" if claim.note else ""
    said = f"{_said(claim.verdict)} {sections.text(' · '.join(numbers))}"
    return f"<p>{head}<br>{said}</p>{note}{reading}"
