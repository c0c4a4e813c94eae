"""The position table of a known architecture, with the tensors that act beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from poslens.axes import PerDim, TokenRows
from poslens.checkpoints.config import Config
from poslens.checkpoints.families import Formula, Part, Spellings
from poslens.checkpoints.finding import Found
from poslens.checkpoints.numpy_files import stored_from_array
from poslens.checkpoints.rows import check_entry, position_rows
from poslens.checkpoints.table import PositionTable, Source
from poslens.checkpoints.tensors import StoredTensor, Tensors
from poslens.errors import quoted


def load_found(
    tensors: Tensors,
    found: Found,
    uri: str,
    revision: str | None = None,
    *,
    with_tokens: bool,
    zeros: bool = False,
) -> PositionTable:
    """Read a family's position table, and what its model has beside it.

    A token table or normalisation that is absent or unusable is left out, and the reason kept:
    the position table can be studied without.

    Raises
    ------
    TableError
        If the position table is unusable.
    SourceError
        If the container is damaged, or a value of the config has the wrong type.
    """
    part, config = found.part, found.config
    offset = part.offset(config) if found.tensor else 0
    formula = found.formula()
    if formula is None:
        check_entry(tensors.entry(str(found.tensor)), offset, tensors.shown)
    tensors.prefetch(_needed(tensors, found, with_tokens=with_tokens))
    stored, bytes_read = _stored(tensors, found, formula)
    rows = position_rows(stored, offset, tensors.shown, zeros=zeros)
    beside = _Beside(tensors, found.prefix, dim=rows.shape[1], bytes_read=bytes_read)
    tokens = beside.tokens(part, config, wanted=with_tokens)
    norm_scales = beside.norm_scales(part.norms(config))
    scheme = part.scheme(config)
    init_std = beside.init_std(part, config)
    source = Source(
        uri=uri,
        revision=revision,
        tensor=found.tensor,
        family=found.family,
        scheme=scheme,
        row_offset=offset,
        dtype=stored.entry.dtype,
        sha256=stored.sha256(),
        bytes_read=beside.bytes_read,
    )
    return PositionTable(
        rows,
        source,
        tokens=tokens,
        norm_scales=norm_scales,
        norms_centre=part.norms_centre(config),
        init_std=init_std,
        missing=beside.missing,
    )


def _needed(tensors: Tensors, found: Found, *, with_tokens: bool) -> list[str]:
    """Return the names of all tensors that will be read, so that they can be fetched together."""
    wanted = [*found.part.norms(found.config)]
    if with_tokens:
        wanted.append(found.part.tokens)
    names = set(tensors.names())
    beside = [_spelled(spellings, found.prefix, names) for spellings in wanted]
    return [name for name in (found.tensor, *beside) if name is not None]


def _spelled(spellings: Spellings, prefix: str, names: set[str]) -> str | None:
    return next((prefix + one for one in spellings if prefix + one in names), None)


def _stored(tensors: Tensors, found: Found, formula: Formula | None) -> tuple[StoredTensor, int]:
    """Return the table as it is stored or computed, and how many bytes were read for it."""
    if formula is not None:
        return stored_from_array(formula.table(formula.length, formula.dim)), 0
    stored = tensors.read(str(found.tensor))
    return stored, stored.nbytes


@dataclass
class _Beside:
    """Reads what stands beside a position table; counts bytes and keeps reasons."""

    tensors: Tensors
    prefix: str
    dim: int
    bytes_read: int
    missing: dict[str, str] = field(default_factory=dict)

    def tokens(self, part: Part, config: Config, *, wanted: bool) -> TokenRows | None:
        if not part.tokens or not wanted:
            self.missing["tokens"] = (
                "the token table was not asked for"
                if part.tokens
                else "this model part reads no tokens"
            )
            return None
        rows = self._read(part.tokens, "tokens", ndim=2)
        factor = part.token_factor(config, self.dim)
        return rows if rows is None or factor == 1 else rows * rows.dtype.type(factor)

    def norm_scales(self, norms: tuple[Spellings, ...]) -> tuple[PerDim, ...]:
        if not norms:
            self.missing["norm_scales"] = (
                "no normalisation acts between the embedding and the first attention block"
            )
        scales = [
            self._read(spellings, "norm_scales", ndim=1) if spellings else np.ones(self.dim)
            for spellings in norms
        ]
        read = tuple(scale.astype(np.float64) for scale in scales if scale is not None)
        return read if len(read) == len(norms) else ()

    def init_std(self, part: Part, config: Config) -> float | None:
        if part.scheme(config) == "sinusoidal":
            self.missing["init_std"] = (
                "the table is a formula and was not drawn from a distribution"
            )
            return None
        if not config.silence_is_default:
            self.missing["init_std"] = f"{config.shown} do not say how the table was initialised"
            return None
        std = part.init_std(config)
        if std > 0:
            return std
        self.missing["init_std"] = "the table starts from zeros: its initial σ is 0"
        return None

    def _read(self, spellings: Spellings, key: str, ndim: int) -> np.ndarray | None:
        """Read one tensor whose last axis is ``dim``; None, and the reason kept, if it is unfit."""
        name = _spelled(spellings, self.prefix, set(self.tensors.names()))
        if name is None:
            self.missing[key] = f"no tensor {quoted(self.prefix + spellings[0])}"
            return None
        entry = self.tensors.entry(name)
        if not entry.floating:
            self.missing[key] = f"tensor {entry} has a dtype that cannot be used"
            return None
        if len(entry.shape) != ndim or entry.shape[-1] != self.dim:
            self.missing[key] = f"tensor {entry} is not as wide as the position table, {self.dim}"
            return None
        stored = self.tensors.read(name)
        self.bytes_read += stored.nbytes
        values = stored.values()
        if not np.isfinite(values).all():
            self.missing[key] = f"tensor {entry} holds NaN or infinite values"
            return None
        return values
