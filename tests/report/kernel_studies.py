"""Studies with the data of positional kernels, computed by `poslens.attention`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from poslens.attention import (
    KernelMeasures,
    factored_kernel,
    kernel_picture,
    offsets,
    relative_kernel,
    rope_bands,
)
from poslens.checkpoints.table import Source
from poslens.study import Labelled, Settings, Study

# Constructed heads, by their number.
PREVIOUS, NEXT, SELF, CONSTANT, SINK, DECAYING = range(6)


def constructed(heads: int, length: int, *, causal: bool) -> tuple[np.ndarray, np.ndarray]:
    """Queries and keys, shape (head, position, d_head), d_head = length; the rest are random.

    The keys of constructed heads are unit vectors, so that their queries are the kernel's rows.
    """
    rng = np.random.default_rng(heads + length)
    queries = rng.standard_normal((heads, length, length)) / np.sqrt(length)
    keys = rng.standard_normal((heads, length, length))
    apart = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    keys[: min(heads, 6)] = np.eye(length)
    made = {
        PREVIOUS: 4 * np.eye(length, k=-1),
        NEXT: 0 * apart if causal else 4 * np.eye(length, k=1),
        SELF: 4 * np.eye(length),
        CONSTANT: np.repeat(rng.standard_normal((length, 1)), length, axis=1),
        SINK: 6.0 * (np.arange(length) == 0) + 0.2 * rng.standard_normal((length, length)),
        DECAYING: 2 * np.exp(-apart / 9.0) * np.cos(apart / 5.0),
    }
    for head, matrix in made.items():
        if head < heads:
            queries[head] = matrix
    return queries, keys


def data_of(found: KernelMeasures | list[KernelMeasures]) -> dict[str, Labelled]:
    """The measures of one layer, or of several, as a study holds them."""
    layers = found if isinstance(found, list) else [found]
    heads = np.arange(layers[0].profile.shape[0])
    coords = {"layer": np.arange(len(layers)), "head": heads}
    along = {**coords, "offset": layers[0].offsets}
    data = {
        f"kernel.{name}": Labelled(
            ("layer", "head", "offset"), np.stack([getattr(each, name) for each in layers]), along
        )
        for name in ("profile", "distance_part")
    }
    for name in ("relative_share", "half_distance", "symmetry", "peak_offset"):
        values = np.array([getattr(each, name) for each in layers], dtype=np.float64)
        data[f"kernel.{name}"] = Labelled(("layer", "head"), values, coords)
    return data


def learned(
    heads: int = 12, length: int = 131, *, causal: bool = True, most: int = 64
) -> dict[str, Labelled]:
    queries, keys = constructed(heads, length, causal=causal)
    picture = kernel_picture(queries, keys, causal=causal, most=most)
    coords = {"head": np.arange(heads), "block": picture.starts, "key_block": picture.starts}
    return data_of(factored_kernel(queries, keys, causal=causal)) | {
        "kernel.picture": Labelled(("head", "block", "key_block"), picture.within_rows, coords)
    }


def alibi(heads: int = 12, length: int = 131) -> dict[str, Labelled]:
    slopes = 2.0 ** (-8 * np.arange(1, heads + 1) / heads)
    return data_of(
        relative_kernel(slopes[:, None] * offsets(length, causal=True)[None], causal=True)
    )


def rope(
    layers: int = 5, heads: int = 12, length: int = 131, *, context: int | None = 4096
) -> dict[str, Labelled]:
    """Random mean queries and keys; in the first head of each layer, the previous token's."""
    rng = np.random.default_rng(layers)
    planes = 32
    theta = 10_000.0 ** -(np.arange(planes) / planes)
    theta[-1] = 0.0  # a plane that does not turn
    keys = rng.standard_normal((layers, heads, planes, 2)) @ [1, 1j]
    queries = rng.standard_normal((layers, heads, planes, 2)) @ [1, 1j]
    queries[:, 0] = keys[:, 0] * np.exp(-1j * theta)
    bands = [rope_bands(q, k, theta) for q, k in zip(queries, keys, strict=True)]
    k = offsets(length, causal=True)
    plane = {"plane": np.arange(planes)}
    data = data_of([relative_kernel(each.profile(k), causal=True) for each in bands])
    data["kernel.wavelength"] = Labelled(("plane",), bands[0].wavelengths, plane)
    data["kernel.band_energy"] = Labelled(
        ("head", "plane"), bands[0].energy, {"head": np.arange(heads), **plane}
    )
    if context is not None:
        data["kernel.context"] = Labelled((), np.array(float(context)))
    return data


def study_of(data: dict[str, Labelled], scheme: str = "learned") -> Study:
    """A study of a model without a table, which holds nothing but its kernel."""
    source = Source(
        uri="some/model",
        revision=None,
        tensor=None,
        family="gpt2",
        scheme=scheme,
        row_offset=0,
        dtype="float32",
        sha256=None,
        bytes_read=0,
    )
    return Study(source, None, None, {}, (), Settings(nulls=0), data)


def with_kernel(study: Study, data: dict[str, Labelled]) -> Study:
    """A table's study with its kernel."""
    return replace(study, data={**study.data, **data})
