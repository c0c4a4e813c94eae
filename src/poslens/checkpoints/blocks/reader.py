"""`Reader`: the tensors of one block by name, each required to have the shape its config says."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from poslens.checkpoints.config import Config
from poslens.checkpoints.tensors import READABLE, Entry, RowNumbers, Tensors, Values
from poslens.errors import SourceError, quoted

Spellings = tuple[str, ...]


class Reader:
    """Reads tensors of one layer, and counts the bytes.

    Names are without the prefix that the layer's tensors share, and with ``{layer}`` where the
    layer's number stands.

    Parameters
    ----------
    tensors, config
        The container, and what describes the model.
    prefix
        What stands before the names.
    place
        What stands for ``{layer}``.
    """

    def __init__(self, tensors: Tensors, config: Config, prefix: str, place: int) -> None:
        self.tensors, self.config = tensors, config
        self.prefix, self.place = prefix, place
        self.names = frozenset(tensors.names())
        self.bytes_read = 0

    def full(self, name: str) -> str:
        """Return the name that a tensor has in the container."""
        return full_name(self.prefix, name, self.place)

    def fetch(self, names: Iterable[str]) -> None:
        """Fetch those that are there of the tensors that may be read next."""
        self.tensors.prefetch([self.full(name) for name in names if self.holds(name)])

    def holds(self, name: str) -> bool:
        """Whether the container has the tensor."""
        return self.full(name) in self.names

    def array(
        self, name: str | Spellings, shape: tuple[int, ...], *, transposed: bool = False
    ) -> Values:
        """Read one tensor, which must be there under one of its names.

        Parameters
        ----------
        name
            Its name, or the names under which it is known.
        shape
            The shape to return; the stored one is its reverse where ``transposed``.
        transposed
            Whether the tensor is stored as the transpose.

        Returns
        -------
        Values
            In float32 or float64, as it is stored.

        Raises
        ------
        SourceError
            If it is absent, has another shape, a dtype that is not read, or NaN or infinite values.
        """
        spellings = (name,) if isinstance(name, str) else name
        entry = self._entry(spellings)
        stored_shape = shape[::-1] if transposed else shape
        if entry.shape != stored_shape:
            raise self.config.contradiction(
                f"tensor {entry} does not fit the values",
                f"shape {stored_shape}",
                f"shape {entry.shape}",
            )
        self._require_floating(entry)
        stored = self.tensors.read(str(entry.name))
        self.bytes_read += stored.nbytes
        values = self._finite(entry, stored.values())
        return values.T if transposed else values

    def matrix(self, name: Spellings, width: int) -> Entry:
        """Return what is known of a matrix of which rows will be read.

        Parameters
        ----------
        name
            The names under which it is known.
        width
            Its columns.

        Raises
        ------
        SourceError
            If it is absent, has another shape, no rows, or a dtype that is not read.
        """
        entry = self._entry(name)
        if len(entry.shape) != 2 or entry.shape[0] < 1 or entry.shape[1] != width:
            raise self.config.contradiction(
                f"tensor {entry} does not fit the values",
                f"rows of {width} dimensions",
                f"shape {entry.shape}",
            )
        self._require_floating(entry)
        return entry

    def rows(self, entry: Entry, rows: RowNumbers) -> Values:
        """Read some rows of a `matrix`.

        Raises
        ------
        SourceError
            If they hold NaN or infinite values.
        """
        return self._finite(entry, self.tensors.read_rows(str(entry.name), rows))

    def _require_floating(self, entry: Entry) -> None:
        if not entry.floating:
            raise SourceError(
                f"cannot use tensor {quoted(entry.name)} of {self.tensors.shown}",
                expected=READABLE,
                got=f"dtype {quoted(entry.dtype)}",
                remedy="convert the weights to float32",
            )

    def _finite(self, entry: Entry, values: Values) -> Values:
        if not np.isfinite(values).all():
            raise SourceError(
                f"tensor {entry} of {self.tensors.shown} holds NaN or infinite values",
                expected="finite numbers",
                got=f"{int(np.count_nonzero(~np.isfinite(values)))} that are not",
                remedy="repair the checkpoint",
            )
        return values

    def array_or_zeros(
        self, name: str | Spellings, shape: tuple[int, ...], *, exists: bool
    ) -> Values:
        """Read one tensor if the config says that it exists, or else return zeros.

        Raises
        ------
        SourceError
            As `array`; and if the container has the tensor though the config says otherwise.
        """
        if exists:
            return self.array(name, shape)
        self.require_absent(name)
        return np.zeros(shape)

    def require_absent(self, name: str | Spellings) -> None:
        """Require that the container does not hold a tensor of which the config says no word.

        Raises
        ------
        SourceError
            If it does: the model would be read without it.
        """
        for spelling in (name,) if isinstance(name, str) else name:
            if self.holds(spelling):
                raise self.config.contradiction(
                    f"tensor {self.tensors.entry(self.full(spelling))} does not fit the values",
                    "no such tensor",
                    "one",
                )

    def _entry(self, spellings: Spellings) -> Entry:
        for spelling in spellings:
            if self.holds(spelling):
                return self.tensors.entry(self.full(spelling))
        raise SourceError(
            f"no tensor {quoted(self.full(spellings[0]))} in {self.tensors.shown}",
            expected="all tensors of the attention block that the config describes",
            got="none of that name",
            remedy="restore the checkpoint, or the config, from where the model came from",
        )


def full_name(prefix: str, name: str, place: int) -> str:
    """Return a name with its prefix, and with the layer's number where ``{layer}`` stands."""
    return prefix + name.replace("{layer}", str(place))
