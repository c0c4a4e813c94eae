"""A checkpoint with the names and shapes of GPT-2, of any size, most of it perhaps a hole."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

POSITIONS, TOKENS, SCALES = "wpe.weight", "wte.weight", "h.0.ln_1.weight"
BLOCK = 1_000_000  # random values drawn at a time


@dataclass(frozen=True)
class Shape:
    """The sizes of a GPT-2; the default is the small one, of 548 MB."""

    length: int = 1024
    dim: int = 768
    vocabulary: int = 50_257
    layers: int = 12

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of the published file, its causal masks included, in the file's order."""
        d, n = self.dim, self.length
        shapes: dict[str, tuple[int, ...]] = {TOKENS: (self.vocabulary, d), POSITIONS: (n, d)}
        shapes |= {"ln_f.weight": (d,), "ln_f.bias": (d,)}
        layer = {
            "ln_1.weight": (d,),
            "ln_1.bias": (d,),
            "attn.bias": (1, 1, n, n),
            "attn.c_attn.weight": (d, 3 * d),
            "attn.c_attn.bias": (3 * d,),
            "attn.c_proj.weight": (d, d),
            "attn.c_proj.bias": (d,),
            "ln_2.weight": (d,),
            "ln_2.bias": (d,),
            "mlp.c_fc.weight": (d, 4 * d),
            "mlp.c_fc.bias": (4 * d,),
            "mlp.c_proj.weight": (4 * d, d),
            "mlp.c_proj.bias": (d,),
        }
        for index in range(self.layers):
            shapes |= {f"h.{index}.{name}": shape for name, shape in layer.items()}
        return dict(sorted(shapes.items()))

    def config(self) -> dict[str, object]:
        return {
            "model_type": "gpt2",
            "architectures": ["GPT2Model"],
            "n_positions": self.length,
            "n_embd": self.dim,
            "n_layer": self.layers,
            "n_head": self.dim // 64 or 1,
            "vocab_size": self.vocabulary,
            "initializer_range": 0.02,
        }

    def nbytes(self, *names: str) -> int:
        return sum(4 * math.prod(self.tensors()[name]) for name in names)

    def header(self) -> bytes:
        """The file's first bytes, up to its data."""
        records, at = {}, 0
        for name, shape in self.tensors().items():
            end = at + 4 * math.prod(shape)
            records[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
            at = end
        text = json.dumps({"__metadata__": {"format": "pt"}} | records).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text


def write_gpt2(folder: Path, shape: Shape, seed: int = 0, *, filled: bool = False) -> Path:
    """Write config.json and model.safetensors: random tables, scales of 1; zeros or noise between.

    Zeros are holes, which take no room on a disk that knows them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(shape.config()))
    rng = np.random.default_rng(seed)
    header = shape.header()
    at = len(header)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(header)
        for name in shape.tensors():
            count = shape.nbytes(name) // 4
            file.seek(at)
            if name in (POSITIONS, TOKENS) or (filled and count > shape.dim):
                for left in range(count, 0, -BLOCK):
                    values = 0.02 * rng.standard_normal(min(left, BLOCK), dtype=np.float32)
                    file.write(values.tobytes())
            elif name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight")):
                file.write(np.ones(count, np.float32).tobytes())
            at += 4 * count
        file.truncate(at)
    return folder
