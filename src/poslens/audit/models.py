"""Models of one random attention block, of which it is known what is true.

Those with a stored table have nothing between the sum of the embeddings and attention, so that the
sizes of tokens and positions decide their shares of the logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeAlias

import numpy as np

from poslens.audit import first_blocks
from poslens.audit.model_draws import (
    DrawBlock,
    DrawTable,
    alike,
    normal,
    of_block,
    of_distance,
    of_table,
    shuffled,
    size_for,
    waves,
    without_position,
)
from poslens.audit.model_evidence import ModelAudit, Read
from poslens.audit.processes import OF_MODELS, Truth, claims

DrawRead: TypeAlias = Callable[[int, int, np.random.Generator, int], Read]

_NOISE = 0.05  # of the variance of waves with noise
_OF_PAIRS = 1e-4  # of a kernel's variance that is of no distance: a hundred times what is allowed


@dataclass(frozen=True)
class ModelProcess:
    """A way to draw models of which it is known what is true.

    Attributes
    ----------
    name, about
        What it is called, and how it is made in words.
    draw
        From L, d, a generator and the seed of tokens to what is read of a model.
    true, false
        The claims that hold, and those that do not, of every model of any size.
    open
        Why the other claims are not settled, by claim.
    audited, noisy, noises
        As in `Process`.
    """

    audited: ClassVar[tuple[str, ...]] = OF_MODELS
    noisy: ClassVar[Mapping[str, Truth]] = {}
    noises: ClassVar[tuple[float, ...]] = (0.0,)

    name: str
    about: str
    draw: DrawRead
    true: frozenset[str]
    false: frozenset[str]
    open: Mapping[str, str]

    def truth(self, claim: str, noise: float = 0.0) -> Truth:  # noqa: ARG002
        """Return what is known of ``claim``."""
        if claim in self.true:
            return Truth.TRUE
        return Truth.FALSE if claim in self.false else Truth.OPEN

    def audit(
        self,
        length: int,
        dim: int,
        noise: float,  # noqa: ARG002
        rng: np.random.Generator,
        seed: int,
    ) -> ModelAudit:
        """Return what decides claims on a model; ``seed`` is of tokens and null draws."""
        return ModelAudit(self.draw(length, dim, rng, seed), seed)


_NO_TABLE = "this model adds no position table"
_IS_LEARNED = "speaks of relative schemes, and a table is none"
_BUILT_IN = "speaks of what is learned, and distance is built in"
_NO_SHARE = "what it holds of the logits is not planted"

_TABLE_OPEN = {"relative.distance_only": _IS_LEARNED}
_SCHEME_OPEN = {
    "sinusoid.no_parameters": _NO_TABLE,
    "norm.below_tokens": _NO_TABLE,
    "attention.position_contributes": _NO_SHARE,
    "attention.learns_distance": _BUILT_IN,
}
_BY_ITSELF = "only what one claim speaks of is made"


def _alone(claim: str) -> dict[str, str]:
    return dict.fromkeys(set(OF_MODELS) - {claim}, _BY_ITSELF)


def _normal(name: str, about: str, size: float, true: str, false: str) -> ModelProcess:
    return ModelProcess(
        f"normal table, {name}",
        f"independent normal rows beside normal tokens, {about}; random projections",
        partial(of_table, table=partial(normal, size=size)),
        true=claims(f"blind_without_position four_terms {true}"),
        false=claims(f"no_parameters learns_distance {false}"),
        open=_TABLE_OPEN,
    )


def _with_waves(name: str, about: str, table: DrawTable, *, learns: bool) -> ModelProcess:
    truth = ("learns_distance", "") if learns else ("", "learns_distance")
    return ModelProcess(
        name,
        f"{about}, stored as a learned table, half as long as tokens; each head's queries and keys "
        "read the same waves",
        partial(of_table, table=table, matched=True),
        true=claims(f"blind_without_position below_tokens four_terms {truth[0]}"),
        false=claims(f"no_parameters {truth[1]}"),
        open={**_TABLE_OPEN, "attention.position_contributes": _NO_SHARE},
    )


def _scheme(
    name: str, about: str, block: DrawBlock, *, true: str = "", false: str = ""
) -> ModelProcess:
    settled = claims(f"{true} {false}")
    return ModelProcess(
        name,
        about,
        partial(of_block, block=block),
        true=claims(f"blind_without_position four_terms distance_only {true}"),
        false=claims(false),
        open={claim: why for claim, why in _SCHEME_OPEN.items() if claim not in settled},
    )


MODELS: tuple[ModelProcess, ...] = (
    _normal(
        "share 0.2",
        "which hold 0.2 of the variance of the logits",
        size_for(0.2),
        "below_tokens position_contributes",
        "",
    ),
    _normal(
        "share 0.1",
        "which hold 0.1 of the variance of the logits",
        size_for(0.1),
        "below_tokens position_contributes",
        "",
    ),
    _normal(
        "share 0.025",
        "which hold 0.025 of the variance of the logits",
        size_for(0.025),
        "below_tokens",
        "position_contributes",
    ),
    _normal(
        "share 0.005",
        "which hold 0.005 of the variance of the logits",
        size_for(0.005),
        "below_tokens",
        "position_contributes",
    ),
    _normal(
        "0.8 of a token", "0.8 times as long as these", 0.8, "below_tokens position_contributes", ""
    ),
    _normal(
        "1.25 of a token",
        "1.25 times as long as these",
        1.25,
        "position_contributes",
        "below_tokens",
    ),
    ModelProcess(
        "rows all alike",
        "one row at every position, half as long as tokens; random projections",
        partial(of_table, table=alike),
        true=claims("below_tokens four_terms"),
        # Nothing in such a model knows where a token is.
        false=claims("blind_without_position no_parameters position_contributes learns_distance"),
        open=_TABLE_OPEN,
    ),
    _with_waves("matched waves", "sinusoids", waves, learns=True),
    _with_waves(
        "matched waves, noise",
        f"sinusoids, {_NOISE:.0%} of their variance noise",
        partial(waves, noise=_NOISE),
        learns=True,
    ),
    _with_waves("matched waves, permuted", "sinusoids in random order", shuffled, learns=False),
    ModelProcess(
        "computed waves",
        "a family that computes its sinusoids (CTRL), with random projections",
        partial(of_block, block=first_blocks.with_formula),
        true=claims("blind_without_position no_parameters below_tokens four_terms"),
        # Random projections have learned nothing.
        false=claims("learns_distance"),
        open={**_TABLE_OPEN, "attention.position_contributes": _NO_SHARE},
    ),
    _scheme("ALiBi", "slopes by distance (BLOOM), random projections", first_blocks.with_slopes),
    _scheme("T5", "random buckets by distance, random projections", first_blocks.with_buckets),
    _scheme(
        "RoPE",
        "rotated queries and keys (Llama), random projections and biases",
        first_blocks.with_rotation,
    ),
    _scheme(
        "RoPE without biases",
        "the same without biases; only a mean token that is not quite 0 gives position a share",
        partial(first_blocks.with_rotation, biases=0.0),
        false="position_contributes",
    ),
    _scheme(
        "RoPE, large biases",
        "the same with biases as large as what they are added to, whose products rotation turns",
        partial(first_blocks.with_rotation, biases=1.0),
        true="position_contributes",
    ),
    ModelProcess(
        "terms without position",
        "logits on a table beside the terms of tokens alone: what position gives is left out",
        without_position,
        true=frozenset(),
        false=claims("four_terms"),
        open=_alone("attention.four_terms"),
    ),
    ModelProcess(
        "kernel of distance",
        "random functions of s - t, given as products of queries and keys",
        partial(of_distance, of_pairs=0.0),
        true=claims("distance_only"),
        false=frozenset(),
        open=_alone("relative.distance_only"),
    ),
    ModelProcess(
        "kernel of pairs",
        f"the same, with {_OF_PAIRS:g} of their variance drawn for each pair (t, s)",
        partial(of_distance, of_pairs=_OF_PAIRS),
        true=frozenset(),
        false=claims("distance_only"),
        open=_alone("relative.distance_only"),
    ),
)
