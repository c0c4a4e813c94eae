"""The reference of measures: each name with its meaning, its formula, and the demo's value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import examples

import claims
from poslens.report import words
from poslens.report.glossary import DRAWN, GROUPS, MEANINGS

_ROW = re.compile(r"^\| (`.+?) \| (.+) \|$", re.MULTILINE)
_NAME = re.compile(r"`([a-z0-9_.]+)(?:\[[^\]]*\])?`")


def formulas(contract: str) -> dict[str, str]:
    """Return the formula of each measure from the tables of ``docs/measures.md``.

    Where several share a line of it, their names stand before it.
    """
    found: dict[str, str] = {}
    for names, formula in _ROW.findall(contract):
        full = ""
        for name in _NAME.findall(names):
            # `.ctx` after `hidden.share.pos` is `hidden.share.ctx`.
            full = full.rsplit(".", 1)[0] + name if name.startswith(".") else name
            found[full] = f"{names}: {formula}" if ", `" in names else formula
    return found


def page(contract: Path, pages: Mapping[str, str]) -> str:
    """Return the page as Markdown.

    Parameters
    ----------
    contract
        The file of formulas.
    pages
        The page of each claim.
    """
    known = formulas(contract.read_text(encoding="utf-8"))
    names = [*dict.fromkeys([*MEANINGS, *sorted(DRAWN), *known])]
    lines = [
        "# Measures, one by one\n",
        "Made from the code: what each measure means, its formula, which claims it decides, and "
        "its value on the model that ships with PosLens. Notation and conventions are those of the "
        "[list of formulas](../measures.md).\n",
    ]
    for prefix, title in GROUPS.items():
        lines.append(f"## {title}\n")
        for name in names:
            if name.split(".", 1)[0] == prefix:
                lines += _entry(name, known.get(name, ""), pages)
    return "\n".join(lines)


def _entry(name: str, formula: str, pages: Mapping[str, str]) -> list[str]:
    lines = [f"### `{name}` {{ #{name} }}\n"]
    if name in MEANINGS:
        meaning = MEANINGS[name]
        lines.append(f"{meaning[0].upper()}{meaning[1:]}.\n")
    if formula:
        lines.append(f"formula\n:   {formula}\n")
    judged = [claim for claim, shown in claims.SHOWN.items() if name in shown.measures]
    if judged:
        links = ", ".join(f"[`{claim}`](../{pages[claim]}#{claim})" for claim in judged)
        lines.append(f"claims\n:   {links}\n")
    lines.append(f"on the demo\n:   {_on_demo(name)}\n")
    return lines


def _on_demo(name: str) -> str:
    study = examples.study("demo")
    value = study.measures.get(name)
    if name in study.undefined and value is None:
        return f"none: {study.undefined[name]}"
    if name in DRAWN or value is None:
        if name.startswith("hidden."):
            return "needs `--layers`"
        return "numbers by lag, component or head" if value else "none: it rotates nothing"
    return words.value_text(value)
