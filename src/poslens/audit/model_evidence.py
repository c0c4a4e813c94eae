"""A model's claims, decided on what `poslens.analyze` reads of its first attention block."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from poslens.analysis import kernel_evidence
from poslens.audit.evidence import DRAWS
from poslens.audit.first_blocks import VOCABULARY
from poslens.axes import Rows
from poslens.checkpoints import PositionTable
from poslens.checkpoints.describe import description_of
from poslens.checkpoints.load import table_of
from poslens.checkpoints.opening import Checkpoint
from poslens.claims.claim import Claim, Verdict
from poslens.claims.decide import decide
from poslens.claims.evidence import Evidence, KernelEvidence, LogitEvidence
from poslens.claims.null_draws import NullDraws
from poslens.claims.rules import RULES
from poslens.draws import kernel_draws
from poslens.geometry.table import TableMeasures
from poslens.geometry.tokens import TokenGeometry, norm_ratio
from poslens.kernels import Factors, kernels_of
from poslens.labelled_logits import first_evidence
from poslens.logits import first_block_logits
from poslens.text import drawn_contexts

CONTEXTS = 4  # of drawn tokens, each as long as the model reads

_NO_ROWS = np.empty((0, 0))
_RULES = {rule.id: rule for rule in RULES}


@dataclass(frozen=True, eq=False)
class Read:
    """What was read of a model; parts that a process gives by itself need no model.

    Attributes
    ----------
    kernel, logits
        Of its first block.
    rows
        Its table, shape (position, dim); no rows where it adds none.
    measures
        Of the table beside its tokens.
    scheme, no_table
        As in `Evidence`.
    factors, causal
        Of the table's kernel, for its null; None where there is no table.
    """

    kernel: KernelEvidence = field(default_factory=KernelEvidence)
    logits: LogitEvidence = field(default_factory=LogitEvidence)
    rows: Rows = field(default_factory=lambda: _NO_ROWS)
    measures: TableMeasures = field(default_factory=TableMeasures)
    scheme: str = "unknown"
    no_table: str = ""
    factors: Factors | None = None
    causal: bool = False


def read(checkpoint: Checkpoint, length: int, seed: int) -> Read:
    """Read a model's first block as `poslens.analyze` does, on drawn tokens.

    Parameters
    ----------
    checkpoint
        Of a known architecture.
    length
        L, the tokens of each context.
    seed
        Of the tokens, and of the reordering by which blindness to order is measured.

    Raises
    ------
    PosLensError
        If it cannot be read.
    """
    description = description_of(checkpoint)
    table: PositionTable | None = None
    measures = TableMeasures()
    if description.adds_table:
        table = table_of(checkpoint, None, with_tokens=True)
    if table is not None and table.tokens is not None:
        beside = TokenGeometry(table.tokens)
        measures.values["norm.token_ratio"] = norm_ratio(table.rows, beside)
    contexts = drawn_contexts(VOCABULARY, CONTEXTS, length, seed)
    found = first_block_logits(checkpoint, description, table, contexts.tokens)
    kernels = kernels_of(checkpoint, description, table, None, seed, found.means)
    return Read(
        kernel=kernel_evidence(kernels, checkpoint),
        logits=first_evidence(found.sums, found.reconstruction_error, contexts, table),
        rows=_NO_ROWS if table is None else table.rows,
        measures=measures,
        scheme=description.schemes[0].word if table is None else table.source.scheme,
        no_table="" if table is not None else "this model adds no position table",
        factors=kernels.factors,
        causal=bool(kernels.measures) and kernels.measures[0].causal,
    )


class ModelAudit:
    """Decides claims on what was read of one model.

    Parameters
    ----------
    model
        What was read.
    seed
        Of the null draws.
    """

    def __init__(self, model: Read, seed: int) -> None:
        self._model = model
        self._evidence = Evidence(
            rows=model.rows,
            raw=model.rows,
            measures=model.measures,
            no_table=model.no_table,
            kernel=model.kernel,
            logits=model.logits,
            scheme=model.scheme,
            seed=seed,
        )

    def verdicts(self, claims: Iterable[str]) -> dict[str, Verdict]:
        """Return the verdicts that `poslens.analyze` gives with 99 null draws."""
        return {claim: self._decide(claim).verdict for claim in claims}

    def claim(self, name: str, draws: int = DRAWS) -> Claim:
        """Return a claim decided on so many draws of its null."""
        rule, nulls = _RULES[name], dict[str, NullDraws]()
        if rule.null is not None and self._model.factors is not None:
            nulls["permutation"] = kernel_draws(
                self._model.factors,
                self._model.causal,
                self._evidence.rows,
                draws,
                self._evidence.seed,
                lambda _: None,
            )
        return decide(rule, replace(self._evidence, nulls=nulls), rule.bar)

    def _decide(self, name: str) -> Claim:
        """Return the claim, decided without draws where they cannot change the verdict."""
        found = decide(_RULES[name], self._evidence, _RULES[name].bar)
        return found if found.verdict is not Verdict.INCONCLUSIVE else self.claim(name)
