"""Safetensors, written tensor by tensor: the header first, then each one's bytes as they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from poslens.checkpoints.safetensors_file import BITS, LENGTH_BYTES, METADATA
from poslens.edit.blocks import Block

Report: TypeAlias = Callable[[int], None]  # told how many more bytes have been written


@dataclass(frozen=True, eq=False)
class Piece:
    """A tensor to be written.

    Attributes
    ----------
    name
        Its name.
    word
        Its dtype, in the format's word.
    shape
        Its shape.
    nbytes
        Its bytes.
    blocks
        Gives these, one block after the other, when it is its turn.
    """

    name: str
    word: str
    shape: tuple[int, ...]
    nbytes: int
    blocks: Callable[[], Iterable[Block]]


def array_piece(name: str, word: str, values: np.ndarray) -> Piece:
    """Return a tensor whose numbers are at hand, in the dtype that ``word`` stands for."""
    raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    return Piece(name, word, values.shape, values.nbytes, lambda: [raw])


def write_safetensors(
    path: Path, pieces: Iterable[Piece], metadata: bytes | None, report: Report
) -> None:
    """Write a file.

    Parameters
    ----------
    path
        The file, which is replaced.
    pieces
        The tensors, in the order in which the header names them. Their bytes follow in this order
        too, but those of wider dtypes first, so that every number is aligned.
    metadata
        The JSON of an object of strings; None for none.
    report
        Told of the tensors' bytes.

    Raises
    ------
    SourceError
        If the bytes of a piece cannot be had.
    OSError
        If the file cannot be written.
    """
    named = list(pieces)
    placed = sorted(named, key=lambda piece: -BITS[piece.word])
    starts: dict[str, int] = {}
    end = 0
    for piece in placed:
        starts[piece.name] = end
        end += piece.nbytes
    with path.open("wb") as file:
        file.write(_header(named, starts, metadata))
        for piece in placed:
            for block in piece.blocks():
                file.write(block)
                report(len(block))


def _header(pieces: Iterable[Piece], starts: dict[str, int], metadata: bytes | None) -> bytes:
    members = [] if metadata is None else [b'"' + METADATA.encode() + b'":' + metadata]
    for piece in pieces:
        start = starts[piece.name]
        record = {
            "dtype": piece.word,
            "shape": piece.shape,
            "data_offsets": [start, start + piece.nbytes],
        }
        member = f"{json.dumps(piece.name)}:{json.dumps(record, separators=(',', ':'))}"
        members.append(member.encode())
    text = b"{" + b",".join(members) + b"}"
    text += b" " * (-len(text) % LENGTH_BYTES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text
