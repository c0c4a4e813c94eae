"""An experiment: schemes × seeds under one budget, described by one TOML file."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from poslens.encodings import Encoding
from poslens.encodings.validate import require_count
from poslens.errors import LabError, quoted
from poslens.lab import strict
from poslens.lab.data import OnText, Split
from poslens.lab.recipe import Recipe
from poslens.lab.schemes import require_scheme, scheme
from poslens.lab.seeds import Stream, whole_seed
from poslens.lab.shape import Shape
from poslens.lab.smooth import smooth_table
from poslens.lab.tasks import Task

Init = Literal["random", "smooth"]
CONTEXTS = 256
SMOOTH_SCALE = 8  # of the context's length, one such part is the scale of a smooth table

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
# What an experiment says elsewhere, or has no say in.
WITHOUT = {"model": ("vocabulary",), "recipe": ("seed",)}
FOR_PEOPLE = ("about", "expected", "cost", "hardware")  # on which no number depends


@dataclass(frozen=True)
class Arm:
    """One scheme of an experiment.

    Attributes
    ----------
    scheme
        A key of `poslens.lab.schemes.SCHEMES`.
    label
        What it is called in files and figures.
    init
        How a learned table begins: as noise, or as a smooth curve of rows just as large.
    rows
        Of a learned table; where None, those of the longest length that is evaluated. Rows beyond
        the context stay as they began.

    Raises
    ------
    LabError
        If there is no such scheme, or a setting is not one of it.
    """

    scheme: str
    label: str = ""
    init: Init = "random"
    rows: int | None = None

    def __post_init__(self) -> None:
        require_scheme(self.scheme)
        if self.scheme != "learned" and (self.init != "random" or self.rows is not None):
            raise LabError(
                f"{self.scheme} has no table to begin",
                expected="init and rows with learned alone",
                got=f"init {quoted(self.init)}, rows {self.rows}",
            )
        if self.rows is not None:
            require_count("rows", self.rows)
        if not self.label:
            own = self.scheme if self.init == "random" else f"{self.scheme}-{self.init}"
            object.__setattr__(self, "label", own)
        _require_name("label", self.label)


@dataclass(frozen=True)
class Evaluate:
    """How models are evaluated.

    Attributes
    ----------
    factors
        Lengths, as multiples of the trained context; 1 is one of them.
    stride
        On a text, by how many positions the window of the sliding baseline moves; where None, by
        half of the context.
    contexts
        On a task, how many are drawn at each length; where None, `CONTEXTS`.
    """

    factors: tuple[int, ...] = (1, 2, 4, 8)
    stride: int | None = None
    contexts: int | None = None

    def __post_init__(self) -> None:
        if self.contexts is not None:
            require_count("evaluate.contexts", self.contexts)
        for factor in self.factors:
            require_count("evaluate.factors", factor)
        if 1 not in self.factors or sorted(set(self.factors)) != list(self.factors):
            raise LabError(
                "cannot evaluate at these lengths",
                expected="ascending multiples of the context from 1 on for evaluate.factors",
                got=quoted(list(self.factors)),
            )


@dataclass(frozen=True)
class Record:
    """What a run writes down while it goes on.

    Attributes
    ----------
    snapshots
        How often, on a logarithmic scale of steps, what a scheme has learned is kept.
    state
        Steps from one whole state, from which a run can go on, to the next.
    """

    snapshots: int = 24
    state: int = 100

    def __post_init__(self) -> None:
        require_count("record.snapshots", self.snapshots, 2)
        require_count("record.state", self.state)


@dataclass(frozen=True)
class Compute:
    """Where a run is computed; the last bits of its numbers depend on it.

    Attributes
    ----------
    device
        ``"cpu"`` or ``"cuda"``.
    threads
        Of each run on a CPU.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        require_count("compute.threads", self.threads)


@dataclass(frozen=True)
class Experiment:
    """Schemes × seeds; nothing but the scheme differs between the runs of one seed.

    Attributes
    ----------
    name
        What it is called.
    about, expected, cost, hardware
        For people: the question, the result that a sound run shows, the time, and the machine.
    schemes
        Those that are compared.
    seeds
        Of weights, data order and dropout; one run of each scheme for each.
    model, data, recipe, evaluate, record, compute
        Sizes (whose vocabulary is the data's), a text or a task, budget, lengths, what is kept, and
        where.

    Raises
    ------
    LabError, SettingError
        If something is missing, or out of its range.
    """

    name: str
    about: str
    expected: str
    cost: str
    hardware: str
    schemes: tuple[Arm, ...]
    seeds: tuple[int, ...]
    model: Shape
    recipe: Recipe
    data: OnText | Task = field(default_factory=OnText)
    evaluate: Evaluate = field(default_factory=Evaluate)
    record: Record = field(default_factory=Record)
    compute: Compute = field(default_factory=Compute)

    def __post_init__(self) -> None:
        _require_name("name", self.name)
        for seed in self.seeds:
            require_count("seeds", seed, 0)
        labels = [arm.label for arm in self.schemes]
        for what, values in (("schemes", labels), ("seeds", [str(seed) for seed in self.seeds])):
            twice = [entry for entry in values if values.count(entry) > 1]
            if twice or not values:
                raise LabError(
                    f"cannot use these {what}",
                    expected="at least one, and none twice",
                    got=f"{quoted(twice[0])} twice" if twice else "none",
                    remedy="give one of them another label" if twice and what == "schemes" else "",
                )
        for arm in self.schemes:
            self.encoding(arm, self.seeds[0])
        self._require_fitting()

    def _require_fitting(self) -> None:
        """What is read, the model and the evaluation are of one kind."""
        if self.model.vocabulary != self.data.vocabulary:
            raise LabError(
                f"the model is not for {self.data!r}",
                expected=f"a vocabulary of {self.data.vocabulary}",
                got=f"{self.model.vocabulary}",
            )
        if isinstance(self.data, Task):
            self.data.require_length(self.model.context)
            key, given, other = "stride", self.evaluate.stride, "a text, and this one is on a task"
        else:
            key, given = "contexts", self.evaluate.contexts
            other = "a task, and this one is on a text"
        if given is not None:
            raise LabError(
                f"evaluate.{key} is for an experiment on {other}",
                got=f"{given}",
                remedy="leave it out",
            )

    @property
    def longest(self) -> int:
        """The longest length that is evaluated."""
        return self.evaluate.factors[-1] * self.model.context

    @property
    def stride(self) -> int:
        """By how many positions the sliding window moves."""
        return self.evaluate.stride or max(self.model.context // 2, 1)

    @property
    def contexts(self) -> int:
        """How many contexts of a task are drawn at each length."""
        return self.evaluate.contexts or CONTEXTS

    def arm(self, label: str) -> Arm:
        """Return the scheme of this label."""
        return next(arm for arm in self.schemes if arm.label == label)

    def encoding(self, arm: Arm, seed: int) -> Encoding:
        """Return a scheme as it is before the run of this seed."""
        rows = self.longest if arm.rows is None else arm.rows
        if arm.init == "smooth":
            scale = max(self.model.context / SMOOTH_SCALE, 1.0)
            own = whole_seed(seed, Stream.POSITIONS)
            return smooth_table(rows, self.model.width, scale, seed=own)
        return scheme(arm.scheme, self.model, rows=rows, seed=seed)

    def recipe_of(self, seed: int) -> Recipe:
        """Return the recipe of one seed's runs."""
        return replace(self.recipe, seed=seed)

    def batches(self) -> Split | Task:
        """Return the task, or the text in blocks of the longest length that is evaluated.

        Raises
        ------
        LabError
            If a text cannot be read, or is too short.
        """
        return self.data if isinstance(self.data, Task) else self.data.split(self.longest)

    def to_toml(self) -> str:
        """Return the experiment as a file that `read_experiment` reads."""
        table = asdict(self)
        for section, absent in WITHOUT.items():
            for key in absent:
                del table[section][key]
        return strict.toml(table)


def _require_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise LabError(
            f"cannot use this {what}",
            expected="lower-case letters, digits, - and _, as it becomes the name of a folder",
            got=quoted(name),
        )
