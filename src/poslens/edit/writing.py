"""`write_checkpoint`: a folder that transformers loads, with an edit and all else as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poslens.checkpoints.byte_source import ByteSource
from poslens.checkpoints.folder import CONFIG, INDEX, SINGLE
from poslens.checkpoints.gguf_file import GgufFile
from poslens.checkpoints.numpy_files import NpyFile, NpzFile
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.remote.meter import Progress
from poslens.checkpoints.safetensors_file import SafetensorsFile
from poslens.checkpoints.sharded import Sharded
from poslens.checkpoints.tensors import Tensors
from poslens.checkpoints.torch_file import TorchFile
from poslens.edit.beside import README, files_beside
from poslens.edit.blocks import file_blocks
from poslens.edit.card import what_changed, with_section
from poslens.edit.config_edit import config_text, own_config
from poslens.edit.lengths import tables_with_lengths
from poslens.edit.placing import Edit
from poslens.edit.raw import copied_piece
from poslens.edit.safetensors_writer import (
    Piece,
    Report,
    array_piece,
    write_safetensors,
)
from poslens.edit.stored import WORDS, as_stored, is_whole
from poslens.errors import OutputError, SettingError, quoted
from poslens.files import check_writable_folder, folder_written_whole

FACTORS = "position_factors.safetensors"
_FOR_TORCH = b'{"format":"pt"}'  # what transformers looks for


@dataclass(frozen=True)
class Written:
    """A checkpoint that was written.

    Attributes
    ----------
    folder
        Where.
    files
        Its files, relative to the folder, sorted.
    edited
        The tensors with new values.
    left_out
        Tensors of the source that are not there.
    nbytes
        Of tensors, in all weight files.
    """

    folder: Path
    files: tuple[str, ...]
    edited: tuple[str, ...]
    left_out: tuple[str, ...]
    nbytes: int


@dataclass(frozen=True, eq=False)
class _Weights:
    """A weight file to be written; ``whole`` is the source's own where nothing in it changes."""

    name: str
    pieces: list[Piece]
    metadata: bytes | None
    whole: ByteSource | None

    @property
    def nbytes(self) -> int:
        return sum(piece.nbytes for piece in self.pieces)

    def write(self, folder: Path, report: Report) -> None:
        if self.whole is None:
            write_safetensors(folder / self.name, self.pieces, self.metadata, report)
            return
        header = self.whole.size - self.nbytes
        with (folder / self.name).open("wb") as file:
            for block in file_blocks(self.whole, 0, self.whole.size):
                file.write(block)
                report(max(len(block) - header, 0))
                header = max(header - len(block), 0)


def check_writable_checkpoint(checkpoint: Checkpoint, folder: str | Path) -> None:
    """Require that an edit of a source can be written to a folder; called before long work starts.

    Raises
    ------
    SettingError
        If the source is one that is read alone: GGUF, NumPy's files, a model in memory, weights
        without a ``config.json``.
    OutputError
        If the folder exists, is within the source's, or cannot be made.
    """
    tensors = checkpoint.tensors
    if not isinstance(tensors, SafetensorsFile | TorchFile | Sharded):
        got, remedy = _read_alone(tensors)
        raise SettingError(
            f"cannot write an edit of {tensors.shown}",
            expected="a model in safetensors or torch files",
            got=got,
            remedy=remedy,
        )
    own_config(checkpoint)
    target = check_writable_folder(folder)
    source = checkpoint.folder
    if source is not None and target.resolve().is_relative_to(source.resolve()):
        raise OutputError(
            f"cannot write the folder {quoted(folder)}",
            expected="one outside the source, which is never changed",
            got=f"one within {quoted(source)}",
            remedy="choose another path",
        )


def _read_alone(tensors: Tensors) -> tuple[str, str]:
    """Return what a source is, and what to do instead."""
    if isinstance(tensors, GgufFile):
        return "a GGUF file, which is read alone", (
            "give the model that it was converted from, and convert what is written"
        )
    if isinstance(tensors, NpyFile | NpzFile):
        return "a NumPy file, which is read alone", "give the model that its table is from"
    return "a model in memory, which is read alone", "save it with save_pretrained, and give that"


def write_checkpoint(
    checkpoint: Checkpoint, edit: Edit, folder: str | Path, progress: Progress | None = None
) -> Written:
    """Write a checkpoint with an edit as a new folder, whole or not at all.

    Tensors that the edit does not name are copied byte for byte, one after the other; torch's
    files become safetensors. The config, the tokenizer's limits and the model card change as the
    edit says, and the other files beside the weights are copied.

    Parameters
    ----------
    checkpoint
        An opened source, which is not changed.
    edit
        From `table_edit`, `values_edit` or `together`.
    folder
        It must not exist.
    progress
        Called with (words, bytes written, bytes in all).

    Raises
    ------
    SettingError
        As `check_writable_checkpoint`; or if the edit does not fit the checkpoint, such as a
        longer table for one of two stacks whose length is one number of the config.
    OutputError
        As `check_writable_checkpoint`; or if the operating system refuses, such as for a full
        disk. Nothing is left of what was written.
    SourceError
        If the source cannot be read.
    TableError
        If new values do not fit the stored dtype.
    """
    check_writable_checkpoint(checkpoint, folder)
    _check_edit(checkpoint, edit)
    weights = _weights(checkpoint.tensors, edit)
    nbytes = sum(one.nbytes for one in weights)
    report = _reporter(progress, nbytes)
    beside = files_beside(checkpoint)
    with folder_written_whole(folder) as temporary:
        for one in weights:
            one.write(temporary, report)
        if len(weights) > 1:
            _write_text(temporary / INDEX, _index(weights, nbytes))
        _write_text(temporary / CONFIG, config_text(checkpoint, edit.config))
        readme = b""
        for file in beside:
            if file.name == README:
                readme = file.content()
                continue
            with _made(temporary / file.name).open("wb") as target:
                target.writelines(file.with_length(edit.length))
        section = f"{edit.card.strip()}\n\n{what_changed(edit)}"
        (temporary / README).write_bytes(with_section(readme, section, Path(folder).name))
        if edit.factors:
            _write_factors(temporary / FACTORS, edit.factors)
        files = sorted(
            path.relative_to(temporary).as_posix()
            for path in temporary.rglob("*")
            if path.is_file()
        )
    left_out = tuple(sorted(set(edit.left_out)))
    return Written(Path(folder), tuple(files), tuple(edit.tensors), left_out, nbytes)


def _reporter(progress: Progress | None, total: int) -> Report:
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(f"written {done / 1e6:.1f} of {total / 1e6:.1f} MB", done, total)

    return report


def _check_edit(checkpoint: Checkpoint, edit: Edit) -> None:
    """Require that new values are of tensors that are there, and lengths agree with the config."""
    tensors = checkpoint.tensors
    names = set(tensors.names())
    for name, values in edit.tensors.items():
        entry = tensors.entry(name) if name in names else None
        if entry is None or not (entry.floating or is_whole(entry)):
            raise _unfit(f"tensor {quoted(name)}", "one that is there, of numbers that are written")
        as_wide = entry.shape[-1:] == values.shape[-1:] or is_whole(entry)
        if len(entry.shape) != values.ndim or not as_wide:
            raise _unfit(f"shape {values.shape}", f"the axes and width of {entry}")
    for found, length in tables_with_lengths(tensors, own_config(checkpoint)):
        name = str(found.tensor)
        before = tensors.entry(name).shape
        rows = edit.tensors[name].shape[-2] if name in edit.tensors else before[-2]
        says = rows - found.part.offset(found.config) + length.beyond
        wanted = {path: edit.config[path] for path in length.paths if path in edit.config}
        wrong = [path for path, value in wanted.items() if value != says]
        if wrong:
            raise SettingError(
                f"cannot write {quoted('.'.join(wrong[0]))} {wanted[wrong[0]]} in the config",
                expected="one number for all tables that share it",
                got=f"{rows} rows in {quoted(name)}",
                remedy="edit the tables of all parts that share it, and put the edits together",
            )
        if not wanted and rows != before[-2]:
            raise _unfit(f"{rows} rows in {quoted(name)}", "a config that says so")


def _unfit(got: str, expected: str) -> SettingError:
    return SettingError("this edit does not fit the checkpoint", expected=expected, got=got)


def _weights(tensors: Tensors, edit: Edit) -> list[_Weights]:
    """Return the files to be written: as many as the source has, with the usual names."""
    if not isinstance(tensors, Sharded):
        return [_weight_file(SINGLE, tensors, edit)]
    shards = [tensors.shard(file) for file in tensors.files()]
    if len(shards) == 1:  # an index of one file
        return [_weight_file(SINGLE, shards[0], edit)]
    # Names of files are a checkpoint's own words; these are transformers'.
    return [
        _weight_file(f"model-{number:05d}-of-{len(shards):05d}.safetensors", shard, edit)
        for number, shard in enumerate(shards, start=1)
    ]


def _weight_file(name: str, tensors: Tensors, edit: Edit) -> _Weights:
    left_out = set(edit.left_out)
    pieces = [
        copied_piece(tensors, one) if one not in edit.tensors else _edited_piece(tensors, one, edit)
        for one in tensors.names()
        if one not in left_out
    ]
    if not isinstance(tensors, SafetensorsFile):
        return _Weights(name, pieces, _FOR_TORCH, None)
    same = (left_out | edit.tensors.keys()).isdisjoint(tensors.names())
    return _Weights(name, pieces, tensors.placed.metadata, tensors.source if same else None)


def _edited_piece(tensors: Tensors, name: str, edit: Edit) -> Piece:
    entry = tensors.entry(name)
    stored = as_stored(edit.tensors[name], entry)
    return array_piece(name, copied_piece(tensors, name).word, stored)


def _index(weights: list[_Weights], nbytes: int) -> str:
    weight_map = {piece.name: one.name for one in weights for piece in one.pieces}
    index = {"metadata": {"total_size": nbytes}, "weight_map": weight_map}
    return json.dumps(index, indent=2) + "\n"


def _write_factors(path: Path, factors: Mapping[str, np.ndarray]) -> None:
    pieces = [
        array_piece(name, WORDS[values.dtype.name], values) for name, values in factors.items()
    ]
    write_safetensors(path, pieces, None, lambda _: None)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _made(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return path
