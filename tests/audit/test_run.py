"""A small audit, from end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import poslens
from poslens.audit import EVERY, MODELS, PROCESSES, RUNS, Audit, Cell, run_audit, write_page
from poslens.audit.__main__ import app
from poslens.audit.cells import generator, outcomes
from poslens.audit.coverage import expected_cosine
from poslens.audit.evidence import DRAWS, TableAudit
from poslens.audit.page import page
from poslens.audit.plan import FULL, QUICK, Plan, Size
from poslens.audit.processes import CLAIMS, OF_MODELS, OF_RUNS, Truth
from poslens.claims.claim import Verdict
from poslens.claims.rules import RULES

TINY = Plan(
    sizes=(
        Size(64, 20, (0.05,), 3, 2, ("line", "Gaussian, offset")),
        Size(24, 12, (0.0,), 3, 2, ("matched waves", "kernel of pairs", "rows all alike")),
        Size(8, 1, (0.0,), 3, 3, tuple(RUNS)),
    ),
    decays=((0.5, 64, 20, 4),),
    own_nulls=(64, 20, 12),
    model_nulls=(24, 12, 3),
)


@pytest.fixture(scope="module")
def tiny() -> Audit:
    return run_audit(TINY, 3, workers=1)


def test_the_seed_decides_every_count(tiny: Audit) -> None:
    again = run_audit(TINY, 3, workers=2)
    assert replace(again, seconds=0.0) == replace(tiny, seconds=0.0)


@pytest.mark.parametrize("process", ["curve", "random walk", "Gaussian"])
def test_verdicts_are_those_of_analyze(process: str) -> None:
    """The shortcuts (fewer draws, no unread measures) change no verdict."""
    cell = Cell(process, 96, 20, 0.0, 1, 1)
    rows = PROCESSES[process].table(96, 20, 0.0, generator(cell, 0, 5))
    # σ of the rows before training is not known of an array.
    claims = [claim for claim in CLAIMS if claim != "learned.trained_rows"]
    found = TableAudit(rows, 7).verdicts(claims)
    study = poslens.analyze(rows, nulls=DRAWS, seed=7)
    assert found == {claim: study.claim(claim).verdict for claim in claims}


def test_slow_claims_are_decided_on_fewer_tables(tiny: Audit) -> None:
    tables = {each.claim: each.tables for each in tiny.outcomes if each.cell.process == "line"}
    assert tables["norm.stable"] == 3
    assert tables["trajectory.smooth"] == 2
    assert "sinusoid.linear_shift" not in tables  # open on a line
    waves = {each.claim: each.tables for each in tiny.outcomes if "waves" in each.cell.process}
    assert waves["attention.four_terms"] == 3
    assert waves["attention.learns_distance"] == 2


def test_rates_are_held_against_what_is_true() -> None:
    cell = Cell("Gaussian, offset", 64, 20, 0.0, 2, 2)
    verdicts = [dict.fromkeys(cell.claims(0), Verdict.SUPPORTED)] * 2
    for each in outcomes(cell, verdicts):
        assert each.rate == 1
        assert each.right == (each.truth is Truth.TRUE)
        assert each.interval == pytest.approx((0.025**0.5, 1))


def test_the_record_is_plain_and_whole(tiny: Audit, tmp_path: Path) -> None:
    tiny.write_json(tmp_path / "audit.json")
    record = json.loads((tmp_path / "audit.json").read_text())
    assert record["schema"] == 1
    assert len(record["cells"]) == len(tiny.outcomes) > 20
    assert {each["claim"] for each in record["cells"]} > {*OF_MODELS, *OF_RUNS}
    assert len(record["coverage"]) == 4
    assert all(0 <= each["p"] <= 1 for each in record["p_values"])


def test_the_page_names_every_claim_and_what_is_out_of_reach(tiny: Audit, tmp_path: Path) -> None:
    write_page(tiny, tmp_path / "audit.md")
    text = (tmp_path / "audit.md").read_text()
    assert text == page(tiny)
    assert all(f"| `{claim}` |" in text for claim in (*CLAIMS, *OF_MODELS, *OF_RUNS))
    assert "rows all alike, 24 × 12" in text
    assert "contexts |" in text.split("## Intervals")[0]
    assert all(f"### {name}\n" in text for name in (*PROCESSES, *MODELS))
    assert all(f"| {name} | " in text for name in RUNS)
    wrong = [each for each in tiny.outcomes if not each.right]
    failing = replace(tiny.outcomes[0], truth=Truth.TRUE, supported=1, tables=3)
    worse = page(replace(tiny, outcomes=(*tiny.outcomes, failing)))
    rows = worse.split("## Out of reach")[1].split("## Intervals")[0].count("\n| `")
    assert rows == len(wrong) + 1
    assert "| 1 of 3 |" in worse


def test_plans_keep_their_promises() -> None:
    for cell in FULL.cells():
        assert cell.slow_tables >= 50
        assert cell.tables >= (200 if cell.length * cell.dim < 2**20 else 50)
    assert {(size.length, size.dim) for size in FULL.sizes} >= {
        (length, dim) for length in (128, 2048) for dim in (32, 1024)
    }
    assert {cell.process for cell in FULL.cells()} == set(EVERY)
    assert {cell.process for cell in QUICK.cells()} == set(EVERY)


def test_every_claim_is_audited() -> None:
    assert {*CLAIMS, *OF_MODELS, *OF_RUNS} == {rule.id for rule in RULES}
    known = {
        (claim, process.truth(claim)) for process in EVERY.values() for claim in process.audited
    }
    for claim in (*CLAIMS, *OF_MODELS, *OF_RUNS):
        assert {(claim, Truth.TRUE), (claim, Truth.FALSE)} <= known


def test_the_command_writes_both_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("poslens.audit.plan.QUICK", TINY)
    out, record = tmp_path / "audit.md", tmp_path / "audit.json"
    arguments = ["--quick", "--workers", "1", "--seed", "3", "--out", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--json", str(record)])
    assert result.exit_code == 0
    assert result.stdout.startswith("audited in ")
    assert "seed 3" in out.read_text()
    assert record.exists()
    refused = CliRunner().invoke(app, ["--quick", "--out", str(tmp_path / "no" / "audit.md")])
    assert refused.exit_code == 1
    assert "its folder does not exist" in refused.output


@pytest.mark.parametrize(("rho", "dim"), [(0.5, 3), (0.9, 32), (-0.25, 7)])
def test_the_expected_cosine_is_that_of_many_pairs(rho: float, dim: int) -> None:
    first, second = np.random.default_rng(0).standard_normal((2, 200_000, dim))
    second = rho * first + np.sqrt(1 - rho**2) * second
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = np.einsum("td,td->t", first, second) / lengths
    error = 5 * cosines.std() / np.sqrt(cosines.size)
    assert expected_cosine(rho, dim) == pytest.approx(cosines.mean(), abs=error)
