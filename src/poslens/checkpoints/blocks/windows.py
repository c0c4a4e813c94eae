"""Within which windows the layers of a family attend: up to how many positions they see all.

Each rule gives the longest context in which the window keeps no key from any query; None where
there is no window. Defaults are those of the configuration classes of transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Callable

from poslens.checkpoints.config import Config
from poslens.checkpoints.families.rotation import unless_nope

Window = Callable[[Config, int], int | None]
Slides = Callable[[Config, int], bool]


def no_window(_: Config, __: int) -> int | None:
    """Return None: every query sees all keys that it may attend to."""
    return None


def width(config: Config, default: int | None) -> int | None:
    """Return ``sliding_window``, the query itself counted; a null means that there is none."""
    if not config.has("sliding_window"):
        return None if "sliding_window" in config.values else default
    return config.count(1, "sliding_window")


def sliding(default: int | None) -> Window:
    """Return the rule of a family of which all layers have a window, if there is one."""
    return lambda config, _: width(config, default)


def sliding_where(slides: Slides, default: int | None) -> Window:
    """Return the rule of a family of which only some layers have a window."""
    return lambda config, layer: width(config, default) if slides(config, layer) else None


def by_type(config: Config, layer: int) -> bool | None:
    """Return what ``layer_types`` says of a layer; None where the config has none."""
    types = config.items("layer_types", str, fewest=layer + 1)
    return None if types is None else types[layer] != "full_attention"


def all_but_each(count: int, *keys: str) -> Slides:
    """Return the rule by which each so many-th layer sees all, unless ``layer_types`` is there.

    ``keys`` are the config's for that number.
    """

    def slides(config: Config, layer: int) -> bool:
        listed = by_type(config, layer)
        return (layer + 1) % config.count(count, *keys) != 0 if listed is None else listed

    return slides


def qwen(config: Config, layer: int) -> bool:
    """Whether a layer of Qwen 2 or 3 slides: the upper ones, if switched on."""
    listed = by_type(config, layer)
    upper = layer >= config.integer("max_window_layers", 28)
    return config.switch("use_sliding_window", False) and (upper if listed is None else listed)


def qwen_moe(config: Config, layer: int) -> bool:
    """Whether a layer of Qwen 2 with experts slides: each second of the lower ones."""
    listed = by_type(config, layer)
    lower = layer % 2 == 0 and layer < config.integer("max_window_layers", 28)
    return config.switch("use_sliding_window", False) and (lower if listed is None else listed)


def switched(config: Config, _: int) -> bool:
    """Whether windows are switched on at all."""
    return config.switch("use_sliding_window", False)


def smollm3(config: Config, layer: int) -> bool:
    """Whether a layer of SmolLM3 slides: those that do not rotate, if switched on."""
    listed = by_type(config, layer)
    nope = layer not in unless_nope(config, layer + 1)
    return switched(config, layer) and (nope if listed is None else listed)


_GEMMA3 = sliding_where(all_but_each(6, "sliding_window_pattern"), 4096)


def gemma3(config: Config, layer: int) -> int | None:
    """Return the window of Gemma 3, half of which is on each side where it sees both."""
    window = _GEMMA3(config, layer)
    both = window is not None and config.switch("use_bidirectional_attention", False)
    return window // 2 + 1 if window is not None and both else window


def chunked(config: Config, layer: int) -> int | None:
    """Return the chunk of Llama 4, in the layers that rotate."""
    listed = by_type(config, layer)
    rotates = layer in unless_nope(config, layer + 1)
    null = "attention_chunk_size" in config.values and not config.has("attention_chunk_size")
    if null or not (rotates if listed is None else listed):
        return None
    return config.count(8192, "attention_chunk_size")


def modernbert(config: Config, layer: int) -> int | None:
    """Return the window of ModernBERT, half of it on each side, in all but each third layer."""
    listed = by_type(config, layer)
    local = layer % config.count(3, "global_attn_every_n_layers") != 0
    if not (local if listed is None else listed):
        return None
    return config.count(128, "local_attention") // 2 + 1


def longformer(config: Config, layer: int) -> int | None:
    """Return the window of Longformer, half of it on each side."""
    if isinstance(config.values.get("attention_window"), list):
        listed = config.items("attention_window", int, fewest=layer + 1)
        return None if listed is None else int(listed[layer]) // 2 + 1
    return config.count(512, "attention_window") // 2 + 1


def gpt_neo(config: Config, layer: int) -> int | None:
    """Return the window of GPT-Neo's local layers."""
    kinds = config.items("attention_layers", str, fewest=layer + 1)
    if kinds is None:
        kinds = _repeated(config)
    local = layer % 2 == 1 if kinds is None else layer < len(kinds) and kinds[layer] == "local"
    return config.count(256, "window_size") if local else None


def _repeated(config: Config) -> list[str] | None:
    """The kinds of layers as ``attention_types`` has them: [[[kind, …], times], …]."""
    found: list[str] = []
    for one in config.items("attention_types", list, fewest=1) or []:
        kinds, times = one if len(one) == 2 else ([], 0)
        if not isinstance(kinds, list) or type(times) is not int or not 0 <= times <= 2**16:
            raise config.contradiction(
                "cannot use attention_types", "lists of kinds, each with a number", "another"
            )
        found += [str(kind) for kind in kinds] * times
    return found or None


def longt5(config: Config, _: int) -> int | None:
    """Return the radius of LongT5's encoder, on each side."""
    return config.count(127, "local_radius") + 1


def big_bird(config: Config, _: int) -> int | None:
    """Return up to which length BigBird's sparse attention is full attention."""
    if config.text("attention_type", "block_sparse") != "block_sparse":
        return None
    blocks = 5 + 2 * config.integer("num_random_blocks", 3)
    return blocks * config.count(64, "block_size")
