"""``docs/families.md``, written from the table of families itself.

``python -m poslens.checkpoints.families.document docs/families.md`` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from poslens.checkpoints.config import Config
from poslens.checkpoints.families import FAMILIES, Family, Mechanism, Part
from poslens.checkpoints.families.rotation import RotaryEntry
from poslens.checkpoints.families.speech import ConvolutionEntry
from poslens.checkpoints.tensors import Entry, StoredTensor, Tensors

# What an entry says of a config that is silent, and of one that turns everything on.
_SILENT = Config({}, "an empty config")
_SWITCHED = Config(
    {
        "pad_token_id": 7,
        "rescale_embeddings": True,
        "scale_embedding": True,
        "sinusoidal_embeddings": True,
        "sinusoidal_pos_embds": True,
        "token_dropout": True,
    },
    "a full config",
)

_HEAD = """# Model families

PosLens knows {count} kinds of model by the `model_type` of their `config.json`, with the names and
defaults of transformers 5.23 and of older versions. The entries are tested: tiny models are built
with transformers, and what PosLens reads is compared with what they themselves add, rotate or
bias. What transformers 5 does not run (relative keys of BERT's kin, ALiBi of Jina's BERT) is known
by config and names alone. A model that is not here can still be measured: name its tensor as
`PATH::TENSOR`.

Most kinds act on positions in one way; those that combine two are in two of the lists. N stands
for the number of a layer. This page is generated from the table of families
(`src/poslens/checkpoints/families`); a test keeps it current.
"""

_TABLES = """
## Added tables

A vector for each position, added to the token or patch embedding: what `poslens analyze` measures.
Names stand in the checkpoint as here, or behind the prefix of a model with a task head. *Position
0* is the stored row that position 0 reads; the rows before it belong to padding or class tokens.
*Computed* tables follow from the config and need not be stored. *Token factor* is what token
vectors are multiplied by before the sum.
"""

_ROTARY = """
## Rotary (RoPE)

Queries and keys are rotated in planes; nothing is stored, and there is no table to measure. Base,
rotated part and layers are read from the config, older spellings included; scalings for longer
contexts too. The values here hold where a config is silent.
"""

_INSIDE = """
## Biases and vectors inside attention

What is added to attention logits by distance, or enters them.
"""

_OTHER = """
## Other

Convolutions over the sequence, models that know order without being told, and models made of two
others, each part by the entry of its own `model_type` (Donut and TrOCR are such pairs).
"""


def families_page(families: Mapping[str, Family]) -> str:
    """Return the page, in Markdown."""
    tables = [row for name, family in sorted(families.items()) for row in _tables(name, family)]
    mechanisms = [
        (name, mechanism)
        for name, family in sorted(families.items())
        for mechanism in family.mechanisms
    ]
    rotary = [_rotary(name, one) for name, one in mechanisms if isinstance(one, RotaryEntry)]
    convolved = [_where(name, one) for name, one in mechanisms if isinstance(one, ConvolutionEntry)]
    inside = [
        _where(name, one)
        for name, one in mechanisms
        if not isinstance(one, RotaryEntry | ConvolutionEntry)
    ]
    others = [row for name, family in sorted(families.items()) for row in _others(name, family)]
    return "".join(
        [
            _HEAD.format(count=len(families)),
            _TABLES,
            _markdown(
                "model_type | part | kind | tensor | position 0 | token factor | context", tables
            ),
            _ROTARY,
            _markdown("model_type | base | rotated | pairs | layers | config keys", rotary),
            _INSIDE,
            _markdown("model_type | kind | where", inside),
            _OTHER,
            _markdown("model_type | kind | where", [*convolved, *others]),
        ]
    )


def _markdown(head: str, rows: Iterable[Iterable[str]]) -> str:
    titles = head.split(" | ")
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _tables(name: str, family: Family) -> list[list[str]]:
    context = f"`{family.context[0]}`" if family.context else ""
    return [
        [
            f"`{name}`",
            part.name or "",
            _kind(part),
            f"`{part.position[0]}`" + (", or computed" if part.formula else ""),
            _first_row(part),
            _factor(part),
            context,
        ]
        for part in family.parts
    ]


def _kind(part: Part) -> str:
    kinds = dict.fromkeys((part.scheme(_SILENT), part.scheme(_SWITCHED)))
    condition = "" if part.assumed else f", if `{next(iter(part.requires))}`"
    if not part.assumed and not next(iter(part.requires.values())):
        condition = f", if not `{next(iter(part.requires))}`"
    return " or ".join(kinds) + condition


def _first_row(part: Part) -> str:
    first, other = part.offset(_SILENT), part.offset(_SWITCHED)
    return str(first) if first == other else "`pad_token_id` + 1"


def _factor(part: Part) -> str:
    def shown(factor: float) -> str:
        return "√d" if factor == 2 else "" if factor == 1 else f"{factor:.6g}"

    # A table of 4 dimensions, so that √d is known by its value.
    default, switched = part.token_factor(_SILENT, 4), part.token_factor(_SWITCHED, 4)
    return shown(default) if default == switched else f"{shown(switched)}, if the config says so"


def _rotary(name: str, mechanism: RotaryEntry) -> list[str]:
    record = next(iter(mechanism.acting(_SILENT, NoTensors())), None)
    if record is None:
        return [f"`{name}`", "", "", "", "none unless the config says so", mechanism.where]
    whole = record.rotary_dim == record.head_dim
    every = len(record.layers) == record.layer_count
    layers = "all" if every else f"{len(record.layers)} of {record.layer_count}"
    return [
        f"`{name}`",
        f"{record.base:,.10g}",
        "whole heads" if whole else f"{record.rotary_dim} of {record.head_dim} dimensions",
        record.pairing,
        layers + (f" ({record.note})" if record.note else ""),
        mechanism.where,
    ]


def _where(name: str, mechanism: Mechanism) -> list[str]:
    unless = "" if list(mechanism.acting(_SILENT, NoTensors())) else ", if the config says so"
    return [f"`{name}`", mechanism.label + unless, mechanism.where]


def _others(name: str, family: Family) -> list[list[str]]:
    if family.composed:
        sections = " and ".join(f"`{section}`" for section in family.composed)
        return [[f"`{name}`", "two models in one", f"sections {sections} of the config"]]
    if not family.parts and not family.mechanisms:
        return [[f"`{name}`", "no position encoding", "recurrence knows the order"]]
    return []


class NoTensors(Tensors):
    """An empty container."""

    shown = "an empty container"

    def names(self) -> Iterable[str]:
        """Return no name."""
        return ()

    def entry(self, name: str) -> Entry:
        """Refuse: there is no tensor."""
        raise KeyError(name)

    def read(self, name: str) -> StoredTensor:
        """Refuse: there is no tensor."""
        raise KeyError(name)


def main(arguments: Sequence[str]) -> None:
    """Write the page to the file that is named."""
    (path,) = arguments
    Path(path).write_text(families_page(FAMILIES), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
