"""The model card of an edited checkpoint: the source's, and a section on what was done."""

from __future__ import annotations

from collections.abc import Mapping

from poslens._version import __version__
from poslens.checkpoints.names import DEMO
from poslens.checkpoints.opening import Checkpoint
from poslens.edit.placing import Edit
from poslens.errors import quoted

HEADING = "## Positions edited with PosLens"
_MOST_NAMED = 4


def card_section(checkpoint: Checkpoint, done: str, facts: Mapping[str, str]) -> str:
    """Return the section of a model card on one edit.

    Parameters
    ----------
    checkpoint
        The source. Of a folder on this machine, no more than its name is told.
    done
        What was done, in a sentence.
    facts
        Method, sizes, losses: by name, in the order in which they are listed.
    """
    listed = {"Source": _source(checkpoint), **facts, "PosLens": __version__}
    lines = "".join(f"- {name}: {fact}\n" for name, fact in listed.items())
    return f"{HEADING}\n\n{done}\n\n{lines}"


def _source(checkpoint: Checkpoint) -> str:
    local = checkpoint.folder is not None and checkpoint.revision is None
    name = checkpoint.uri
    if local and checkpoint.folder is not None and name != DEMO:
        name = checkpoint.folder.resolve().name
    commit = f" at commit {checkpoint.revision}" if checkpoint.revision else ""
    return f"{_code(name)}{commit}"


def what_changed(edit: Edit) -> str:
    """Return what of the files is not as in the source, in one paragraph."""
    changed = [*edit.tensors, *(".".join(keys) for keys in edit.config)]
    text = f"Changed: {_some(changed)}. " if changed else "Nothing was changed. "
    if edit.left_out:
        text += f"Left out, because transformers makes them anew: {_some(edit.left_out)}. "
    return text + "All other tensors are those of the source, byte for byte."


def with_section(readme: bytes, section: str, title: str) -> bytes:
    """Return a model card with a section at its end.

    Parameters
    ----------
    readme
        The source's; empty for none.
    section
        In Markdown.
    title
        Of a card that is made where there was none.
    """
    before = readme.rstrip() if readme.strip() else f"# {_plain(title)}".encode()
    return before + b"\n\n" + section.strip().encode() + b"\n"


def _some(names: Mapping[str, object] | list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(_code(name) for name in list(names)[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return shown + (f" and {more} more" if more > 0 else "")


def _code(name: str) -> str:
    """Show a name that came from outside, as code that it cannot leave."""
    return "`" + quoted(name)[1:-1].replace("`", "'") + "`"


def _plain(name: str) -> str:
    return quoted(name)[1:-1]
