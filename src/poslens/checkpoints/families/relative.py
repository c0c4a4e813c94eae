"""Architectures with learned vectors for distances inside attention: Shaw's keys, DeBERTa.

transformers 5 no longer runs Shaw's keys in BERT and its kin (4.x did); a checkpoint that was
trained with them is recognised by its config, and its tensors by their names of then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from poslens.checkpoints.config import Config
from poslens.checkpoints.families.biased import matching
from poslens.checkpoints.families.entry import Family, Part
from poslens.checkpoints.schemes import RelativeTable
from poslens.checkpoints.tensors import Tensors

_SHAW_ACTS_ON = {
    "relative_key": "queries against distances",
    "relative_key_query": "queries and keys against distances",
}
_DEBERTA_ACTS_ON = {"c2p": "content against positions", "p2c": "positions against content"}


@dataclass(frozen=True)
class ShawEntry:
    """Relative keys (Shaw et al. 2018, section 3.2) as BERT and its kin use them."""

    @property
    def label(self) -> str:
        """Relative keys."""
        return "Shaw relative keys"

    @property
    def where(self) -> str:
        """The table of each layer."""
        return "`encoder.layer.N.attention.self.distance_embedding.weight`"

    def acting(self, config: Config, tensors: Tensors) -> Iterable[RelativeTable]:
        """Return the keys; nothing where the config says another ``position_embedding_type``.

        Raises
        ------
        SourceError
            If a value of the config has the wrong type, or contradicts a tensor's shape.
        """
        kind = config.text("position_embedding_type", "absolute")
        if kind not in _SHAW_ACTS_ON:
            return []
        distances = 2 * config.count(512, "max_position_embeddings") - 1
        names = matching(tensors, r"attention(?:\.self)?\.distance_embedding\.weight")
        require_rows(config, tensors, names, distances)
        return [
            RelativeTable(
                "Shaw relative keys",
                distances,
                names,
                _SHAW_ACTS_ON[kind],
                meets_keys=kind == "relative_key_query",
            )
        ]


@dataclass(frozen=True)
class DebertaEntry:
    """Disentangled attention (He et al. 2021, section 3): one table, projected in each layer.

    Attributes
    ----------
    buckets
        Whether the family has ``position_buckets``, ``share_att_key`` and ``norm_rel_ebd``, as
        its second version does.
    """

    buckets: bool

    @property
    def label(self) -> str:
        """Disentangled attention."""
        return "disentangled attention"

    @property
    def where(self) -> str:
        """The table that all layers project."""
        return "`encoder.rel_embeddings.weight`"

    def acting(self, config: Config, tensors: Tensors) -> Iterable[RelativeTable]:
        """Return the table; nothing where the config turns it off, or names nothing it acts on.

        Raises
        ------
        SourceError
            If a value of the config has the wrong type, or contradicts a tensor's shape.
        """
        acts_on = self._acts_on(config)
        if not config.switch("relative_attention", False) or not acts_on:
            return []
        distances = 2 * self._span(config)
        names = matching(tensors, r"encoder\.rel_embeddings\.weight")
        require_rows(config, tensors, names, distances)
        return [RelativeTable("disentangled attention", distances, names, acts_on)]

    def _span(self, config: Config) -> int:
        buckets = config.signed("position_buckets", -1) if self.buckets else -1
        if buckets > 0:
            return buckets
        furthest = config.signed("max_relative_positions", -1)
        return furthest if furthest > 0 else config.count(512, "max_position_embeddings")

    def _acts_on(self, config: Config) -> str:
        if isinstance(config.values.get("pos_att_type"), str):
            words = [word.strip() for word in config.text("pos_att_type").lower().split("|")]
        else:
            words = config.items("pos_att_type", str, fewest=0) or []
        phrases = [phrase for word, phrase in _DEBERTA_ACTS_ON.items() if word in words]
        if not phrases or not self.buckets:
            return " and ".join(phrases)
        shared = config.switch("share_att_key", False)
        steps = config.text("norm_rel_ebd", "none").lower().split("|")
        normed = "layer_norm" in [step.strip() for step in steps]
        return (
            " and ".join(phrases)
            + (", by the projections of the content" if shared else "")
            + (", after a LayerNorm" if normed else "")
        )


def require_rows(config: Config, tensors: Tensors, names: tuple[str, ...], distances: int) -> None:
    """Require that tensors have one row a distance.

    Raises
    ------
    SourceError
        If one has not.
    """
    for name in names:
        shape = tensors.entry(name).shape
        if len(shape) != 2 or shape[0] != distances:
            raise config.contradiction(
                f"tensor {tensors.entry(name)} does not fit the values",
                f"{distances} rows, one a distance",
                f"shape {shape}",
            )


SHAW = ShawEntry()
DEBERTA_TABLE = Part(
    position=("embeddings.position_embeddings.weight",),
    prefixes=("", "deberta."),
    tokens=("embeddings.word_embeddings.weight",),
    norms=lambda _: (("embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma"),),
    # Checkpoints of the third version carry an unused table along.
    requires={"position_biased_input": True},
)

FAMILIES: dict[str, Family] = {
    "deberta": Family((DEBERTA_TABLE,), mechanisms=(DebertaEntry(buckets=False),)),
    "deberta-v2": Family((DEBERTA_TABLE,), mechanisms=(DebertaEntry(buckets=True),)),
}
