"""GGUF files damaged at random: they load or are refused, and nothing else ever happens."""

from __future__ import annotations

import pytest
from containers import Shapes
from gguf_files import SIZES
from gguf_mutants import MORE, Mutants, one_line, survives, valid_files
from hypothesis import given, settings
from hypothesis import strategies as st

from annotations import unchecked
from poslens.checkpoints.description import describe_model
from poslens.checkpoints.gguf_architectures import ARCHITECTURE, ARCHITECTURES, model_config
from poslens.checkpoints.gguf_header import LeftOut, Value
from poslens.errors import PosLensError

BATCH, FEWEST = 100, 20_000
CHECKED = range(10)  # seeds of batches

HOSTILE: list[Value] = [0, 1, 3, -1, 2**31 - 1, 2**64 - 1, 0.5, -1.0, float("nan"), float("inf")]
HOSTILE += ["", "yarn", "\n", True, False, [], [1, 2], [6] * 3, ["a"], [False] * 3, [float("nan")]]
HOSTILE += [LeftOut(4, 2**40), LeftOut(None, 2**40)]
SCALING = ("type", "factor", "original_context_length", "attn_factor", "yarn_log_multiplier")
KEYS = {key for values in (SIZES, *MORE.values()) for key in values if key.startswith(".")}
KEYS |= {".rope.freq_base_swa", ".attention.key_length_mla", ".attention.sliding_window_pattern"}
KEYS |= {f".rope.scaling.{key}" for key in SCALING}


@pytest.fixture(scope="module")
def mutants() -> Mutants:
    return Mutants(valid_files())


def test_the_files_to_be_damaged_are_sound(mutants: Mutants) -> None:
    assert all(survives(content) for content in mutants.valid)


def test_types_hold_with_damaged_files(mutants: Mutants) -> None:
    outcomes = [survives(content) for seed in CHECKED for content in mutants.some(seed, BATCH)]
    assert set(outcomes) == {False, True}


@unchecked()
def test_damaged_files_load_or_are_refused(mutants: Mutants) -> None:
    outcomes: list[bool] = []

    @settings(max_examples=220, derandomize=True, deadline=None, database=None)
    @given(st.integers(0, 2**64 - 1))
    def run(seed: int) -> None:
        outcomes.extend(survives(content) for content in mutants.some(seed, BATCH))

    run()
    assert len(outcomes) >= FEWEST
    # Neither outcome is rare, so that what comes after the header is tried as well.
    assert 0.1 < sum(outcomes) / len(outcomes) < 0.9


@pytest.mark.parametrize("arch", ARCHITECTURES)
@unchecked()
def test_any_value_at_any_key_is_understood_or_refused(arch: str) -> None:
    sound: dict[str, Value] = {ARCHITECTURE: arch}
    for values in (SIZES, MORE.get(arch, {})):
        sound |= {f"{arch}{key}": one for key, one in values.items() if key.startswith(".")}
    outcomes: list[bool] = []
    for key in sorted(KEYS):
        for value in HOSTILE:
            try:
                config = model_config(sound | {f"{arch}{key}": value}, [], "'x.gguf'")
                assert config is not None
                found = describe_model(Shapes(), config)
            except PosLensError as error:
                one_line(error)
                outcomes.append(False)
            else:
                assert found is not None
                assert found.line().isprintable()
                outcomes.append(True)
    assert any(outcomes)
