"""What both commands begin with: the source, its table, and the text that its model reads."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from poslens.checkpoints import Description, ModelSource, PositionTable
from poslens.checkpoints.describe import described
from poslens.checkpoints.load import table_of
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.remote.meter import Meter
from poslens.checkpoints.sources import Opened, open_any
from poslens.draws import Progress
from poslens.errors import SettingError, quoted
from poslens.reading import Reading
from poslens.text import Contexts

if TYPE_CHECKING:
    from poslens.edit.models import LanguageModel


@dataclass(frozen=True, eq=False)
class Asked:
    """An opened source, and what is known of it before anything is measured.

    Attributes
    ----------
    source, opened, description
        As given, opened, and what the model does with positions; None where nothing says it.
    part
        Which stack, where a model has several.
    """

    source: ModelSource
    opened: Opened
    description: Description | None
    part: str | None

    @property
    def adds_table(self) -> bool:
        """Whether there is a table to edit, or what may be one."""
        return self.description is None or self.description.adds_table

    def table(self) -> PositionTable:
        """Read the position table; no other tensor.

        Raises
        ------
        SourceError, TableError
            As `poslens.load_table`.
        """
        table = table_of(self.opened, self.part, with_tokens=False)
        return replace(table, origin=self.opened)

    def contexts(
        self, reading: Reading, table: PositionTable | None, seed: int, report: Progress
    ) -> Contexts:
        """Return what the model reads, which is run.

        Raises
        ------
        PosLensError
            If there is no model that could read, torch is not installed, or the text or tokenizer
            cannot be used.
        """
        from poslens.hidden.frameworks import require_frameworks

        opened, description = self.opened, self.description
        if not isinstance(opened, Checkpoint) or opened.config is None or description is None:
            raise SettingError(
                "there is no model that could read a text",
                expected="a model with its config",
                got=quoted(opened.uri),
                remedy="give a model folder or a model on the hub, or leave the text out",
            )
        require_frameworks("accelerate")
        runs = replace(reading, layers=True)
        return runs.contexts_for(opened, description, table, self.part, seed, report)

    def model(self, mask: int | None = None) -> AbstractContextManager[LanguageModel]:
        """Load the model that reads, or take the one that was passed."""
        from poslens.edit.models import language_model

        return language_model(self.source, self.part, mask)


def record_of(reading: Reading, contexts: Contexts) -> dict[str, Any]:
    """Return what settings say of what was read."""
    said = reading.record(contexts)
    said.pop("layers", None)
    return said


def check_seed(seed: object) -> None:
    """Require a seed that every draw takes.

    Raises
    ------
    SettingError
        If it is none.
    """
    if type(seed) is not int or seed < 0:
        raise SettingError(
            "the seed cannot be used", expected="a whole number from 0", got=quoted(seed)
        )


def asked(
    source: ModelSource, part: str | None, allow_full_download: bool, progress: Progress | None
) -> Asked:
    """Open a source.

    Raises
    ------
    SourceError
        If it cannot be found, read or understood.
    """
    opened = open_any(source, Access(allow_full_download, Meter(progress)))
    return Asked(source, opened, described(opened), part)
