"""Twenty thousand damaged torch files: each is read or refused, and read as torch reads it."""

from __future__ import annotations

import io
import math
import random
import warnings
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import CHECKED
from torch_bytes import Held, archive_of, records, saved

from annotations import unchecked
from poslens.checkpoints.torch_file import TorchFile
from poslens.errors import PosLensError

WIDTHS = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
BATCH = 100  # files an example of hypothesis

MATRIX = torch.arange(1.0, 36.0).reshape(7, 5)
VALUE = {
    "wpe.weight": MATRIX,
    "turned": MATRIX.T,
    "part": MATRIX[1:, ::2],
    "half": torch.nn.Parameter(MATRIX.half()),
    "bfloat16": MATRIX[:2].bfloat16(),
    "ids": torch.arange(3),
    "sizes": [1, 2**70, None, 0.5, {"bias": False}],
}
# Shorter files, so that more of the damage falls where it matters.
ARCHIVE = {
    name: data
    for name, data in records(saved(VALUE)).items()
    if not name.endswith(("format_version", "serialization_id", "storage_alignment"))
}
PICKLE = ARCHIVE["archive/data.pkl"]
STREAM = saved(VALUE, stream=True)

# What a pickle is made of, and numbers at the edge of what they may be.
PIECES = [
    *(bytes([code]) for code in b".()NRQbtuse]}012a"),
    *(bytes([code]) for code in (0x80, 0x81, 0x85, 0x86, 0x87, 0x88, 0x8F, 0x90, 0x93, 0x94, 0x95)),
    *(b"K\x00", b"K\xff", b"M\xff\xff", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f"),
    *(b"G\x7f\xf0\0\0\0\0\0\0", b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"\x8a\xff" + b"\x7f" * 255),
    *(b"X\0\0\0\0", b"X\xff\xff\xff\xff", b"X\x02\0\0\0\xff\xff"),
    *(b"h\x01", b"q\x01", b"r\xff\xff\xff\xff"),
    *(b"ctorch\nSize\n", b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n)R"),
    *(b"cos\nsystem\n", b"cbuiltins\nbytearray\n", b"ctorch._utils\n_rebuild_tensor_v2\n"),
    *(b"ctorch._utils\n_rebuild_parameter\n", b"ctorch._tensor\n_rebuild_from_type_v2\n"),
]
NUMBERS = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]


def change_byte(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]


def change_number(content: bytes, rng: random.Random) -> bytes:
    width = rng.choice([2, 4, 8])
    at = rng.randrange(len(content))
    number = rng.choice(NUMBERS) % 256**width
    return content[:at] + number.to_bytes(width, "little") + content[at + width :]


def cut(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + content[at + rng.randrange(1, 9) :]


def repeat(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    stop = start + rng.randrange(1, 60)
    at = rng.randrange(len(content))
    return content[:at] + content[start:stop] + content[at:]


def put(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + rng.choice(PIECES) + content[at + rng.randrange(3) :]


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(1, len(content))]


EDITS = [change_byte, change_byte, change_byte, change_number, cut, repeat, put]


def mutated(content: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 1, 1, 2])):
        content = rng.choice(EDITS)(content, rng) or b"\0"
    return truncate(content, rng) if rng.random() < 0.03 and len(content) > 1 else content


def whole_archive(rng: random.Random) -> bytes:
    return mutated(archive_of(ARCHIVE), rng)


def pickle_alone(rng: random.Random) -> bytes:
    """The damage is inside the pickle, and the checksum fits it."""
    return archive_of(ARCHIVE, pickle=mutated(PICKLE, rng))


def stream(rng: random.Random) -> bytes:
    return mutated(STREAM, rng)


def outcome(content: bytes) -> dict[str, bytes]:
    """The bytes of every tensor that is read; nothing but PosLensError may be raised."""
    read: dict[str, bytes] = {}
    try:
        file = TorchFile(Held(content))
    except PosLensError as error:
        return one_line(error)
    for name in file.names():
        entry = file.entry(name)
        try:
            stored = file.read(name)
        except PosLensError as error:
            one_line(error)
        else:
            assert stored.nbytes == math.prod(entry.shape) * WIDTHS[entry.dtype]
            read[name] = bytes(stored.raw)
    return read


def one_line(error: PosLensError) -> dict[str, bytes]:
    """Nothing, read from a file that was refused in one line."""
    assert str(error).isprintable()
    return {}


def as_torch_reads_it(content: bytes) -> dict[str, bytes] | None:
    """What torch.load gives for the same tensors; None where it refuses the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = torch.load(io.BytesIO(content), weights_only=True)
    except Exception:
        return None
    tensors = {name: one for name, one in value.items() if isinstance(one, torch.Tensor)}
    return {
        name: one.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        for name, one in tensors.items()
        if one.layout == torch.strided and not one.is_complex()
    }


# Together 200 examples of a hundred files.
@pytest.mark.parametrize(
    ("damage", "examples"), [(whole_archive, 60), (pickle_alone, 100), (stream, 40)]
)
def test_damaged_files_are_read_or_refused(
    damage: Callable[[random.Random], bytes], examples: int
) -> None:
    read: list[int] = []

    @given(seed=st.integers(0, 2**64 - 1))
    @settings(deadline=None, max_examples=examples, derandomize=True, database=None)
    def batch(seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311
        with nullcontext() if len(read) < CHECKED else unchecked():
            read.extend(len(outcome(damage(rng))) for _ in range(BATCH))

    batch()
    assert len(read) == examples * BATCH
    # Not all of them were refused at the door, nor was none.
    assert 0.05 < sum(1 for count in read if count) / len(read) < 0.95


@pytest.mark.parametrize("damage", [pickle_alone, stream])
def test_what_is_read_is_what_torch_reads(damage: Callable[[random.Random], bytes]) -> None:
    compared = 0

    @given(seed=st.integers(0, 2**64 - 1))
    @settings(deadline=None, max_examples=10, derandomize=True, database=None)
    def batch(seed: int) -> None:
        nonlocal compared
        rng = random.Random(seed)  # noqa: S311
        for _ in range(BATCH):
            content = damage(rng)
            read = outcome(content)
            expected = as_torch_reads_it(content) if read else None
            if expected is not None:
                for name in read.keys() & expected.keys():
                    assert read[name] == expected[name], name
                    compared += 1

    batch()
    assert compared > 200
