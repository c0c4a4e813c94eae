"""RoPE for a longer context: what to write into a config, so that transformers reads it.

Each method gives the keys of ``config.json`` to change, in the words of transformers 5.23
(``rope_parameters``), from a config in these words or in the older ones (``rope_theta`` and
``rope_scaling`` at the top). What the config leaves unsaid is the family's default, as for
`poslens.checkpoints`. Numbers follow in `poslens.encodings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from poslens.checkpoints.config import Config
from poslens.checkpoints.families import FAMILIES
from poslens.checkpoints.families.rotation import ORIGINAL, STRETCHED, RotaryEntry
from poslens.checkpoints.schemes import Rotary
from poslens.errors import SettingError, quoted

Values = dict[str, object]
Parameters = Callable[[Mapping[str, object], int, int], Values]
Rule = Callable[[Rotary, int, int], Values]  # from a rotation, the trained length and the new one

FITTED = ("yarn", "longrope")  # whose factor is that of the context, where it is left out

# Families whose code in transformers does not take every rope_type, with those that it takes.
TAKES: Mapping[str, tuple[str, ...]] = {
    "codegen": (),
    "esm": (),
    "gptj": (),
    "phi3": ("default", "longrope"),
    "roformer": (),
}


@dataclass(frozen=True)
class RopeMethod:
    """A way to have RoPE turn for a longer context.

    Attributes
    ----------
    name
        Its word on the command line.
    about
        What it does, in one line.
    parameters
        From the config of the text model (a JSON object), the trained length and the new one, to
        the top-level keys to change, with their values. Raises `SettingError` where the method
        does not fit the model, or the new length is below the trained one; `SourceError` where
        the config cannot be used.
    """

    name: str
    about: str
    parameters: Parameters


def linear(_: Rotary, trained: int, to: int) -> Values:
    """Position interpolation (Chen et al. 2023, section 2.3): all frequencies ÷ to/trained."""
    return {"rope_type": "linear", "factor": to / trained}


def ntk(rotation: Rotary, trained: int, to: int) -> Values:
    """NTK-aware scaling (bloc97 2023; Peng et al. 2023, section 3.1): a larger base.

    base·s^(r/(r-2)), s = to/trained, so that the slowest of r/2 planes turns s times slower and
    the fastest as before.
    """
    r = _planes(rotation)
    return {"rope_type": "default", "rope_theta": rotation.base * (to / trained) ** (r / (r - 2))}


def dynamic(rotation: Rotary, trained: int, to: int) -> Values:
    """Dynamic NTK (Peng et al. 2023, section 3.3): the base grows with the sequence.

    The factor is to/trained, as transformers' documentation has it; the paper's rule is factor 1.
    """
    _planes(rotation)
    return {"rope_type": "dynamic", "factor": to / trained}


def yarn(_: Rotary, trained: int, to: int) -> Values:
    """YaRN (Peng et al. 2023, section 3.4): slow planes interpolate, fast ones stay."""
    return {"rope_type": "yarn", "factor": to / trained, ORIGINAL: trained}


def _planes(rotation: Rotary) -> int:
    if rotation.rotary_dim <= 2:
        raise SettingError(
            "another base cannot change one plane",
            expected="at least 4 rotated dimensions",
            got=f"{rotation.rotary_dim}",
            remedy="choose linear or yarn",
        )
    return rotation.rotary_dim


@dataclass(frozen=True)
class _Rotating:
    """A config with RoPE, understood."""

    config: Config
    entry: RotaryEntry  # of the layers that attend to everything
    rotation: Rotary
    others: tuple[tuple[RotaryEntry, Rotary], ...]  # of other types of layers

    @property
    def limit(self) -> str:
        """The key of the longest sequence."""
        keys = FAMILIES[self.config.text("model_type")].context
        return self.config.first(*keys) or (*keys, "max_position_embeddings")[0]

    @property
    def scaling(self) -> str:
        """The ``rope_type`` of today."""
        return str(self.rotation.scaling.get("rope_type", "default"))

    def parameters(self, values: Values) -> Values:
        """Return ``rope_parameters`` whole, with ``values`` in the place of those of before."""
        old = self.config.section("rope_scaling").values
        new = self.config.section("rope_parameters")
        if self.entry.layer_type is None:
            return _merged(old or new.values, self.rotation, values)
        typed = {
            str(entry.layer_type): _merged(
                new.section(str(entry.layer_type)).values, rotation, {"rope_type": "default"}
            )
            for entry, rotation in self.others
            if not rotation.scaling
        }
        mine = {**new.section(self.entry.layer_type).values, **old}
        return {**typed, **new.values, self.entry.layer_type: _merged(mine, self.rotation, values)}


def _merged(before: Mapping[str, object], rotation: Rotary, values: Values) -> Values:
    kept = {key: value for key, value in before.items() if key != "type" and value is not None}
    return {"rope_theta": rotation.base} | kept | values


def _understood(config: Mapping[str, object], trained: int, to: int) -> _Rotating:
    if not 1 <= trained <= to:
        raise SettingError(
            "cannot extend a context to fewer positions",
            expected=f"at least {trained}, for which the model was trained",
            got=f"{to}",
        )
    read = Config(config, "the config")
    word = read.text("model_type")
    mechanisms = FAMILIES[word].mechanisms if word in FAMILIES else ()
    entries = [one for one in mechanisms if isinstance(one, RotaryEntry)]
    if any(entry.sections for entry in entries):
        raise SettingError(
            "cannot change the config of a model of several parts",
            expected="the section of the part that reads text",
            got=f"the whole config, of model_type {quoted(word)}",
        )
    found = [(entry, entry.read(read)) for entry in entries]
    rotating = [(entry, rotation) for entry, rotation in found if rotation is not None]
    main = [pair for pair in rotating if pair[0].layer_type in (None, "full_attention")]
    if len(main) != 1:
        raise SettingError(
            "cannot tell how this model rotates",
            expected="the config of an architecture with one RoPE in the layers that attend to all",
            got=f"model_type {quoted(word)}",
        )
    others = tuple(pair for pair in rotating if pair is not main[0])
    return _Rotating(read, *main[0], others)


def _rescaled(rule: Rule, config: Mapping[str, object], trained: int, to: int) -> Values:
    model = _understood(config, trained, to)
    if model.scaling != "default":
        raise SettingError(
            "this model's RoPE is scaled already, and two scalings do not add up",
            expected="rope_type 'default'",
            got=quoted(model.scaling),
            remedy="choose unchanged, or extend the model from which it was made",
        )
    values = rule(model.rotation, trained, to)
    _require_taken(model.config.text("model_type"), str(values["rope_type"]))
    # transformers counts dynamic growth from max_position_embeddings, whatever else the config
    # says: with the new length there, nothing would change up to it.
    return _written(model, values) | {model.limit: trained if rule is dynamic else to}


def _unchanged(config: Mapping[str, object], trained: int, to: int) -> Values:
    model = _understood(config, trained, to)
    context = model.config.count(trained, model.limit)
    if model.scaling == "dynamic":
        return {model.limit: context}
    if model.scaling not in STRETCHED:
        return {model.limit: to}
    # What is fitted to the context where the config leaves it out is said before that changes.
    said = {key: value for key, value in model.rotation.scaling.items() if value is not None}
    original = said.setdefault(ORIGINAL, context)
    if model.scaling in FITTED and isinstance(original, int | float) and original > 0:
        said.setdefault("factor", context / original)
    return _written(model, said) | {model.limit: to}


def _written(model: _Rotating, values: Values) -> Values:
    """Return the keys to change for ``values`` to hold in ``rope_parameters``."""
    changes: Values = {}
    if model.config.section("rope_scaling").values:
        changes["rope_scaling"] = None  # transformers prefers it, and does not merge
    changes["rope_parameters"] = model.parameters(values)
    if "rope_theta" in values:  # the older key would contradict the new one
        older = [key for key in model.entry.base_keys if model.config.has(key)]
        changes |= dict.fromkeys(older, values["rope_theta"])
    if ORIGINAL in values and model.config.has(ORIGINAL):
        changes[ORIGINAL] = values[ORIGINAL]  # at the top it outranks that of rope_parameters
    return changes


def _require_taken(family: str, word: str) -> None:
    takes = TAKES.get(family)
    if takes is None or word in takes:
        return
    raise SettingError(
        f"transformers does not read rope_type {word} in {family}",
        expected=" or ".join(takes) or "no rope_type: its angles are fixed in code",
        got=word,
        remedy="choose " + ("ntk or unchanged" if takes else "unchanged"),
    )


ROPE_METHODS: Mapping[str, RopeMethod] = {
    method.name: method
    for method in (
        RopeMethod("unchanged", "only the length that the config names", _unchanged),
        RopeMethod("linear", "all frequencies divided by the factor", partial(_rescaled, linear)),
        RopeMethod("ntk", "a larger base: slow planes slower (NTK-aware)", partial(_rescaled, ntk)),
        RopeMethod(
            "dynamic",
            "a base that grows with the sequence (dynamic NTK)",
            partial(_rescaled, dynamic),
        ),
        RopeMethod(
            "yarn", "slow planes interpolated, fast ones kept (YaRN)", partial(_rescaled, yarn)
        ),
    )
}
