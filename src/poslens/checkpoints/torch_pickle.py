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
from typing import NoReturn

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
LONGEST_NAME = 500


def read_pickle(
    data: bytes, start: int, shown: str, most_steps: int = MOST_STEPS
) -> tuple[Value, int, dict[str, Stored]]:
    """Return the value that a pickle describes, where it ends, and the storages it mentions.

    Parameters
    ----------
    data
        Bytes that hold it.
    start
        Where it starts among them.
    shown
        The file's quoted name, for messages.
    most_steps
        Instructions after which the pickle is given up.

    Raises
    ------
    SourceError
        If it names something that plain tensors do not need, or is damaged.
    """
    reader = PickleReader(data, start, shown)
    try:
        return reader.run(most_steps), reader.at, reader.storages
    except UNSOUND as error:
        raise SourceError(
            f"{shown} is not a sound torch file",
            expected="a pickle of tensors",
            got=quoted(f"{type(error).__name__} at byte {reader.at}: {error}"),
            remedy="download or save it again",
        ) from error


# What the instructions below meet in a damaged pickle: its end, a missing mark, memo or value.
UNSOUND = (IndexError, KeyError, TypeError, ValueError, struct.error)

# Instructions by their byte. Most push a value: one of these,
_CONSTANTS: dict[int, Value] = {ord("N"): None, 0x88: True, 0x89: False, ord(")"): ()}
# a new container,
_FRESH: dict[int, Callable[[], Value]] = {
    ord("]"): list,
    ord("}"): dict,
    0x8F: lambda: Other("set"),
}
# a number that follows, as struct spells it, or as many bytes of text as it says,
_NUMBERS = {ord("J"): "<i", ord("K"): "<B", ord("M"): "<H", ord("G"): ">d"}
_TEXTS = {ord("X"): "<I", 0x8C: "<B", 0x8D: "<Q", ord("T"): "<I", ord("U"): "<B"}
_BYTES = {ord("B"): "<I", ord("C"): "<B", 0x8E: "<Q", 0x8A: "<B"}
# or the last values as a tuple. These remember the last value, and push what was remembered.
_TUPLES = {0x85: 1, 0x86: 2, 0x87: 3}
_PUTS = {ord("q"): "<B", ord("r"): "<I"}
_GETS = {ord("h"): "<B", ord("j"): "<I"}
_NUMBERED = {
    code: struct.Struct(layout)
    for codes in (_NUMBERS, _TEXTS, _BYTES, _PUTS, _GETS)
    for code, layout in codes.items()
}
_LONG, _MARK, _STOP = 0x8A, ord("("), ord(".")


class PickleReader:
    """The stack machine that a pickle is written for, with instructions that only build data."""

    def __init__(self, data: bytes, at: int, shown: str) -> None:
        self.data, self.at, self.shown = data, at, shown
        self.storages: dict[str, Stored] = {}
        self.stack: list[Value] = []
        self.marks: list[list[Value]] = []
        self.memo: dict[int, Value] = {}

    def run(self, most_steps: int) -> Value:
        """Return the value that stands on the stack at the end."""
        # One loop, because a checkpoint has ten thousands of these and calls are what takes time.
        data, memo = self.data, self.memo
        for _ in range(most_steps):
            code = data[self.at]
            self.at += 1
            if code in _NUMBERED:
                layout = _NUMBERED[code]
                (number,) = layout.unpack_from(data, self.at)
                self.at += layout.size
                if code in _GETS:
                    self.stack.append(memo[number])
                elif code in _PUTS:
                    memo[number] = self.stack[-1]
                elif code in _NUMBERS:
                    self.stack.append(number)
                else:
                    self._text(code, number)
            elif code in _CONSTANTS:
                self.stack.append(_CONSTANTS[code])
            elif code in _TUPLES:
                count = _TUPLES[code]
                self.stack[-count:] = [tuple([self.stack[-at] for at in range(count, 0, -1)])]
            elif code in _FRESH:
                self.stack.append(_FRESH[code]())
            elif code == _MARK:
                self.marks.append(self.stack)
                self.stack = []
            elif code == _STOP:
                return self.stack.pop()
            elif code in _OTHERS:
                _OTHERS[code](self)
            else:
                raise ValueError(f"instruction {code:#04x}, which tensors do not need")
        raise ValueError(f"more than {most_steps} instructions")

    def _text(self, code: int, length: int) -> None:
        stop = self.at + length
        if stop > len(self.data):
            raise ValueError(
                f"text of {length} bytes, of which {len(self.data) - self.at} are there"
            )
        content = self.data[self.at : stop]
        self.at = stop
        if code == _LONG:
            self.stack.append(int.from_bytes(content, "little", signed=True))
        else:
            self.stack.append(content if code in _BYTES else content.decode("utf-8"))

    def _protocol(self) -> None:
        self.at += 1

    def _frame(self) -> None:
        self.at += 8

    def _memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

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
        module, name = self._line(), self._line()
        self._push_name(module, name)

    def _line(self) -> str:
        stop = self.data.index(b"\n", self.at, self.at + LONGEST_NAME)
        text = self.data[self.at : stop].decode("utf-8")
        self.at = stop + 1
        return text

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


_OTHERS: dict[int, Callable[[PickleReader], None]] = {
    0x80: PickleReader._protocol,
    0x95: PickleReader._frame,
    0x94: PickleReader._memoize,
    ord("t"): PickleReader._tuple,
    ord("a"): PickleReader._append,
    ord("e"): PickleReader._appends,
    0x90: PickleReader._add_items,
    ord("s"): PickleReader._set_item,
    ord("u"): PickleReader._set_items,
    ord("c"): PickleReader._global,
    0x93: PickleReader._stack_global,
    ord("Q"): PickleReader._persistent,
    ord("R"): PickleReader._call,
    0x81: PickleReader._call,
    ord("b"): PickleReader._build,
}


def _refuse(shown: str, word: str) -> NoReturn:
    raise SourceError(
        f"{shown} would have to be unpickled",
        expected="tensors, containers, numbers and strings alone",
        got=f"a pickle that asks for {quoted(word)}",
        remedy="save the model's state_dict() alone, or as safetensors",
    )
