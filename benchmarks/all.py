"""Every benchmark, the scaling runs, the profile and the bounds: what docs/benchmarks.md says.

    python benchmarks/all.py [--quick] [--docs FOLDER] [--json FILE] [--from FILE]

Each file of this folder runs in its own process, and its bars decide; then each hot measure as
tables grow, where `poslens analyze` spends its time, and how far the hot measures are from what
the machine can do. The page and its figure are written to ``--docs``. ``--json`` keeps what was
measured, and ``--from`` writes the page of it again without measuring.

Exit status 1 if a bar is missed or a file fails. ``--quick`` is a smoke test: it passes ``--quick``
to every file, measures little of the rest, and writes no page unless told where.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _machine
import _profile
import _scaling
from _figure import scaling_figure
from _page import FIGURE, missed, page

HERE = Path(__file__).resolve().parent
NOT_RUN = {"all.py", "notebook.py"}  # this one, and a peer


def benchmarks() -> list[Path]:
    """Return the files that are run: all of this folder but what they share."""
    names = sorted(path for path in HERE.glob("*.py") if not path.name.startswith("_"))
    return [path for path in names if path.name not in NOT_RUN]


def title(file: Path) -> str:
    """Return the first line of a file's docstring."""
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or file.stem
    return doc.splitlines()[0]


def run(file: Path, quick: bool) -> dict[str, Any]:
    """Run one file, and return its figures, its exit status and the seconds that it took."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder, "figures.json")
        command = [sys.executable, str(file), "--json", str(figures), *["--quick"] * quick]
        status = subprocess.run(command, check=False).returncode
        rows = json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else []
    return {
        "file": file.name,
        "title": title(file),
        "seconds": time.perf_counter() - start,
        "status": status,
        "rows": rows,
    }


def say(what: str) -> None:
    """Print what is done next, at once."""
    print(what, flush=True)


def measure(quick: bool) -> dict[str, Any]:
    """Return everything that the page says."""
    start = time.perf_counter()
    say("the machine's peaks")
    peaks = _machine.peaks(0.1 if quick else 1.0)
    found = []
    for file in benchmarks():
        say(f"\n{file.name}: {title(file)}")
        found.append(run(file, quick))
    say("")
    record = {
        "machine": _machine.described(),
        "versions": _machine.versions(),
        "peaks": peaks,
        "benchmarks": found,
        "bounds": _scaling.bounds(quick, say),
        "scaling": _scaling.all_series(quick, say),
    }
    say("where the time of poslens analyze goes")
    record["profiles"] = _profile.profiles(quick)
    record["seconds"] = time.perf_counter() - start
    return record


def write(record: dict[str, Any], folder: Path) -> None:
    """Write the page and its figure."""
    (folder / FIGURE).parent.mkdir(parents=True, exist_ok=True)
    (folder / FIGURE).write_text(scaling_figure(record["scaling"]), encoding="utf-8")
    (folder / "benchmarks.md").write_text(page(record), encoding="utf-8")


def main() -> None:
    """Measure or read what was measured, write, and leave with the verdict."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--docs", type=Path, help="where to write (docs, unless --quick)")
    parser.add_argument("--json", type=Path, help="keep what was measured in this file")
    parser.add_argument("--from", dest="record", type=Path, help="a file that --json wrote")
    arguments = parser.parse_args()
    if arguments.record:
        record = json.loads(arguments.record.read_text(encoding="utf-8"))
    else:
        record = measure(arguments.quick)
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    folder = arguments.docs or (None if arguments.quick else HERE.parent / "docs")
    if folder is not None:
        write(record, folder)
    for what in missed(record):
        say(f"MISSED {what}")
    say(f"{record['seconds']:.0f} s")
    sys.exit(bool(missed(record)))


if __name__ == "__main__":
    main()
