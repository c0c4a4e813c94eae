"""The index of a sharded model: which file holds which tensor.

One JSON object with a member ``weight_map``. The largest (200,000 tensors) have 30 MB, so that it
is read in pieces, and no more is kept of it than names.
"""

from __future__ import annotations

import re
import sys
from pathlib import PurePosixPath, PureWindowsPath

from poslens.checkpoints.byte_source import ByteSource
from poslens.checkpoints.json_text import (
    MOST_MEMORY,
    PER_NAME,
    SPACE,
    STRING,
    VALUE,
    new_name,
    require_utf8,
    string,
)
from poslens.checkpoints.local_files import not_understood
from poslens.errors import SourceError, quoted

LARGEST_INDEX = 64_000_000
CHUNK = 2**20
LONGEST_MEMBER = 2**16  # one tensor and its file, or what the index says beside
MOST_FILES = 2_000  # of one model; the largest have a few hundred
LONGEST_PATH = 255

_OBJECT = re.compile(SPACE + rb"\{" + SPACE + rb"(\}?)")
_NAME = re.compile(SPACE + rb"(" + STRING + rb")" + SPACE + rb":" + SPACE + rb"(?=(.))", re.DOTALL)
_REST = re.compile(SPACE + rb"(" + VALUE + rb")" + SPACE + rb"([,}])")
_NEXT = re.compile(SPACE + rb"([,}])")
_END = re.compile(SPACE + rb"\Z")


def read_index(source: ByteSource) -> dict[str, str]:
    """Return the file name of each tensor, relative to the folder of the index.

    Raises
    ------
    SourceError
        If the index cannot be read, is larger than 64 MB or no JSON object with a ``weight_map``,
        names a tensor twice or more of them than 64 MB of memory can hold, or names a file outside
        its folder. The file of a name may be a link that leads out of it, as in the cache of
        huggingface_hub.
    """
    expected = f"one JSON object of at most {LARGEST_INDEX // 10**6} MB"
    if source.size > LARGEST_INDEX:
        raise not_understood(source.shown, expected, f"{source.size} bytes")
    try:
        return _Index(source).weight_map()
    except ValueError as error:
        raise not_understood(source.shown, expected, quoted(error)) from error


def unfit(shown: str, expected: str, got: str) -> SourceError:
    """Return the error for an index that does not fit its weight files."""
    return SourceError(
        f"{shown} does not fit its weight files",
        expected=expected,
        got=got,
        remedy="download the model again",
    )


class _Index:
    """A window on the text, which moves on as what it shows has been understood."""

    def __init__(self, source: ByteSource) -> None:
        self._source, self._read, self._window, self._at = source, 0, b"", 0
        self._shown = source.shown

    def weight_map(self) -> dict[str, str]:
        found: dict[str, str] | None = None
        seen: set[str] = set()
        more = not self._take(_OBJECT)[1]
        while more:
            member = self._take(_NAME)
            name = new_name(member, seen)
            seen.add(name)
            if name == "weight_map" and member[2] == b"{":
                found = self._files()
                more = self._take(_NEXT)[1] == b","
            else:
                rest = self._take(_REST)
                if name == "weight_map":
                    shown = quoted(rest[1].decode())
                    raise unfit(self._shown, "an object weight_map", shown)
                require_utf8(rest[1])
                more = rest[2] == b","
        self._take(_END)
        if found is None:
            raise unfit(self._shown, "an object weight_map", "none")
        return found

    def _files(self) -> dict[str, str]:
        weight_map: dict[str, str] = {}
        files: dict[bytes, str] = {}  # one string for each file, not for each tensor
        memory = 0
        more = not self._take(_OBJECT)[1]
        while more:
            name = new_name(self._take(_NAME), weight_map)
            memory += sys.getsizeof(name) + PER_NAME
            if memory > MOST_MEMORY:
                raise ValueError(f"more names than {MOST_MEMORY // 10**6} MB can hold")
            rest = self._take(_REST)
            if rest[1] not in files:
                files[rest[1]] = self._file_inside(name, rest[1])
            if len(files) > MOST_FILES:
                raise unfit(self._shown, f"at most {MOST_FILES} files", "more")
            weight_map[name] = files[rest[1]]
            more = rest[2] == b","
        return weight_map

    def _file_inside(self, name: str, value: bytes) -> str:
        file = string(value) if value.startswith(b'"') else None
        if file is None or not _is_inside(file):
            shown = quoted(value.decode() if file is None else file)
            expected = "file names within its folder"
            raise unfit(self._shown, expected, f"{shown} for tensor {quoted(name)}")
        return file

    def _take(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        """Match what comes next, and move on behind it."""
        while True:
            found = pattern.match(self._window, self._at)
            # What ends at the window's end may go on behind it.
            if found and (found.end() < len(self._window) or self._read == self._source.size):
                self._at = found.end()
                return found
            kept = self._window[self._at :]
            if self._read == self._source.size or len(kept) > LONGEST_MEMBER + CHUNK:
                raise ValueError(f"no JSON at byte {self._read - len(kept)}")
            stop = min(self._read + CHUNK, self._source.size)
            self._window = kept + self._source.read(self._read, stop)
            self._read, self._at = stop, 0


def _is_inside(file: str) -> bool:
    """Whether an index entry is a relative path that never leaves the folder, on any system."""
    if not file or len(file.encode()) > LONGEST_PATH or "\0" in file:
        return False
    windows = PureWindowsPath(file)
    return not (windows.drive or windows.root or PurePosixPath(file).root or ".." in windows.parts)
