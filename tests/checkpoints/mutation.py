"""Mutants: valid files damaged by rule and at random, for tests that a reader never surprises.

`mutant` knows nothing of a format, `json_mutant` knows JSON. A format adds what it knows by
composing them (see `test_mutations`), and hands the result to `survives`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from annotations import unchecked
from poslens.errors import PosLensError

BATCH = 100
LEAST = 20_000  # mutants of one format
CHECKED = 1_000  # of these, with the annotations of what reads them checked

T = TypeVar("T")


def outcome(read: Callable[[], T]) -> T | PosLensError:
    """Return what a reader returns, or its error, which says on one line what it expected."""
    try:
        return read()
    except PosLensError as caught:
        error = caught
    assert str(error).isprintable(), ascii(str(error))
    assert error.expected, str(error)
    assert len(str(error)) < 3000
    return error


def survives(
    valid: Iterable[bytes],
    mutate: Callable[[Random], bytes],
    check: Callable[[bytes], bool],
    mutants: int = LEAST,
) -> None:
    """Check ``mutants`` mutants or more, of which some must be readable and some not.

    The annotations are checked as well with the valid ones and the first `CHECKED` mutants.

    Parameters
    ----------
    valid
        What the mutants are made from, which must be readable.
    mutate
        Makes one. Hypothesis draws the seeds, and a failure names the one that reproduces it.
    check
        Reads a mutant, asserts what must hold, and returns whether it could be read.
    """
    assert all(map(check, valid))
    tried = read = 0

    @given(seed=st.integers(0, 2**32 - 1))
    @settings(deadline=None, derandomize=True, database=None, max_examples=-(-mutants // BATCH))
    def batch(seed: int) -> None:
        nonlocal tried, read
        random = Random(seed)  # noqa: S311 - no secret
        with nullcontext() if tried < CHECKED else unchecked():
            for number in range(BATCH):
                content = mutate(random)
                try:
                    read += check(content)
                except BaseException as error:
                    error.add_note(f"mutant {number} of seed {seed}: {content!r}")
                    raise
                tried += 1

    batch()
    assert tried >= mutants
    assert 0.01 < read / tried < 0.9, f"{read} of {tried} could be read: these test little"


def put(path: Path, content: bytes) -> None:
    """Write a file, ten times as fast as after truncating it to nothing, which ext4 flushes."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(content)
        file.truncate()


# --- bytes of any format -------------------------------------------------------------------------


def mutant(random: Random, valid: bytes, other: bytes) -> bytes:
    """Damage a file once, or a few times over.

    Parameters
    ----------
    valid
        The file.
    other
        Another valid one, to splice with.
    """
    content = valid
    for _ in range(random.choice((1, 1, 2, 4))):
        content = random.choice(_DAMAGES)(random, content, other)
    return content


def _flip_bits(random: Random, content: bytes, _: bytes) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(random.choice((1, 1, 1, 8))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _replace_run(random: Random, content: bytes, _: bytes) -> bytes:
    start, stop = _run(random, content)
    filler = random.choice((b"\0", b"\xff", b" ", b"9", random.randbytes(1)))
    run = filler * (stop - start) if random.random() < 0.5 else random.randbytes(stop - start)
    return content[:start] + run + content[stop:]


def _truncate(random: Random, content: bytes, _: bytes) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _extend(random: Random, content: bytes, other: bytes) -> bytes:
    return content + random.choice((b"\0", b" " * 8, random.randbytes(9), other))


def _splice(random: Random, content: bytes, other: bytes) -> bytes:
    at = random.randrange(len(content) + 1)
    return content[:at] + other[random.choice((at, random.randrange(len(other) + 1))) :]


def _cut_out(random: Random, content: bytes, _: bytes) -> bytes:
    start, stop = _run(random, content)
    return content[:start] + content[stop:]


def _repeat(random: Random, content: bytes, _: bytes) -> bytes:
    start, stop = _run(random, content)
    return content[:stop] + content[start:stop] + content[stop:]


def _put_token(random: Random, content: bytes, _: bytes) -> bytes:
    start, stop = _run(random, content)
    return content[:start] + random.choice(TOKENS) + content[random.choice((start, stop)) :]


def _lie(random: Random, content: bytes, _: bytes) -> bytes:
    """Overwrite what may be an integer by one that does not fit."""
    width = random.choice((1, 2, 4, 8))
    if len(content) < width:
        return content
    at = random.randrange(len(content) - width + 1)
    size = len(content)
    lies = (0, 1, -1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, size, size - 1, size + 1)
    lie = random.choice(lies) % 2 ** (8 * width)
    return content[:at] + lie.to_bytes(width, "little") + content[at + width :]


def _run(random: Random, content: bytes) -> tuple[int, int]:
    start = random.randrange(len(content) + 1)
    return start, min(len(content), start + random.choice((1, 2, 4, 8, 16, 64)))


_DAMAGES: tuple[Callable[[Random, bytes, bytes], bytes], ...] = (
    _flip_bits,
    _replace_run,
    _truncate,
    _extend,
    _splice,
    _cut_out,
    _repeat,
    _put_token,
    _lie,
)


# --- JSON ----------------------------------------------------------------------------------------

# As text, because much of this cannot be written by `json`.
HOSTILE: tuple[bytes, ...] = (
    *(b"null", b"true", b"false", b"0", b"1", b"-1", b"-0", b"3", b"1.5", b"1e2", b"1e999"),
    *(b"NaN", b"Infinity", b"-Infinity", b"01", b"+1", b".5", b"1.", b"0x10", b"1_000"),
    *(str(2**power + plus).encode() for power in (31, 32, 53, 63, 64) for plus in (-1, 0, 1)),
    *(b"9" * 40, b"9" * 400, b"9" * 4300, b"9" * 5000, b"-" + b"9" * 400),
    *(b'""', b'"x"', b'"absolute"', b'"\\u0000"', b'"\\ud800"', b'"\\udc00\\ud800"', b"'x'"),
    *(b'"\\n\\u001b[31m"', '"é😀\u202e"'.encode(), b'"\xff"', b'"' + b"x" * 5000 + b'"', b'"'),
    *(b'"../x"', b'"/etc/passwd"', b'"a\\\\..\\\\b"', b'"a/b"', b'"."', b'"\\x41"', b'"\n"'),
    *(b"[]", b"{}", b"[0]", b"[0, 0]", b"[-1, 1]", b"[1.0, 2]", b'["x"]', b"[null]", b"[[]]"),
    *(b'{"a": 1}', b'{"": {}}', b"[" * 60 + b"]" * 60, b"[" * 900 + b"]" * 900),
    *(b'{"a":' * 950 + b"0" + b"}" * 950, b"[" * 50_000, b"[0" + b", 0" * 70 + b"]", b""),
)
TOKENS: tuple[bytes, ...] = (*b'{ } [ ] , : "'.split(), *HOSTILE[:70])
NAMES: tuple[str, ...] = (
    *("", "\0", "a\nb\x1b[31m", "\ud800", "x" * 5000, "é", "__metadata__", "__proto__", "."),
    *("dtype", "shape", "data_offsets", "weight_map", "model_type", "_emb" * 500),
)


class _Members(list[tuple[str, Any]]):
    """A JSON object, whose keys may be there twice."""


class _Text(bytes):
    """What stands for itself."""


def json_mutant(random: Random, valid: bytes) -> bytes:
    """Damage a JSON document where its structure says that it may hurt."""
    root = _Text(valid) if random.random() < 0.02 else json.loads(valid, object_pairs_hook=_Members)
    for _ in range(random.choice((1, 1, 2, 3))):
        root = _damaged(random, root)
    return _text(root)


def _damaged(random: Random, root: Any) -> Any:
    places = _places(root)
    if not places or random.random() < 0.03:
        return random.choice((_Text(random.choice(HOSTILE)), [root], _Members([("a", root)])))
    container, at = random.choice(places)
    keyed = isinstance(container, _Members)
    name, value = container[at] if keyed else ("", container[at])
    change = random.choice(("value", "value", "value", "nudge", "twice", "name", "drop", "swap"))
    if change == "value":
        value = _Text(random.choice(HOSTILE))
    elif change == "nudge":
        value = _nudged(random, value)
    elif change == "name":
        name = random.choice((*NAMES, name + " ", name.upper(), name[:-1]))
    elif change == "drop":
        del container[at]
        return root
    elif change == "twice":
        container.insert(random.randrange(len(container) + 1), container[at])
        return root
    else:
        there, where = random.choice(places)
        theirs = there[where][1] if isinstance(there, _Members) else there[where]
        value = _Text(_text(theirs))  # as text: a container may not hold itself
    container[at] = (name, value) if keyed else value
    return root


def _nudged(random: Random, value: Any) -> Any:
    """Change a value into one that is nearly right."""
    if isinstance(value, int | float):
        return random.choice((value + 1, value - 1, -value, 2 * value, float(value), str(value)))
    if isinstance(value, str):
        return random.choice((value + " ", value.lower(), value[1:], [value], value + "\0"))
    return random.choice(([value], str(value), None))


def _places(node: Any) -> list[tuple[list[Any], int]]:
    """Return every member and item, with what it is in."""
    if not isinstance(node, list):
        return []
    found = [(node, at) for at in range(len(node))]
    for item in node:
        found += _places(item[1] if isinstance(node, _Members) else item)
    return found


def _text(node: Any) -> bytes:
    if isinstance(node, _Text):
        return bytes(node)
    if isinstance(node, _Members):
        pairs = (json.dumps(name).encode() + b": " + _text(value) for name, value in node)
        return b"{" + b", ".join(pairs) + b"}"
    if isinstance(node, list):
        return b"[" + b", ".join(map(_text, node)) + b"]"
    return json.dumps(node).encode()
