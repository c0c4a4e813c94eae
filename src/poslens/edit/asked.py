"""What both commands begin with: the source, its table, and the text that its model reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        """Return what the model reads.

        Raises
        ------
        PosLensError
            If there is no model that could read, or the text or tokenizer cannot be used.
        """
        if not isinstance(self.opened, Checkpoint) or self.description is None:
            raise SettingError(
                "there is no model that could read a text",
                expected="a model with its config",
                got=quoted(self.opened.uri),
                remedy="give a model folder or a model on the hub, or leave the text out",
            )
        return reading.contexts_for(self.opened, self.description, table, self.part, seed, report)


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
