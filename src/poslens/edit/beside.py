"""The files beside the weights of a model: which of them a copy needs, and where they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants

from poslens.checkpoints.byte_source import ByteSource
from poslens.checkpoints.folder import CONFIG, SINGLE, TORCH_SINGLE
from poslens.checkpoints.json_text import parse
from poslens.checkpoints.local_files import not_understood, unreadable
from poslens.checkpoints.opening import Checkpoint
from poslens.edit.blocks import CHUNK, file_blocks
from poslens.edit.config_edit import EDITED, raised_lengths
from poslens.errors import quoted

README = "README.md"
_MODULES = "modules.json"
_SUFFIXES = (".json", ".txt", ".model", ".jinja", ".spm", ".tiktoken", ".codes", ".bpe")
_NAMES = ("LICENSE", "LICENCE", "NOTICE")
_INDEX = ".index.json"  # of weights, which are written anew
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

# Where no folder can be listed, these are asked for.
_USUAL = (
    README, "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "generation_config.json",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "vocab.txt", "bpe.codes", "dict.txt", "tokenizer.model",
    "spiece.model", "sentencepiece.bpe.model", "source.spm", "target.spm", "tiktoken.model",
    "chat_template.jinja", "chat_template.json", "preprocessor_config.json",
    "processor_config.json", _MODULES, "sentence_bert_config.json",
    "config_sentence_transformers.json",
)  # fmt: skip
# Of each folder that modules.json names.
_OF_MODULE = (CONFIG, SINGLE, TORCH_SINGLE)


@dataclass(frozen=True)
class Beside:
    """A file beside the weights.

    Attributes
    ----------
    name
        Relative to the folder, with slashes.
    place
        A path on this machine, or a file that is far away.
    """

    name: str
    place: Path | ByteSource

    def content(self) -> bytes:
        """Return all of it.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        return b"".join(bytes(block) for block in self.blocks())

    def blocks(self) -> Iterator[bytes | memoryview]:
        """Give its bytes, few of them at a time; an empty file gives none.

        Raises
        ------
        SourceError
            If they cannot be had.
        """
        if isinstance(self.place, ByteSource):
            yield from file_blocks(self.place, 0, self.place.size)
            return
        try:
            with self.place.open("rb") as file:
                while block := file.read(CHUNK):
                    yield block
        except OSError as error:
            raise unreadable(self.place, error) from error

    def with_length(self, length: int | None) -> Iterable[bytes | memoryview]:
        """Give its bytes with the tokenizer's limit raised, where it is a file that has one.

        Raises
        ------
        SourceError
            If it cannot be read, or understood where that is needed.
        """
        if length is None or self.name not in EDITED:
            return self.blocks()
        try:
            return [raised_lengths(self.name, self.content(), length)]
        except ValueError as error:
            raise not_understood(quoted(self.name), "one JSON object", quoted(error)) from error


def files_beside(checkpoint: Checkpoint) -> list[Beside]:
    """Return the files that belong to a model beside its weights and its config.

    Those are tokenizer, licence, model card and other small ones; of sentence-transformers, the
    folders that ``modules.json`` names, with their weights. Weights in other formats and the
    folders of these are not among them.

    Raises
    ------
    SourceError
        If they cannot be listed, or asked for.
    """
    config = checkpoint.config
    suffixes: tuple[str, ...] = _SUFFIXES
    if config is not None and "auto_map" in config.values:
        suffixes += (".py",)  # the model's own code, which transformers asks leave to run
    found = {} if checkpoint.folder is None else _listed(checkpoint.folder, suffixes)
    if _can_ask(checkpoint):
        for name in _USUAL:
            _ask(checkpoint, name, found)
        for folder in _module_folders(found):
            for name in _OF_MODULE:
                _ask(checkpoint, f"{folder}/{name}", found)
    return list(found.values())


def _can_ask(checkpoint: Checkpoint) -> bool:
    """Whether there may be files that are not in the folder: it is none, or a part of a cache."""
    if checkpoint.folder is None:
        return True
    return checkpoint.revision is not None and not constants.is_offline_mode()


def _ask(checkpoint: Checkpoint, name: str, found: dict[str, Beside]) -> None:
    source = None if name in found else checkpoint.beside(name)
    if source is not None:
        found[name] = Beside(name, source)


def _listed(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Beside]:
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        found = {
            path.name: Beside(path.name, path)
            for path in paths
            if path.is_file() and _belongs(path.name, suffixes)
        }
        for name in _module_folders(found):
            inside = sorted(folder.joinpath(name).glob("[!.]*"))
            found |= {
                f"{name}/{path.name}": Beside(f"{name}/{path.name}", path)
                for path in inside
                if path.is_file()
            }
    except OSError as error:
        raise unreadable(folder, error) from error
    return found


def _belongs(name: str, suffixes: tuple[str, ...]) -> bool:
    if name == CONFIG or name.endswith(_INDEX):
        return False
    return name == README or name.endswith(suffixes) or name.partition(".")[0] in _NAMES


def _module_folders(found: dict[str, Beside]) -> list[str]:
    """Return the folders that ``modules.json`` names; its words are a file's, and checked."""
    if _MODULES not in found:
        return []
    try:
        modules = parse(found[_MODULES].content())
    except ValueError as error:
        raise not_understood(quoted(_MODULES), "JSON", quoted(error)) from error
    listed = modules if isinstance(modules, list) else []
    paths = [one.get("path") for one in listed if isinstance(one, dict)]
    return [path for path in paths if isinstance(path, str) and _FOLDER.fullmatch(path)]
