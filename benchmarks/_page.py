"""docs/benchmarks.md from what was recorded: every figure on it is one that was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from _common import from_json
from _hot import HOT
from _scaling import exponent

FIGURE = "images/scaling.svg"
EXPLAINED_BELOW = 0.25
PEAKS = {
    "dgemm": ("products of matrices, float64", 1e9, "GFLOP/s"),
    "sgemm": ("products of matrices, float32", 1e9, "GFLOP/s"),
    "drfft": ("real FFTs, float64", 1e9, "GFLOP/s"),
    "srfft": ("real FFTs, float32", 1e9, "GFLOP/s"),
    "copy": ("copies, read and written", 1e9, "GB/s"),
    "normals": ("normal deviates, float32", 1e6, "million/s"),
}

Record = Mapping[str, Any]


def page(record: Record) -> str:
    """Return the page of a record, in Markdown."""
    parts = [
        "# Benchmarks",
        "<!-- Written by `make bench` (benchmarks/all.py). Do not edit. -->",
        f"Written by `make bench`, which took {record['seconds'] / 60:.0f} minutes. Figures are of "
        "one run on one machine; ratios within one table are of sides that took turns.",
        *_machine(record),
        *_benchmarks(record["benchmarks"]),
        *_scaling(record["scaling"]),
        *_profiles(record["profiles"]),
        *_bounds(record),
    ]
    return "\n\n".join(parts) + "\n"


def missed(record: Record) -> list[str]:
    """Return what missed its bar, and the files that failed without a figure."""
    found = []
    for one in record["benchmarks"]:
        rows, _ = from_json(one["rows"])
        late = [f"{one['file']}: {row.what}" for row in rows if not row.met]
        found += late or ([f"{one['file']}: failed"] if one["status"] else [])
    return found


def bound_seconds(one: Record, peaks: Mapping[str, Mapping[str, float]]) -> float:
    """Return the least seconds that a measure's work can take at the machine's best rates.

    Products, transforms and deviates one after another; memory beside them, so that the longer of
    the two counts.
    """
    letter = "s" if one["single"] else "d"
    rate = {kind: max(rates.values()) for kind, rates in peaks.items()}
    computed = (
        one["products"] / rate[f"{letter}gemm"]
        + one["transforms"] / rate[f"{letter}rfft"]
        + one["normals"] / rate["normals"]
    )
    return float(max(computed, one["moved"] / rate["copy"]))


def _machine(record: Record) -> Iterable[str]:
    machine, versions = record["machine"], record["versions"]
    yield "## The machine"
    yield (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory']:.0f} GB; "
        f"{machine['system']}. "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + "."
    )
    yield "The most that it was seen to do, which the last section compares with:"
    rows = []
    for kind, (words, unit, name) in PEAKS.items():
        rates = record["peaks"][kind]
        rows.append([words, *(f"{rates[key] / unit:,.1f} {name}" for key in ("one", "all"))])
    yield _table(("", "one core", "all cores"), rows)


def _benchmarks(found: Sequence[Record]) -> Iterable[str]:
    yield "## Beside others"
    every = [row for one in found for row in from_json(one["rows"])[0]]
    verdicts = [row.met for row in every if row.bar is not None]
    yield f"Of {len(verdicts)} bars {sum(verdicts)} were met."
    for one in found:
        yield f"### `benchmarks/{one['file']}`"
        rows, peer = from_json(one["rows"])
        yield f"{one['title']} ({one['seconds']:.0f} s)"
        if not rows:
            yield f"It gave no figures, and left with status {one['status']}."
            continue
        yield _table(
            ("", "PosLens", peer, "figure", "bar", ""),
            [
                [
                    row.what,
                    row.poslens,
                    row.beside,
                    f"{row.figure:.3g}",
                    row.shown_bar,
                    "" if row.bar is None else "met" if row.met else "**missed**",
                ]
                for row in rows
            ],
        )


def _scaling(series: Sequence[Record]) -> Iterable[str]:
    yield "## As tables grow"
    yield f"![Time and memory against L and against d, both axes logarithmic]({FIGURE})"
    yield (
        "Each point is a fresh process; the seconds are of the fastest of up to three runs, the "
        "memory is what the first adds to the input. A series ends when a point exceeds 20 s or "
        "4 GB. Exponents are fitted over the last decade; — where it holds fewer than three "
        "points. A logarithm adds about 0.1 to an exponent of 1."
    )
    theory = {hot.name: hot.theory for hot in HOT}
    rows = []
    for one in series:
        points = one["points"]
        sizes = [point["size"] for point in points]
        fits = (exponent(sizes, [p[key] for p in points]) for key in ("seconds", "megabytes"))
        last = points[-1] if points else None
        rows.append(
            [
                one["name"],
                one["along"],
                "" if last is None else f"{last['size']:,}",
                "" if last is None else f"{last['seconds']:.3g} s",
                "" if last is None else f"{last['megabytes']:,.0f} MB",
                *("—" if fit is None else f"{fit:.2f}" for fit in fits),
                theory[one["name"]][one["along"] == "d"],
                one["stopped"],
            ]
        )
    heads = ("", "along", "largest", "time", "memory", "time ∝", "memory ∝", "theory", "ended")
    yield _table(heads, rows)
    yield _points(series)


def _points(series: Sequence[Record]) -> str:
    """Every point, seconds and megabytes, folded away."""
    parts = ["<details><summary>Every point</summary>"]
    for along in ("L", "d"):
        mine = [one for one in series if one["along"] == along]
        sizes = sorted({point["size"] for one in mine for point in one["points"]})
        rows = []
        for one in mine:
            at = {point["size"]: point for point in one["points"]}
            cells = (
                f"{at[s]['seconds']:.3g} s, {at[s]['megabytes']:,.0f} MB" if s in at else ""
                for s in sizes
            )
            rows.append([one["name"], *cells])
        parts.append(_table((along, *(f"{size:,}" for size in sizes)), rows))
    return "\n\n".join([*parts, "</details>"])


def _profiles(found: Sequence[Record]) -> Iterable[str]:
    yield "## Where the time of `poslens analyze` goes"
    yield (
        "Without the start of Python and the import; with 200 draws of each null and the page. "
        "Functions are the innermost ones of PosLens in which its threads were seen."
    )
    for one in found:
        yield f"### {one['source'][0].upper()}{one['source'][1:]}, {one['seconds']:.2f} s"
        total = one["seconds"]
        yield _table(
            ("stage", "time", "share"),
            [[what, f"{took:.2f} s", f"{took / total:.0%}"] for what, took in one["stages"]],
        )
        yield _table(
            (f"function ({one['looks']:,} looks)", "share"),
            [[f"`{name}`", f"{share:.0%}"] for name, share in one["functions"]],
        )


def _bounds(record: Record) -> Iterable[str]:
    yield "## What bounds the hot measures"
    yield (
        "Operations are counted by the formulas of `benchmarks/_operations.py`. The bound is the "
        "time that they would take at the best rates above, on all cores: products, transforms "
        "and deviates one after another, or the memory that must move, if that takes longer."
    )
    rows, explained = [], []
    for one in record["bounds"]:
        bound = bound_seconds(one, record["peaks"])
        share = bound / one["seconds"]
        operations = one["products"] + one["transforms"]
        rows.append(
            [
                one["name"],
                f"{one['length']:,} × {one['dim']:,}",
                f"{one['seconds']:.3f} s",
                f"{one['products'] / 1e9:.3g}",
                f"{one['transforms'] / 1e9:.3g}",
                f"{operations / one['seconds'] / 1e9:.3g} GFLOP/s" if operations else "",
                f"{one['moved'] / one['seconds'] / 1e9:.3g} GB/s",
                f"{bound:.3f} s",
                f"{share:.0%}",
            ]
        )
        if share < EXPLAINED_BELOW:
            explained.append(one["name"])
    heads = ("", "L × d", "time", "products, GFLOP", "FFTs, GFLOP", "achieved", "moved", "bound",
             "of it")  # fmt: skip
    yield _table(heads, rows)
    yield f"Below a quarter of the bound: {', '.join(explained) or 'none'}. What limits each:"
    measured = [one["name"] for one in record["bounds"]]
    limits = {hot.name: hot.limits for hot in HOT}
    yield "\n".join(f"- **{name}.** {limits[name]}" for name in measured)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; bars within cells are escaped."""
    lines = [list(heads), ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )
