"""Texts, splits, batches and tasks."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poslens.errors import LabError, SettingError
from poslens.lab.batches import IGNORED, Batches
from poslens.lab.data import Split, Text, python_help, read_text
from poslens.lab.seeds import Stream, generator, whole_seed
from poslens.lab.tasks import TASKS as NAMED
from poslens.lab.tasks import Copy, Counting, Lookup, Reverse, Task

TASKS = [
    Copy(),
    Reverse(symbols=5),
    Lookup(back=3),
    Lookup(back=0),
    Counting(symbols=7),
    Counting(symbols=3),
]


def counted(length: int) -> Text:
    """A text in which each byte tells its place, for up to 251 places."""
    return Text((np.arange(length) % 251).astype(np.uint8), "counted", "0" * 64)


def test_a_file_is_its_bytes(tmp_path: Path) -> None:
    content = ("Größe 東京 👍 " * 90_000).encode()  # characters across the edges of pieces
    (tmp_path / "text").write_bytes(content)
    text = read_text(tmp_path / "text")
    assert isinstance(text.tokens, np.memmap)
    assert text.tokens.tobytes() == content
    assert text.sha256 == hashlib.sha256(content).hexdigest()
    assert repr(text) == f"Text(text, {len(content)} bytes, sha256 {text.sha256[:16]})"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "expected a text, got no bytes"),
        (b"abc\xff", r"the byte 0xff at byte 3 \(invalid start byte\)"),
        (b"a" * 60_000 + b"\xff" + b"a" * 9, "the byte 0xff at byte 60000 "),
        # Beyond a piece of 2²⁰ bytes, and in a character that spans two of them.
        ("東".encode() * 400_000 + b"\xff", "the byte 0xff at byte 1200000 "),
        ("東".encode() * 349_525 + b"\xe6" + b"a", r"the byte 0xe6 at byte 1048575 \(invalid cont"),
        ("ab東".encode()[:-1], r"the byte 0xe6 at byte 2 \(unexpected end of data\)"),
        ("é".encode("utf-16"), "expected UTF-8 throughout, got .*; save the text in UTF-8"),
    ],
)
def test_files_that_are_no_text(content: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(LabError, match=match):
        read_text(tmp_path / "text")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"cannot read .*none'.*No such file"):
        read_text(tmp_path / "none")
    with pytest.raises(LabError, match="cannot read"):
        read_text(tmp_path)


def test_python_brings_a_text() -> None:
    text = python_help()
    assert text.tokens.tobytes().decode().startswith('The "assert" statement')
    assert len(text.tokens) > 300_000
    assert text.sha256 == hashlib.sha256(text.tokens).hexdigest()


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    length=st.integers(60, 250), block=st.integers(2, 11), every=st.integers(2, 5),
    context=st.integers(1, 9), step=st.integers(0, 3),
)  # fmt: skip
def test_training_never_reads_what_is_held_out(
    length: int, block: int, every: int, context: int, step: int
) -> None:
    """Nor a window that spans it; and every other byte is in some window, if long enough."""
    split = Split(counted(length), block, every)
    held = {
        place
        for number in range(length // block)
        if number % every == every - 1
        for place in range(number * block, number * block + block)
    }
    allowed = [
        start
        for start in range(length - context)
        if not held & set(range(start, start + context + 1))
    ]
    if not allowed:
        with pytest.raises(LabError, match=r"a context is longer than what .* between held-out"):
            split.batch(3, context, 0, step)
        return
    batch = split.batch(400, context, 0, step)
    assert batch.inputs.dtype == batch.targets.dtype == np.int64
    np.testing.assert_array_equal(batch.targets, batch.inputs + 1)
    np.testing.assert_array_equal(np.diff(batch.inputs, axis=1), 1)
    starts = batch.inputs[:, 0]
    assert set(starts.tolist()) <= set(allowed)
    expected = len(allowed) * (1 - (1 - 1 / len(allowed)) ** 400)
    assert len(set(starts.tolist())) >= 0.8 * expected
    if context < block:
        found = split.held_out(context)
        assert set(np.r_[found.inputs.ravel(), found.targets.ravel()].tolist()) <= held


def test_windows_of_every_length_are_of_the_same_bytes() -> None:
    split = Split(counted(240), block=17, every=3)
    whole = split.held_out(16)
    assert whole.inputs[:, 0].tolist() == [34, 85, 136, 187]
    for length in (1, 2, 4, 8):
        part = split.held_out(length)
        np.testing.assert_array_equal(part.inputs.reshape(-1, 16), whole.inputs)
        np.testing.assert_array_equal(part.targets.reshape(-1, 16), whole.targets)
    assert split.held_out(5).inputs.shape == (12, 5)


def test_texts_that_are_too_short() -> None:
    with pytest.raises(LabError, match=r"Text\(counted, 99 bytes.* too short: expected at least 10 "
                       "blocks of 10 bytes, one to be held out, got 9; give a longer"):  # fmt: skip
        Split(counted(99), 10)
    split = Split(counted(100), 10)
    with pytest.raises(LabError, match="expected at most 89 positions, got 90"):
        split.batch(1, 90, 0, 0)
    assert split.batch(2, 89, 0, 0).inputs.tolist() == [list(range(89))] * 2
    with pytest.raises(SettingError, match="expected from 1 to 9 positions, got 10; split"):
        split.held_out(10)
    with pytest.raises(SettingError, match="at least 2 for block, got 1"):
        Split(counted(100), 1)
    with pytest.raises(SettingError, match="at least 1 for contexts, got 0"):
        split.batch(0, 5, 0, 0)


@pytest.mark.parametrize("batches", [Split(counted(250), 10, 4), *TASKS], ids=repr)
def test_a_batch_depends_on_seed_and_step_alone(batches: Batches) -> None:
    assert isinstance(batches, Batches)
    found = {}
    for seed, step in [(0, 0), (0, 1), (1, 0), (0, 0), (0, 1)]:
        batch = batches.batch(5, 8, seed, step)
        assert batch.inputs.shape == batch.targets.shape == (5, 8)
        assert batch.inputs.min() >= 0
        assert batch.inputs.max() < batches.vocabulary
        if (seed, step) in found:
            np.testing.assert_array_equal(batch, found[seed, step])
        assert all(
            np.array_equal(batch, one) == (key == (seed, step)) for key, one in found.items()
        )
        found[seed, step] = batch


@pytest.mark.parametrize("task", TASKS, ids=repr)
@pytest.mark.parametrize("length", [7, 8, 31, 64])
def test_the_answers_are_right(task: object, length: int) -> None:
    """Derived from the inputs alone, position by position."""
    assert isinstance(task, Copy | Lookup | Counting)
    for batch in (task.batch(6, length, 2, 3), task.held_out(6, length, 2)):
        for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
            assert [answer(task, inputs, at) for at in range(length)] == targets
    assert not np.array_equal(task.batch(6, length, 2, 0), task.held_out(6, length, 2))


def answer(task: object, inputs: list[int], at: int) -> int:
    if isinstance(task, Lookup):
        return inputs[at - task.back] if at >= task.back else IGNORED
    if isinstance(task, Counting):
        marks = [place for place in range(at + 1) if inputs[place] == task.symbols]
        return at - marks[-1] if marks else IGNORED
    assert isinstance(task, Copy)
    mark = inputs.index(task.symbols)
    assert mark == (len(inputs) + 1) // 2
    if at < mark:
        return IGNORED
    return inputs[mark - 1 - (at - mark)] if isinstance(task, Reverse) else inputs[at - mark]


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_every_context_of_the_shortest_length_has_an_answer(task: Task) -> None:
    targets = task.batch(500, task.shortest, 1, 0).targets
    assert (targets != IGNORED).any(axis=1).all()
    assert (targets < task.symbols).all()


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_one_symbol_is_right_as_often_as_is_said(task: Task) -> None:
    targets = task.batch(40, 2000, 1, 0).targets
    answers = targets[targets != IGNORED]
    often = np.bincount(answers).max() / len(answers)
    assert abs(often - task.guessed) < 5 / np.sqrt(len(answers))


def test_tasks_by_name() -> None:
    assert {name: repr(kind()) for name, kind in NAMED.items()} == {
        "copy": "Copy(symbols=16)",
        "reverse": "Reverse(symbols=16)",
        "lookup": "Lookup(symbols=16, back=8)",
        "counting": "Counting(symbols=16)",
    }


def test_tasks_that_cannot_be() -> None:
    with pytest.raises(LabError, match=r"no context of Lookup\(symbols=16, back=8\) is so short: "
                       "expected at least 9 positions, got 8"):  # fmt: skip
        Lookup().batch(1, 8, 0, 0)
    with pytest.raises(SettingError, match="at least 2 for symbols, got 1"):
        Copy(symbols=1)
    with pytest.raises(LabError, match="expected at least 16 positions, got 15"):
        Counting().batch(1, 15, 0, 0)
    with pytest.raises(SettingError, match="at least 0 for back, got -1"):
        Lookup(back=-1)


def test_streams_are_independent() -> None:
    drawn = {
        (seed, stream, step): generator(seed, stream, step).integers(2**62)
        for seed in (0, 1, 2**40)
        for stream in Stream
        for step in (0, 1, 2**33)
    }
    assert len(set(drawn.values())) == len(drawn)
    assert whole_seed(3, Stream.DATA, 4) == whole_seed(3, Stream.DATA, 4) < 2**63
    with pytest.raises(SettingError, match="at least 0 for seed, got -1"):
        generator(-1, Stream.DATA)
