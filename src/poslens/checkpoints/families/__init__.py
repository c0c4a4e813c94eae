"""How each architecture encodes position: the table of families, one entry a ``model_type``."""

from __future__ import annotations

from poslens.checkpoints.families import added, biased, relative, rotary
from poslens.checkpoints.families.entry import Family, Formula, Mechanism, Part, Spellings

__all__ = ["FAMILIES", "Family", "Formula", "Mechanism", "Part", "Spellings"]

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
    "esm": Family(mechanisms=(rotary.ESM,)),
    "gpt2": Family((added.GPT,), context=("n_positions",)),
    "gpt_neo": Family((added.GPT,)),
    "mpnet": Family((added.MPNET,), mechanisms=(biased.MPNET,)),
    "opt": Family((added.OPT,)),
    "roberta": Family((added.ROBERTA,), mechanisms=(relative.SHAW,)),
    "transformer_lens": Family((added.TRANSFORMER_LENS,), context=("n_ctx",)),
    "vit": Family((added.VIT,)),
    "whisper": Family(
        (added.WHISPER_ENCODER, added.WHISPER_DECODER), context=("max_target_positions",)
    ),
    **rotary.FAMILIES,
    **biased.FAMILIES,
    **relative.FAMILIES,
}
