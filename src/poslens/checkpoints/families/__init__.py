"""How each architecture encodes position: the table of families, one entry a ``model_type``."""

from __future__ import annotations

from poslens.checkpoints.families import (
    added,
    biased,
    relative,
    rotary,
    seq2seq,
    speech,
    text,
    vision,
)
from poslens.checkpoints.families.entry import Family, Formula, Mechanism, Part, Spellings

__all__ = ["FAMILIES", "Family", "Formula", "Mechanism", "Part", "Spellings"]

# An encoder and a decoder, each a model of its own with a section of the config: Donut, TrOCR.
_PAIR = Family(
    composed=("encoder", "decoder"),
    context=("max_position_embeddings", "n_positions", "max_target_positions"),
    context_sections=("decoder",),
)

# By the model_type of config.json.
FAMILIES: dict[str, Family] = {
    "albert": Family((added.ALBERT,), mechanisms=(relative.SHAW,)),
    "bert": Family((added.BERT,), mechanisms=(relative.SHAW, biased.JINA_BERT)),
    "clip": Family(
        (added.CLIP_TEXT, added.CLIP_VISION), context_sections=("text_config_dict", "text_config")
    ),
    "clip_text_model": Family((added.CLIP_TEXT_MODEL,)),
    "clip_vision_model": Family((added.CLIP_VISION_MODEL,)),
    "distilbert": Family((added.DISTILBERT,)),
    "gpt2": Family((added.GPT,), context=("n_positions",)),
    "gpt_neo": Family((added.GPT,)),
    "mpnet": Family((added.MPNET,), mechanisms=(biased.MPNET,)),
    "opt": Family((added.OPT,)),
    "roberta": Family((added.ROBERTA,), mechanisms=(relative.SHAW,)),
    "encoder-decoder": _PAIR,
    "speech-encoder-decoder": _PAIR,
    "transformer_lens": Family((added.TRANSFORMER_LENS,), context=("n_ctx",)),
    "vision-encoder-decoder": _PAIR,
    "vit": Family((added.VIT,), context=()),
    "whisper": Family(
        (added.WHISPER_ENCODER, added.WHISPER_DECODER), context=("max_target_positions",)
    ),
    **rotary.FAMILIES,
    **biased.FAMILIES,
    **relative.FAMILIES,
    **seq2seq.FAMILIES,
    **speech.FAMILIES,
    **text.FAMILIES,
    **vision.FAMILIES,
}
