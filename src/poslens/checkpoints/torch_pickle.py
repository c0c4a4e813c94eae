"""The pickles inside torch files, read as data: no class is looked up, no function is called.

A torch file describes its tensors by a pickle. Of all that a pickle can say, plain tensors need
little: containers, numbers, strings, and a few names from torch. `PickleReader` understands just
that. The names stand for records (`Stored`, `Strided`); any other name is refused, so that a file
cannot make anything happen. What it accepts is what ``torch.load(..., weights_only=True)`` does
by default, without the memory and the calls that a hostile file can ask of that.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NoReturn

from poslens.checkpoints.torch_records import (
    KNOWN,
    STORAGES,
    Name,
    Other,
    Stored,
    Value,
    as_kind,
    as_size,
    made,
    set_items,
)
from poslens.errors import SourceError, quoted

# An instruction leaves at most 90 bytes behind and a byte of text at most 4, so these two keep
# below 64 MB. A tensor takes some 30 instructions and 150 bytes: a file may hold 12,000.
MOST_STEPS = 400_000
MOST_BYTES = 5_000_000


class Cursor:
    """A position in bytes that are fetched in blocks.

    Parameters
    ----------
    read
        Returns the bytes from start to stop.
    size
        Bytes in all.

    Attributes
    ----------
    bytes_read
        Bytes that were fetched so far.
    """

    BLOCK = 2**16

    def __init__(self, read: Callable[[int, int], bytes | memoryview], size: int) -> None:
        self._read, self.size, self.position = read, size, 0
        self.bytes_read = 0
        self._block, self._start = b"", 0

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes; raise EOFError where there are fewer."""
        stop = self.position + count
        if count < 0 or stop > self.size:
            raise EOFError(f"the end after {self.size - self.position} of {count} bytes")
        if stop > self._start + len(self._block):
            self._start = self.position
            ahead = min(max(stop, self.position + self.BLOCK), self.size)
            self._block = bytes(self._read(self.position, ahead))
            self.bytes_read += len(self._block)
        found = self._block[self.position - self._start : stop - self._start]
        self.position = stop
        return found

    def line(self, most: int = 500) -> str:
        """Return the text up to the next newline, which is passed over."""
        text = bytearray()
        while (byte := self.take(1)) != b"\n":
            text += byte
            if len(text) > most:
                raise ValueError(f"a name of more than {most} bytes")
        return text.decode("utf-8")


def read_pickle(
    cursor: Cursor, shown: str, most_steps: int = MOST_STEPS
) -> tuple[Value, dict[str, Stored]]:
    """Return the value that a pickle describes, and the storages that it mentions, by key.

    Parameters
    ----------
    cursor
        Stands at the pickle's first byte, and is left after its last one.
    shown
        The file's quoted name, for messages.
    most_steps
        Instructions after which the pickle is given up.

    Raises
    ------
    SourceError
        If it names something that plain tensors do not need, or is damaged.
    """
    reader = PickleReader(cursor, shown)
    try:
        return reader.run(most_steps), reader.storages
    except UNSOUND as error:
        raise SourceError(
            f"{shown} is not a sound torch file",
            expected="a pickle of tensors",
            got=quoted(f"{error or type(error).__name__} at byte {cursor.position}"),
            remedy="download or save it again",
        ) from error


# What the instructions below meet in a damaged pickle: a missing mark, memo or value.
UNSOUND = (EOFError, IndexError, KeyError, TypeError, ValueError, struct.error)

_CONSTANTS: dict[bytes, Value] = {b"N": None, b"\x88": True, b"\x89": False, b")": ()}
_FRESH: dict[bytes, Callable[[], Value]] = {
    b"]": list,
    b"}": dict,
    b"\x8f": lambda: Other("set"),
}
_NUMBERS = {b"J": "<i", b"K": "<B", b"M": "<H", b"G": ">d"}
_TEXTS = {b"X": "<I", b"\x8c": "<B", b"\x8d": "<Q", b"T": "<I", b"U": "<B"}
_BYTES = {b"B": "<I", b"C": "<B", b"\x8e": "<Q"}
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
_PUTS = {b"q": "<B", b"r": "<I"}
_GETS = {b"h": "<B", b"j": "<I"}


class PickleReader:
    """The stack machine that a pickle is written for, with instructions that only build data."""

    def __init__(self, cursor: Cursor, shown: str) -> None:
        self.cursor, self.shown = cursor, shown
        self.storages: dict[str, Stored] = {}
        self.stack: list[Value] = []
        self.marks: list[list[Value]] = []
        self.memo: dict[int, Value] = {}

    def run(self, most_steps: int) -> Value:
        """Return the value that stands on the stack at the end."""
        for _ in range(most_steps):
            code = self.cursor.take(1)
            if code == b".":
                return self.stack.pop()
            self._step(code)
        raise ValueError(f"more than {most_steps} instructions")

    def _step(self, code: bytes) -> None:
        push, take = self.stack.append, self.cursor.take
        if code in _CONSTANTS:
            push(_CONSTANTS[code])
        elif code in _FRESH:
            push(_FRESH[code]())
        elif code in _NUMBERS:
            push(self._number(_NUMBERS[code]))
        elif code in _TEXTS:
            push(take(self._number(_TEXTS[code])).decode("utf-8"))
        elif code in _BYTES:
            push(take(self._number(_BYTES[code])))
        elif code in _TUPLES:
            push(tuple([self.stack.pop() for _ in range(_TUPLES[code])][::-1]))
        elif code in _PUTS:
            self.memo[self._number(_PUTS[code])] = self.stack[-1]
        elif code in _GETS:
            push(self.memo[self._number(_GETS[code])])
        elif code in _OTHERS:
            _OTHERS[code](self)
        else:
            raise ValueError(f"an instruction that tensors do not need, {code!r}")

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self.cursor.take(struct.calcsize(layout)))[0]

    def _protocol(self) -> None:
        self.cursor.take(1)

    def _frame(self) -> None:
        self.cursor.take(8)

    def _long(self) -> None:
        data = self.cursor.take(self._number("<B"))
        self.stack.append(int.from_bytes(data, "little", signed=True))

    def _memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _to_mark(self) -> list[Value]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _tuple(self) -> None:
        items = tuple(self._to_mark())
        self.stack.append(items)

    def _append(self) -> None:
        item = self.stack.pop()
        as_kind(list, self.stack[-1]).append(item)

    def _appends(self) -> None:
        items = self._to_mark()
        as_kind(list, self.stack[-1]).extend(items)

    def _add_items(self) -> None:
        self._to_mark()
        as_kind(Other, self.stack[-1])  # a set, whose items nobody asks for

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        set_items(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        items = self._to_mark()
        set_items(self.stack[-1], items)

    def _global(self) -> None:
        self._push_name(self.cursor.line(), self.cursor.line())

    def _stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._push_name(as_kind(str, module), as_kind(str, name))

    def _push_name(self, module: str, name: str) -> None:
        # Protocol 2 spells it as Python 2 did.
        word = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if word not in KNOWN:
            _refuse(self.shown, word)
        self.stack.append(KNOWN[word])

    def _persistent(self) -> None:
        record = as_kind(tuple, self.stack.pop())
        if len(record) < 5 or record[0] != "storage":
            raise ValueError("a persistent id that is no storage")
        if len(record) > 5 and record[5] is not None:
            raise ValueError("a storage that is a view of another")
        dtype, width = STORAGES[as_kind(Name, record[1]).word]
        key, count = as_kind(str, record[2]), as_size(record[4])
        self.storages[key] = Stored(key, dtype, count, width)
        self.stack.append(self.storages[key])

    def _call(self) -> None:
        arguments = as_kind(tuple, self.stack.pop())
        self.stack.append(made(as_kind(Name, self.stack.pop()).word, arguments))

    def _build(self) -> None:
        self.stack.pop()  # attributes, such as the versions of a state dict's modules
        if isinstance(self.stack[-1], Name | str):
            raise TypeError("attributes of a name")


_OTHERS: dict[bytes, Callable[[PickleReader], None]] = {
    b"\x80": PickleReader._protocol,
    b"\x95": PickleReader._frame,
    b"\x8a": PickleReader._long,
    b"\x94": PickleReader._memoize,
    b"(": PickleReader._mark,
    b"t": PickleReader._tuple,
    b"a": PickleReader._append,
    b"e": PickleReader._appends,
    b"\x90": PickleReader._add_items,
    b"s": PickleReader._set_item,
    b"u": PickleReader._set_items,
    b"c": PickleReader._global,
    b"\x93": PickleReader._stack_global,
    b"Q": PickleReader._persistent,
    b"R": PickleReader._call,
    b"\x81": PickleReader._call,
    b"b": PickleReader._build,
}


def _refuse(shown: str, word: str) -> NoReturn:
    raise SourceError(
        f"{shown} would have to be unpickled",
        expected="tensors, containers, numbers and strings alone",
        got=f"a pickle that asks for {quoted(word)}",
        remedy="save the model's state_dict() alone, or as safetensors",
    )
