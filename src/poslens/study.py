"""`Study`: what one analysis found, with everything needed to show, save and repeat it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from poslens._version import __version__
from poslens.checkpoints.table import Source
from poslens.claims.claim import Claim, Verdict
from poslens.errors import quoted
from poslens.files import written_whole

if TYPE_CHECKING:
    import xarray as xr

SCHEMA = 1

Value: TypeAlias = (
    float
    | int
    | str
    | list[int]
    | list[float]
    | list[int | None]
    | list[float | None]
    | list[list[float]]
    | list[list[float | None]]
    | dict[str, float | int | None]
    | None
)


@dataclass(frozen=True)
class Settings:
    """What an analysis was asked to do; with the source it determines every number.

    Attributes
    ----------
    view
        ``"raw"`` or ``"effective"``.
    nulls
        Null tables drawn for each null model.
    seed
        Of every random draw.
    rows
        (start, stop) of a slice of positions; None for all.
    bars
        Bars that differ from the defaults, by claim.
    text
        The text that a model read, ``"pydoc_data.topics"`` for Python's own, or ``"tokens"`` for
        ids that were given; None where nothing asked for a text.
    contexts, length
        How many contexts were read, and how many tokens each has; None as for ``text``.
    layers
        Whether every layer was asked for.
    head
        (layer, head) whose logits were asked for; None where none was.
    """

    view: str = "raw"
    nulls: int = 200
    seed: int = 0
    rows: tuple[int, int] | None = None
    bars: Mapping[str, float] = field(default_factory=dict)
    text: str | None = None
    contexts: int | None = None
    length: int | None = None
    layers: bool = False
    head: tuple[int, int] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON values; from ``rows`` on only those that were given."""
        record: dict[str, Any] = {"view": self.view, "nulls": self.nulls, "seed": self.seed}
        if self.rows is not None:
            record["rows"] = list(self.rows)
        if self.bars:
            record["bars"] = dict(sorted(self.bars.items()))
        if self.text is not None:
            record |= {"text": self.text, "contexts": self.contexts, "length": self.length}
        if self.layers:
            record["layers"] = True
        if self.head is not None:
            record["head"] = list(self.head)
        return record


@dataclass(frozen=True, eq=False)
class Labelled:
    """An array with named axes: the values, one dimension name an axis, and coordinates."""

    dims: tuple[str, ...]
    values: np.ndarray
    coords: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Labelled)
            and self.dims == other.dims
            and _same(self.values, other.values)
            and self.coords.keys() == other.coords.keys()
            and all(np.array_equal(self.coords[name], other.coords[name]) for name in self.coords)
        )

    __hash__ = None  # type: ignore[assignment]


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")


@dataclass(frozen=True)
class LayerStudy:
    """What was found on the position part of one layer's hidden states.

    Attributes
    ----------
    layer
        From 0.
    measures
        The geometry measures of pos_t by name, as a study has them for its table.
    claims
        The statements on geometry, tested on pos_t; in the article's order.
    """

    layer: int
    measures: Mapping[str, Value]
    claims: tuple[Claim, ...]

    __hash__ = None  # type: ignore[assignment]

    def as_json(self) -> dict[str, Any]:
        """Return the record of the layer as JSON values."""
        return {"layer": self.layer, **_found_record(self)}


@dataclass(frozen=True)
class Study:
    """What one analysis found.

    Attributes
    ----------
    source
        Where the table came from.
    length, dim
        L positions of d dimensions, after any slicing of rows; None for a model that adds no
        position table.
    measures
        Every measure by its name in the contract. Scalars, and profiles: a list over lags or
        components, or a mapping from a stride or shift (as text) to its value. None where a
        measure has no value; `undefined` then says why.
    claims
        The tested statements, in the article's order.
    settings
        View, nulls, seed, rows, bars.
    data
        Labelled arrays for figures and further work, named ``group.variable``. `arrays` gives
        the same as xarray.
    undefined
        Why a measure has no value, by its name.
    versions
        Of Python and of the libraries that computed the numbers.
    recognised
        In one line, what the model does with positions; empty where nothing says it.
    layers
        The same measures and claims on what each layer's hidden states hold of the position;
        empty where no text was read.
    """

    source: Source
    length: int | None
    dim: int | None
    measures: Mapping[str, Value]
    claims: tuple[Claim, ...]
    settings: Settings
    data: Mapping[str, Labelled]
    undefined: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    recognised: str = ""
    layers: tuple[LayerStudy, ...] = ()

    __hash__ = None  # type: ignore[assignment]

    def claim(self, claim_id: str) -> Claim:
        """Return the claim with this id.

        Raises
        ------
        KeyError
            If there is no such claim.
        """
        for claim in self.claims:
            if claim.id == claim_id:
                return claim
        raise KeyError(claim_id)

    @property
    def arrays(self) -> xr.DataTree:
        """The labelled arrays as an xarray ``DataTree``: ``study.arrays["cosine"]["profile"]``."""
        import xarray as xr

        groups: dict[str, dict[str, xr.DataArray]] = {}
        for name, array in self.data.items():
            group, variable = name.split(".", 1)
            groups.setdefault(group, {})[variable] = xr.DataArray(
                array.values, dims=array.dims, coords=dict(array.coords), name=variable
            )
        return xr.DataTree.from_dict(
            {f"/{group}": xr.Dataset(variables) for group, variables in groups.items()},
            name="study",
        )

    def as_json(self) -> dict[str, Any]:
        """Return the documented, versioned record as JSON values."""
        record = {
            "schema": SCHEMA,
            "poslens": __version__,
            "source": asdict(self.source),
            "table": None if self.length is None else {"length": self.length, "dim": self.dim},
            **_found_record(self),
        }
        if self.layers:
            record["layers"] = [layer.as_json() for layer in self.layers]
        return {**record, "settings": self.settings.as_json()}

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the record as JSON text, and write it to ``path`` if one is given.

        The same input, settings and versions give the same bytes.

        Raises
        ------
        OutputError
            If ``path`` cannot be written; nothing is left behind.
        """
        text = json.dumps(self.as_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        if path is not None:
            with written_whole(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return text

    def report(self, path: str | Path) -> None:
        """Write one self-contained HTML page: the claims, and the figures.

        Raises
        ------
        OutputError
            If ``path`` cannot be written; nothing is left behind.
        """
        from poslens.report.html import write_html

        write_html(self, path)

    def save(self, path: str | Path) -> None:
        """Save as NetCDF (HDF5); `poslens.open_study` returns an equal study.

        Raises
        ------
        OutputError
            If ``path`` cannot be written; nothing is left behind.
        """
        from poslens.netcdf import save_study

        save_study(self, path)

    def _repr_html_(self) -> str:
        from poslens.report.html import notebook_html

        return str(notebook_html(self))

    def __repr__(self) -> str:
        counts = {v: sum(c.verdict == v for c in self.claims) for v in Verdict}
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        shape = "no table" if self.length is None else f"{self.length} × {self.dim}"
        return f"<Study of {quoted(self.source.uri)}: {shape}; {verdicts}>"


# The measures that are indexed: by lag, component, stride, shift, head or layer. All others are
# one value.
PROFILES = frozenset(
    {
        "attention.share.bias",
        "attention.share.content_content",
        "attention.share.content_position",
        "attention.share.position_content",
        "attention.share.position_position",
        "cosine.profile",
        "cosine.centered_profile",
        "difference.parallel_at",
        "hidden.incoherence",
        "hidden.relative_norm",
        "hidden.share.ctx",
        "hidden.share.pos",
        "hidden.share.resid",
        "hidden.stable_rank",
        "kernel.half_distance",
        "kernel.peak_offset",
        "kernel.profile",
        "kernel.relative_share",
        "kernel.symmetry",
        "pca.explained",
        "shift.rotation_r2",
        "shift.r2",
        "shift.rank",
    }
)


def _found_record(study: Study | LayerStudy) -> dict[str, Any]:
    """Measures of one value, those that are indexed, and claims."""
    return {
        "measures": {k: v for k, v in study.measures.items() if k not in PROFILES},
        "profiles": {k: v for k, v in study.measures.items() if k in PROFILES},
        "claims": [claim_record(claim) for claim in study.claims],
    }


def claim_record(claim: Claim) -> dict[str, Any]:
    """Return a claim as JSON values."""
    record = asdict(claim)
    del record["statement"]
    return record
