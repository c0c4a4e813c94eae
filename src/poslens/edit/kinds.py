"""What a model predicts, by its class or by what its files hold, and how it is loaded for that."""

from __future__ import annotations

import os
from typing import Any, Literal, TypeAlias

from poslens.edit.gaps import gaps_of
from poslens.errors import SourceError, quoted
from poslens.hidden.loading import config_of, loaded_as, names_gguf, require_whole
from poslens.hidden.model import is_pretrained, not_a_model

Kind: TypeAlias = Literal["causal", "masked", "denoising", "headless"]

PROBLEM = "cannot measure what an edit costs"
_AUTO = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "denoising": "AutoModelForSeq2SeqLM",
}
_WITH_HEAD = ("ForConditionalGeneration", "WithLMHeadModel")  # as these classes' names end


def loaded_with_head(source: str | os.PathLike[str]) -> tuple[Any, Kind]:
    """Load a model with the head that its files hold, and say what it predicts.

    Raises
    ------
    SourceError
        If there is no such model, it cannot be loaded, or has an encoder and a decoder and fills
        no gaps.
    SettingError
        If what transformers reads GGUF files with is not installed.
    """
    # A GGUF file's config takes as long to read as its weights, and its kin of BERT have no head.
    kind: Kind = "causal" if names_gguf(source) else _expected(config_of(source), source)
    if kind == "denoising":
        model, missing = loaded_as(_AUTO[kind], source)
        require_whole(missing, source)
        return model, kind
    if kind in _AUTO:
        model, missing = loaded_as(_AUTO[kind], source)
        # What is not the head's is missed again, and said, without it.
        if not missing:
            return model, kind
    model, missing = loaded_as("AutoModel", source)
    require_whole(missing, source)
    return model, "headless"


def _expected(config: Any, source: str | os.PathLike[str]) -> Kind:
    """Return what a model of this config predicts, if its files hold the head."""
    import transformers

    if getattr(config, "is_encoder_decoder", False):
        shown = quoted(os.fspath(source))
        gaps, classes = gaps_of(config, shown), [str(one) for one in config.architectures or ()]
        # In place of a head that is not there, transformers would put the token table.
        with_head = not classes or any(one.endswith(_WITH_HEAD) for one in classes)
        if not (with_head or gaps.ties_head):
            raise _no_head(shown, quoted(classes[0]))
        return "denoising"
    causal = _classes(transformers.MODEL_FOR_CAUSAL_LM_MAPPING, config)
    masked = _classes(transformers.MODEL_FOR_MASKED_LM_MAPPING, config)
    without = _classes(transformers.MODEL_MAPPING, config)
    trained = _classes(transformers.MODEL_FOR_PRETRAINING_MAPPING, config)
    known = {one.__name__ for one in (*causal, *masked, *without, *trained)}
    if config.architectures and not known.intersection(config.architectures):
        return "headless"  # made for something else, such as to classify
    if masked and not (causal and _reads_one_way(config)):
        return "masked"
    return "causal" if causal else "headless"


def kind_of(model: Any) -> Kind:
    """Return what a model that is there predicts.

    Raises
    ------
    SourceError
        If it is none of transformers, sees what it is to predict, or has an encoder and a decoder
        and fills no gaps.
    """
    import transformers

    if not is_pretrained(model):
        raise not_a_model(model, PROBLEM)
    config = model.config
    if hasattr(model.base_model, "encoder") and hasattr(model.base_model, "decoder"):
        name = quoted(type(model).__name__)
        gaps_of(config, f"the {name}")
        heads = _classes(transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, config)
        if not isinstance(model, heads):
            raise _no_head(f"the {name}", name)
        return "denoising"
    masked = isinstance(model, _classes(transformers.MODEL_FOR_MASKED_LM_MAPPING, config))
    causal = isinstance(model, _classes(transformers.MODEL_FOR_CAUSAL_LM_MAPPING, config))
    if not masked and not causal:
        return "headless"
    if not causal:
        return "masked"
    if not _classes(transformers.MODEL_FOR_MASKED_LM_MAPPING, config) or _reads_one_way(config):
        return "causal"
    if masked:
        return "masked"
    raise SourceError(
        f"the {quoted(type(model).__name__)} sees the tokens that it is to predict",
        expected="a config with is_decoder true",
        got="false",
        remedy="load it with AutoModelForMaskedLM",
    )


def _reads_one_way(config: Any) -> bool:
    """Whether a model whose class can read both ways reads from left to right."""
    return bool(getattr(config, "is_decoder", False) or getattr(config, "causal", False))


def _classes(mapping: Any, config: Any) -> tuple[type, ...]:
    """Return the classes of a mapping for a config: one, several or none."""
    if type(config) not in mapping:
        return ()
    found = mapping[type(config)]
    return found if isinstance(found, tuple) else (found,)


def _no_head(shown: str, got: str) -> SourceError:
    return SourceError(
        f"cannot measure predictions of {shown}",
        expected="an encoder, a decoder, and a head that predicts tokens",
        got=f"the class {got}, which has none",
        remedy="load it with its head (AutoModelForSeq2SeqLM), or load its encoder and pass it",
    )
