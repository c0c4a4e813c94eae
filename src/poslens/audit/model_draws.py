"""What is read of one drawn model: a random block beside a known table, or a kernel by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from poslens.attention import factored_kernel
from poslens.audit import first_blocks
from poslens.audit.first_blocks import HEADS, token_rows
from poslens.audit.model_evidence import Read, read
from poslens.audit.processes import directions
from poslens.axes import Rows
from poslens.checkpoints.blocks import read_block
from poslens.checkpoints.opening import Checkpoint
from poslens.claims.evidence import KernelEvidence, LogitEvidence
from poslens.encodings.sinusoidal import sinusoidal_rows
from poslens.logits import Acting, Stream, logit_parts, reconstruction_error

DrawBlock: TypeAlias = Callable[[int, int, np.random.Generator], Checkpoint]
DrawTable: TypeAlias = Callable[[int, int, np.random.Generator], Rows]

_LATEST_START = 1000  # of waves
_WAVES = 0.5  # length of a row of waves, in lengths of a token


def of_block(
    length: int, dim: int, rng: np.random.Generator, seed: int, *, block: DrawBlock
) -> Read:
    """Return what is read of a block of one scheme."""
    return read(block(length, dim, rng), length, seed)


def of_table(
    length: int,
    dim: int,
    rng: np.random.Generator,
    seed: int,
    *,
    table: DrawTable,
    matched: bool = False,
) -> Read:
    """Return what is read of a block beside a table.

    Where it is ``matched``, a head's queries and keys are the same four waves or more, each turned
    by its own angle between them: waves then meet themselves alone, cos(ω(s-t) + φ).
    """
    rows, tokens = table(length, dim, rng), token_rows(dim, rng)
    queries, keys = _matched(dim, rng) if matched else (None, None)
    return read(first_blocks.with_table(rows, tokens, rng, queries, keys), length, seed)


def normal(length: int, dim: int, rng: np.random.Generator, *, size: float) -> Rows:
    """Return independent normal rows, ``size`` times as long as tokens."""
    return size * rng.standard_normal((length, dim))


def waves(length: int, dim: int, rng: np.random.Generator, *, noise: float = 0.0) -> Rows:
    """Return the encoding of Vaswani et al. (2017) from a random position on, with noise."""
    start = rng.integers(_LATEST_START)
    rows = _WAVES * math.sqrt(2) * sinusoidal_rows(start + np.arange(length), dim)
    deviation = np.sqrt(noise / (1 - noise) * np.mean((rows - rows.mean(axis=0)) ** 2))
    return np.asarray(rows + deviation * rng.standard_normal(rows.shape))


def shuffled(length: int, dim: int, rng: np.random.Generator) -> Rows:
    """Return waves in random order."""
    return np.asarray(rng.permutation(waves(length, dim, rng)))


def alike(length: int, dim: int, rng: np.random.Generator) -> Rows:
    """Return one row, half as long as a token, at every position."""
    row = _WAVES * math.sqrt(dim) * directions(dim, 1, rng)
    return np.asarray(np.repeat(row, length, axis=0))


def size_for(share: float) -> float:
    """Return the size of normal rows that gives terms with position this share of the logits.

    With positions r of the embedding's variance, all but (1 - r)² of that of the logits.
    """
    of_embedding = 1 - math.sqrt(1 - share)
    return math.sqrt(of_embedding / (1 - of_embedding))


def _matched(dim: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """W_Q and W_K: head h reads the planes h, h + H, … so that each has fast and slow ones."""
    planes = np.arange(dim // 2).reshape(-1, HEADS).T.ravel()
    keys, queries = np.zeros((2, dim, dim))
    for place, (plane, angle) in enumerate(
        zip(planes, 2 * np.pi * rng.random(planes.size), strict=True)
    ):
        rows, columns = slice(2 * plane, 2 * plane + 2), slice(2 * place, 2 * place + 2)
        keys[rows, columns] = np.eye(2)
        queries[rows, columns] = _turn(angle)
    return queries, keys


def _turn(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def without_position(length: int, dim: int, rng: np.random.Generator, seed: int) -> Read:
    """Return the error of terms from which what position gives is left out."""
    checkpoint = first_blocks.with_table(
        normal(length, dim, rng, size=size_for(0.1)), token_rows(dim, rng), rng
    )
    block, tokens = read_block(checkpoint), np.random.default_rng(seed)
    content = tokens.standard_normal((length, dim))
    nothing = np.zeros((1, dim))
    whole = Stream(content, checkpoint.tensors.read("positions_embed.weight").values(), nothing)
    parts = logit_parts(block, Stream(content, nothing, nothing), Acting())
    error = reconstruction_error(parts, block, Acting(), whole)
    return Read(logits=LogitEvidence(error=error))


def of_distance(
    length: int,
    dim: int,
    rng: np.random.Generator,
    seed: int,  # noqa: ARG001
    *,
    of_pairs: float,
) -> Read:
    """Return a kernel of distance by itself, of whose variance a share is of pairs.

    It is given as products of queries and keys, which know nothing of distance.
    """
    heads = rng.standard_normal((HEADS, dim)) @ _cosines(length, dim)
    offset = length - 1 + np.arange(length) - np.arange(length)[:, None]
    kernels = heads[:, offset]
    deviation = kernels.std(axis=(1, 2), keepdims=True) * math.sqrt(of_pairs / (1 - of_pairs))
    kernels = kernels + deviation * rng.standard_normal(kernels.shape)
    found = factored_kernel(kernels, np.eye(length)[None], causal=True)
    return Read(
        kernel=KernelEvidence(found.relative_share, found.peak_offset, relative=True),
        no_table="this kernel is of no table",
    )


def _cosines(length: int, count: int) -> np.ndarray:
    offset, wave = np.arange(1 - length, length), np.arange(1, count + 1)[:, None]
    return np.asarray(np.cos(np.pi * wave * offset / length) / wave)
