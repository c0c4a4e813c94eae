"""Studies as NetCDF files (HDF5): what `Study.save` writes and `poslens.open_study` opens."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from poslens.checkpoints.table import Source
from poslens.claims.claim import Claim, Verdict
from poslens.errors import SourceError, quoted
from poslens.files import written_whole
from poslens.study import SCHEMA, Labelled, LayerStudy, Settings, Study

if TYPE_CHECKING:
    import xarray as xr


def save_study(study: Study, path: str | Path) -> None:
    """Write a study; `open_study` returns an equal one.

    Raises
    ------
    OutputError
        If ``path`` cannot be written; nothing is left behind.
    """
    tree = study.arrays
    tree.attrs["poslens_study"] = json.dumps(_record(study), allow_nan=False)
    with written_whole(path) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf", format="NETCDF4")


def _record(study: Study) -> dict[str, Any]:
    """Everything but the arrays, as JSON values."""
    return {
        "schema": SCHEMA,
        "source": asdict(study.source),
        "length": study.length,
        "dim": study.dim,
        "measures": dict(study.measures),
        "claims": [asdict(claim) for claim in study.claims],
        "settings": study.settings.as_json(),
        "undefined": dict(study.undefined),
        "versions": dict(study.versions),
        "recognised": study.recognised,
        "data": list(study.data),
        "layers": [
            {
                "layer": layer.layer,
                "measures": dict(layer.measures),
                "claims": [asdict(claim) for claim in layer.claims],
            }
            for layer in study.layers
        ],
    }


def open_study(path: str | Path) -> Study:
    """Open a study that `Study.save` wrote.

    Raises
    ------
    SourceError
        If the file is not there, is damaged, or holds no study of a known schema.
    """
    import xarray as xr

    shown = quoted(path)
    if not Path(path).is_file():
        raise SourceError(
            f"no study at {shown}", expected="a file that Study.save wrote", remedy="check the path"
        )
    try:
        tree = xr.open_datatree(Path(path), engine="h5netcdf").load()
        tree.close()
        record = json.loads(tree.attrs["poslens_study"])
        if record["schema"] != SCHEMA:
            raise ValueError(f"schema {record['schema']}")
        return _study_from(record, tree)
    except Exception as error:  # the readers below raise many types on a damaged file
        raise SourceError(
            f"cannot open {shown} as a study",
            expected=f"an undamaged NetCDF file that Study.save wrote (schema {SCHEMA})",
            got=quoted(f"{type(error).__name__}: {error}"),
            remedy="save the study again",
        ) from error


def _study_from(record: dict[str, Any], tree: xr.DataTree) -> Study:
    settings = dict(record["settings"])
    for name in {"rows", "head"} & settings.keys():
        settings[name] = tuple(settings[name])
    return Study(
        source=Source(**record["source"]),
        length=record["length"],
        dim=record["dim"],
        measures=record["measures"],
        claims=tuple(_claim_from(claim) for claim in record["claims"]),
        settings=Settings(**settings),
        data={name: _labelled_from(tree, name) for name in record["data"]},
        undefined=record["undefined"],
        versions=record["versions"],
        recognised=record.get("recognised", ""),
        layers=tuple(_layer_from(layer) for layer in record.get("layers", [])),
    )


def _layer_from(record: dict[str, Any]) -> LayerStudy:
    claims = tuple(_claim_from(claim) for claim in record["claims"])
    return LayerStudy(record["layer"], record["measures"], claims)


def _claim_from(record: dict[str, Any]) -> Claim:
    interval = record.pop("interval")
    verdict = Verdict(record.pop("verdict"))
    return Claim(**record, verdict=verdict, interval=tuple(interval) if interval else None)


def _labelled_from(tree: xr.DataTree, name: str) -> Labelled:
    group, variable = name.split(".", 1)
    array = tree[group].dataset[variable]
    coords = {str(key): np.asarray(value.values) for key, value in array.coords.items()}
    return Labelled(tuple(str(dim) for dim in array.dims), np.asarray(array.values), coords)
