"""What every container of tensors offers: names and shapes first, one tensor's bytes on request."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from poslens.checkpoints.schemes import Pairing
from poslens.errors import SourceError, TableError, quoted

# How the readable dtypes are stored. bfloat16 is the upper half of a float32; NumPy has no such
# dtype, so its bytes are read as integers and shifted.
STORED_AS = {"float64": "<f8", "float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}

Values: TypeAlias = Float[np.ndarray, "..."]
RowNumbers: TypeAlias = Int[np.ndarray, "row"]

READABLE = "a float64, float32, float16 or bfloat16 tensor"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a header says about one tensor.

    Attributes
    ----------
    name
        Its name in the container; None for the one array of an ``.npy`` file.
    dtype
        ``"float32"`` and so on for the readable ones, else the container's own word.
    shape
        Its shape.
    quantised
        Whether its container turns it into float32 as it reads it.
    """

    name: str | None
    dtype: str
    shape: tuple[int, ...]
    quantised: bool = False

    @property
    def floating(self) -> bool:
        """Whether it is one that PosLens reads as numbers with a fraction."""
        return self.quantised or self.dtype in STORED_AS

    def __str__(self) -> str:
        size = "×".join(map(str, self.shape)) or "scalar"
        return f"{quoted(self.name) if self.name else 'array'} ({self.dtype}, {size})"


@dataclass(frozen=True)
class Quantised:
    """What remains to be known of a tensor's stored bytes once they have become float32.

    Attributes
    ----------
    nbytes
        Their number.
    sha256
        Their SHA-256, in hexadecimal.
    """

    nbytes: int
    sha256: str


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """One tensor's bytes, row-major and little-endian, with what its header says.

    Attributes
    ----------
    entry
        Name, dtype and shape.
    raw
        The bytes, shape (byte,); of the float32 values where it was stored quantised.
    quantised
        How it was stored, if so; None where ``raw`` is what is stored.
    """

    entry: Entry
    raw: bytes | memoryview
    quantised: Quantised | None = None

    @property
    def nbytes(self) -> int:
        """The number of stored bytes."""
        return self.quantised.nbytes if self.quantised else len(self.raw)

    def sha256(self) -> str:
        """Return the SHA-256 of the stored bytes, in hexadecimal."""
        return self.quantised.sha256 if self.quantised else hashlib.sha256(self.raw).hexdigest()

    def values(self) -> Values:
        """Return the numbers, read-only: float64 as it is, the narrower dtypes as float32."""
        dtype = "float32" if self.quantised else self.entry.dtype
        stored = np.frombuffer(self.raw, dtype=STORED_AS[dtype])
        if dtype == "bfloat16":
            upper_half = stored.astype(np.uint32)
            upper_half <<= 16  # in place: token tables are large
            stored = upper_half.view(np.float32)
        width = np.float64 if dtype == "float64" else np.float32
        values = stored.astype(width, copy=False).reshape(self.entry.shape)
        values.flags.writeable = False
        return values


class Tensors(ABC):
    """A container of named tensors that is opened, not loaded."""

    shown: str  # the container's quoted name, for messages
    opening_bytes: int = 0  # read so far to learn names and shapes: headers, an index
    pairing: Pairing | None = None  # of rotated rows, where the container has its own order of them
    architecture: str | None = None  # in its own words, where it has its own names of tensors
    named_by_string: bool = True  # whether "::" can name one of them

    @abstractmethod
    def names(self) -> Iterable[str]:
        """Return the names of all tensors, in the container's order."""

    @abstractmethod
    def entry(self, name: str) -> Entry:
        """Return what the header says about the tensor ``name``, which must be one of `names`."""

    def prefetch(self, names: Iterable[str]) -> None:  # noqa: B027 - most have nothing to do
        """Fetch the tensors that will be read next, together, where that is faster."""

    @abstractmethod
    def read(self, name: str) -> StoredTensor:
        """Read the tensor ``name``, which must be one of `names` and of a readable dtype."""

    def reads_rows_alone(self, name: str) -> bool:  # noqa: ARG002 - of sharded ones it tells
        """Whether `read_rows` reads no row of the tensor beside those that it is asked for."""
        return False

    def read_rows(self, name: str, rows: RowNumbers) -> Values:
        """Read some rows of a matrix, and no others where the container lies at hand.

        Parameters
        ----------
        name
            One of `names`, of two axes and a readable dtype.
        rows
            Ascending, each once, all of them there.

        Returns
        -------
        Values
            Shape (row, column), as `StoredTensor.values` gives them.
        """
        return np.asarray(self.read(name).values()[rows])


def require_readable(entry: Entry, shown: str) -> None:
    """Require a dtype that PosLens reads; called before any byte of the tensor is read.

    Raises
    ------
    TableError
        If it is another, such as int64, complex64, an object array or an 8-bit float.
    """
    if not entry.floating:
        what = f"tensor {quoted(entry.name)} of {shown}" if entry.name else shown
        raise TableError(
            f"cannot use {what}",
            expected=READABLE,
            got=f"dtype {quoted(entry.dtype)}",
            remedy="convert it to float32, or name another tensor",
        )


def require_named(name: str, tensors: Tensors) -> None:
    """Require that a container holds a tensor.

    Raises
    ------
    SourceError
        If it does not; the message lists some of those that are there.
    """
    if name not in set(tensors.names()):
        raise SourceError(
            f"no tensor {quoted(name)} in {tensors.shown}",
            expected=f"one of {listed(quoted(known) for known in tensors.names())}",
            remedy="check the name after '::'",
        )


def listed(items: Iterable[str], most: int = 8) -> str:
    """Join items for a message, at most ``most`` of them, and count the rest."""
    rest = iter(items)  # counted, not kept: there may be a hundred thousand
    shown, more = ", ".join(islice(rest, most)), sum(1 for _ in rest)
    return shown + (f" and {more} more" if more else "")
