"""Bytes of a UTF-8 text as tokens, and a split into contiguous blocks."""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from poslens.encodings.validate import require_count, require_number
from poslens.errors import LabError, SettingError, quoted
from poslens.lab.batches import Batch, Ids, require_batch
from poslens.lab.seeds import Stream, generator

BYTES = 256
EVERY = 10  # of so many blocks, one is held out
_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False, repr=False)
class Text:
    """A text whose tokens are its bytes.

    Attributes
    ----------
    tokens
        Shape (token,); a view of the file where there is one.
    name
        What it is called.
    sha256
        Of the bytes.
    """

    tokens: UInt8[np.ndarray, "token"]
    name: str
    sha256: str

    def __repr__(self) -> str:
        return f"Text({self.name}, {len(self.tokens)} bytes, sha256 {self.sha256[:16]})"


def read_text(path: str | Path) -> Text:
    """Map a UTF-8 file into memory; it is read once, in pieces, to check it.

    Raises
    ------
    LabError
        If it cannot be read, is empty, or is no UTF-8.
    """
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    read = begin = 0  # bytes given to the decoder, and where those begin that it has to decode
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                decoder.decode(chunk)
                read += len(chunk)
                begin = read - len(decoder.getstate()[0])
        decoder.decode(b"", final=True)
        if read == 0:
            raise LabError(f"cannot train on {quoted(path)}", expected="a text", got="no bytes")
        tokens = np.memmap(path, dtype=np.uint8, mode="r")
    except UnicodeDecodeError as error:
        found = error.object[error.start]
        raise LabError(
            f"cannot train on {quoted(path)}",
            expected="UTF-8 throughout",
            got=f"the byte 0x{found:02x} at byte {begin + error.start} ({error.reason})",
            remedy="save the text in UTF-8",
        ) from error
    except OSError as error:
        raise LabError(
            f"cannot read {quoted(path)}", got=quoted(error.strerror or error)
        ) from error
    return Text(tokens, Path(path).name, digest.hexdigest())


def python_help() -> Text:
    """Return the text that comes with every Python: the topics of ``help()``, in English.

    About 460 kB; versions of Python differ in it, as the digest shows.
    """
    from pydoc_data.topics import topics

    content = "\n\n".join(topics[name] for name in sorted(topics)).encode()
    tokens = np.frombuffer(content, dtype=np.uint8)
    return Text(tokens, "pydoc_data.topics", hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, eq=False)
class Split:
    """A text in blocks, of which every ``every``-th is held out.

    Blocks are contiguous, so that what is held out has no neighbours in common with training
    windows, and its windows of any length up to a block's are of the same bytes.

    Attributes
    ----------
    text
        What is split.
    block
        Bytes of a block; one more than the longest context that is evaluated.
    every
        How many blocks there are to one that is held out.

    Raises
    ------
    SettingError
        If a number is out of its range.
    LabError
        If the text has fewer blocks than ``every``.
    """

    text: Text
    block: int
    every: int = EVERY
    vocabulary: int = field(default=BYTES, init=False)

    def __post_init__(self) -> None:
        require_count("block", self.block, 2)
        require_count("every", self.every, 2)
        blocks = len(self.text.tokens) // self.block
        if blocks < self.every:
            raise LabError(
                f"{self.text!r} is too short",
                expected=f"at least {self.every} blocks of {self.block} bytes, one to be held out",
                got=f"{blocks}",
                remedy="give a longer text, or evaluate at shorter contexts",
            )

    @cached_property
    def _held_out_starts(self) -> Int[np.ndarray, "block"]:
        blocks = len(self.text.tokens) // self.block
        return self.block * np.arange(self.every - 1, blocks, self.every)

    @cached_property
    def _runs(self) -> Int[np.ndarray, "run bound"]:
        """Begin and end of what training may read, between held-out blocks."""
        starts = np.r_[0, self._held_out_starts + self.block]
        return np.stack([starts, np.r_[self._held_out_starts, len(self.text.tokens)]], axis=1)

    def batch(self, contexts: int, length: int, seed: int, step: int) -> Batch:
        """Return windows of the training part, each drawn from all that there are.

        Raises
        ------
        LabError
            If no run of training bytes has ``length`` + 1.
        """
        require_batch(contexts, length)
        windows = np.maximum(self._runs[:, 1] - self._runs[:, 0] - length, 0)
        ends = np.cumsum(windows)
        if ends[-1] == 0:
            longest = int((self._runs[:, 1] - self._runs[:, 0]).max())
            raise LabError(
                f"a context is longer than what {self.text!r} has between held-out blocks",
                expected=f"at most {longest - 1} positions",
                got=f"{length}",
                remedy="give a longer text, or hold out fewer blocks",
            )
        drawn = generator(seed, Stream.DATA, step).integers(ends[-1], size=contexts)
        run = np.searchsorted(ends, drawn, side="right")
        return self._windows(self._runs[run, 0] + drawn - (ends - windows)[run], length)

    def held_out(self, length: int) -> Batch:
        """Return the held-out blocks in windows of one length.

        Windows of two lengths that both divide ``block`` - 1 are of the same bytes.

        Raises
        ------
        SettingError
            If a block has no such window.
        """
        most = self.block - 1
        if not 1 <= length <= most:
            raise SettingError(
                "no held-out block has such a window",
                expected=f"from 1 to {most} positions",
                got=f"{length}",
                remedy="split the text into longer blocks" if length > most else "",
            )
        count = most // length
        starts = self._held_out_starts[:, None] + length * np.arange(count)
        return self._windows(starts.ravel(), length)

    def _windows(self, starts: Int[np.ndarray, "context"], length: int) -> Batch:
        tokens: Ids = self.text.tokens[starts[:, None] + np.arange(length + 1)].astype(np.int64)
        return Batch(tokens[:, :-1], tokens[:, 1:])


@dataclass(frozen=True)
class OnText:
    """An experiment's data: a text.

    Attributes
    ----------
    file
        A UTF-8 text, in an experiment's file relative to it; where None, the help of Python.
    held_out
        The share of the text's blocks that no model is trained on: one in so many.

    Raises
    ------
    LabError, SettingError
        If the share is not one in a whole number.
    """

    file: str | None = None
    held_out: float = 0.1

    def __post_init__(self) -> None:
        require_number("data.held_out", self.held_out, above=True, most=0.5)
        if abs(self.every * self.held_out - 1) > 1e-6:
            raise LabError(
                "cannot hold out this share of the text",
                expected="one in a whole number, such as 0.1 or 0.05, for data.held_out",
                got=f"{self.held_out:g}",
            )

    @property
    def vocabulary(self) -> int:
        """All bytes."""
        return BYTES

    @property
    def every(self) -> int:
        """How many blocks there are to one that is held out."""
        return round(1 / self.held_out)

    def split(self, longest: int) -> Split:
        """Return the text in blocks of a longest length that is evaluated.

        Raises
        ------
        LabError
            If it cannot be read, or is too short.
        """
        text = python_help() if self.file is None else read_text(self.file)
        return Split(text, longest + 1, self.every)
