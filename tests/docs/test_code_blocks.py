"""Every block of code on the site runs, offline, and shows what it says that it shows."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from poslens.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>.+?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    flags=re.DOTALL | re.MULTILINE,
)
# An expression, and what it is: "0.0699…" where the rest is left out.
TOLD = re.compile(r"^([a-z][^=#]*\))  # (\S+)$|^([a-z][^=#]*)  # (\S+)$", flags=re.MULTILINE)
NOT_RUN = {
    ("index.md", "not run: installs"),
    ("claims/relative.md", "not run: trains twelve models"),
}


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    code: str
    mark: str


BLOCKS = [
    Block(path.relative_to(DOCS).as_posix(), found["language"], found["code"], found["mark"] or "")
    for path in sorted(DOCS.rglob("*.md"))
    for found in BLOCK.finditer(path.read_text(encoding="utf-8"))
]
PAGES = sorted({block.page for block in BLOCKS})


def test_few_blocks_are_not_run() -> None:
    marked = {(block.page, block.mark) for block in BLOCKS if block.mark.startswith("not run: ")}
    assert marked == NOT_RUN
    assert {block.language for block in BLOCKS} <= {"python", "console", "toml", "json", "text"}
    assert sum(block.language == "python" for block in BLOCKS) >= 10


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run_in_their_order(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names: dict[str, object] = {"__name__": "page"}
    ran = 0
    for block in (block for block in BLOCKS if block.page == page):
        if block.mark.startswith("not run: "):
            continue
        ran += 1
        if block.mark.startswith("excerpt of "):
            source = ROOT / block.mark.removeprefix("excerpt of ")
            assert block.code in source.read_text(encoding="utf-8")
        elif block.language == "python":
            run_python(block.code, names)
        elif block.language == "console":
            run_commands(block.code)
    assert ran > 0 or page in {place for place, _ in NOT_RUN}


def run_python(code: str, names: dict[str, object]) -> None:
    exec(compile(code, "<block>", "exec", dont_inherit=True), names)  # noqa: S102
    for first, what, second, told in TOLD.findall(code):
        expression, said = first or second, what or told
        value = str(eval(expression, names))  # noqa: S307
        if said.endswith("…"):
            assert value.startswith(said[:-1]), f"{expression} is {value}"
        elif said != "xarray":
            assert value == said, f"{expression} is {value}"


def run_commands(code: str) -> None:
    """Each line after ``$`` is a command; the lines under it are among those that it prints."""
    for part in code.split("$ ")[1:]:
        command, *shown = part.splitlines()
        program, *arguments = shlex.split(command)
        assert program == "poslens"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        printed = result.output.splitlines()
        for line in shown:
            assert line in printed, f"{line!r} is not in {result.output}"
