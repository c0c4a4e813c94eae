"""Records: JSON without NaN, whose numbers are those that were found."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edit_results import (
    compression,
    extension,
    raised,
    renamed_compression,
    renamed_extension,
    scored,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from poslens.edit.intervals import increase
from poslens.edit.profiles import BINS, bin_edges, binned
from poslens.edit.record import compression_record, extension_record, to_json
from poslens.edit.results import Candidate
from poslens.edit.scores import Scores
from poslens.errors import OutputError


def strict(text: str) -> Any:
    """Read JSON that has no NaN and no infinities."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


@given(st.integers(1, 3000), st.integers(0, 3100))
@settings(deadline=None, derandomize=True)
def test_bins_cover_every_position_and_end_at_the_mark(stop: int, mark: int) -> None:
    edges = bin_edges(stop, mark)
    assert (edges[0], edges[-1]) == (0, stop)
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= BINS + 1
    assert mark in edges or not 0 < mark < stop
    assert len(bin_edges(stop)) == 1 + min(stop, BINS)


def test_a_bin_is_the_mean_over_its_positions() -> None:
    rng = np.random.default_rng(0)
    positions = np.sort(rng.permuted(np.tile(np.arange(90), (7, 1)), axis=1)[:, :20], axis=1)
    values = rng.normal(size=positions.shape)
    edges = np.array([0, 3, 4, 31, 64])
    found = binned(positions, values, edges)
    for mean, low, high in zip(found, edges[:-1], edges[1:], strict=True):
        within = values[(positions >= low) & (positions < high)]
        assert mean == pytest.approx(within.mean(), rel=1e-12)
    empty = binned(np.full((2, 3), 7), np.ones((2, 3)), np.array([0, 5, 9]))
    assert np.isnan(empty[0])
    assert empty[1] == 1.0


def test_the_record_of_a_compression_is_what_was_found() -> None:
    found = compression()
    record = strict(to_json(compression_record(found)))
    assert (record["schema"], record["kind"]) == (1, "compression")
    assert record["source"]["tensor"] == "wpe.weight"
    assert record["table"] == {"length": 127, "dim": 48, "numbers": 127 * 48}
    assert record["chosen"] == {"method": "svd", "rank": 8}
    assert record["settings"] == {"method": "svd", "rank": 8, "seed": 0}
    assert len(record["edges"]) == 33
    assert found.original is not None
    assert record["original"]["loss"] == found.original.mean
    assert record["original"]["tokens"] == found.original.losses.size
    (claim,) = record["claims"]
    assert (claim["id"], claim["value"]) == ("memory.compressible", found.claim.value)
    assert "statement" not in claim
    assert len(record["tried"]) == len(found.tried)
    for entry, one in zip(record["tried"], found.tried, strict=True):
        assert (entry["method"], entry["rank"], entry["numbers"]) == (
            one.method,
            one.rank,
            one.numbers,
        )
        assert one.scores is not None
        assert one.scores.divergences is not None
        assert entry["saved"] == 1 - one.numbers / (127 * 48)
        assert (entry["error"], entry["loss"]) == (one.error, one.scores.mean)
        value, interval = increase(one.scores, found.original, 0)
        assert (entry["increase"], tuple(entry["interval"])) == (value, interval)
        assert entry["kl"] == one.scores.divergences.mean()
        assert entry["drift"] is None
        profile = entry["by_position"]
        edges = np.array(record["edges"])
        expected = binned(one.scores.positions, one.scores.divergences, edges)
        assert len(profile["loss"]) == 32
        assert profile["kl"] == expected.tolist()


def test_the_record_of_a_model_without_a_head_has_drift() -> None:
    found = compression(head=False)
    record = strict(to_json(compression_record(found)))
    assert (record["original"], record["edges"]) == (None, None)
    for entry, one in zip(record["tried"], found.tried, strict=True):
        assert one.drift is not None
        assert entry["drift"]["position"] == pytest.approx(1 - one.drift.cosines.mean(), abs=1e-12)
        assert entry["drift"]["pooled"] == pytest.approx(1 - one.drift.pooled.mean(), abs=1e-12)
        assert (entry["loss"], entry["increase"], entry["by_position"]) == (None, None, None)


def test_the_record_of_an_extension_is_what_was_found() -> None:
    found = extension()
    record = strict(to_json(extension_record(found)))
    assert (record["kind"], record["trained"], record["to"]) == ("extension", 128, 512)
    assert record["source"] == {"uri": "models/some/gpt2", "scheme": "learned"}
    assert record["table"] == {"length": 512, "dim": 24}
    assert 128 in record["edges"]
    assert len(record["edges"]) == 33
    best = found.recommendation
    assert best is not None
    assert record["recommendation"]["method"] == record["chosen"] == best.method
    for name, (value, interval) in best.excess.items():
        assert record["recommendation"]["excess"][name] == {
            "value": value,
            "interval": list(interval or ()),
        }
    for entry, one in zip(record["tried"], found.tried, strict=True):
        assert one.scores is not None
        assert (entry["method"], entry["baseline"]) == (one.method, one.baseline)
        loss = one.scores.by_context(128).mean()
        assert entry["beyond"]["loss"] == loss
        assert entry["beyond"]["perplexity"] == pytest.approx(math.exp(loss), rel=1e-12)
        assert entry["within"]["loss"] == one.scores.by_context(0, 128).mean()
        low, high = entry["beyond"]["interval"]
        assert low < loss < high


def test_what_was_not_measured_is_null() -> None:
    unread = strict(to_json(extension_record(extension(text=False))))
    assert unread["recommendation"] is None
    assert {entry["beyond"] for entry in unread["tried"]} == {None}
    # Too few contexts for intervals, and a window that no token reaches.
    few = strict(to_json(extension_record(extension(3))))
    assert few["recommendation"]["interval"] is None
    assert few["tried"][0]["beyond"]["interval"] is None
    late = scored(6, 40, 2.0, first=20)
    short = extension(text=False, to=1024)
    read = replace(short, tried=(replace(short.tried[0], scores=late),), recommendation=None)
    record = strict(to_json(extension_record(read)))
    assert record["tried"][0]["beyond"] is None
    assert record["tried"][0]["by_position"]["loss"][-1] is None
    assert strict(to_json(compression_record(compression(text=False))))["tried"][0]["loss"] is None


def test_numbers_that_json_has_not_are_null() -> None:
    found = compression(6)
    assert found.original is not None
    worse = Scores(found.original.positions, found.original.losses + 2000.0)
    endless = Candidate("svd", 99, 1, math.inf, worse)
    record = strict(to_json(compression_record(replace(found, tried=(endless,)))))
    (entry,) = record["tried"]
    assert (entry["perplexity"], entry["error"]) == (None, None)
    assert entry["loss"] == worse.mean


def test_settings_become_json() -> None:
    asked = {
        "sizes": (1, np.int64(2)),
        "file": Path("a") / "b",
        "bars": {"x": np.float64("nan")},
        "many": np.arange(3),
    }
    record = strict(to_json(compression_record(replace(compression(5), settings=asked))))
    assert record["settings"] == {
        "sizes": [1, 2],
        "file": str(Path("a") / "b"),
        "bars": {"x": None},
        "many": [0, 1, 2],
    }


@pytest.mark.parametrize("name", ["</script>", 'a"b\\c\n\x00', "\u2028漢字", ""])
def test_any_name_comes_back_as_it_was(name: str) -> None:
    record = strict(to_json(compression_record(renamed_compression(compression(5), name))))
    assert record["source"]["uri"] == record["chosen"]["method"] == name
    other = strict(to_json(extension_record(renamed_extension(extension(5), name))))
    assert other["source"]["scheme"] == name
    assert other["tried"][3]["method"] == f"{name} 3"


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    record = compression_record(compression(5))
    text = to_json(record, tmp_path / "found.json")
    assert (tmp_path / "found.json").read_text("utf-8") == text == to_json(record)
    with pytest.raises(OutputError, match="folder does not exist"):
        to_json(record, tmp_path / "none" / "found.json")
    with pytest.raises(ValueError, match="JSON"):
        to_json({"bad": math.nan}, tmp_path / "bad.json")
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_an_edit_of_other_contexts_is_no_increase() -> None:
    found = compression(6)
    assert found.original is not None
    nothing = Scores(found.original.positions, 0 * found.original.losses)
    record = compression_record(replace(found, original=nothing))
    assert {entry["increase"] for entry in record["tried"]} == {None}
    assert raised(nothing, 0.1).mean == 0
