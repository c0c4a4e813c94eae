"""How numbers, verdicts and names from outside become text."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence

from poslens.claims.claim import Claim, Verdict
from poslens.study import Study, Value

NOTHING = "—"
_SYMBOLS = {
    Verdict.SUPPORTED: "✓",
    Verdict.CONTRADICTED: "✗",
    Verdict.INCONCLUSIVE: "?",
    Verdict.NOT_APPLICABLE: "–",
}
_BAR = re.compile(r"(<=|>=)\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)")
_MOST_DIGITS = 8
_LISTED = 8


def symbol(verdict: Verdict) -> str:
    """Return the sign that stands beside a verdict's word, so that colour is never needed."""
    return _SYMBOLS[verdict]


def visible(text: object) -> str:
    """Return data as one line of visible characters.

    Names of files, tensors and families are data: a newline, a terminal escape or a character that
    reverses the direction of writing is shown escaped, so that it cannot break or forge output.
    """
    return "".join(_visible(character) for character in str(text))


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def shown(value: float | int | None, bar: str = "") -> str:
    """Return a number with three significant figures; a whole number in full.

    Parameters
    ----------
    value
        The number; None, NaN and infinities are shown as a dash.
    bar
        A condition such as ``"<= 0.15"``. Where three figures would put the value on the other
        side of the bar than it is (0.1504 as 0.150), more are shown.
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    met = _meets(value, bar)
    texts = [_rounded(value, digits) for digits in range(3, _MOST_DIGITS + 1)]
    return next((text for text in texts if _meets(_number(text), bar) == met), texts[-1])


def _rounded(value: float, digits: int) -> str:
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -4 or exponent >= 15:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _meets(value: float, bar: str) -> bool | None:
    found = _BAR.fullmatch(bar.strip())
    if found is None:
        return None
    limit = float(found[2])
    return value <= limit if found[1] == "<=" else value >= limit


def bar_text(bar: str) -> str:
    """Return a bar with the signs ≤ and ≥."""
    return visible(bar).replace("<=", "≤").replace(">=", "≥")


def interval_text(claim: Claim) -> str:
    """Return the interval as ``0.181 … 0.213``, or nothing."""
    if claim.interval is None:
        return ""
    low, high = claim.interval
    return f"{shown(low, claim.bar)} … {shown(high, claim.bar)}"


def null_text(claim: Claim) -> str:
    """Return the null model and its p-value as ``permutation, p = 0.005``, or nothing."""
    if claim.null is None:
        return ""
    name = visible(claim.null).replace("_", " ")
    return name if claim.p_value is None else f"{name}, p = {p_text(claim.p_value)}"


def p_text(p_value: float) -> str:
    """Return a p-value to a thousandth, or how small it is."""
    if not math.isfinite(p_value):
        return NOTHING
    return f"{p_value:.3f}" if p_value >= 0.0005 else f"{p_value:.0e}"


def percent(share: float) -> str:
    """Return a share in per cent: whole from 10 % on, one decimal below."""
    points = 100 * share
    if 0 < points < 0.05:
        return "less than 0.1 %"
    return f"{points:.0f} %" if abs(points) >= 9.95 or points == 0 else f"{points:.1f} %"


def counted(number: int, noun: str) -> str:
    """Return ``1 row``, ``2 rows``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def listed(items: Sequence[object], limit: int = _LISTED) -> str:
    """Return the first few items with commas, and how many more there are."""
    few = ", ".join(visible(item) for item in items[:limit])
    more = len(items) - limit
    return few if more <= 0 else f"{few} and {more} more"


def value_text(value: Value) -> str:
    """Return any measure's value as text: a number, a word, a list, or values by key."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{visible(key)}: {shown(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        if any(isinstance(entry, list) for entry in value):
            return counted(len(value), "row") + " of numbers"
        plain = [entry for entry in value if not isinstance(entry, list)]
        return listed([shown(entry) for entry in plain]) if value else "none"
    return shown(value if isinstance(value, int) else float(value))


def table_title(study: Study) -> str:
    """Return the source as one name: its URI, and the tensor where the URI does not name it."""
    source = study.source
    uri = visible(source.uri)
    if source.tensor is None or visible(source.tensor) in uri:
        return uri
    return f"{uri}::{visible(source.tensor)}"


def short_name(study: Study) -> str:
    """Return the source's name for a heading, as `short_uri` has it."""
    return short_uri(study.source.uri)


def short_uri(uri: str) -> str:
    """Return a source's name for a heading: of a path or URL, the last two parts."""
    parts = [part for part in re.split(r"[/\\]+", visible(uri)) if part]
    return "/".join(parts[-2:]) if len(parts) > 2 else visible(uri)


def table_facts(study: Study) -> list[str]:
    """Return family, scheme, shape and view, each as a short phrase."""
    source, settings = study.source, study.settings
    facts = [visible(source.family)] if source.family else []
    if source.scheme != "unknown":
        facts.append(visible(source.scheme))
    if study.length is None:
        return [*facts, "no position table"]
    facts += [f"{study.length:,} × {study.dim:,}", f"{visible(settings.view)} view"]
    if settings.rows is not None:
        facts.append(f"rows {settings.rows[0]}:{settings.rows[1]}")
    return facts


def verdict_counts(study: Study) -> list[tuple[Verdict, int]]:
    """Return how many claims have each verdict, in the order of `Verdict`, zeros included."""
    return [(verdict, sum(c.verdict == verdict for c in study.claims)) for verdict in Verdict]


def tested(study: Study) -> list[Claim]:
    """Return the claims that apply, in the article's order."""
    return [claim for claim in study.claims if claim.verdict != Verdict.NOT_APPLICABLE]


def not_applicable(study: Study) -> dict[str, list[Claim]]:
    """Return the claims that do not apply, by their reason, in the article's order."""
    reasons: dict[str, list[Claim]] = {}
    for claim in study.claims:
        if claim.verdict == Verdict.NOT_APPLICABLE:
            reasons.setdefault(claim.note or "no reason given", []).append(claim)
    return reasons
