"""What the README shows is what runs."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import poslens
from poslens.cli import app
from poslens.report.terminal import print_claims
from poslens.study import Study

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [content for found, content in fenced if found == language]


@pytest.fixture(scope="module")
def example(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """The study that the Python example makes, and the folder that it writes into."""
    folder = tmp_path_factory.mktemp("example")
    (code,) = blocks("python")
    assert "path/to/model-folder" in code
    names: dict[str, object] = {}
    with contextlib.chdir(folder):
        exec(code.replace("path/to/model-folder", str(minilm)), names)  # noqa: S102
    study = names["study"]
    assert isinstance(study, Study)
    return study, folder


def test_the_python_example_runs(example: tuple[Study, Path]) -> None:
    study, folder = example
    assert f"{study.measures['trajectory.linear_r2']:.4f}"[:6] == "0.0700"
    assert (folder / "report.html").stat().st_size > 1_000_000
    assert poslens.open_study(folder / "study.nc") == study


def test_the_claims_shown_are_the_claims_printed(example: tuple[Study, Path]) -> None:
    stream = io.StringIO()
    print_claims(example[0], Console(file=stream, width=80))
    printed = stream.getvalue()
    shown = next(block for block in blocks("") if "trajectory.linear" in block)
    for line in shown.splitlines():
        assert line in printed


def test_every_option_shown_exists() -> None:
    commands = (
        ["analyze"],
        ["compare"],
        ["compress"],
        ["extend"],
        ["lab", "run"],
        ["lab", "report"],
    )
    help_text = "".join(CliRunner().invoke(app, [*one, "--help"]).stdout for one in commands)
    shown = set(re.findall(r"(--[a-z]+)", README))
    assert len(shown) >= 12
    for option in shown:
        assert option in help_text


def test_the_pictures_are_there() -> None:
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (Path(__file__).parent.parent / path).is_file()


def test_the_prose_says_what_was_measured(example: tuple[Study, Path]) -> None:
    """The figures of the second paragraph, from the study of the model that it names."""
    study, _ = example
    measures = study.measures
    prose = " ".join(README.split())
    assert (
        f"a straight line explains {measures['trajectory.linear_r2']:.0%}".replace("%", " %")
        in prose
    )
    assert f"with the index is {measures['pca.pc1_index_correlation']:.2f}" in prose
    note = study.claim("trajectory.linear").note
    low, high = (float(x) for x in re.findall(r"comes closer: ([\d.]+) … ([\d.]+)", note)[0])
    assert f"reaches {100 * low:.0f} to {100 * high:.0f} %" in prose
    assert measures["cosine.half_lag"] == 3
    assert f"{measures['cosine.profile'][6]:.2f} at distance six" in prose
