"""The model that ships with the package: whole, of the recorded loss, and analysed offline."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from typer.testing import CliRunner

import poslens
from poslens.checkpoints.names import DEMO_FOLDER, Located, parse_source
from poslens.cli import app
from poslens.lab import Batch, Split, read_experiment
from poslens.lab.shipping import windows

METRICS = json.loads((DEMO_FOLDER / "metrics.json").read_text(encoding="utf-8"))
CONTEXT = 512


@pytest.fixture(scope="module")
def model() -> transformers.PreTrainedModel:
    found = transformers.GPT2LMHeadModel.from_pretrained(DEMO_FOLDER, dtype=torch.float32)
    return found.eval()


@torch.no_grad()
def loss(model: transformers.PreTrainedModel, batch: Batch) -> float:
    """Mean cross entropy as transformers computes it."""
    found = [
        torch.nn.functional.cross_entropy(
            model(torch.from_numpy(inputs[None])).logits[0].double(), torch.from_numpy(targets)
        )
        for inputs, targets in zip(batch.inputs, batch.targets, strict=True)
    ]
    return float(torch.stack(found).mean())


def test_it_is_small_and_stored_in_float16() -> None:
    size = sum(path.stat().st_size for path in DEMO_FOLDER.iterdir() if path.is_file())
    assert size <= 4_000_000
    with safe_open(DEMO_FOLDER / "model.safetensors", "np") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118
        numbers = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    assert numbers == METRICS["parameters"]["all"]


def test_transformers_gives_the_recorded_loss(model: transformers.PreTrainedModel) -> None:
    recipe = (DEMO_FOLDER / "training.toml").read_bytes()
    found = loss(model, windows(recipe, CONTEXT))
    assert found == pytest.approx(METRICS["recipe_loss"], abs=1e-4)


def test_the_held_out_loss_is_the_recorded_one(model: transformers.PreTrainedModel) -> None:
    split = read_experiment(DEMO_FOLDER / "training.toml").batches()
    assert isinstance(split, Split)
    found = loss(model, split.held_out(CONTEXT))
    assert found < 2.0  # a model of bytes that has learned nothing has 5.5
    if split.text.sha256 == METRICS["text"]["sha256"]:  # another Python has another help text
        assert found == pytest.approx(METRICS["held_out_loss"], abs=1e-4)


def test_its_recipe_is_the_one_that_ships() -> None:
    ours = read_experiment("demo")
    assert read_experiment(DEMO_FOLDER / "training.toml").recipe == ours.recipe
    assert read_experiment(DEMO_FOLDER / "training.toml").model == ours.model


def test_its_cost_is_the_recorded_one() -> None:
    seconds = METRICS["computed"]["seconds"]
    said = f"{seconds:,.0f} s ({seconds / 60:.0f} minutes)"
    for one in ("demo", DEMO_FOLDER / "training.toml"):
        assert read_experiment(one).cost.startswith(said)


def test_it_is_named_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_source("demo") == Located(DEMO_FOLDER)
    assert parse_source("demo::transformer.wpe.weight") == Located(
        DEMO_FOLDER, "transformer.wpe.weight"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()  # what lies there goes first, as for every name
    assert parse_source("demo") == Located(Path("demo"))


def test_it_is_analysed_with_a_text(tmp_path: Path) -> None:
    page = tmp_path / "demo.html"
    options = ["--nulls", "19", "--contexts", "4", "--html", str(page), "--json", "-"]
    result = CliRunner().invoke(app, ["analyze", "demo", *options])
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert record["source"]["uri"] == "demo"
    assert (record["source"]["family"], record["table"]["length"]) == ("gpt2", CONTEXT)
    assert record["settings"]["text"] == "pydoc_data.topics"
    claims = {claim["id"]: claim["verdict"] for claim in record["claims"]}
    assert claims["attention.four_terms"] == "supported"
    assert page.stat().st_size > 1_000_000


def test_its_table_has_a_structure() -> None:
    rows = poslens.load_table("demo").rows
    order = np.random.default_rng(0).permutation(len(rows))
    plain, mixed = (poslens.analyze(one, nulls=0) for one in (rows, rows[order]))
    assert plain.measures["trajectory.roughness"] < 0.5 < mixed.measures["trajectory.roughness"]
    assert plain.measures["cosine.adjacent"] > mixed.measures["cosine.adjacent"] + 0.2
