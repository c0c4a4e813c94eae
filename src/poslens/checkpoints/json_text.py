"""JSON from strangers: looked through before it is parsed, so that it cannot fill the memory.

`json` makes up to 30 bytes of objects from one byte of text. A document that must become objects
(a config) is refused where it could become too many. A header, long because it names many tensors,
is never parsed whole: `member_starts` finds where its values begin. An index is read in pieces.
"""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections import Counter
from collections.abc import Container
from typing import Any, NoReturn

MOST_MEMORY = 64_000_000  # bytes that one document may take, its text included

# At most, in CPython: for an object or list; for an item of one; for a byte of text, which is
# there as bytes, as text and as a string, and may be one of few that widen all others to four.
_PER_CONTAINER, _PER_ITEM, _PER_BYTE = 200, 80, 9
LARGEST_PARSED = MOST_MEMORY // _PER_BYTE  # 7 MB; the largest configs, of 22,000 classes, have 2
PER_NAME = 180  # beside its characters: a place in a dict that may just be growing, and offsets
LONGEST_NAME = 4096
_CHUNK = 2**20

# Possessive throughout: the matcher neither turns back nor remembers where it could.
SPACE = rb"[ \t\n\r]*+"
_HEX = rb"[0-9a-fA-F]"
_ESCAPED = (
    rb'\\(?:["\\/bfnrt]|u(?:[0-9abcefABCEF]' + _HEX + rb"{3}|[dD][0-7]" + _HEX + rb"{2}"
    # Half of a surrogate pair is no text, which Python would take.
    rb"|[dD][89abAB]" + _HEX + rb"{2}\\u[dD][c-fC-F]" + _HEX + rb"{2}))"
)
_PLAIN = rb'[^"\\\x00-\x1f]*+'
STRING = rb'"' + _PLAIN + rb"(?:" + _ESCAPED + _PLAIN + rb')*+"'
_SCALAR = STRING + rb"|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null"


def _separated(item: bytes) -> bytes:
    """Return the pattern of any number of items, with commas between them."""
    return SPACE + rb"(?:" + item + SPACE + rb"(?:," + SPACE + rb"(?![]}])|(?=[]}])))*+"


def _nested(inner: bytes) -> bytes:
    """Return the pattern of a scalar, or of an object or list of what ``inner`` matches."""
    item = rb"(?:" + inner + rb")"
    pair = STRING + SPACE + rb":" + SPACE + item
    return _SCALAR + rb"|\{" + _separated(pair) + rb"\}|\[" + _separated(item) + rb"\]"


# What safetensors takes for metadata.
STRINGS_OR_NULL = re.compile(
    rb"null|\{" + _separated(STRING + SPACE + rb":" + SPACE + STRING) + rb"\}"
)
VALUE = _nested(_nested(_nested(_SCALAR)))
# An object without others in it, of which only the end is looked for: twice as fast.
_FLAT = rb'\{[^{}"]*+(?:' + STRING + rb'[^{}"]*+)*+\}'
_FLAT_OR_VALUE = re.compile(_FLAT + rb"|" + VALUE)
_MEMBER = re.compile(
    SPACE.join(
        (
            rb"",
            rb"(" + STRING + rb")",
            rb":",
            rb"()(?:" + _FLAT_OR_VALUE.pattern + rb")",
            rb"([,}])",
        )
    )
)
_OPENING, _EMPTY = re.compile(SPACE + rb"\{"), re.compile(SPACE + rb"\{" + SPACE + rb"\}")
_TO_END = re.compile(SPACE + rb"\Z")


def member_starts(text: bytes) -> dict[str, int]:
    """Return where in a JSON object the value of each member begins.

    Values are not checked, but for where they end.

    Raises
    ------
    ValueError
        If the text is no JSON object, has a name twice or one that is no text or too long, has
        values that are nested deeper than in any header, or if all this takes over 64 MB.
    """
    require_utf8(text)
    opening, empty = _OPENING.match(text), _EMPTY.match(text)
    if opening is None:
        raise ValueError("no JSON object")
    starts: dict[str, int] = {}
    memory = len(text)
    at, more = (empty or opening).end(), not empty
    while more:
        found = _MEMBER.match(text, at)
        if found is None:
            raise ValueError(f"no member of a JSON object at byte {at}")
        name = new_name(found, starts)
        memory += sys.getsizeof(name) + PER_NAME
        if memory > MOST_MEMORY:
            raise ValueError(f"more names than {MOST_MEMORY // 10**6} MB can hold")
        starts[name] = found.start(2)
        at, more = found.end(), found[3] == b","
    if not _TO_END.match(text, at):
        raise ValueError(f"more than a JSON object, from byte {at} on")
    return starts


def new_name(found: re.Match[bytes], known: Container[str]) -> str:
    """Return the name that is the first group of a match.

    Raises
    ------
    ValueError
        If it is one of those known, or too long.
    """
    if found.end(1) - found.start(1) > LONGEST_NAME:
        raise ValueError(f"a name of more than {LONGEST_NAME} bytes")
    name = string(found[1])
    if name in known:
        raise ValueError(f"the key {name[:60]!r} twice")
    return name


def value_at(text: bytes, start: int, most: int) -> bytes:
    """Return the text of the value that begins where `member_starts` says.

    Raises
    ------
    ValueError
        If it has more than ``most`` bytes.
    """
    found = _FLAT_OR_VALUE.match(text, start)
    stop = found.end() if found else start
    if stop - start > most:
        raise ValueError(f"{stop - start} bytes")
    return text[start:stop]


def require_utf8(text: bytes) -> None:
    """Require that a text is UTF-8, without making a string of all of it.

    Raises
    ------
    UnicodeDecodeError
        If it is not; a `ValueError`.
    """
    if not text.isascii():
        decoder = codecs.getincrementaldecoder("utf-8")()
        for start in range(0, len(text), _CHUNK):
            decoder.decode(text[start : start + _CHUNK], final=start + _CHUNK >= len(text))


def string(text: bytes) -> str:
    """Return what a JSON string stands for that `STRING` has matched."""
    return str(json.loads(text)) if b"\\" in text else text[1:-1].decode("utf-8")


def parse(text: bytes) -> Any:
    """Return what a JSON document stands for, as Python reads it: NaN is admitted.

    Raises
    ------
    ValueError
        If it is no JSON, is nested too deeply, or could take more than 64 MB once parsed.
    """
    if memory_to_parse(text) > MOST_MEMORY:
        raise ValueError(f"{len(text)} bytes that could take more than 64 MB once parsed")
    return _loaded(text, _AS_PYTHON)


def memory_to_parse(text: bytes) -> int:
    """Return a bound on the bytes that a JSON document takes while it is parsed, and after."""
    containers, items = text.count(b"{") + text.count(b"["), text.count(b",") + text.count(b":")
    return _PER_BYTE * len(text) + _PER_CONTAINER * containers + _PER_ITEM * items


def parse_strictly(text: bytes) -> Any:
    """Return what a JSON text of a few kilobytes stands for: without NaN, and each key once.

    Raises
    ------
    ValueError
        If it is no such JSON, or is nested too deeply.
    """
    return _loaded(text, _STRICT)


def _loaded(text: bytes, decoder: json.JSONDecoder) -> Any:
    try:
        return decoder.decode(text.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice[:60]!r} twice")
    return result


def _integer(word: str) -> int | float:
    return -0.0 if word == "-0" else int(word)  # no whole number, in the other readers


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


_AS_PYTHON = json.JSONDecoder()
_STRICT = json.JSONDecoder(
    object_pairs_hook=_once_each, parse_constant=_no_constant, parse_int=_integer
)
