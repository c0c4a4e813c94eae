"""`Sharded`: a model in several files, with an index that says which tensor is in which."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from poslens.checkpoints.byte_source import ByteSource
from poslens.checkpoints.index_file import read_index, unfit
from poslens.checkpoints.tensors import Entry, RowNumbers, StoredTensor, Tensors, Values
from poslens.errors import quoted


class Sharded(Tensors):
    """Weight files with an index; one is opened when a tensor of it is first looked at.

    Parameters
    ----------
    index
        The index's JSON.
    open_shard
        From a file name beside the index, the container in it.

    Raises
    ------
    SourceError
        If the index is damaged, or names a file outside its folder.
    """

    def __init__(self, index: ByteSource, open_shard: Callable[[str], Tensors]) -> None:
        self.shown, self.opening_bytes = index.shown, index.size
        self._open_shard = open_shard
        self._weight_map = read_index(index)
        self._shards: dict[str, Tensors] = {}

    def files(self) -> list[str]:
        """Return the names of all files, each once, sorted."""
        return sorted(set(self._weight_map.values()))

    def file_of(self, name: str) -> str:
        """Return the name of the file that holds a tensor."""
        return self._weight_map[name]

    def shard(self, file_name: str) -> Tensors:
        """Return one of `files`, opened.

        Raises
        ------
        SourceError
            If it is damaged.
        """
        if file_name not in self._shards:
            self._shards[file_name] = self._open_shard(file_name)
            self.opening_bytes += self._shards[file_name].opening_bytes
        return self._shards[file_name]

    def names(self) -> Iterable[str]:
        """Return the names of all tensors, in the index's order."""
        return self._weight_map.keys()

    def entry(self, name: str) -> Entry:
        """Return what the shard's header says about a tensor.

        Raises
        ------
        SourceError
            If the shard is damaged, or does not hold the tensor.
        """
        return self._shard_of(name).entry(name)

    def prefetch(self, names: Iterable[str]) -> None:
        """Fetch several tensors, those of one shard together.

        Raises
        ------
        SourceError
            If a shard is damaged, or does not hold its tensor.
        """
        by_file: dict[str, list[str]] = {}
        for name in names:
            by_file.setdefault(self._weight_map[name], []).append(name)
        for wanted in by_file.values():
            self._shard_of(wanted[0]).prefetch(wanted)

    def read(self, name: str) -> StoredTensor:
        """Read one tensor from its shard.

        Raises
        ------
        TableError
            If its dtype is not one that PosLens reads.
        SourceError
            If the shard is damaged, or does not hold the tensor.
        """
        return self._shard_of(name).read(name)

    def reads_rows_alone(self, name: str) -> bool:
        """Whether the tensor's shard does.

        Raises
        ------
        SourceError
            If the shard is damaged, or does not hold the tensor.
        """
        return self._shard_of(name).reads_rows_alone(name)

    def read_rows(self, name: str, rows: RowNumbers) -> Values:
        """Read some rows of a matrix from its shard.

        Raises
        ------
        TableError
            If its dtype is not one that PosLens reads.
        SourceError
            If the shard is damaged, or does not hold the tensor.
        """
        return self._shard_of(name).read_rows(name, rows)

    def _shard_of(self, name: str) -> Tensors:
        file_name = self._weight_map[name]
        shard = self.shard(file_name)
        if name not in shard.names():
            expected = f"tensor {quoted(name)} in {quoted(file_name)}"
            raise unfit(self.shown, expected, "a file without it")
        return shard
