"""Texts, given piece by piece: a file's, or one that every Python has."""

from __future__ import annotations

import codecs
import io
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from poslens.checkpoints.byte_source import LocalFile
from poslens.errors import SourceError, quoted

_BYTES_AT_A_TIME = 65_536
_BYTE_ORDER_MARK = "\ufeff"
DEFAULT_NAME = f"the help topics of Python {platform.python_version()} (pydoc_data.topics)"


def read_text(path: str | os.PathLike[str]) -> Iterator[str]:
    """Read a UTF-8 file piece by piece; every line ends in a newline, whatever ends it in the file.

    The file is opened once before the first piece is asked for, so that a wrong path is known at
    once. A byte order mark at the beginning is dropped.

    Raises
    ------
    SourceError
        If there is no such file, it is empty or cannot be read; and, when the piece is asked for
        that holds it, at a byte that is not UTF-8, which the message names.
    """
    return _pieces(LocalFile(Path(path)))


def _pieces(file: LocalFile) -> Iterator[str]:
    utf8 = codecs.getincrementaldecoder("utf-8")("strict")
    decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
    taken = 0  # bytes given to the decoder, which keeps those of a character that is not whole
    with file.stream() as handle:
        while True:
            content = handle.read(_BYTES_AT_A_TIME)
            begin = taken - len(utf8.getstate()[0])
            try:
                piece = decoder.decode(content, final=not content)
            except UnicodeDecodeError as error:
                raise _not_utf8(file.shown, begin + error.start, error) from error
            yield piece.removeprefix(_BYTE_ORDER_MARK) if taken == 0 else piece
            taken += len(content)
            if not content:
                return


def _not_utf8(shown: str, at: int, error: UnicodeDecodeError) -> SourceError:
    found = error.object[error.start : error.start + 1].hex()
    return SourceError(
        f"{shown} is no text in UTF-8",
        expected="UTF-8 throughout",
        got=f"the byte 0x{found} at byte {at} ({error.reason})",
        remedy="save the text in UTF-8",
    )


def default_text() -> Iterator[str]:
    """Give the help topics of the running Python, in the order of their names.

    About 460,000 characters of English about a programming language, on every machine; another
    version of Python has another text (`DEFAULT_NAME` says which).

    Raises
    ------
    SourceError
        If this Python was installed without them.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise SourceError(
            "there is no default text",
            expected="a Python with its help topics (pydoc_data.topics)",
            got=quoted(error),
            remedy="give a text file (--text FILE)",
        ) from error
    return (topics[name] for name in sorted(topics))
