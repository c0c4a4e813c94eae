"""A model of transformers from what names it: a folder, a model on the hub, or a GGUF file."""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from poslens.checkpoints.folder import only_gguf
from poslens.checkpoints.names import HubModel, Located, parse_source
from poslens.checkpoints.tensors import listed
from poslens.errors import SourceError, quoted
from poslens.hidden.frameworks import require_frameworks
from poslens.text import Tokenizer

# The files that transformers takes a folder's weights from.
_OF_A_FOLDER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def loaded(source: Any) -> Any:
    """Return a model: that which is given, or the one that a string or path names.

    Raises
    ------
    SourceError
        If it names no model, or transformers cannot load it whole.
    SettingError
        If what transformers reads GGUF files with is not installed.
    """
    if not isinstance(source, str | os.PathLike):
        return source
    model, missing = loaded_as("AutoModel", source, attention="eager")
    require_whole(missing, source)
    return model


def loaded_as(
    auto: str, source: str | os.PathLike[str], attention: str | None = None
) -> tuple[Any, list[str]]:
    """Return the model that a string or path names, and which weights its files do not hold.

    Weights that are tied to others are held where these are. A pooler reads the last hidden
    state, and is in none: it may be missing.

    Parameters
    ----------
    auto
        The class of transformers that loads it, such as ``"AutoModelForMaskedLM"``.
    source
        A folder, a model on the hub, or a GGUF file.
    attention
        The implementation of attention; None for transformers' own choice.

    Raises
    ------
    SourceError
        If it names no model, or transformers cannot load it.
    SettingError
        If what transformers reads GGUF files with is not installed.
    """
    import transformers

    model, found = _from_pretrained(
        getattr(transformers, auto),
        source,
        dtype="float32",
        output_loading_info=True,
        **({} if attention is None else {"attn_implementation": attention}),
    )
    return model, [key for key in found["missing_keys"] if "pooler" not in key]


def config_of(source: str | os.PathLike[str]) -> Any:
    """Return the config of the model that a string or path names, as transformers has it.

    Raises
    ------
    SourceError, SettingError
        As `loaded_as`.
    """
    import transformers

    return _from_pretrained(transformers.AutoConfig, source)


def require_whole(missing: list[str], source: str | os.PathLike[str]) -> None:
    """Require that no weights are missing.

    Raises
    ------
    SourceError
        If some are.
    """
    if missing:
        raise SourceError(
            f"{quoted(os.fspath(source))} does not hold the whole model",
            expected="all weights, for what is absent is drawn at random",
            got="none for " + listed(quoted(key) for key in sorted(missing)),
            remedy="restore the checkpoint, or load it yourself and pass the model",
        )


def _from_pretrained(auto: Any, source: str | os.PathLike[str], **asked: Any) -> Any:
    shown = quoted(os.fspath(source))
    name, options = _named(source, shown)
    if "gguf_file" in options:
        require_frameworks("gguf", "accelerate")
    try:
        with quiet():
            return auto.from_pretrained(name, trust_remote_code=False, **asked, **options)
    except Exception as error:  # of any kind: the hub's, a container's, a config's
        raise SourceError(
            f"transformers cannot load {shown}",
            expected=f"a model that {auto.__name__}.from_pretrained loads without code of its own",
            got=quoted(f"{type(error).__name__}: {error}"),
            remedy="load it yourself and pass the model",
        ) from error


def names_gguf(source: str | os.PathLike[str]) -> bool:
    """Whether a string or path names a GGUF file, or a folder with one alone.

    Raises
    ------
    SourceError
        If it names no model.
    """
    return "gguf_file" in _named(source, quoted(os.fspath(source)))[1]


def tokenizer_in(source: Any) -> Tokenizer:
    """Return the tokenizer that a GGUF file holds, as transformers reads it.

    Raises
    ------
    SettingError
        If torch or transformers is not installed.
    SourceError
        If the file holds none that transformers knows.
    """
    require_frameworks()
    shown = quoted(os.fspath(source))
    name, options = _named(source, shown)
    import transformers

    try:
        with quiet():
            found = transformers.AutoTokenizer.from_pretrained(
                name, trust_remote_code=False, **options
            )
        content = found.backend_tokenizer.to_str().encode()
    except Exception as error:  # of any kind, as above
        raise SourceError(
            f"transformers finds no tokenizer in {shown}",
            expected="a GGUF file with the tokenizer of its model",
            got=quoted(f"{type(error).__name__}: {error}"),
            remedy="give token ids (tokens=...)",
        ) from error
    return Tokenizer(content, shown)


def _named(source: str | os.PathLike[str], shown: str) -> tuple[str, dict[str, str]]:
    """Return what ``from_pretrained`` takes: the name, and the file and revision where needed."""
    named = parse_source(source)
    if isinstance(named, Located):
        folder, file = named.path, None
        if named.path.is_dir():
            alone = None if (folder / "config.json").exists() else only_gguf(folder)
            file = None if alone is None else alone.name
        else:
            folder, file = named.path.parent, named.path.name
        return str(Path(folder)), _weights(file, shown)
    if isinstance(named, HubModel):
        return named.repo, {"revision": named.revision, **_weights(named.file, shown)}
    raise SourceError(
        f"cannot run a model from {shown}",
        expected="a model folder, a model on the hub, or a GGUF file",
        got="an encoding or an address",
        remedy="download the model, and give its folder",
    )


def _weights(file: str | None, shown: str) -> dict[str, str]:
    if file is not None and file.endswith(".gguf"):
        return {"gguf_file": file}
    if file is None or file in _OF_A_FOLDER:
        return {}
    raise SourceError(
        f"cannot run a model from {shown}",
        expected=f"a folder, a .gguf file, or one of {', '.join(_OF_A_FOLDER)}",
        got=quoted(file),
        remedy="give the model's folder",
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers, and the bars that it draws past its own switch, from writing."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
