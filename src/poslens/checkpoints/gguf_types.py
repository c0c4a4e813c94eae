"""How GGUF stores numbers: in blocks, each a few bytes with its own scales.

The numbers of the types, their names and sizes are those of ggml (``ggml.h``, ``enum ggml_type``);
the tests compare them with the package ``gguf``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BlockType:
    """One way to store numbers.

    Attributes
    ----------
    word
        NumPy's word for a dtype that PosLens reads as it is, else ggml's own.
    count
        Numbers in a block.
    nbytes
        Bytes of a block.
    quantised
        Whether the package ``gguf`` turns a block alone into float32.
    """

    word: str
    count: int
    nbytes: int
    quantised: bool = False


# ggml uses 9 and 15 within a product only, 40 has a further scale in a tensor of its own, and 41
# is newer than what the package computes.
BLOCK_TYPES: dict[int, BlockType] = {
    0: BlockType("float32", 1, 4),
    1: BlockType("float16", 1, 2),
    2: BlockType("Q4_0", 32, 18, quantised=True),
    3: BlockType("Q4_1", 32, 20, quantised=True),
    6: BlockType("Q5_0", 32, 22, quantised=True),
    7: BlockType("Q5_1", 32, 24, quantised=True),
    8: BlockType("Q8_0", 32, 34, quantised=True),
    9: BlockType("Q8_1", 32, 40),
    10: BlockType("Q2_K", 256, 84, quantised=True),
    11: BlockType("Q3_K", 256, 110, quantised=True),
    12: BlockType("Q4_K", 256, 144, quantised=True),
    13: BlockType("Q5_K", 256, 176, quantised=True),
    14: BlockType("Q6_K", 256, 210, quantised=True),
    15: BlockType("Q8_K", 256, 292),
    16: BlockType("IQ2_XXS", 256, 66, quantised=True),
    17: BlockType("IQ2_XS", 256, 74, quantised=True),
    18: BlockType("IQ3_XXS", 256, 98, quantised=True),
    19: BlockType("IQ1_S", 256, 50, quantised=True),
    20: BlockType("IQ4_NL", 32, 18, quantised=True),
    21: BlockType("IQ3_S", 256, 110, quantised=True),
    22: BlockType("IQ2_S", 256, 82, quantised=True),
    23: BlockType("IQ4_XS", 256, 136, quantised=True),
    24: BlockType("I8", 1, 1),
    25: BlockType("I16", 1, 2),
    26: BlockType("I32", 1, 4),
    27: BlockType("I64", 1, 8),
    28: BlockType("float64", 1, 8),
    29: BlockType("IQ1_M", 256, 56, quantised=True),
    30: BlockType("bfloat16", 1, 2),
    34: BlockType("TQ1_0", 256, 54, quantised=True),
    35: BlockType("TQ2_0", 256, 66, quantised=True),
    39: BlockType("MXFP4", 32, 17, quantised=True),
    40: BlockType("NVFP4", 64, 36),
    41: BlockType("Q1_0", 128, 18),
}
